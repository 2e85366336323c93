//! Apps that attack, and what each level answers.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use buntime_testkit::TestServer;
use buntime_testkit::log::LogLine;

use crate::levels::{FULL, Level, give, is_root, place, skip};

const ATTACKER: &str = include_str!("attacker.ts");
const NETWORK: &str = include_str!("network.ts");
const TELLER: &str =
    "export default { fetch: () => new Response(new URL(process.env.RUNTIME_API_URL).port) };\n";
const CANARY: &str = "canary-canary-canary-canary";

/// What stands around the attacker.
struct World {
    server: TestServer,
    outside: tempfile::TempDir,
    abstract_name: String,
    _bin: tempfile::TempDir,
    _listening: [UnixListener; 2],
}

impl World {
    fn new(level: Level, mode: &str) -> Option<Self> {
        let bin = place();
        let program = level.program(bin.path())?;
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), CANARY).unwrap();
        let abstract_name = format!("buntime-{}", outside.path().display()).replace('/', "-");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let listening = [
            UnixListener::bind(outside.path().join("listening")).unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        ];
        let builder = TestServer::builder(program).neighbour();
        let state = builder.dir().join("state");
        let apps = builder.dir().join("apps");
        let manifest = format!(
            "ttl: 1h\nenv:\n  STATE: {}\n  OTHER: {}\n  OUTSIDE: {}\n",
            state.display(),
            apps.join("other@1.0.0").display(),
            outside.path().display()
        );
        let builder = builder
            .app(
                "attacker@1.0.0",
                &manifest,
                &[("index.ts", ATTACKER), ("network.ts", NETWORK)],
            )
            .module("teller@1.0.0", "ttl: 1h\n", TELLER)
            .module("other@1.0.0", "ttl: 1h\n", &format!("// {CANARY}\n"))
            .env("RUNTIME_SANDBOX", mode);
        let server = level.hand_over(builder).start();
        let data = state.join("data/other");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("secret"), CANARY).unwrap();
        give(outside.path(), level.uid());
        give(&state.join("data"), level.uid());
        Some(Self {
            server,
            outside,
            abstract_name,
            _bin: bin,
            _listening: listening,
        })
    }

    /// What the server said of the sandbox.
    fn told(&self) -> LogLine {
        let is_it = |line: &LogLine| line.value()["context"] == "sandbox";
        self.server.wait_for_log(is_it)
    }

    /// What came of one attack.
    fn attack(&self, name: &str) -> String {
        let path = format!(
            "/attacker/{}?server={}&abstract={}&port={}&other={}",
            name.replace(' ', "%20"),
            self.server.pid(),
            self.abstract_name,
            self.server.addr().port(),
            self.server.get("/teller/").text(),
        );
        let response = self.server.get(&path);
        // Where the attack on its own code succeeds there is nothing left to attack with.
        // And nobody else notices.
        assert_eq!(self.server.get("/neighbour/").status, 200, "after {name}");
        let code = self.server.dir().join("apps/attacker@1.0.0/index.ts");
        if fs::read(&code).unwrap() != ATTACKER.as_bytes() {
            fs::write(&code, ATTACKER).unwrap();
        }
        assert_eq!(response.status, 200, "{name}: {response:?}");
        response.text()
    }

    /// What came of each attack.
    fn run(&self) -> Vec<(String, String)> {
        let neighbour = self.server.probe();
        let names = self.server.get("/attacker/").json();
        let names = names.as_array().unwrap();
        assert!(names.len() >= 25, "{names:?}");
        let outcomes: Vec<(String, String)> = names
            .iter()
            .map(|name| {
                let name = name.as_str().unwrap();
                (name.to_owned(), self.attack(name))
            })
            .collect();
        neighbour.finish();
        // An app tells what it did, and may be wrong.
        let told = outcomes
            .iter()
            .any(|(name, outcome)| name == "write outside" && outcome.starts_with("done"));
        assert_eq!(self.outside.path().join("new").exists(), told);
        outcomes
    }
}

/// Those that were not refused.
fn done(outcomes: &[(String, String)]) -> Vec<&(String, String)> {
    let succeeded = |outcome: &&(String, String)| !outcome.1.starts_with("refused ");
    outcomes.iter().filter(succeeded).collect()
}

