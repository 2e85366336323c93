//! Archives that become plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;

use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Response, TestServer};
use serde_json::Value;

use super::cases::{self, Uploads};
use super::support::{
    KEY, PLUGINS, archives, builder, call, call_as, deploy, failed, form, leftovers, send_form_to,
    site, tree,
};

/// A plugin with these lines in its manifest and this text as its code.
fn plugin(name: &str, lines: &str, text: &str) -> Vec<Entry> {
    vec![
        Entry::file("manifest.yaml", format!("name: '{name}'\n{lines}")),
        Entry::file(
            "package.json",
            format!("{{\"name\": \"{name}\", \"version\": \"1.2.3\"}}"),
        ),
        Entry::file("plugin.ts", text),
    ]
}

/// A server with a root of its own for plugins and a built-in one, which has `core`.
fn server() -> TestServer {
    let builder = builder();
    let dir = builder.dir().to_path_buf();
    fs::create_dir_all(dir.join("plugins")).unwrap();
    fs::create_dir_all(dir.join(".core/core")).unwrap();
    fs::write(
        dir.join(".core/core/manifest.yaml"),
        "name: core\nbase: /core\n",
    )
    .unwrap();
    let roots = format!("{0}/.core:{0}/plugins", dir.display());
    builder.env("RUNTIME_PLUGIN_DIRS", &roots).start()
}

fn send_as(key: &str, server: &TestServer, format: Format, entries: &[Entry]) -> Response {
    let archive = forge(format, entries);
    let body = form(&[("file", Some(format.file_name()), &archive)]);
    send_form_to(PLUGINS, key, server.addr(), &body)
}

fn send(server: &TestServer, entries: &[Entry]) -> Response {
    send_as(KEY, server, Format::TarGz, entries)
}

#[track_caller]
fn install(server: &TestServer, entries: &[Entry]) -> Value {
    let response = send(server, entries);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["data"]["plugin"].clone()
}

fn with_manifest(server: &TestServer, manifest: &str) -> Response {
    send(
        server,
        &[
            Entry::file("manifest.yaml", manifest),
            Entry::file("plugin.ts", ""),
        ],
    )
}

/// The set as the API lists it.
fn set(server: &TestServer) -> Value {
    call(server.addr(), "GET", "/api/plugins", "").json()
}

