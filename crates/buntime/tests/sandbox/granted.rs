//! What an app may do once it was granted more (contract section 3).

use std::collections::HashSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use buntime_testkit::TestServer;
use buntime_testkit::log::LogLine;

use crate::levels::{Level, give, place};

/// Does what the path says, and answers what came of it.
const APP: &str = r#"
import { readFileSync, writeFileSync, readdirSync } from "node:fs";
const actions: Record<string, (path: string) => unknown> = {
  read: (path) => readFileSync(path, "utf8"),
  list: (path) => readdirSync(path).join(),
  write: (path) => { writeFileSync(path, "written"); return "written"; },
  sh: (script) => {
    const { stdout, stderr, exitCode } = Bun.spawnSync(["/bin/sh", "-c", script], { env: { PATH: "/usr/bin:/bin" } });
    return `${exitCode} ${stdout}${stderr}`;
  },
  spawn: async (script) => {
    const child = Bun.spawn(["/bin/sh", "-c", script]);
    const said = await new Response(child.stdout).text();
    return `${await child.exited} ${said}`;
  },
  own: async () => {
    const child = Bun.spawn([process.execPath, "-e", "console.log(6 * 7)"], { env: { ...process.env, BUN_BE_BUN: "1" } });
    return (await new Response(child.stdout).text()).trim();
  },
};
export default {
  async fetch(request: Request) {
    const { pathname, searchParams } = new URL(request.url);
    try {
      return new Response(String(await actions[pathname.slice(1)](searchParams.get("of") ?? "")));
    } catch (error) {
      return new Response(`refused ${(error as { code?: string }).code ?? error}`);
    }
  },
};
"#;

/// A server with an app, `outside` to ask for, and the level's program.
struct World {
    server: TestServer,
    outside: tempfile::TempDir,
    bin: tempfile::TempDir,
}

impl World {
    /// `asks` and `grants` may say `OUTSIDE`.
    fn new(level: Level, manifest: &str, asks: &str, granted: &str) -> Self {
        let bin = place();
        // These levels can be had on each machine.
        let program = level.program(bin.path()).unwrap();
        let outside = place();
        for name in ["maps", "out"] {
            fs::create_dir(outside.path().join(name)).unwrap();
        }
        fs::write(outside.path().join("maps/a"), "a map").unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        give(outside.path(), level.uid());
        let here = |text: &str| text.replace("OUTSIDE", outside.path().to_str().unwrap());
        let grants = bin.path().join("grants.yaml");
        fs::write(&grants, here(&format!("app:\n  permissions: {granted}\n"))).unwrap();
        let manifest = here(&format!("{manifest}permissions: {asks}\n"));
        let builder = TestServer::builder(program)
            .neighbour()
            .module("app@1.0.0", &manifest, APP)
            .env("RUNTIME_GRANTS", grants.to_str().unwrap());
        Self {
            server: level.hand_over(builder).start(),
            outside,
            bin,
        }
    }

    fn ask(&self, action: &str, of: &str) -> String {
        let of: String = of.bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.server.get(&format!("/app/{action}?of={of}")).text()
    }

    fn path(&self, name: &str) -> String {
        self.outside.path().join(name).display().to_string()
    }
}

/// The levels at which what is not granted must stay closed.
fn levels() -> [Level; 3] {
    let with = |lacks| Level {
        lacks,
        ..Level::default()
    };
    [with(&[]), with(&["userns"]), with(&["landlock"])]
}

#[test]
fn paths_that_were_granted_are_read_and_written_and_no_others() {
    let asks = "{read: [OUTSIDE/maps], write: [OUTSIDE/out]}";
    // Persistent and ephemeral workers start in different ways.
    for (level, manifest) in levels()
        .into_iter()
        .flat_map(|level| ["ttl: 1h\n", "ttl: 0\n"].map(|manifest| (level, manifest)))
    {
        let world = World::new(level, manifest, asks, asks);
        let place = format!("{level:?}, {manifest}");
        assert_eq!(world.ask("read", &world.path("maps/a")), "a map", "{place}");
        assert_eq!(
            world.ask("write", &world.path("out/new")),
            "written",
            "{place}"
        );
        assert_eq!(
            world.ask("read", &world.path("out/new")),
            "written",
            "{place}"
        );
        let written = fs::read_to_string(world.outside.path().join("out/new"));
        assert_eq!(written.unwrap(), "written");
        for (action, name) in [("write", "maps/a"), ("read", "secret"), ("write", "new")] {
            let answer = world.ask(action, &world.path(name));
            assert!(
                answer.starts_with("refused"),
                "{action} {name}, {place}: {answer}"
            );
        }
        let answer = world.ask("sh", "true");
        assert_eq!(answer, "refused EPERM", "{place}");
    }
}

