//! What archives may hold, and how they may come.

use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Connection, TestServer};

use super::cases::{self, Uploads, noise};
use super::support::{
    KEY, WORKERS, app, archives, builder, call, deploy, failed, form, leftovers, send_form, site,
    tree, upload, upload_entries,
};

/// A server with one site that was uploaded.
fn server() -> TestServer {
    let server = builder().start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    server
}

/// Asserts that a refused upload has left nothing, and the old version as it was.
#[track_caller]
fn nothing_happened(server: &TestServer) {
    assert_eq!(leftovers(server.dir()), Vec::<String>::new());
    assert_eq!(archives(server.dir()), 1);
    let names: Vec<_> = tree(&server.dir().join("apps")).into_keys().collect();
    let expected = [
        ".buntime-staging/",
        "shop/",
        "shop/1.0.0/",
        "shop/1.0.0/assets/",
        "shop/1.0.0/assets/deep/",
        "shop/1.0.0/assets/deep/file.txt",
        "shop/1.0.0/index.html",
        "shop/1.0.0/package.json",
    ];
    assert_eq!(names, expected);
    assert_eq!(server.get("/shop/").text(), "old");
}

#[test]
fn an_upload_of_either_format_is_served_by_the_next_request() {
    let server = builder().start();
    for (format, name) in [(Format::TarGz, "one"), (Format::Zip, "@acme/two")] {
        let response = upload_entries(server.addr(), format, &app(name, "1.2.3", name));
        assert_eq!(response.status, 200, "{}", response.text());
        let worker = &response.json()["data"]["worker"];
        assert_eq!(response.json()["success"], true);
        assert_eq!(worker["name"], name);
        assert_eq!(worker["version"], "1.2.3");
        assert_eq!(worker["release"], 1);
        assert!(worker["installedAt"].as_str().unwrap().ends_with('Z'));
        assert_eq!(server.get(&format!("/{name}/")).text(), name);
        assert!(server.dir().join("apps").join(name).join("1.2.3").is_dir());
    }
    let bytes = forge(Format::TarGz, &app("three", "1.0.0", "three"));
    assert_eq!(upload(server.addr(), "three.TAR.gz", &bytes).status, 200);
    // No version is `latest`.
    let entries = [
        Entry::file("manifest.yaml", "name: four"),
        Entry::file("index.html", "4"),
    ];
    deploy(server.addr(), &entries);
    assert_eq!(server.get("/four@latest/").text(), "4");
    assert_eq!(leftovers(server.dir()), Vec::<String>::new());
}

/// What the shared cases send to this server, and what they must not have changed.
fn with_cases(cases: fn(&Uploads<'_>)) {
    let server = server();
    cases(&Uploads {
        route: WORKERS,
        address: server.addr(),
        good: site("shop", "1.0.0", "new"),
        nothing_happened: &|| nothing_happened(&server),
    });
}

/// Rows Z1 to Z6, Z15, Z19 where the API says them; the unpacker's tests have them all.
#[test]
fn z1_to_z19_unsafe_archives_are_refused_and_leave_nothing() {
    with_cases(cases::unsafe_entries);
}

#[test]
fn z8_z9_archives_that_grow_too_large_are_refused() {
    with_cases(cases::too_large);
}

#[test]
fn z9_200_000_empty_entries_are_no_version() {
    with_cases(cases::empty_entries);
}

#[test]
fn z10_archives_that_lie_or_overlap_are_refused() {
    with_cases(cases::lies);
}

#[test]
fn z13_what_is_no_archive_is_refused() {
    with_cases(cases::no_archives);
}

#[test]
fn z14_what_is_no_upload_is_refused() {
    with_cases(cases::no_uploads);
}

#[test]
fn z17_archives_that_break_off_are_refused() {
    with_cases(cases::broken_off);
}

#[test]
fn z20_one_top_folder_of_any_name_is_taken_off() {
    let server = builder().start();
    for (name, top) in [("plain", ""), ("npm", "package/"), ("other", "my app-1.0/")] {
        let entries = site(name, "1.0.0", name).into_iter().map(|entry| Entry {
            name: [top.as_bytes(), &entry.name].concat(),
            ..entry
        });
        let entries: Vec<_> = entries.collect();
        for format in Format::ALL {
            let response = upload_entries(server.addr(), format, &entries);
            assert_eq!(response.status, 200, "{}", response.text());
            let folder = server.dir().join("apps").join(name).join("1.0.0");
            assert!(folder.join("package.json").is_file(), "{top:?}");
            assert_eq!(server.get(&format!("/{name}/")).text(), name);
        }
    }
    let climbing = [Entry::file("package/package/../x", "x")];
    let response = upload_entries(server.addr(), Format::TarGz, &climbing);
    failed(&response, 400, "ARCHIVE_UNSAFE_ENTRY");
}

#[test]
fn z7_modes_are_0755_or_0644_whatever_the_archive_says() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = builder().start();
    for (format, name) in [(Format::TarGz, "tar"), (Format::Zip, "zip")] {
        let mut entries = site(name, "1.0.0", name);
        for (file, mode) in [
            ("wild", 0o6777),
            ("run", 0o100),
            ("plain", 0o606),
            ("none", 0),
        ] {
            entries.push(Entry::file(file, "x").mode(mode));
        }
        let response = upload_entries(server.addr(), format, &entries);
        assert_eq!(response.status, 200, "{}", response.text());
        let folder = server.dir().join("apps").join(name).join("1.0.0");
        let mode = |file: &str| {
            let info = std::fs::metadata(folder.join(file)).unwrap();
            info.permissions().mode() & 0o7777
        };
        let modes = ["wild", "run", "plain", "none", "assets"].map(mode);
        assert_eq!(modes, [0o755, 0o755, 0o644, 0o644, 0o755], "{name}");
    }
}