fn names(server: &TestServer) -> Vec<String> {
    let set = set(server);
    let names = set.as_array().unwrap().iter();
    names
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

/// All that lies in the root for plugins but what is staged.
fn installed(server: &TestServer) -> BTreeMap<String, Vec<u8>> {
    let mut found = tree(&server.dir().join("plugins"));
    found.retain(|name, _| !name.starts_with(".buntime-staging"));
    found
}

/// Asserts that what `send` does is refused and changes nothing, byte for byte.
#[track_caller]
fn refused(
    server: &TestServer,
    status: u16,
    code: &str,
    send: impl FnOnce() -> Response,
) -> String {
    let before = (installed(server), set(server), leftovers(server.dir()));
    let response = send();
    failed(&response, status, code);
    assert_eq!(
        (installed(server), set(server), leftovers(server.dir())),
        before
    );
    response.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A key of the namespace `@a`.
fn key_of_a(server: &TestServer) -> String {
    let body = "{\"name\": \"a\", \"role\": \"editor\", \"namespaces\": [\"@a\"], \
                \"expiresIn\": \"never\"}";
    let created = call(server.addr(), "POST", "/api/keys", body);
    assert_eq!(created.status, 201, "{}", created.text());
    created.json()["data"]["key"].as_str().unwrap().to_owned()
}

#[test]
fn an_upload_of_either_format_is_in_the_set_when_it_is_answered() {
    let server = server();
    for (format, name, base) in [
        (Format::TarGz, "one", "/one"),
        (Format::Zip, "@acme/two", "/2"),
    ] {
        let entries = plugin(name, &format!("base: {base}\n"), "export default {};");
        let response = send_as(KEY, &server, format, &entries);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["success"], true);
        let answer = &response.json()["data"]["plugin"];
        assert_eq!(
            (&answer["name"], &answer["base"]),
            (&name.into(), &base.into())
        );
        assert_eq!(answer["version"], "1.2.3");
        assert!(answer["installedAt"].as_str().unwrap().ends_with('Z'));
        assert!(names(&server).contains(&name.to_owned()));
        let code = server.dir().join("plugins").join(name).join("plugin.ts");
        assert_eq!(fs::read_to_string(code).unwrap(), "export default {};");
    }
    let bare = with_manifest(&server, "name: bare\nversion: 7\n").json()["data"]["plugin"].clone();
    assert_eq!(
        (&bare["version"], &bare["base"]),
        (&Value::Null, &Value::Null)
    );
    // No archive of a plugin is kept.
    assert_eq!(archives(server.dir()), 0);
    assert_eq!(leftovers(server.dir()), Vec::<String>::new());
    let audit = call(server.addr(), "GET", "/api/audit?action=plugin.upload", "").json();
    assert_eq!(audit["data"]["entries"][0]["target"], "bare");
    assert_eq!(audit["data"]["entries"][1]["target"], "@acme/two");
}

#[test]
fn a_plugin_is_replaced_where_it_lies() {
    let server = server();
    // Not where a new one would go, which is `@acme/auth`.
    let lies = server.dir().join("plugins/auth");
    fs::create_dir_all(&lies).unwrap();
    fs::write(
        lies.join("manifest.yaml"),
        "name: '@acme/auth'\nbase: /auth\n",
    )
    .unwrap();
    fs::write(lies.join("old.ts"), "old").unwrap();
    assert_eq!(
        call(server.addr(), "POST", "/api/plugins/reload", "").status,
        200
    );
    let answer = install(&server, &plugin("@acme/auth", "base: /login\n", "new"));
    assert_eq!(answer["base"], "/login");
    let found: Vec<_> = installed(&server).into_keys().collect();
    assert_eq!(
        found,
        [
            "auth/",
            "auth/manifest.yaml",
            "auth/package.json",
            "auth/plugin.ts"
        ]
    );
    assert_eq!(set(&server)[1]["base"], "/login");
    // What the operator has said of it still counts.
    let path = "/api/plugins/@acme%2Fauth/disable";
    assert_eq!(call(server.addr(), "POST", path, "").status, 200);
    install(&server, &plugin("@acme/auth", "base: /login\n", "newer"));
    assert_eq!(set(&server)[1]["enabled"], false);
    // Its folder is not that of the plugin that is called like it.
    refused(&server, 409, "PLUGIN_COLLISION", || {
        send(&server, &plugin("auth", "", "x"))
    });
}

/// The shared cases, against a plugin that is there.
fn with_cases(cases: fn(&Uploads<'_>)) {
    let server = server();
    install(&server, &plugin("guard", "base: /guard\n", "old"));
    let before = (installed(&server), set(&server));
    cases(&Uploads {
        route: PLUGINS,
        address: server.addr(),
        good: plugin("guard", "base: /guard\n", "new"),
        nothing_happened: &|| {
            assert_eq!((installed(&server), set(&server)), before);
            assert_eq!(leftovers(server.dir()), Vec::<String>::new());
            assert_eq!(archives(server.dir()), 0);
        },
    });
}

#[test]
fn z1_to_z19_unsafe_plugins_are_refused_and_leave_nothing() {
    with_cases(cases::unsafe_entries);
}

#[test]
fn z8_z9_plugins_that_grow_too_large_are_refused() {
    with_cases(cases::too_large);
}

#[test]
fn z9_200_000_empty_entries_are_no_plugin() {
    with_cases(cases::empty_entries);
}

#[test]
fn z10_plugins_that_lie_or_overlap_are_refused() {
    with_cases(cases::lies);
}

#[test]
fn z13_what_is_no_archive_is_no_plugin() {
    with_cases(cases::no_archives);
}

#[test]
fn z14_what_is_no_upload_is_no_plugin() {
    with_cases(cases::no_uploads);
}

#[test]
fn z17_plugins_that_break_off_are_refused() {
    with_cases(cases::broken_off);
}

#[test]
fn z7_z20_one_top_folder_is_taken_off_and_modes_are_plain() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = server();
    let entries = plugin("npm", "", "x").into_iter().map(|entry| Entry {
        name: [b"package/", &entry.name[..]].concat(),
        mode: 0o6777,
        ..entry
    });
    install(&server, &entries.collect::<Vec<_>>());
    let code = server.dir().join("plugins/npm/plugin.ts");
    assert_eq!(
        fs::metadata(code).unwrap().permissions().mode() & 0o7777,
        0o755
    );
}

#[test]
fn z18_of_many_at_once_one_stands_whole() {
    let server = server();
    let start = Barrier::new(20);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (server, start) = (&server, &start);
            scope.spawn(move || {
                let text = number.to_string();
                let mut entries = plugin("busy", &format!("base: /b{text}\n"), &text);
                entries.push(Entry::file("other.ts", text.as_str()));
                start.wait();
                let response = send(server, &entries);
                assert!([200, 409].contains(&response.status), "{}", response.text());
            });
        }
    });
    let found = installed(&server);
    let stands = String::from_utf8(found["busy/plugin.ts"].clone()).unwrap();
    assert_eq!(found["busy/other.ts"], stands.as_bytes());
    assert_eq!(set(&server)[1]["base"], format!("/b{stands}"));
}

