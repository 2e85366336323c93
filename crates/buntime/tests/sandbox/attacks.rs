//! Apps that attack, and what each level answers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use buntime_testkit::skipped;

use crate::levels::{FULL, Level, is_root, place};
use crate::world::{Outcome, World};

/// The cells of a row of a table.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim_start_matches("| ").trim_end_matches(" |");
    line.split(" | ").map(str::to_owned).collect()
}

/// Compares a column of the table in docs/sandbox.md, or writes it: UPDATE_DOCS=1, and one
/// thread.
fn assert_documented(column: &str, outcomes: &[Outcome]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sandbox.md");
    let docs = fs::read_to_string(&path).unwrap();
    let lines: Vec<String> = docs.lines().map(str::to_owned).collect();
    let head = lines.iter().position(|line| line.starts_with("| app |"));
    let head = head.unwrap();
    let titles = cells(&lines[head]);
    let at = titles.iter().position(|title| title == column);
    let at = at.unwrap_or_else(|| panic!("no column {column:?} in {titles:?}"));
    let (before, rest) = lines.split_at(head + 2);
    let rows = rest.iter().take_while(|line| line.starts_with('|'));
    let rows: Vec<String> = rows.cloned().collect();
    let made = outcomes.iter().map(|outcome| {
        let names = [&outcome.app, &outcome.attack];
        let is_it = |row: &Vec<String>| row.iter().take(2).eq(names);
        // A new attack gets a row.
        let mut row = rows.iter().map(|line| cells(line)).find(is_it);
        let row = row.get_or_insert_with(|| {
            let mut row = vec!["?".to_owned(); titles.len()];
            row[..2].clone_from_slice(&names.map(String::clone));
            row
        });
        outcome.short().clone_into(&mut row[at]);
        format!("| {} |", row.join(" | "))
    });
    let made: Vec<String> = made.collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let all = [before, &made, &rest[rows.len()..]].concat();
        fs::write(path, all.join("\n") + "\n").unwrap();
    } else {
        let wrong: Vec<&String> = made.iter().filter(|row| !rows.contains(row)).collect();
        assert!(wrong.is_empty(), "docs/sandbox.md, {column}: {wrong:#?}");
        let gone: Vec<&String> = rows.iter().filter(|row| !made.contains(row)).collect();
        assert!(
            gone.is_empty(),
            "docs/sandbox.md, no such attack: {gone:#?}"
        );
        assert!(rows == made, "docs/sandbox.md: rows are not in order");
    }
}

/// Runs all attacks at a level and compares them with a column of the documentation.
/// `layers` is what the server must say of it, `known` the attacks that succeed.
fn attack(level: Level, layers: &str, column: &str, known: &[&str]) {
    if !level.gives(layers) {
        return skipped(&format!("this machine does not give {layers}"));
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
    let done = outcomes.iter().filter(|outcome| outcome.is_done());
    let done: BTreeSet<&str> = done.map(|outcome| outcome.attack.as_str()).collect();
    assert_eq!(done, known.iter().copied().collect());
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
const OWN_LIBRARY: &str = "library that it wrote";
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
        &[SIZE, OWN_LIBRARY],
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
        &[SIZE, OWN_LIBRARY],
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
        "file outside past Bun",
        "file of the system",
        "file outside by a link",
        "file outside by a hard link",
        "write of own code",
        "new file beside own code",
        "write outside",
        "write beside own data",
        SIZE,
        "emptying a file outside",
        OWN_LIBRARY,
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
        return skipped("these tests do not run as root");
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
        return skipped("this machine does not give all from which something could be taken away");
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
    for (app, name) in [
        ("children", "spawn"),
        ("datagrams", "UDP past Bun"),
        ("exec", "file in memory"),
        ("files-outside", "file outside"),
        ("files-outside", "file outside past Bun"),
        ("links", "file outside by a link"),
        ("listening", "TCP server"),
        ("network", "TCP to this machine"),
        ("network", "TCP to another worker's gateway"),
        ("network", "TCP past Bun"),
        ("network", "TCP to a mapped address"),
        ("other-apps", "another app's data"),
        ("other-apps", "list of apps"),
        ("other-processes", "other processes"),
        ("pidfd", "pidfd_open"),
        ("server-process", "server command line"),
        ("server-secrets", "root key"),
        ("signals", "signal to the server"),
        ("state-folder", "state folder"),
        ("unix-sockets", "unix socket by path"),
        ("unix-sockets", "abstract unix socket"),
        ("unusual-sockets", "netlink"),
        ("writes-outside", "write beside own data"),
    ] {
        let outcome = world.attack_by(app, name);
        assert!(outcome.is_done(), "{name}: {}", outcome.said);
    }
}
