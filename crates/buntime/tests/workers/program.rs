//! The copy of Bun that workers run.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use buntime_testkit::log::LogLine;
use buntime_testkit::{Builder, TestServer, real_bun, skipped};

use super::server;

const FRESH: &str = "ttl: 0\n";
const PATH: &str = "export default { fetch: () => new Response(process.execPath) };\n";

/// A server that makes a copy of what `program` is.
fn copying(program: &Path) -> Builder {
    server()
        .env("RUNTIME_BUN", program.to_str().unwrap())
        .env("RUNTIME_BUN_COPY", "auto")
}

/// What the server says of its copy.
fn told_of_copy(server: &TestServer) -> LogLine {
    server.wait_for_log(|line| {
        [
            "Workers run a copy of Bun",
            "Workers run Bun itself, not a copy",
        ]
        .contains(&line.message())
    })
}

/// Where the copy is, once it is used; `None` where none is of use.
fn copy(server: &TestServer) -> Option<PathBuf> {
    let told = told_of_copy(server);
    let program = told.value()["program"].as_str().map(PathBuf::from);
    if program.is_none() {
        skipped(told.text("reason"));
    }
    program
}

/// The program of a worker that was started after `server` said that it has a copy: those
/// before it run the operator's.
fn program_of_a_new_worker(server: &TestServer, expected: &Path) {
    server.wait_until("a worker runs the other program", || {
        Path::new(&server.get("/app/").text()) == expected
    });
}

/// A Bun of the test's own, which may go.
fn own_bun(dir: &Path) -> PathBuf {
    let own = dir.join("bun");
    if fs::hard_link(real_bun(), &own).is_err() {
        fs::copy(real_bun(), &own).unwrap();
    }
    own
}

#[test]
fn workers_run_a_copy_and_go_on_when_bun_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_bun(dir.path());
    let server = copying(&own).module("app@1.0.0", FRESH, PATH).start();
    let Some(copy) = copy(&server) else { return };
    assert!(copy.starts_with(server.dir().join("state/run")), "{copy:?}");
    program_of_a_new_worker(&server, &copy);
    // As an update in place does it.
    fs::remove_file(&own).unwrap();
    for _ in 0..5 {
        assert_eq!(Path::new(&server.get("/app/").text()), copy);
    }
    server.app("later@1.0.0", "ttl: 1h\n", &[("index.ts", PATH)]);
    assert_eq!(Path::new(&server.get("/later/").text()), copy);
    // Its bundle is made by the copy, too.
    server.app("fresh@1.0.0", FRESH, &[("index.ts", PATH)]);
    assert_eq!(Path::new(&server.get("/fresh/").text()), copy);
    server.wait_for_log(|line| {
        line.message().contains("bundle") && line.text("app").starts_with("fresh@")
    });
}

#[test]
fn workers_run_the_operators_bun_when_the_copy_is_taken_away() {
    let bun = real_bun().canonicalize().unwrap();
    let server = copying(&bun).module("app@1.0.0", FRESH, PATH).start();
    let Some(copy) = copy(&server) else { return };
    program_of_a_new_worker(&server, &copy);
    fs::remove_dir_all(copy.parent().unwrap()).unwrap();
    program_of_a_new_worker(&server, &bun);
}

#[test]
fn no_app_writes_the_copy_or_sees_what_is_beside_it() {
    const LOOKING: &str = r#"
        import { appendFileSync, chmodSync, readdirSync, renameSync, unlinkSync } from "node:fs";
        import { dirname } from "node:path";
        const { execPath } = process;
        const tried = (what) => { try { return `done ${what()}`; } catch (error) { return "refused"; } };
        export default { fetch: () => Response.json({
            execPath,
            write: tried(() => appendFileSync(execPath, "x")),
            mode: tried(() => chmodSync(execPath, 0o777)),
            remove: tried(() => unlinkSync(execPath)),
            rename: tried(() => renameSync(execPath, `${execPath}.old`)),
            others: tried(() => readdirSync(`${dirname(execPath)}/../..`).filter((name) => !["bundles", "data", "run"].includes(name))),
        }) };
    "#;
    let server = copying(&real_bun()).module("app@1.0.0", FRESH, LOOKING);
    let server = server.start();
    let Some(copy) = copy(&server) else { return };
    let told = server.wait_for_log(|line| line.value()["context"] == "sandbox");
    if !told.text("layers").contains("namespaces") {
        return skipped("this machine gives no namespaces");
    }
    let mut answer = server.get("/app/").json();
    server.wait_until("a worker runs the copy", || {
        answer = server.get("/app/").json();
        answer["execPath"] == copy.to_str().unwrap()
    });
    for attempt in ["write", "mode", "remove", "rename"] {
        assert_eq!(answer[attempt], "refused", "{attempt}: {answer}");
    }
    assert_eq!(answer["others"], "done ", "{answer}");
    assert_eq!(
        fs::metadata(&copy).unwrap().permissions().mode() & 0o7777,
        0o500
    );
}

#[test]
fn a_copy_that_does_not_run_is_not_used() {
    // What a security module does that trusts no program in a place that is written to.
    let dir = tempfile::tempdir().unwrap();
    let picky = dir.path().join("bun");
    let script = format!(
        "#!/bin/sh\ncase \"$0\" in */run/bun/*) exit 126;; esac\nexec {} \"$@\"\n",
        real_bun().display()
    );
    fs::write(&picky, script).unwrap();
    fs::set_permissions(&picky, fs::Permissions::from_mode(0o755)).unwrap();
    let server = copying(&picky)
        .env("RUNTIME_SANDBOX", "off")
        .module("app@1.0.0", FRESH, PATH)
        .start();
    assert!(told_of_copy(&server).value()["program"].is_null());
    let dir = server.dir().join("state/run/bun");
    server.wait_until("what cannot be used is removed", || !dir.exists());
    for _ in 0..3 {
        assert_eq!(
            Path::new(&server.get("/app/").text()),
            real_bun().canonicalize().unwrap()
        );
    }
}

#[test]
fn without_the_copy_workers_run_the_operators_bun_and_none_is_kept() {
    let server = server().module("app@1.0.0", FRESH, PATH);
    // Of a run before, in which it was wanted.
    let dir = server.dir().join("state/run/bun");
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(&dir).unwrap();
    fs::write(dir.join("bun"), "old").unwrap();
    let server = server.start();
    server.wait_until("the old copy is removed", || !dir.exists());
    let program = server.get("/app/").text();
    assert!(!program.contains("/run/bun/"), "{program}");
}
