//! Apps that attack, and what each level of the sandbox answers.
//!
//! Which level a machine reaches decides what runs here; one that it does not reach is
//! left out, and the reason printed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use buntime_testkit::TestServer;

const ATTACKER: &str = include_str!("sandbox/attacker.ts");
const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
const CANARY: &str = "canary-canary-canary-canary";

/// What stands around the attacker.
struct World {
    server: TestServer,
    outside: tempfile::TempDir,
    abstract_name: String,
    _listening: [UnixListener; 2],
}

impl World {
    fn new(binary: &Path, mode: &str) -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), CANARY).unwrap();
        let abstract_name = format!("buntime-{}", outside.path().display()).replace('/', "-");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listening = [
            UnixListener::bind(outside.path().join("listening")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        let builder = TestServer::builder(binary).neighbour();
        let state = builder.dir().join("state");
        let apps = builder.dir().join("apps");
        let manifest = format!(
            "ttl: 1h\nenv:\n  STATE: {}\n  OTHER: {}\n  OUTSIDE: {}\n",
            state.display(),
            apps.join("other@1.0.0").display(),
            outside.path().display()
        );
        let server = builder
            .module("attacker@1.0.0", &manifest, ATTACKER)
            .module("other@1.0.0", "ttl: 1h\n", &format!("// {CANARY}\n"))
            .env("RUNTIME_SANDBOX", mode)
            .start();
        let data = state.join("data/other");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("secret"), CANARY).unwrap();
        Self {
            server,
            outside,
            abstract_name,
            _listening: listening,
        }
    }

    /// What came of one attack.
    fn attack(&self, name: &str) -> String {
        let path = format!(
            "/attacker/{}?server={}&abstract={}",
            name.replace(' ', "%20"),
            self.server.pid(),
            self.abstract_name
        );
        let response = self.server.get(&path);
        assert_eq!(response.status, 200, "{name}: {response:?}");
        response.text()
    }

    /// What came of each attack.
    fn run(&self) -> Vec<(String, String)> {
        let neighbour = self.server.probe();
        let names = self.server.get("/attacker/").json();
        let names = names.as_array().unwrap();
        assert!(names.len() >= 25, "{names:?}");
        let outcomes = names
            .iter()
            .map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), self.attack(name))
            })
            .collect();
        neighbour.finish();
        assert!(!self.outside.path().join("new").exists());
        outcomes
    }
}

/// Those that were not refused.
fn done(outcomes: &[(String, String)]) -> Vec<&(String, String)> {
    let succeeded = |outcome: &&(String, String)| !outcome.1.starts_with("refused ");
    outcomes.iter().filter(succeeded).collect()
}

/// The rows of the table in docs/sandbox.md.
fn assert_documented(column: usize, outcomes: &[(String, String)]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sandbox.md");
    let docs = fs::read_to_string(docs).unwrap();
    let missing: Vec<String> = outcomes
        .iter()
        .filter(|(name, outcome)| {
            let row = docs
                .lines()
                .find(|row| row.starts_with(&format!("| {name} |")));
            let cell = row.and_then(|row| row.split('|').nth(column + 2));
            cell.map(str::trim) != Some(outcome.trim_start_matches("refused "))
        })
        .map(|(name, outcome)| format!("| {name} | {} |", outcome.trim_start_matches("refused ")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/sandbox.md, column {column}:\n{}",
        missing.join("\n")
    );
}

#[test]
fn e7_w17_attacks_fail_in_the_full_sandbox() {
    let world = World::new(BUNTIME.as_ref(), "auto");
    let log = world.server.log();
    if !log
        .iter()
        .any(|line| line.message() == "Workers run in the full sandbox")
    {
        eprintln!("skipped: this machine does not give the full sandbox");
        return;
    }
    let outcomes = world.run();
    assert_eq!(done(&outcomes), [] as [&(String, String); 0]);
    assert_documented(0, &outcomes);
}

/// A program that starts the server where no user namespace can be made.
fn without_namespaces(dir: &Path) -> PathBuf {
    let script = dir.join("buntime");
    let text = format!(
        "#!/bin/sh\nexec /usr/bin/unshare -Ur /bin/sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"' {BUNTIME} \"$@\"\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn attacks_fail_without_user_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let works = std::process::Command::new("/usr/bin/unshare")
        .args(["-Ur", "/bin/true"])
        .status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("skipped: unshare cannot make the namespace in which there are no more");
        return;
    }
    let world = World::new(&without_namespaces(dir.path()), "auto");
    let told = world
        .server
        .wait_for_log(|line| line.value()["context"] == "sandbox");
    if !told.text("layers").starts_with("landlock") {
        eprintln!("skipped: no Landlock here");
        return;
    }
    assert!(told.text("missing").contains("namespaces"));
    let outcomes = world.run();
    // What only namespaces stop.
    let known = ["unix socket by path"];
    let done: Vec<&str> = done(&outcomes)
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(done, known);
    assert_documented(1, &outcomes);
}

#[test]
fn require_refuses_to_start_short_of_the_full_sandbox_and_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let apps = dir.path().join("apps");
    fs::create_dir(&apps).unwrap();
    let output = std::process::Command::new(without_namespaces(dir.path()))
        .args(["serve", "--sandbox", "require"])
        .env("RUNTIME_WORKER_DIRS", &apps)
        .env("RUNTIME_STATE_DIR", dir.path().join("state"))
        .env("RUNTIME_BUN", buntime_testkit::real_bun())
        .env("PORT", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    if said.contains("unshare") {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("namespaces"), "{said}");
}

#[test]
fn without_the_sandbox_attacks_reach_what_they_are_after() {
    let world = World::new(BUNTIME.as_ref(), "off");
    for name in [
        "server command line",
        "root key",
        "state folder",
        "other processes",
        "another app's data",
        "list of apps",
        "file outside",
        "file outside by a link",
        "write beside own data",
        "signal to the server",
        "pidfd_open",
        "spawn",
        "file in memory",
        "unix socket by path",
        "abstract unix socket",
        "TCP server",
        "UDP past Bun",
        "netlink",
    ] {
        let outcome = world.attack(name);
        assert!(outcome.starts_with("done"), "{name}: {outcome}");
    }
}