/// Compares a column of the table in docs/sandbox.md, or writes it: UPDATE_DOCS=1, and one
/// thread.
fn assert_documented(column: &str, outcomes: &[(String, String)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sandbox.md");
    let docs = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = docs.lines().map(str::to_owned).collect();
    let head = lines.iter().position(|line| line.starts_with("| attack |"));
    let head = head.unwrap();
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_start_matches("| ").trim_end_matches(" |");
        line.split(" | ").map(str::to_owned).collect()
    };
    let titles = cells(&lines[head]);
    let at = titles.iter().position(|title| title == column);
    let at = at.unwrap_or_else(|| panic!("no column {column:?} in {titles:?}"));
    let mut wrong = Vec::new();
    for (row, (name, outcome)) in outcomes.iter().enumerate() {
        // What was gained differs from machine to machine.
        let outcome = outcome.strip_prefix("refused ").unwrap_or("done");
        let line = &mut lines[head + 2 + row];
        let mut found = cells(line);
        if found[0] != *name {
            // A new attack gets a row.
            found = titles.iter().map(|_| "?".to_owned()).collect();
            found[0].clone_from(name);
            lines.insert(head + 2 + row, String::new());
        }
        if found[at] != outcome {
            wrong.push(format!("{name}: {outcome}, not {}", found[at]));
            outcome.clone_into(&mut found[at]);
        }
        lines[head + 2 + row] = format!("| {} |", found.join(" | "));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, lines.join("\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "docs/sandbox.md, {column}: {wrong:#?}");
    }
}

/// Runs all attacks at a level and compares them with a column of the documentation.
/// `layers` is what the server must say of it, `known` the attacks that succeed.
fn attack(level: Level, layers: &str, column: &str, known: &[&str]) {
    if !level.gives(layers) {
        return skip(&format!("this machine does not give {layers}"));
    }
    let Some(world) = World::new(level, "auto") else {
        return;
    };
    let told = world.told();
    // The number is the machine's.
    let found = told
        .text("layers")
        .replace(|c: char| c.is_ascii_digit(), "");
    assert_eq!(found.replace("landlock ", "landlock"), layers);
    let outcomes = world.run();
    let done: Vec<&str> = done(&outcomes)
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(done, known);
    assert_documented(column, &outcomes);
}

#[test]
fn e7_w17_attacks_fail_in_the_full_sandbox() {
    attack(Level::default(), FULL, "full", &[]);
}

#[test]
fn attacks_fail_where_the_server_is_a_plain_user() {
    let level = Level {
        plain_user: true,
        ..Level::default()
    };
    attack(level, FULL, "full", &[]);
}

#[test]
fn attacks_fail_where_no_proc_can_be_mounted() {
    let level = Level {
        masked_proc: true,
        ..Level::default()
    };
    let layers = "landlock, seccomp, namespaces with the host's /proc, network";
    attack(level, layers, "the host's /proc", &[]);
}

/// What only namespaces stop.
const LIBRARY: &str = "library that it wrote";
const SIZE: &str = "size of a file outside";

#[test]
fn attacks_fail_without_user_namespaces() {
    let level = Level {
        lacks: &["userns"],
        ..Level::default()
    };
    attack(
        level,
        "landlock, seccomp, connect broker",
        "without namespaces",
        &[SIZE, LIBRARY],
    );
}

#[test]
fn attacks_of_a_plain_user_fail_without_user_namespaces() {
    let level = Level {
        plain_user: true,
        lacks: &["userns"],
        ..Level::default()
    };
    attack(
        level,
        "landlock, seccomp, connect broker",
        "without namespaces",
        &[SIZE, LIBRARY],
    );
}

#[test]
fn attacks_fail_without_landlock() {
    let level = Level {
        lacks: &["landlock"],
        ..Level::default()
    };
    // What only Landlock stops.
    let known = ["TCP server"];
    attack(
        level,
        "seccomp, namespaces, network",
        "without Landlock",
        &known,
    );
}

#[test]
fn attacks_fail_without_landlock_and_networks() {
    let level = Level {
        lacks: &["landlock", "netns"],
        ..Level::default()
    };
    attack(
        level,
        "seccomp, namespaces, connect broker",
        "namespaces and the broker",
        &[],
    );
}

#[test]
fn attacks_of_a_plain_user_with_neither_landlock_nor_namespaces() {
    let level = Level {
        plain_user: true,
        lacks: &["landlock", "userns"],
        ..Level::default()
    };
    // The files of that user are open, what is in the server's memory is not.
    let known = [
        "server command line",
        "root key",
        "database of the server",
        "audit log",
        "slots of other workers",
        "state folder",
        "other processes",
        "another app's code",
        "another app's data",
        "list of apps",
        "file outside",
        "file of the system",
        "file outside by a link",
        "file outside by a hard link",
        "write of own code",
        "new file beside own code",
        "write outside",
        "write beside own data",
        SIZE,
        "emptying a file outside",
        LIBRARY,
        "counters of the network",
    ];
    attack(level, "seccomp, connect broker", "neither", &known);
}

/// A server's attempt to start, with these words after `serve`: its exit code and what it said.
fn refused(program: &Path, words: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let apps = dir.path().join("apps");
    fs::create_dir(&apps).unwrap();
    let output = std::process::Command::new(program)
        .arg("serve")
        .args(words)
        .env("RUNTIME_WORKER_DIRS", &apps)
        .env("RUNTIME_STATE_DIR", dir.path().join("state"))
        .env("RUNTIME_BUN", buntime_testkit::real_bun())
        .env("PORT", "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

#[test]
fn root_does_not_start_where_its_files_or_services_are_open_unless_it_is_told_to() {
    if !is_root() {
        return skip("these tests do not run as root");
    }
    let ways = ["ordinary user", "Landlock", "RUNTIME_SANDBOX=off"];
    let open: [(&[&str], &str); 3] = [
        (&["landlock", "userns"], "any guard of files ("),
        (&["userns", "seccomp"], "a whole guard of files ("),
        (&["userns", "notify"], "the connect broker ("),
    ];
    for (lacks, missing) in open {
        let level = Level {
            lacks,
            ..Level::default()
        };
        let bin = place();
        let program = level.program(bin.path()).unwrap();
        let (code, said) = refused(&program, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(missing), "{said}");
        for way in ways {
            assert!(said.contains(way), "{way}: {said}");
        }
        let (code, said) = refused(&program, &["--sandbox", "require"]);
        assert_eq!(code, Some(2), "{said}");
        let output = std::process::Command::new(&program)
            .args(["doctor", "--bun"])
            .arg(buntime_testkit::real_bun())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{said}");
        for way in ways {
            assert!(said.contains(way), "{way}: {said}");
        }
        let world = World::new(level, "off").unwrap();
        let told = world.told();
        assert_eq!(told.value()["level"], "warn", "{told:?}");
        assert!(told.message().contains("RUNTIME_SANDBOX is off"));
    }
}

#[test]
fn require_refuses_to_start_short_of_the_full_sandbox_and_names_what_is_missing() {
    if !Level::default().gives(FULL) {
        return skip("this machine does not give all from which something could be taken away");
    }
    let lesser: [(Level, &str); 7] = [
        (
            Level {
                lacks: &["userns"],
                ..Level::default()
            },
            "namespaces (",
        ),
        (
            Level {
                lacks: &["landlock"],
                ..Level::default()
            },
            "Landlock (this kernel has none, or it is turned off)",
        ),
        (
            Level {
                lacks: &["seccomp"],
                ..Level::default()
            },
            "seccomp (",
        ),
        (
            Level {
                masked_proc: true,
                ..Level::default()
            },
            "a /proc of its own (",
        ),
        (
            Level {
                lacks: &["landlock", "userns"],
                ..Level::default()
            },
            "any guard of files (apps can read and write whatever the server's user can)",
        ),
        (
            Level {
                lacks: &["netns"],
                ..Level::default()
            },
            "networks of their own (",
        ),
        (
            Level {
                lacks: &["userns", "notify"],
                ..Level::default()
            },
            "the connect broker (",
        ),
    ];
    for (level, missing) in lesser {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = level.program(dir.path()) else {
            continue;
        };
        let (code, said) = refused(&program, &["--sandbox", "require"]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(missing), "{level:?}: {said}");
        // `buntime doctor` says the same.
        let output = std::process::Command::new(&program)
            .args(["doctor", "--bun"])
            .arg(buntime_testkit::real_bun())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(missing), "{level:?}: {said}");
    }
}

#[test]
fn without_the_sandbox_attacks_reach_what_they_are_after() {
    let world = World::new(Level::default(), "off").unwrap();
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
        "TCP to this machine",
        "TCP to another worker's gateway",
        "UDP past Bun",
        "netlink",
    ] {
        let outcome = world.attack(name);
        assert!(outcome.starts_with("done"), "{name}: {outcome}");
    }
}