#[test]
fn something_in_a_folder_that_may_be_read_may_be_written() {
    let asks = "{read: [OUTSIDE], write: [OUTSIDE/out]}";
    for level in levels() {
        let world = World::new(level, "ttl: 1h\n", asks, asks);
        assert_eq!(
            world.ask("read", &world.path("secret")),
            "secret",
            "{level:?}"
        );
        assert_eq!(
            world.ask("write", &world.path("out/new")),
            "written",
            "{level:?}"
        );
        let answer = world.ask("write", &world.path("secret"));
        assert!(answer.starts_with("refused"), "{level:?}: {answer}");
    }
}

#[test]
fn a_granted_path_that_became_a_way_to_the_state_starts_nothing() {
    let asks = "{read: [OUTSIDE/maps]}";
    let world = World::new(Level::default(), "ttl: 0\n", asks, asks);
    assert_eq!(world.ask("read", &world.path("maps/a")), "a map");
    let maps = world.outside.path().join("maps");
    fs::remove_dir_all(&maps).unwrap();
    std::os::unix::fs::symlink(world.server.dir().join("state"), &maps).unwrap();
    assert_eq!(world.server.get("/app/list").status, 502);
    let failed = world
        .server
        .wait_for_log(|line| line.message() == "Request failed");
    assert!(failed.text("reason").contains("nobody is granted"));
}

#[test]
fn what_is_no_file_and_no_folder_is_not_given() {
    for asks in ["{read: [OUTSIDE/socket]}", "{write: [OUTSIDE/socket]}"] {
        let world = World::new(Level::default(), "ttl: 0\n", asks, asks);
        // What is not there is not shown.
        let answer = world.ask("read", &world.path("socket"));
        assert_eq!(answer, "refused ENOENT", "{asks}");
        let _listening = UnixListener::bind(world.path("socket")).unwrap();
        assert_eq!(world.server.get("/app/list").status, 502, "{asks}");
        let is_it = |line: &LogLine| line.message() == "Request failed";
        let failed = world.server.wait_for_log(is_it);
        let reason = failed.text("reason");
        assert!(reason.contains("neither a file nor a folder"), "{reason}");
    }
}

/// A folder that `app@1.0.0` may write, in which it makes a link; `app@2.0.0` asks for the link.
const LINKS: &str = r#"
import { symlinkSync, renameSync, mkdirSync } from "node:fs";
const actions: Record<string, (path: string) => unknown> = {
  link: (path) => { const [to, at] = path.split(" "); symlinkSync(to, at + ".new"); renameSync(at + ".new", at); return "made"; },
  folder: (path) => { mkdirSync(path); return "made"; },
};
export default {
  fetch(request: Request) {
    const { pathname, searchParams } = new URL(request.url);
    return new Response(String(actions[pathname.slice(1)](searchParams.get("of") ?? "")));
  },
};
"#;

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn a_link_that_an_app_made_in_what_it_may_write_gives_no_version_of_it_more() {
    for level in levels() {
        let bin = place();
        let program = level.program(bin.path()).unwrap();
        let outside = place();
        let path = |name: &str| outside.path().join(name).display().to_string();
        for name in ["out", "victim"] {
            fs::create_dir(outside.path().join(name)).unwrap();
        }
        fs::write(outside.path().join("victim/secret"), "secret").unwrap();
        give(outside.path(), level.uid());
        let (out, asked) = (path("out"), path("out/x"));
        let grants = bin.path().join("grants.yaml");
        fs::write(
            &grants,
            format!("app:\n  permissions: {{write: [{out}]}}\n"),
        )
        .unwrap();
        let asks = |path: &str| format!("ttl: 0\npermissions: {{write: [{path}]}}\n");
        let builder = TestServer::builder(program)
            .module("app@1.0.0", &asks(&out), LINKS)
            .module("app@2.0.0", &asks(&asked), APP)
            .module("app@3.0.0", &asks(&path("out/x/deep")), APP)
            .module("app@4.0.0", &asks(&out), APP)
            .env("RUNTIME_GRANTS", grants.to_str().unwrap());
        let server = level.hand_over(builder).start();
        let ask = |version: &str, action: &str, of: &str| {
            server.get(&format!("/app@{version}/{action}?of={}", escaped(of)))
        };
        // A folder there is as good as the granted one.
        assert_eq!(ask("1.0.0", "folder", &asked).text(), "made", "{level:?}");
        let written = ask("2.0.0", "write", &path("out/x/new")).text();
        assert_eq!(written, "written", "{level:?}");
        fs::remove_dir_all(&asked).unwrap();

        let state = server.dir().join("state").display().to_string();
        for to in [&path("victim"), &state, bin.path().to_str().unwrap(), "/"] {
            let made = ask("1.0.0", "link", &format!("{to} {asked}")).text();
            assert_eq!(made, "made", "{level:?}");
            fs::create_dir_all(path("victim/deep")).unwrap();
            for version in ["2.0.0", "3.0.0"] {
                let refused = ask(version, "list", &asked);
                // Nothing lies beneath the others, and what is not there is not shown.
                assert!(
                    refused.status == 502 || refused.text().starts_with("refused"),
                    "{version} to {to}, {level:?}: {}",
                    refused.text()
                );
            }
            // Within the folder itself it leads nowhere either.
            let followed = ask("4.0.0", "read", &path("out/x/secret")).text();
            assert!(followed.starts_with("refused"), "{level:?}: {followed}");
            let followed = ask("4.0.0", "write", &path("out/x/new")).text();
            assert!(followed.starts_with("refused"), "{level:?}: {followed}");
        }
        assert!(!outside.path().join("victim/new").exists());
        let failed = server.wait_for_log(|line| line.message() == "Request failed");
        let reason = failed.text("reason");
        assert!(
            reason.contains(&asked) && reason.contains("link"),
            "{reason}"
        );
    }
}

