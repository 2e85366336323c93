//! K1, K2: a server is never open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use buntime_testkit::TestServer;

use super::support::{ROOT, builder, failed, files, get, holds, make, on, revoke, viewer};

#[test]
fn k1_without_a_root_key_one_is_generated_into_a_private_file() {
    let server = builder().env("RUNTIME_ROOT_KEY", "").start();
    let file = server.dir().join("state/root-key");
    let line = server.wait_for_log(|line| line.message() == "A root key was generated");
    assert_eq!(line.text("file"), file.to_str().unwrap());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_to_string(&file).unwrap();
    let key = key.trim();
    assert!(key.starts_with("btk_") && key.len() == 53);

    for target in [
        "/api/keys",
        "/api/workers",
        "/api/plugins",
        "/api/audit",
        "/api/nothing",
    ] {
        failed(&server.get(target), 401, "AUTH_REQUIRED");
        for wrong in ["x", "", " ", "null", "undefined", "root", &key[..52], ROOT] {
            let response = get(&server, wrong, target);
            failed(&response, 401, "AUTH_REQUIRED");
        }
    }
    let session = get(&server, key, "/api/admin/session").json();
    assert_eq!(session["authenticated"], true);
    assert_eq!(session["principal"]["isRoot"], true);
    // Nothing but the file knows it.
    assert!(!server.output().contains(key));
    for path in files(&server.dir().join("state")) {
        assert_eq!(holds(&path, key), path == file, "{}", path.display());
    }
}

#[test]
fn the_generated_root_key_stays_and_a_removed_one_is_replaced() {
    let state = tempfile::tempdir().unwrap();
    let read = || fs::read_to_string(state.path().join("root-key")).unwrap();
    let start = || on(state.path()).env("RUNTIME_ROOT_KEY", "").start();
    let first = {
        let server = start();
        let key = read();
        make(&server, key.trim(), &viewer("stays"));
        key
    };
    {
        let server = start();
        assert_eq!(read(), first);
        assert_eq!(get(&server, first.trim(), "/api/keys").status, 200);
        assert!(!server.output().contains("A root key was generated"));
    }
    // Lost: whoever may write the folder gets another one, and the keys stay.
    fs::remove_file(state.path().join("root-key")).unwrap();
    let server = start();
    let second = read();
    assert_ne!(second, first);
    failed(
        &get(&server, first.trim(), "/api/keys"),
        401,
        "AUTH_REQUIRED",
    );
    let keys = get(&server, second.trim(), "/api/keys").json();
    assert_eq!(keys[0]["name"], "stays");
}

#[test]
fn k2_with_the_last_key_revoked_the_server_is_still_closed() {
    let state = tempfile::tempdir().unwrap();
    {
        let server = on(state.path()).env("RUNTIME_ROOT_KEY", "").start();
        let root = fs::read_to_string(state.path().join("root-key")).unwrap();
        let only = make(&server, root.trim(), &viewer("only"));
        assert_eq!(revoke(&server, root.trim(), &only.id).status, 200);
        failed(&server.get("/api/keys"), 401, "AUTH_REQUIRED");
        failed(
            &get(&server, &only.secret, "/api/keys"),
            401,
            "AUTH_REQUIRED",
        );
        // The root key revokes no one but others.
        failed(
            &revoke(&server, root.trim(), "root"),
            400,
            "CANNOT_REVOKE_SELF",
        );
    }
    let server = on(state.path()).env("RUNTIME_ROOT_KEY", "").start();
    failed(&server.get("/api/keys"), 401, "AUTH_REQUIRED");
}

#[test]
fn another_root_key_ends_the_one_before_and_its_sessions() {
    let state = tempfile::tempdir().unwrap();
    let token = {
        let server = on(state.path()).start();
        super::session::log_in(&server, ROOT)
    };
    let who = |server: &TestServer| {
        let headers = [("Cookie", token.as_str()), ("Host", "localhost")];
        let mut connection = server.connect();
        connection.request("GET", "/api/admin/session", &headers, b"")
    };
    {
        let server = on(state.path()).start();
        assert_eq!(who(&server).status, 200, "a session survives a restart");
    }
    let server = on(state.path())
        .env("RUNTIME_ROOT_KEY", "another-root-key")
        .start();
    failed(&who(&server), 401, "AUTH_REQUIRED");
    failed(&get(&server, ROOT, "/api/keys"), 401, "AUTH_REQUIRED");
    assert_eq!(get(&server, "another-root-key", "/api/keys").status, 200);
}

/// T1: whoever may read the environment of this user's processes finds no key in it.
#[test]
fn the_root_key_does_not_stay_in_the_environment() {
    let server = builder().start();
    let environment = |pid| fs::read(format!("/proc/{pid}/environ")).unwrap();
    let holds = |bytes: &[u8], text: &str| {
        let mut windows = bytes.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    };
    let own = environment(server.pid());
    assert!(holds(&own, "RUNTIME_ROOT_KEY=") && holds(&own, "RUNTIME_STATE_DIR=/"));
    assert!(!holds(&own, ROOT));
    server.wait_until("a process of the server's", || !server.family().is_empty());
    for process in server.family() {
        assert!(
            !holds(&environment(process.pid), ROOT),
            "{}",
            process.command()
        );
    }
    assert_eq!(get(&server, ROOT, "/api/keys").status, 200);
}
