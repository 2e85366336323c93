//! K11, D6, D13: what lies in the state directory, and servers that refuse it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use buntime_testkit::real_bun;

use super::support::{ROOT, builder, files, get, holds, make, on, viewer};

/// Starts a server that is expected to refuse; everything it says.
fn refused(state: &Path, root_key: Option<&str>) -> Output {
    let apps = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_buntime"));
    command
        .args(["serve", "--port", "0"])
        .env_clear()
        .env("RUNTIME_WORKER_DIRS", apps.path())
        .env("RUNTIME_STATE_DIR", state)
        .env("RUNTIME_BUN", real_bun());
    if let Some(key) = root_key {
        command.env("RUNTIME_ROOT_KEY", key);
    }
    command.output().unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn k11_no_secret_is_in_the_files_and_nobody_else_may_read_them() {
    let server = builder().start();
    let key = make(&server, ROOT, &viewer("kept"));
    let cookie = super::session::log_in(&server, &key.secret);
    let token = cookie.split_once('=').unwrap().1;
    let gone = make(&server, ROOT, &viewer("gone"));
    super::support::revoke(&server, ROOT, &gone.id);
    let state = server.dir().join("state");
    let mut seen = Vec::new();
    for file in files(&state) {
        for secret in [ROOT, &key.secret, &gone.secret, token] {
            assert!(!holds(&file, secret), "{}", file.display());
        }
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("buntime.db") {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            seen.push(name);
        }
    }
    assert!(seen.contains(&"buntime.db".to_owned()), "{seen:?}");
    assert!(seen.contains(&"buntime.db-wal".to_owned()), "{seen:?}");
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(!server.output().contains(&key.secret) && !server.output().contains(token));
}

#[test]
fn d6_a_second_server_on_one_state_directory_refuses_to_start() {
    let server = builder().start();
    let state = server.dir().join("state");
    let output = refused(&state, Some(ROOT));
    assert_refused(&output, &["another server uses the state directory"]);
    make(&server, ROOT, &viewer("still served"));
}

#[test]
fn d13_a_damaged_database_stops_the_start_and_names_the_way_back() {
    let state = tempfile::tempdir().unwrap();
    let key = {
        let server = on(state.path()).start();
        make(&server, ROOT, &viewer("survives"))
    };
    let database = state.path().join("buntime.db");
    let path = database.to_str().unwrap();
    let good = fs::read(&database).unwrap();
    let remove_all = || {
        for name in ["buntime.db", "buntime.db-wal", "buntime.db-shm"] {
            let _ = fs::remove_file(state.path().join(name));
        }
    };
    let noise: Vec<u8> = (0..8192_u32).map(|n| (n * 7919 % 251) as u8).collect();
    let mut torn = good.clone();
    let length = torn.len();
    torn[4096..length].fill(0x5a);
    let cut = &good[..good.len() / 2];
    for (what, bytes) in [
        ("noise", &noise[..]),
        ("torn", &torn),
        ("cut", cut),
        ("empty", &[]),
    ] {
        remove_all();
        fs::write(&database, bytes).unwrap();
        let output = refused(state.path(), Some(ROOT));
        assert_refused(&output, &[path, "damaged", "buntime state restore"]);
        assert_eq!(fs::read(&database).unwrap(), bytes, "{what} was changed");
    }
    remove_all();
    let output = refused(state.path(), None);
    assert_refused(&output, &[path, "missing", "buntime state restore"]);
    assert!(!database.exists(), "a new one was made");
    // Whole again, without anything beside it.
    fs::write(&database, &good).unwrap();
    let server = on(state.path()).start();
    assert_eq!(get(&server, &key.secret, "/api/keys").status, 200);
}

/// `buntime state …` on this state directory.
fn state(state: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_buntime"))
        .arg("state")
        .args(args)
        .env_clear()
        .current_dir(state.parent().unwrap())
        .env("RUNTIME_STATE_DIR", state)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_backup_is_made_beside_the_server_and_restored_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (live, backup) = (dir.path().join("live"), dir.path().join("backup"));
    let text = backup.to_str().unwrap();
    let (kept, lost, cookie) = {
        let server = on(&live).start();
        let kept = make(&server, ROOT, &viewer("kept"));
        let cookie = super::session::log_in(&server, &kept.secret);
        let (code, said) = state(&live, &["backup", text]);
        assert_eq!(
            (code, &*said),
            (
                Some(0),
                &*format!("backed up to {text}: 1 keys, 0 releases\n")
            )
        );
        assert_eq!(
            state(&live, &["backup", text]).0,
            Some(1),
            "nothing is overwritten"
        );
        assert_eq!(
            state(&live, &["backup", "beside"]).0,
            Some(0),
            "a relative path"
        );
        assert!(dir.path().join("beside/buntime.db").is_file());
        assert_eq!(state(&live, &["check"]).0, Some(0));
        let (code, said) = state(&live, &["restore", text]);
        assert_eq!(code, Some(1));
        assert!(said.contains("another server uses"), "{said}");
        let lost = make(&server, ROOT, &viewer("lost"));
        super::support::revoke(&server, ROOT, &kept.id);
        (kept, lost, cookie)
    };
    // K11: one private file, no secret in it, nor the sessions.
    let token = cookie.split_once('=').unwrap().1;
    let names: Vec<_> = files(&backup);
    assert_eq!(names, [backup.join("buntime.db")]);
    for secret in [ROOT, &kept.secret, token] {
        assert!(!holds(&names[0], secret));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&names[0]), mode(&backup)), (0o600, 0o700));

    let (code, said) = state(&live, &["restore", text]);
    assert_eq!(
        (code, &*said),
        (
            Some(0),
            &*format!("restored from {text}: 1 keys, 0 releases\n")
        )
    );
    {
        let server = on(&live).start();
        assert_eq!(get(&server, &kept.secret, "/api/keys").status, 200);
        assert_eq!(get(&server, &lost.secret, "/api/keys").status, 401);
        let headers = [("Host", "localhost"), ("Cookie", cookie.as_str())];
        let mut connection = server.connect();
        let session = connection.request("GET", "/api/admin/session", &headers, b"");
        assert_eq!(session.status, 401, "a restore logs nobody in");
    }
    // Onto another machine.
    let fresh = dir.path().join("fresh");
    assert_eq!(state(&fresh, &["restore", text]).0, Some(0));
    let server = on(&fresh).start();
    assert_eq!(get(&server, &kept.secret, "/api/keys").status, 200);
}

