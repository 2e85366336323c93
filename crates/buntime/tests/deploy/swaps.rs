//! How a version takes the place of another.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use buntime_testkit::Connection;
use buntime_testkit::archive::{Entry, Format, forge};

use super::support::{
    app, archives, builder, call, deploy, failed, leftovers, site, tree, upload, upload_entries,
};

/// Row D8: under load, the first request after the 200 is served by the new code and
/// none fails, for code that Bun runs as for files that the server itself sends.
#[test]
fn d8_a_redeploy_is_served_by_the_next_request_and_fails_none() {
    let server = builder().start();
    let address = server.addr();
    deploy(address, &app("code", "1.0.0", "0"));
    deploy(address, &site("page", "1.0.0", "0"));
    let stop = AtomicBool::new(false);
    let (asked, newest) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for path in ["/code/", "/page/", "/page/assets/deep/file.txt"] {
            let (stop, asked, newest) = (&stop, &asked, &newest);
            scope.spawn(move || {
                let mut client = Connection::open(address);
                let mut next = Instant::now();
                while !stop.load(Ordering::SeqCst) {
                    let least = newest.load(Ordering::SeqCst);
                    let response = client.get(path);
                    assert_eq!(response.status, 200, "{path}: {}", response.text());
                    let served: usize = response.text().parse().unwrap();
                    assert!(
                        served >= least,
                        "{path}: {served} after {least} was installed"
                    );
                    asked.fetch_add(1, Ordering::SeqCst);
                    // 100 requests a second, by the clock of the load itself.
                    next += Duration::from_millis(10);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        for round in 1..=8 {
            let text = round.to_string();
            deploy(address, &app("code", "1.0.0", &text));
            assert_eq!(server.get("/code/").text(), text);
            deploy(address, &site("page", "1.0.0", &text));
            assert_eq!(server.get("/page/").text(), text);
            newest.store(round, Ordering::SeqCst);
            // Each version is asked for some times before the next one comes.
            server.wait_until("the clients go on", || {
                asked.load(Ordering::SeqCst) > 15 * round
            });
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn requests_under_way_finish_on_the_old_code() {
    let server = builder().start();
    // Says at once that it has begun, and goes on when the client sends the rest.
    let source = |text: &str| {
        format!(
            "export default {{ async fetch(req) {{\n\
               if (req.method !== 'POST') return new Response({text:?});\n\
               const body = req.body.getReader();\n\
               return new Response(new ReadableStream({{ async start(out) {{\n\
                 out.enqueue('begun;');\n\
                 while (!(await body.read()).done);\n\
                 out.enqueue({text:?});\n\
                 out.close();\n\
               }} }})); }} }};\n"
        )
    };
    let entries = |text: &str| {
        let manifest = "name: slow\nversion: 1.0.0\nttl: 1h\ncsrf: off\n";
        [
            Entry::file("manifest.yaml", manifest),
            Entry::file("index.ts", source(text)),
        ]
    };
    deploy(server.addr(), &entries("old"));
    let mut slow = Connection::open(server.addr());
    slow.send(b"POST /slow/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    let head = slow.head("POST").unwrap();
    assert_eq!(head.status, 200);
    deploy(server.addr(), &entries("new"));
    assert_eq!(server.get("/slow/").text(), "new");
    slow.send(b"0\r\n\r\n");
    assert_eq!(slow.body(head).text(), "begun;old");
}

#[test]
fn z18_parallel_uploads_of_one_version_end_in_exactly_one_of_them() {
    let server = builder().start();
    let address = server.addr();
    let contents: Vec<_> = (0..20)
        .map(|number| {
            let mut entries = site("same", "1.0.0", &format!("{number}"));
            entries.push(Entry::file(
                format!("only-{number}.txt"),
                "x".repeat(number * 100),
            ));
            entries
        })
        .collect();
    std::thread::scope(|scope| {
        for entries in &contents {
            scope.spawn(move || {
                let response = upload_entries(address, Format::TarGz, entries);
                assert!(matches!(response.status, 200 | 409), "{}", response.text());
            });
        }
    });
    let served: usize = server.get("/same/").text().parse().unwrap();
    let found = tree(&server.dir().join("apps/same/1.0.0"));
    let files: Vec<_> = found.keys().filter(|name| !name.ends_with('/')).collect();
    let mut expected: Vec<_> = contents[served]
        .iter()
        .map(|entry| String::from_utf8(entry.name.clone()).unwrap())
        .collect();
    expected.sort();
    assert_eq!(files, expected.iter().collect::<Vec<_>>());
    assert_eq!(found["index.html"], served.to_string().as_bytes());
    // One release a deployment, each with a number of its own; ten are kept.
    let releases = call(address, "GET", "/api/workers/_/same/releases", "");
    let releases = releases.json();
    let numbers: Vec<_> = releases
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["number"].clone())
        .collect();
    assert_eq!(numbers, (11..=20).rev().collect::<Vec<u64>>());
    assert_eq!(archives(server.dir()), 10);
}

#[test]
fn a_version_is_replaced_where_it_lies() {
    let server = builder()
        .app(
            "flat@1.0.0",
            "",
            &[("package.json", "{}"), ("index.html", "hand")],
        )
        .app(
            "bare",
            "",
            &[("package.json", "{}"), ("index.html", "hand")],
        )
        .start();
    deploy(server.addr(), &site("flat", "1.0.0", "new"));
    deploy(server.addr(), &site("bare", "latest", "new"));
    for (path, folder) in [("/flat/", "flat@1.0.0"), ("/bare/", "bare")] {
        assert_eq!(server.get(path).text(), "new");
        assert!(
            server
                .dir()
                .join("apps")
                .join(folder)
                .join("assets")
                .is_dir()
        );
    }
    assert!(!server.dir().join("apps/flat").exists());
    // A version of an app that is its own folder goes beside it, not into it.
    deploy(server.addr(), &site("bare", "2.0.0", "two"));
    assert!(server.dir().join("apps/bare@2.0.0").is_dir());
    assert_eq!(server.get("/bare@2.0.0/").text(), "two");
    assert_eq!(server.get("/bare/").text(), "new");
}

#[test]
fn a_place_that_is_taken_is_a_collision() {
    let server = builder().env("RUNTIME_WORKER_DIRS", "apps:more:.system");
    let dir = server.dir().to_owned();
    for root in ["more", ".system"] {
        fs::create_dir(dir.join(root)).unwrap();
    }
    let put = |folder: &str, text: &str| {
        fs::create_dir_all(dir.join(folder)).unwrap();
        fs::write(dir.join(folder).join("package.json"), "{}").unwrap();
        fs::write(dir.join(folder).join("index.html"), text).unwrap();
    };
    put(".system/own/1.0.0", "built in");
    put("apps/twice/1.0.0", "first");
    put("more/twice@1.0.0", "second");
    put("more/second/1.0.0", "old");
    put("apps/holds", "bare");
    put("apps/holds/1.0.0", "inner");
    fs::create_dir(dir.join("apps/linked")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.join("apps/linked/1.0.0")).unwrap();
    fs::write(dir.join("apps/file"), "").unwrap();
    let server = server.start();
    let before = tree(&dir.join("apps"));
    for (name, version) in [
        ("own", "1.0.0"),
        ("twice", "1.0.0"),
        ("holds", "latest"),
        ("linked", "1.0.0"),
    ] {
        let response = upload_entries(server.addr(), Format::Zip, &site(name, version, "new"));
        failed(&response, 409, "WORKER_COLLISION");
    }
    let mut after = tree(&dir.join("apps"));
    after.retain(|name, _| !name.starts_with(".buntime-staging"));
    assert_eq!(after, before);
    assert_eq!(server.get("/own/").text(), "built in");
    // In another root it is replaced there.
    deploy(server.addr(), &site("second", "1.0.0", "new"));
    assert_eq!(server.get("/second/").text(), "new");
    assert!(dir.join("more/second/1.0.0/assets").is_dir());
    assert!(!dir.join("apps/second").exists());
    assert!(leftovers(&dir).is_empty());
}

#[test]
fn without_a_root_to_write_to_nothing_is_taken() {
    let builder = builder().env("RUNTIME_WORKER_DIRS", ".system");
    fs::create_dir(builder.dir().join(".system")).unwrap();
    let server = builder.start();
    let archive = forge(Format::TarGz, &site("shop", "1.0.0", "new"));
    failed(
        &upload(server.addr(), "a.tgz", &archive),
        400,
        "NO_WORKER_DIRS",
    );
    assert!(tree(&server.dir().join(".system")).is_empty());
    assert_eq!(archives(server.dir()), 0);
}