#[test]
fn a_granted_link_to_the_folder_of_the_grants_starts_nothing() {
    let asks = "{read: [OUTSIDE/maps]}";
    let world = World::new(Level::default(), "ttl: 0\n", asks, asks);
    let maps = world.outside.path().join("maps");
    fs::remove_dir_all(&maps).unwrap();
    std::os::unix::fs::symlink(world.bin.path(), &maps).unwrap();
    assert_eq!(world.server.get("/app/list").status, 502);
    let failed = world
        .server
        .wait_for_log(|line| line.message() == "Request failed");
    assert!(failed.text("reason").contains("nobody is granted"));
}

#[test]
fn a_file_is_granted_as_a_folder_is() {
    let asks = "{read: [OUTSIDE/maps/a], write: [OUTSIDE/secret]}";
    for level in levels() {
        let world = World::new(level, "ttl: 0\n", asks, asks);
        assert_eq!(
            world.ask("read", &world.path("maps/a")),
            "a map",
            "{level:?}"
        );
        let written = world.ask("write", &world.path("secret"));
        assert_eq!(written, "written", "{level:?}");
        for (action, name) in [("write", "maps/a"), ("list", "out"), ("write", "out/new")] {
            let answer = world.ask(action, &world.path(name));
            assert!(answer.starts_with("refused"), "{level:?}: {answer}");
        }
    }
}

#[test]
fn programs_are_started_by_who_was_granted_it_and_are_confined_as_it_is() {
    for level in levels() {
        let world = World::new(level, "ttl: 1h\n", "{spawn: true}", "{spawn: true}");
        let place = format!("{level:?}");
        let neighbour = world.server.probe();
        assert_eq!(world.ask("sh", "echo hi; exit 3"), "3 hi\n", "{place}");
        assert_eq!(world.ask("spawn", "echo a | grep -c a"), "0 1\n", "{place}");
        // Landlock alone cannot tell a child what `/proc` says of it, which Bun wants.
        let own = if level.lacks.contains(&"userns") {
            ""
        } else {
            "42"
        };
        assert_eq!(world.ask("own", ""), own, "{place}");
        let pid = world.server.pid();
        for attack in [
            format!("cat {}", world.path("secret")),
            format!(
                "cat {}/root-key",
                world.server.dir().join("state").display()
            ),
            "cat /etc/passwd".to_owned(),
            format!("echo x > {}", world.path("new")),
            format!("cat /proc/{pid}/environ"),
            format!("kill -9 {pid}"),
            "unshare -Ur true".to_owned(),
            // What it wrote is no program.
            "cp /bin/true \"$HOME\"/t && chmod 700 \"$HOME\"/t && \"$HOME\"/t".to_owned(),
            "mount -t tmpfs x /tmp".to_owned(),
        ] {
            let answer = world.ask("sh", &format!("HOME=$PWD; {attack}"));
            assert!(!answer.starts_with("0 "), "{attack}, {place}: {answer}");
        }
        assert!(!Path::new(&world.path("new")).exists());
        // What it leaves running ends with it.
        let left = world.ask("sh", "sleep 1000 >/dev/null 2>&1 & echo $!");
        assert!(left.starts_with("0 "), "{place}: {left}");
        neighbour.finish();
    }
}

#[test]
fn a_directory_that_a_started_program_may_still_write_is_not_used_again() {
    // With namespaces of its own all that a worker started ends with it.
    let level = Level {
        lacks: &["userns"],
        ..Level::default()
    };
    let world = World::new(level, "ttl: 0\n", "{spawn: true}", "{spawn: true}");
    let mut homes = HashSet::new();
    for ended in 1..=4 {
        let home = world.ask("spawn", "echo $HOME");
        assert!(home.starts_with("0 /"), "{home}");
        assert!(homes.insert(home), "{homes:?}");
        world.server.wait_until("its worker has ended", || {
            world.server.count_messages("Worker ended") >= ended
        });
    }
}