#[test]
fn a_damaged_state_is_found_and_a_damaged_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (live, backup) = (dir.path().join("live"), dir.path().join("backup"));
    let text = backup.to_str().unwrap();
    let key = {
        let server = on(&live).start();
        make(&server, ROOT, &viewer("kept"))
    };
    assert_eq!(state(&live, &["backup", text]).0, Some(0));
    let good = fs::read(backup.join("buntime.db")).unwrap();
    let mut torn = good.clone();
    torn[4096..].fill(0x5a);
    for (bytes, word) in [
        (&torn[..], "damaged"),
        (b"no database", "damaged"),
        (b"", "empty"),
    ] {
        fs::write(backup.join("buntime.db"), bytes).unwrap();
        let (code, said) = state(&live, &["restore", text]);
        assert_eq!(code, Some(1));
        assert!(said.contains(word) && said.lines().count() == 1, "{said}");
    }
    fs::remove_file(backup.join("buntime.db")).unwrap();
    let (code, said) = state(&live, &["restore", text]);
    assert!(code == Some(1) && said.contains("is no backup"), "{said}");
    {
        let server = on(&live).start();
        assert_eq!(get(&server, &key.secret, "/api/keys").status, 200);
    }
    // The way back that the refusal names, from a database that cannot be opened.
    fs::write(backup.join("buntime.db"), good).unwrap();
    fs::write(live.join("buntime.db"), torn).unwrap();
    let (code, said) = state(&live, &["check"]);
    assert!(code == Some(1) && said.contains("damaged"), "{said}");
    assert_eq!(state(&live, &["restore", text]).0, Some(0));
    assert_eq!(
        state(&live, &["check"]),
        (Some(0), format!("{} is sound\n", live.display()))
    );
    let server = on(&live).start();
    assert_eq!(get(&server, &key.secret, "/api/keys").status, 200);
}