#[test]
fn m1_m7_names_versions_and_entrypoints_of_plugins() {
    let server = server();
    for (manifest, code) in [
        ("name: '@a/..'", "INVALID_PACKAGE_NAME"),
        ("name: a/b/c", "INVALID_PACKAGE_NAME"),
        ("name: '@A/x'", "INVALID_PACKAGE_NAME"),
        ("base: /x", "INVALID_PACKAGE_NAME"),
        ("name: api", "RESERVED_NAME"),
        ("name: '@a/nul'", "RESERVED_NAME"),
        ("name: [a", "INVALID_MANIFEST"),
        ("name: x\nmenus: 5", "INVALID_MANIFEST"),
        (
            "name: x\nentrypoint: ../../etc/passwd",
            "ENTRYPOINT_ESCAPES",
        ),
        ("name: x\npluginEntry: /etc/passwd", "ENTRYPOINT_ESCAPES"),
        ("name: x\npluginEntry: missing.ts", "INVALID_MANIFEST"),
        ("name: x\nentrypoint: missing.html", "INVALID_MANIFEST"),
    ] {
        refused(&server, 400, code, || with_manifest(&server, manifest));
    }
    for (package, code) in [
        ("{\"name\": \"y\"}", "NAME_MISMATCH"),
        ("{\"version\": \"../..\"}", "INVALID_PACKAGE_VERSION"),
        ("{\"version\": \"1.0\"}", "INVALID_PACKAGE_VERSION"),
        ("[1]", "INVALID_MANIFEST"),
    ] {
        let entries = [
            Entry::file("manifest.yaml", "name: x"),
            Entry::file("package.json", package),
        ];
        refused(&server, 400, code, || send(&server, &entries));
    }
    let none = [
        Entry::file("package.json", "{\"name\": \"x\"}"),
        Entry::file("plugin.ts", ""),
    ];
    refused(&server, 400, "INVALID_MANIFEST", || send(&server, &none));
    assert!(installed(&server).is_empty());
}

#[test]
fn g5_g6_bases_that_no_plugin_may_have_are_refused_in_the_words_of_the_start() {
    let server = server();
    for base in ["/api", "/health", "/.well-known"] {
        let message = refused(&server, 400, "INVALID_PLUGIN_BASE", || {
            with_manifest(&server, &format!("name: x\nbase: {base}\n"))
        });
        assert_eq!(
            message,
            format!(
                "Plugin \"x\" cannot use reserved path \"{base}\". \
                 Reserved paths: /api, /health, /.well-known"
            )
        );
    }
    for base in ["/a/b", "/my plugin", "x", "", "/é", "/.."] {
        // A base that is wrong is wrong in a disabled plugin too.
        let message = refused(&server, 400, "INVALID_PLUGIN_BASE", || {
            with_manifest(
                &server,
                &format!("name: x\nenabled: false\nbase: '{base}'\n"),
            )
        });
        let says = format!(
            "Plugin \"x\" has invalid base path \"{base}\". Base must match ^/[a-zA-Z0-9_-]+$"
        );
        assert_eq!(message, says);
    }
}

#[test]
fn g5_a_base_of_the_prefix_is_reserved_too() {
    let builder = builder();
    let plugins = builder.dir().join("plugins");
    fs::create_dir_all(&plugins).unwrap();
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", plugins.to_str().unwrap())
        .env("RUNTIME_API_PREFIX", "/_/buntime")
        .start();
    let archive = forge(Format::Zip, &plugin("x", "base: /_\n", ""));
    let body = form(&[("file", Some("x.zip"), &archive)]);
    let response = send_form_to("/_/buntime/api/plugins/upload", KEY, server.addr(), &body);
    failed(&response, 400, "INVALID_PLUGIN_BASE");
    assert!(installed(&server).is_empty());
}

