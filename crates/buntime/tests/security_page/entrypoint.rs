//! "Worker entrypoints are resolved against APP_DIR to prevent traversal."

use std::fs;
use std::os::unix::fs::symlink;

use buntime_testkit::TestServer;
use buntime_testkit::sample::assert_error;

use crate::support::server;

const MESSAGE: &str = "Security: Entrypoint escapes app directory";
const OUTSIDE: &str = "export default { fetch: () => new Response('escaped') };\n";
const INSIDE: &str = "export default { fetch: () => new Response('inside') };\n";

/// The app `escapes` does not start, and the log says why.
#[track_caller]
fn refused(server: &TestServer) {
    let response = server.get("/escapes/");
    assert_error(&response, 502, "WORKER_START_FAILED");
    server.wait_for_log(|line| {
        matches!(line.level(), "error" | "warn") && line.value().to_string().contains(MESSAGE)
    });
}

/// A server with one app, whose entrypoint is this, beside a file that is none of its own.
fn escaping(entrypoint: &str) -> TestServer {
    let builder = server().module(
        "escapes@1.0.0",
        &format!("entrypoint: {entrypoint:?}\n"),
        INSIDE,
    );
    fs::write(builder.dir().join("outside.ts"), OUTSIDE).unwrap();
    fs::write(builder.dir().join("apps/outside.ts"), OUTSIDE).unwrap();
    builder.start()
}

#[test]
fn dots_to_etc_passwd_are_blocked() {
    refused(&escaping("../../etc/passwd"));
}

#[test]
fn dots_to_a_module_outside_are_blocked() {
    for entrypoint in ["../outside.ts", "../../outside.ts", "a/../../outside.ts"] {
        refused(&escaping(entrypoint));
    }
}

#[test]
fn an_absolute_path_outside_the_app_is_blocked() {
    refused(&escaping("/absolute/path/outside/app"));
    refused(&escaping("/etc/passwd"));
}

#[test]
fn a_sibling_whose_name_begins_the_same_is_blocked() {
    let builder = server().module(
        "escapes@1.0.0",
        "entrypoint: ../escapes@1.0.0-evil/index.ts\n",
        INSIDE,
    );
    let sibling = builder.dir().join("apps/escapes@1.0.0-evil");
    fs::create_dir(&sibling).unwrap();
    fs::write(sibling.join("index.ts"), OUTSIDE).unwrap();
    refused(&builder.start());
}

#[test]
fn a_symbolic_link_out_of_the_app_is_blocked() {
    let builder = server().module("escapes@1.0.0", "entrypoint: link.ts\n", INSIDE);
    let outside = builder.dir().join("outside.ts");
    fs::write(&outside, OUTSIDE).unwrap();
    symlink(&outside, builder.dir().join("apps/escapes@1.0.0/link.ts")).unwrap();
    refused(&builder.start());
}

#[test]
fn a_link_to_a_folder_outside_is_blocked() {
    let builder = server().module("escapes@1.0.0", "entrypoint: src/outside.ts\n", INSIDE);
    let outside = builder.dir().join("elsewhere");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("outside.ts"), OUTSIDE).unwrap();
    symlink(&outside, builder.dir().join("apps/escapes@1.0.0/src")).unwrap();
    refused(&builder.start());
}

#[test]
fn a_page_outside_the_app_is_not_served_either() {
    let builder = server().app(
        "escapes@1.0.0",
        "entrypoint: ../../page.html\n",
        &[("index.html", "inside")],
    );
    fs::write(builder.dir().join("page.html"), "escaped").unwrap();
    let server = builder.start();
    let response = server.get("/escapes/");
    assert!(response.status >= 400, "{response:?}");
    assert!(!response.text().contains("escaped"));
    server.wait_for_log(|line| line.value().to_string().contains(MESSAGE));
}

#[test]
fn dots_that_stay_inside_are_not() {
    let server = server()
        .app(
            "stays@1.0.0",
            "entrypoint: ./src/../index.ts\n",
            &[("index.ts", INSIDE), ("src/other.ts", "")],
        )
        .start();
    assert_eq!(server.get("/stays/").text(), "inside");
}
