//! What packages say of themselves.

use std::time::{Duration, Instant};

use buntime_testkit::archive::{Entry, Format};
use buntime_testkit::{Response, TestServer};

use super::support::{
    KEY, builder, call, call_as, deploy, failed, form, leftovers, send_form, site, tree,
    upload_entries,
};

fn with_package(server: &TestServer, package: &str) -> Response {
    let entries = [
        Entry::file("package.json", package),
        Entry::file("index.html", "page"),
    ];
    upload_entries(server.addr(), Format::TarGz, &entries)
}

fn with_manifest(server: &TestServer, manifest: &str) -> Response {
    let entries = [
        Entry::file("manifest.yaml", manifest),
        Entry::file("index.html", "page"),
    ];
    upload_entries(server.addr(), Format::Zip, &entries)
}

/// Asserts that the worker root holds no app.
#[track_caller]
fn nothing_installed(server: &TestServer) {
    let names: Vec<_> = tree(&server.dir().join("apps")).into_keys().collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with(".buntime-staging")),
        "{names:?}"
    );
    assert_eq!(leftovers(server.dir()), Vec::<String>::new());
}

#[test]
fn m1_m2_versions_that_are_none_are_refused() {
    let server = builder().start();
    let long = "1".repeat(300);
    for version in [
        "../../@b/secret/1.0.0",
        "../..",
        ".",
        "",
        "/",
        "1.0",
        "v1.0.0",
        &long,
    ] {
        let package = format!("{{\"name\": \"@a/x\", \"version\": \"{version}\"}}");
        failed(
            &with_package(&server, &package),
            400,
            "INVALID_PACKAGE_VERSION",
        );
        let manifest = format!("name: \"@a/x\"\nversion: \"{version}\"\n");
        failed(
            &with_manifest(&server, &manifest),
            400,
            "INVALID_PACKAGE_VERSION",
        );
    }
    nothing_installed(&server);
}

#[test]
fn m3_m5_names_that_are_none_are_refused() {
    let server = builder().start();
    let long = "a".repeat(215);
    for name in [
        "@a/..", "..", ".", "a/b/c", "@a", "@/x", "a b/c?#d", "A", "@A/x", "", &long,
    ] {
        let package = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}");
        failed(
            &with_package(&server, &package),
            400,
            "INVALID_PACKAGE_NAME",
        );
        let manifest = format!("name: \"{name}\"\n");
        failed(
            &with_manifest(&server, &manifest),
            400,
            "INVALID_PACKAGE_NAME",
        );
    }
    failed(&with_package(&server, "{}"), 400, "INVALID_PACKAGE_NAME");
    failed(&with_manifest(&server, ""), 400, "INVALID_PACKAGE_NAME");
    let neither = [Entry::file("index.html", "page")];
    let response = upload_entries(server.addr(), Format::TarGz, &neither);
    failed(&response, 400, "INVALID_PACKAGE_NAME");
    nothing_installed(&server);
}

#[test]
fn m4_reserved_names_are_refused() {
    let server = builder().start();
    for name in [
        "api",
        "health",
        ".well-known",
        ".buntime",
        "favicon.ico",
        "con",
        "@a/nul",
    ] {
        let package = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}");
        failed(&with_package(&server, &package), 400, "RESERVED_NAME");
        let manifest = format!("name: \"{name}\"\n");
        failed(&with_manifest(&server, &manifest), 400, "RESERVED_NAME");
    }
    nothing_installed(&server);
}

