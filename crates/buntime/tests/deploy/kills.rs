//! Row D1: the server is killed at every step of an upload over what is there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Connection, real_bun};
use tempfile::TempDir;

use super::support::{KEY, PLUGINS, WORKERS, call, form, send_form, send_form_to, site, tree};

/// A server that may die at any moment.
struct Mortal(Child);

impl Mortal {
    /// Starts it; `None` if it died before it listened.
    fn start(dir: &Path, dies_at: Option<u64>) -> (Self, Option<SocketAddr>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_buntime"));
        command
            .arg("serve")
            .current_dir(dir)
            .env_clear()
            .env("PORT", "0")
            .env("RUNTIME_WORKER_DIRS", dir.join("apps"))
            .env("RUNTIME_PLUGIN_DIRS", dir.join("plugins"))
            .env("RUNTIME_STATE_DIR", dir.join("state"))
            .env("RUNTIME_ROOT_KEY", KEY)
            .env("RUNTIME_POOL_SIZE", "1")
            .env("RUNTIME_LOG_FORMAT", "json")
            .env("RUNTIME_BUN", real_bun())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(step) = dies_at {
            command.env("BUNTIME_DIE_AT", step.to_string());
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("Listening on http://")?;
            address.split('"').next()?.parse().ok()
        });
        // Nobody reads on; what is left fits the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        (Self(child), address)
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends an upload to a server that may die of it: true if it answered 200.
fn try_upload(address: SocketAddr, route: &str, body: &[u8]) -> bool {
    let Ok(mut client) = Connection::try_open(address) else {
        return false;
    };
    let head = format!(
        "POST {route} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\
         Content-Type: multipart/form-data; boundary=boundary\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes());
    client.send(body);
    answered(client)
}

fn try_rollback(address: SocketAddr, release: u64) -> bool {
    let Ok(mut client) = Connection::try_open(address) else {
        return false;
    };
    let body = format!("{{\"release\": {release}}}");
    let head = format!(
        "POST /api/workers/_/shop/rollback HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(head.as_bytes());
    answered(client)
}

fn answered(mut client: Connection) -> bool {
    match client.next_response("POST") {
        None => false,
        Some(response) => {
            assert_eq!(response.status, 200, "{}", response.text());
            true
        }
    }
}

/// Which text the version serves: all of its files say it, and there are no others.
fn whole(dir: &Path, version: &str) -> String {
    let found = tree(&dir.join("apps/shop").join(version));
    let text = String::from_utf8(found["index.html"].clone()).unwrap();
    let expected: Vec<_> = site("shop", version, &text);
    let files: Vec<_> = found
        .iter()
        .filter(|(name, _)| !name.ends_with('/'))
        .collect();
    assert_eq!(files.len(), expected.len(), "{files:?}");
    for Entry { name, content, .. } in expected {
        let name = String::from_utf8(name).unwrap();
        let mut bytes = Vec::new();
        if let buntime_testkit::archive::Content::Bytes(content) = content {
            bytes = content;
        }
        assert_eq!(found[&name], bytes, "{name}");
    }
    text
}

/// Starts a server on what a dead one has left, and holds against each other what it
/// serves, what lies on the disk and what the store says. Gives what it serves.
fn look(dir: &Path, live: &[(&str, &str)]) -> String {
    let (_server, address) = Mortal::start(dir, None);
    let address = address.unwrap();
    let get = |path: &str| Connection::open(address).get(path);
    let served = get("/shop@1.0.0/").text();
    assert_eq!(whole(dir, "1.0.0"), served);
    let releases = call(address, "GET", "/api/workers/_/shop/releases", "").json();
    let is_live =
        |release: &&serde_json::Value| release["live"] == true && release["version"] == "1.0.0";
    let live_now: Vec<_> = releases
        .as_array()
        .unwrap()
        .iter()
        .filter(is_live)
        .collect();
    assert_eq!(live_now.len(), 1, "{releases:#}");
    let sha256 = live_now[0]["sha256"].as_str().unwrap();
    let (text, _) = live.iter().find(|(_, hash)| *hash == sha256).unwrap();
    assert_eq!(*text, served, "{releases:#}");
    // Nothing strays: no staged folder, no archive that no release has, no intent.
    for folder in ["apps/.buntime-staging", "state/releases/.buntime-staging"] {
        assert_eq!(
            tree(&dir.join(folder)).into_keys().collect::<Vec<_>>(),
            [""; 0]
        );
    }
    let mut expected: Vec<_> = releases
        .as_array()
        .unwrap()
        .iter()
        .map(|release| release["sha256"].as_str().unwrap().to_owned())
        .collect();
    expected.sort();
    expected.dedup();
    let kept = tree(&dir.join("state/releases")).into_keys();
    let kept: Vec<_> = kept.filter(|name| name != ".buntime-staging/").collect();
    assert_eq!(kept, expected);
    served
}

fn archive(version: &str, text: &str) -> (Vec<u8>, String) {
    let archive = forge(Format::TarGz, &site("shop", version, text));
    let body = form(&[("file", Some("shop.tgz"), &archive)]);
    (body, sha256(&archive))
}

/// By the system's own program: this test depends on no library for it.
fn sha256(bytes: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// How often each step is tried: `BUNTIME_KILLS=1000` is for a night.
fn rounds(steps: u64) -> u64 {
    let kills = std::env::var("BUNTIME_KILLS").ok();
    let kills: u64 = kills.and_then(|kills| kills.parse().ok()).unwrap_or(0);
    (kills / steps.max(1)).max(1)
}

/// A server's folders, once this was uploaded.
fn installed(route: &str, old: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["apps", "plugins"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let (_server, address) = Mortal::start(dir.path(), None);
    assert_eq!(send_form_to(route, KEY, address.unwrap(), old).status, 200);
    dir
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args(["apps", "plugins", "state"].map(|folder| from.join(folder)))
        .arg(to.path())
        .status();
    assert!(copied.unwrap().success());
    to
}

/// Kills at the first step, the second, …, until one comes through alive. Gives how many
/// there are.
fn kill_at_each(
    before: &Path,
    look: impl Fn(&Path) -> String,
    act: impl Fn(SocketAddr) -> bool,
) -> u64 {
    let (mut old, mut new) = (0, 0);
    for step in 1.. {
        assert!(step < 200, "the steps do not end");
        let dir = copy(before);
        let (server, address) = Mortal::start(dir.path(), Some(step));
        let done = address.is_some_and(&act);
        drop(server);
        let served = look(dir.path());
        if done {
            assert_eq!(served, "new");
            // Those that died before it, with the old version and with the new one.
            assert!(old > 3 && new > 1, "{old} {new}");
            return step;
        }
        match served.as_str() {
            "old" => old += 1,
            "new" => new += 1,
            other => panic!("neither old nor new: {other}"),
        }
        // Once the new one is there, it stays there.
        assert!(new == 0 || served == "new", "step {step} went back");
    }
    unreachable!()
}

/// Kills at each step, as often as the environment asks for.
fn kill(before: &Path, look: impl Fn(&Path) -> String, act: impl Fn(SocketAddr) -> bool) {
    let steps = kill_at_each(before, &look, &act);
    for _ in 1..rounds(steps * 3) {
        kill_at_each(before, &look, &act);
    }
}

#[test]
fn d1_killed_at_any_step_of_an_upload_the_server_has_the_old_version_or_the_new_one() {
    let ((old, old_hash), (new, new_hash)) = (archive("1.0.0", "old"), archive("1.0.0", "new"));
    let before = installed(WORKERS, &old);
    let live = [("old", &*old_hash), ("new", &*new_hash)];
    let upload = |address| try_upload(address, WORKERS, &new);
    kill(before.path(), |dir| look(dir, &live), upload);
}

#[test]
fn d1_killed_at_any_step_of_a_rollback_the_worker_stands_as_before_or_as_after() {
    let ((new, new_hash), (old, old_hash)) = (archive("1.0.0", "new"), archive("1.0.0", "old"));
    let (later, _) = archive("1.1.0", "later");
    // The first is what is gone back to, so it is called new.
    let before = installed(WORKERS, &new);
    {
        let (_server, address) = Mortal::start(before.path(), None);
        for body in [&old, &later] {
            assert_eq!(send_form(KEY, address.unwrap(), body).status, 200);
        }
    }
    let live = [("old", &*old_hash), ("new", &*new_hash)];
    let back = |address| try_rollback(address, 1);
    kill(before.path(), |dir| look(dir, &live), back);
}

/// A plugin with this word in its base and in its code.
fn plugin(word: &str) -> Vec<Entry> {
    let manifest = format!("name: '@acme/guard'\nbase: /{word}\n");
    vec![
        Entry::file("manifest.yaml", manifest),
        Entry::file("plugin.ts", word),
        Entry::file("lib/deep/code.ts", word),
    ]
}

/// Starts a server on what a dead one has left: the plugin's folder is whole, the set is
/// that of the folder, and nothing strays. Gives its word.
fn look_at_plugin(dir: &Path) -> String {
    let (_server, address) = Mortal::start(dir, None);
    let plugins = call(address.unwrap(), "GET", "/api/plugins", "").json();
    assert_eq!(plugins.as_array().unwrap().len(), 1, "{plugins:#}");
    let word = plugins[0]["base"].as_str().unwrap()[1..].to_owned();
    let mut found = tree(&dir.join("plugins/@acme/guard"));
    found.retain(|name, _| !name.ends_with('/'));
    let expected = plugin(&word).into_iter().map(|entry| {
        let buntime_testkit::archive::Content::Bytes(content) = entry.content else {
            panic!("no file");
        };
        (String::from_utf8(entry.name).unwrap(), content)
    });
    assert_eq!(found, expected.collect());
    for folder in ["plugins/.buntime-staging", "state/releases"] {
        let left = tree(&dir.join(folder)).into_keys();
        let left: Vec<_> = left.filter(|name| name != ".buntime-staging/").collect();
        assert_eq!(left, [""; 0], "{folder}");
    }
    word
}

#[test]
fn d1_killed_at_any_step_of_a_plugins_upload_the_old_one_is_there_or_the_new_one() {
    let [old, new] = ["old", "new"].map(|word| {
        let archive = forge(Format::TarGz, &plugin(word));
        form(&[("file", Some("guard.tgz"), &archive)])
    });
    let before = installed(PLUGINS, &old);
    let upload = |address| try_upload(address, PLUGINS, &new);
    kill(before.path(), look_at_plugin, upload);
}
