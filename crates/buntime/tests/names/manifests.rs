//! M: manifests that lie in a folder, each beside an app that must not notice.

use std::time::{Duration, Instant};

use buntime_testkit::{Builder, TestServer};

use super::{KEPT, server, write};

const APP: &str = "export default { fetch: () => new Response('well') };\n";

/// Asserts that each of these manifests disables its own app and no other, and that
/// the log has `told` in a line of its own file.
#[track_caller]
fn refused(cases: &[(&str, &str)]) {
    let mut builder = server().neighbour();
    for (index, (manifest, _)) in cases.iter().enumerate() {
        builder = builder.module(&format!("bad{index}@1.0.0"), manifest, APP);
    }
    let server = builder.start();
    let probe = server.probe();
    for (index, (manifest, told)) in cases.iter().enumerate() {
        let response = server.get(&format!("/bad{index}/"));
        assert_eq!(response.status, 503, "{manifest}");
        assert_eq!(response.error_code(), "INVALID_MANIFEST", "{manifest}");
        assert!(!response.text().contains("manifest.yaml"), "{response:?}");
        let file = format!("bad{index}@1.0.0/manifest.yaml:");
        let line = server.wait_for_log(|line| line.message().contains(&file));
        assert_eq!(line.level(), "error");
        assert!(line.message().contains(told), "{told}: {}", line.message());
    }
    probe.finish();
}

#[test]
fn m2_m3_m4_a_folder_of_such_a_name_is_no_app() {
    let long = format!("{}@1.0.0", "n".repeat(215));
    let odd = [
        "x@1.2", "x@", "x@v1.0.0", "x@1.0.0 ", "Upper", "a b", "c?#d", "_x", "-x", "é", "@/y",
        "@A/y", "@a/Y", &long,
    ];
    let reserved = [
        "api",
        "health",
        "cpanel",
        "favicon.ico",
        "con",
        "nul.js",
        "com1",
        "@a/con",
        "api@1.0.0",
    ];
    let silent = [".well-known", ".buntime", ".git", "node_modules", "@a/..y"];
    let mut builder = server().neighbour();
    for folder in odd.iter().chain(&reserved).chain(&silent) {
        builder = builder.module(folder, KEPT, APP);
    }
    let server = builder.start();
    for folder in odd.iter().chain(&reserved) {
        let end = format!("apps/{folder}: ignored: ");
        let line = server.wait_for_log(|line| line.message().contains(&end));
        assert_eq!(line.level(), "warn", "{folder}");
    }
    for (path, status) in [
        ("/api/", 401),
        ("/api", 401),
        ("/health", 200),
        ("/health/", 404),
        ("/favicon.ico", 204),
        ("/favicon.ico/", 404),
        ("/cpanel/", 404),
        ("/.well-known/", 404),
        ("/.git/", 404),
        ("/node_modules/", 404),
        ("/con/", 404),
        ("/@a/con/", 404),
        ("/Upper/", 404),
        ("/upper/", 404),
        ("/a%20b/", 404),
        ("/%C3%A9/", 404),
        ("/x/", 404),
        ("/x@1.2/", 404),
        ("/@A/y/", 404),
    ] {
        let response = server.get(path);
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(
            !response.text().contains("well\n") && response.text() != "well",
            "{path}"
        );
    }
    assert_eq!(server.get("/neighbour/").status, 200);
}

#[test]
fn m5_a_manifest_that_cannot_be_read_disables_its_app_alone() {
    refused(&[
        ("name: 5\n", ":1:7: name: `5` is not accepted"),
        ("name: {}\n", ":1:7: name: a mapping is not accepted"),
        ("name: true\n", ":1:7: name:"),
        ("[a\n", ": no YAML"),
        ("- a\n", ":1:1: no mapping"),
        ("ttl: 1h\nttl: 2h\n", ":2:1: `ttl` is written twice"),
    ]);
}

#[test]
fn m8_a_manifest_made_to_cost_is_refused_at_once() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let deep = format!("env: {}", "[".repeat(10_000));
    let begun = Instant::now();
    refused(&[
        (&bomb, "aliases are not accepted"),
        (&deep, "manifest.yaml:1:"),
        ("env: !!js/function 'x'\n", "tags are not accepted"),
    ]);
    assert!(begun.elapsed() < Duration::from_secs(30));
    // Too large to be read at all.
    let large = format!("env:\n  A: {}\n", "x".repeat(5 << 20));
    let server = server().module("large@1.0.0", &large, APP).start();
    assert_eq!(server.get("/large/").error_code(), "INVALID_MANIFEST");
    assert!(
        server.output().len() < 1 << 20,
        "the manifest is not repeated"
    );
}

#[test]
fn m9_a_wrong_value_names_its_field() {
    refused(&[
        ("timeout: -1\n", ":1:10: timeout: `-1`"),
        ("timeout: 0\n", ":1:10: timeout: `0`"),
        ("timeout: 1e99\n", ":1:10: timeout: `1e99`"),
        ("timeout: 5 parsecs\n", ":1:10: timeout: `5 parsecs`"),
        (
            "ttl: 5s\ntimeout: 10s\n",
            ":1:6: ttl: `5s` is less than timeout",
        ),
    ]);
}

#[test]
fn m9_a_manifest_broken_and_mended_while_running() {
    let server = server().module("app@1.0.0", KEPT, APP).start();
    assert_eq!(server.get("/app/").text(), "well");
    let apps = server.dir().join("apps/app@1.0.0");
    write(&apps, "manifest.yaml", "timeout: soon\n");
    server.wait_until("the app is disabled", || server.get("/app/").status == 503);
    write(&apps, "manifest.yaml", KEPT);
    server.wait_until("the app is back", || server.get("/app/").text() == "well");
}

/// How often the log says that a body limit was lowered.
fn caps(server: &TestServer) -> usize {
    server.count_messages("maxBodySize capped at BODY_SIZE_MAX")
}

#[test]
fn m10_a_body_limit_over_the_ceiling_is_capped_with_one_warning() {
    let app = "export default { fetch: async (req) => new Response(String((await req.bytes()).length)) };\n";
    let builder: Builder = server()
        .env("BODY_SIZE_DEFAULT", "1kb")
        .env("BODY_SIZE_MAX", "64kb")
        .module("big@1.0.0", &format!("{KEPT}maxBodySize: 1gb\n"), app)
        .module("fits@1.0.0", &format!("{KEPT}maxBodySize: 64kb\n"), app);
    let server = builder.start();
    let body = vec![b'x'; 64 << 10];
    let post = |app: &str, body: &[u8]| server.connect().request("POST", app, &[], body);
    for app in ["/big/", "/fits/"] {
        assert_eq!(post(app, &body).text(), "65536");
        let refused = post(app, &[&body[..], b"x"].concat());
        assert_eq!(
            (refused.status, refused.text().as_str()),
            (413, "Payload Too Large")
        );
    }
    assert_eq!(caps(&server), 1);
    let line = server.wait_for_message("maxBodySize capped at BODY_SIZE_MAX");
    assert_eq!(
        (
            line.level(),
            line.text("app"),
            line.text("asked"),
            line.text("limit")
        ),
        ("warn", "big@1.0.0", "1gb", "64kb")
    );
}