#[test]
fn m5_m8_manifests_that_cannot_be_read_are_refused_soon() {
    let server = builder().start();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let deep = format!("name: x\nenv: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    // Numbers, which do not pack like a bomb.
    let numbers: String = (0..600_000u32)
        .map(|n| format!("{:08x} ", n.wrapping_mul(2_654_435_761)))
        .collect();
    let large = format!("name: x\n# {numbers}\n");
    for manifest in [
        "name: 5",
        "name: {}",
        "name: [a",
        "[a",
        "name: !!js/function x",
        &bomb,
        &deep,
        &large,
    ] {
        let began = Instant::now();
        let response = with_manifest(&server, manifest);
        failed(&response, 400, "INVALID_MANIFEST");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    for package in ["{\"name\": 5}", "{\"name\": {}}", "[1]", "{"] {
        failed(&with_package(&server, package), 400, "INVALID_MANIFEST");
    }
    nothing_installed(&server);
}

#[test]
fn m7_entrypoints_that_escape_are_refused() {
    let server = builder().start();
    for entrypoint in [
        "../../etc/passwd",
        "/etc/passwd",
        "../1.0.0-evil/index.ts",
        "a/../../x",
    ] {
        let manifest = format!("name: x\nentrypoint: {entrypoint}\n");
        failed(
            &with_manifest(&server, &manifest),
            400,
            "ENTRYPOINT_ESCAPES",
        );
    }
    let missing = with_manifest(&server, "name: x\nentrypoint: missing.ts\n");
    failed(&missing, 400, "INVALID_MANIFEST");
    assert!(missing.text().contains("missing.ts"));
    nothing_installed(&server);
}

#[test]
fn m9_values_that_make_no_sense_are_refused_with_their_place() {
    let server = builder().start();
    for (manifest, field) in [
        ("timeout: -1", "timeout"),
        ("timeout: 0", "timeout"),
        ("timeout: 1e99", "timeout"),
        ("timeout: \"5 parsecs\"", "timeout"),
        ("ttl: 5\ntimeout: 10", "ttl"),
    ] {
        let response = with_manifest(&server, &format!("name: x\n{manifest}\n"));
        failed(&response, 400, "INVALID_MANIFEST");
        let text = response.text();
        assert!(
            text.contains(field) && text.contains("manifest.yaml:"),
            "{text}"
        );
    }
    nothing_installed(&server);
}

#[test]
fn m10_a_body_limit_over_the_ceiling_is_capped_with_a_warning() {
    let server = builder().start();
    assert_eq!(
        with_manifest(&server, "name: x\nentrypoint: index.html\n").status,
        200
    );
    let entries = [
        Entry::file("manifest.yaml", "name: big\nmaxBodySize: 1gb\nttl: 1h\n"),
        Entry::file(
            "index.ts",
            "export default { fetch: () => new Response('up') }",
        ),
    ];
    deploy(server.addr(), &entries);
    assert_eq!(server.get("/big/").text(), "up");
    let warned = server.log();
    let warned = warned
        .iter()
        .filter(|line| line.text("message").contains("maxBodySize capped"));
    assert_eq!(warned.count(), 1);
}

#[test]
fn manifest_and_package_must_agree() {
    let server = builder().start();
    for (manifest, package) in [
        ("name: a", "{\"name\": \"b\"}"),
        (
            "name: a\nversion: 1.0.0",
            "{\"name\": \"a\", \"version\": \"1.0.1\"}",
        ),
    ] {
        let entries = [
            Entry::file("manifest.yaml", manifest),
            Entry::file("package.json", package),
            Entry::file("index.html", "page"),
        ];
        let response = upload_entries(server.addr(), Format::TarGz, &entries);
        failed(&response, 400, "NAME_MISMATCH");
    }
    nothing_installed(&server);
}

#[test]
fn n5_a_key_deploys_within_its_namespaces_only() {
    let server = builder().start();
    deploy(server.addr(), &site("@b/there", "1.0.0", "b"));
    let body = "{\"name\": \"a\", \"role\": \"editor\", \"namespaces\": [\"@a\"], \
                \"expiresIn\": \"never\"}";
    let created = call(server.addr(), "POST", "/api/keys", body);
    assert_eq!(created.status, 201, "{}", created.text());
    let key = created.json()["data"]["key"].as_str().unwrap().to_owned();
    let before = tree(&server.dir().join("apps"));
    let send = |name: &str| {
        let package = format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}");
        let entries = [
            Entry::file("package.json", package),
            Entry::file("index.html", "x"),
        ];
        let archive = buntime_testkit::archive::forge(Format::TarGz, &entries);
        send_form(
            &key,
            server.addr(),
            &form(&[("file", Some("x.tgz"), &archive)]),
        )
    };
    // The same whether there is such a worker or not.
    for name in ["@b/x", "@b/there", "x", "@a.evil/x"] {
        failed(&send(name), 403, "NAMESPACE_DENIED");
    }
    failed(&send("@A/x"), 400, "INVALID_PACKAGE_NAME");
    assert_eq!(tree(&server.dir().join("apps")), before);
    assert_eq!(send("@a/x").status, 200);
    // Nor does it see or roll back what is not its own.
    for (method, path, body) in [
        ("GET", "/api/workers/@b/there/releases", ""),
        ("GET", "/api/workers/@b/missing/releases", ""),
        ("POST", "/api/workers/@b/there/rollback", "{\"release\": 1}"),
        ("POST", "/api/workers/_/x/rollback", "{\"release\": 1}"),
    ] {
        let response = call_as(&key, server.addr(), method, path, body);
        failed(&response, 403, "NAMESPACE_DENIED");
    }
    let own = call_as(&key, server.addr(), "GET", "/api/workers/@a/x/releases", "");
    assert_eq!(own.json()[0]["by"]["name"], "a");
    // Nobody deploys without a key, or with one that may only look.
    let archive = buntime_testkit::archive::forge(Format::TarGz, &site("y", "1.0.0", "y"));
    let body = form(&[("file", Some("y.tgz"), &archive)]);
    failed(
        &send_form("btk_wrong", server.addr(), &body),
        401,
        "AUTH_REQUIRED",
    );
    let viewer = "{\"name\": \"v\", \"role\": \"viewer\", \"expiresIn\": \"never\"}";
    let viewer = call(server.addr(), "POST", "/api/keys", viewer);
    let viewer = viewer.json()["data"]["key"].as_str().unwrap().to_owned();
    failed(
        &send_form(&viewer, server.addr(), &body),
        403,
        "PERMISSION_DENIED",
    );
    assert!(!server.output().contains(&key) && !server.output().contains(KEY));
}