#[test]
fn archives_are_not_bound_by_the_largest_body_and_have_a_bound_of_their_own() {
    let server = builder()
        .env("BODY_SIZE_DEFAULT", "1kb")
        .env("BODY_SIZE_MAX", "2kb")
        .start();
    let mut entries = site("shop", "1.0.0", "large");
    entries.push(Entry::file("noise", noise(300_000)));
    deploy(server.addr(), &entries);
    // Announced, and found out on the way.
    let mut client = Connection::open(server.addr());
    let head = |framing: &str| {
        format!(
            "POST /api/workers/upload HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\
             Content-Type: multipart/form-data; boundary=boundary\r\n{framing}\r\n\r\n"
        )
    };
    client.send(head("Content-Length: 110000000").as_bytes());
    let response = client.response_to("POST");
    failed(&response, 413, "ARCHIVE_TOO_LARGE");
    let mut client = Connection::open(server.addr());
    client.send(head("Transfer-Encoding: chunked").as_bytes());
    let begin = "--boundary\r\nContent-Disposition: form-data; name=\"file\"; \
                 filename=\"a.tgz\"\r\n\r\n";
    client.send(format!("{:x}\r\n{begin}\r\n", begin.len()).as_bytes());
    let mut chunk = format!("{:x}\r\n", 1 << 20).into_bytes();
    chunk.extend(vec![0; 1 << 20]);
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..102 {
        if client.try_send(&chunk).is_err() {
            break;
        }
    }
    let response = client.response_to("POST");
    failed(&response, 413, "ARCHIVE_TOO_LARGE");
    assert_eq!(leftovers(server.dir()), Vec::<String>::new());
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let server = server();
    let archive = forge(Format::TarGz, &app("gone", "1.0.0", "gone"));
    let body = form(&[("file", Some("a.tgz"), &archive)]);
    let mut client = Connection::open(server.addr());
    let head = format!(
        "POST /api/workers/upload HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\n\
         Content-Type: multipart/form-data; boundary=boundary\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes());
    client.send(&body[..body.len() / 2]);
    server.wait_until("the archive arrives", || {
        !leftovers(server.dir()).is_empty()
    });
    drop(client);
    server.wait_until("nothing is left", || leftovers(server.dir()).is_empty());
    nothing_happened(&server);
}

#[test]
fn uploads_of_one_namespace_leave_a_place_for_whoever_reaches_all() {
    let server = builder().start();
    let key = r#"{"name": "a", "role": "editor", "namespaces": ["@a"]}"#;
    let made = call(server.addr(), "POST", "/api/keys", key);
    let key = made.json()["data"]["key"].as_str().unwrap().to_owned();
    // Uploads that have begun and do not go on; those over the number are refused.
    let begin = || {
        let mut connection = Connection::open(server.addr());
        let head = format!(
            "POST /api/workers/upload HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\
             Content-Type: multipart/form-data; boundary=boundary\r\n\
             Content-Length: 100000\r\n\r\n--boundary\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"a.tgz\"\r\n\r\nx"
        );
        connection.send(head.as_bytes());
        connection
    };
    let mut held: Vec<_> = (0..48).map(|_| begin()).collect();
    server.wait_until("the places of the namespace are taken", || {
        // The one before may have found the place taken that this form had.
        held.push(begin());
        let form = form(&[("file", Some("a.tgz"), b"x")]);
        send_form(&key, server.addr(), &form).error_code() == "TOO_MANY_UPLOADS"
    });
    assert_eq!(deploy(server.addr(), &site("free", "1.0.0", "hello")), 1);
    drop(held);
}