#[test]
fn a_base_or_a_name_that_belongs_to_others_is_refused() {
    let server = server();
    deploy(server.addr(), &site("shop", "1.0.0", "shop"));
    install(&server, &plugin("first", "base: /first\n", ""));
    for base in ["/shop", "/cpanel", "/first", "/core"] {
        let entries = plugin("second", &format!("base: {base}\n"), "");
        refused(&server, 409, "PLUGIN_COLLISION", || send(&server, &entries));
        // Its own base is no other's; that of a disabled plugin takes nothing.
        let entries = plugin("third", &format!("base: {base}\nenabled: false\n"), "");
        install(&server, &entries);
    }
    install(&server, &plugin("first", "base: /first\n", "again"));
    let core = plugin("core", "base: /other\n", "");
    refused(&server, 409, "PLUGIN_COLLISION", || send(&server, &core));
    fs::write(server.dir().join("plugins/file"), "no folder").unwrap();
    refused(&server, 409, "PLUGIN_COLLISION", || {
        send(&server, &plugin("file", "", ""))
    });
}

#[test]
fn without_a_root_that_may_be_written_there_are_no_uploads() {
    let builder = builder();
    let core: PathBuf = builder.dir().join(".core");
    fs::create_dir_all(&core).unwrap();
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", core.to_str().unwrap())
        .start();
    failed(&send(&server, &plugin("x", "", "")), 400, "NO_PLUGIN_DIRS");
    assert!(tree(&core).is_empty());
}

#[test]
fn g4_a_set_that_cannot_be_loaded_leaves_folder_and_set_as_they_were() {
    let server = server();
    install(&server, &plugin("guard", "base: /guard\n", "old"));
    // Somebody breaks another plugin; the running set does not know of it yet.
    let broken = server.dir().join("plugins/broken");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("manifest.yaml"), "name: [").unwrap();
    let before = leftovers(server.dir());
    assert_eq!(before, Vec::<String>::new());
    for entries in [
        plugin("guard", "base: /other\n", "new"),
        plugin("fresh", "", "new"),
        plugin("@scope/fresh", "", "new"),
    ] {
        let message = refused(&server, 409, "PLUGIN_RELOAD_FAILED", || {
            send(&server, &entries)
        });
        assert!(!message.contains("broken"), "{message}");
    }
    fs::write(broken.join("manifest.yaml"), "name: bad\nbase: /api\n").unwrap();
    let guard = plugin("guard", "base: /other\n", "new");
    refused(&server, 409, "PLUGIN_RELOAD_FAILED", || {
        send(&server, &guard)
    });
    // What is broken can be replaced by what is not.
    install(&server, &plugin("broken", "base: /whole\n", ""));
    install(&server, &guard);
    assert_eq!(names(&server), ["core", "broken", "guard"]);
}

#[test]
fn n5_a_key_installs_plugins_within_its_namespaces_only() {
    let server = server();
    install(&server, &plugin("@b/there", "base: /there\n", "b"));
    install(&server, &plugin("plain", "", ""));
    let key = key_of_a(&server);
    let send =
        |name: &str, lines: &str| send_as(&key, &server, Format::Zip, &plugin(name, lines, "a"));
    // The same whether there is such a plugin or not, and whatever its base is.
    let mut said = Vec::new();
    for name in [
        "@b/there",
        "@b/missing",
        "plain",
        "missing",
        "core",
        "@a.evil/x",
    ] {
        for lines in ["", "base: /there\n", "base: /free\n"] {
            said.push(refused(&server, 403, "NAMESPACE_DENIED", || {
                send(name, lines)
            }));
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    refused(&server, 400, "INVALID_PACKAGE_NAME", || send("@A/x", ""));
    let taken = refused(&server, 409, "PLUGIN_COLLISION", || {
        send("@a/x", "base: /there\n")
    });
    assert!(!taken.contains("@b"), "{taken}");
    assert_eq!(send("@a/x", "base: /a\n").status, 200);
    let seen = call_as(&key, server.addr(), "GET", "/api/plugins", "").json();
    assert_eq!(seen.as_array().unwrap().len(), 1);
    // Nobody does without a key, or with one that may only look.
    refused(&server, 401, "AUTH_REQUIRED", || {
        send_as("btk_wrong", &server, Format::Zip, &plugin("y", "", ""))
    });
    let viewer = "{\"name\": \"v\", \"role\": \"viewer\", \"expiresIn\": \"never\"}";
    let viewer = call(server.addr(), "POST", "/api/keys", viewer);
    let viewer = viewer.json()["data"]["key"].as_str().unwrap().to_owned();
    refused(&server, 403, "PERMISSION_DENIED", || {
        send_as(&viewer, &server, Format::Zip, &plugin("y", "", ""))
    });
}
