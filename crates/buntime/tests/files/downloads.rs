//! What is sent, and under which name.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::support::*;

#[test]
fn a_download_is_an_attachment_that_runs_nothing() {
    let server = server();
    let file = read(&server, ROOT, "download", "apps/echo/1.0.0/index.html");
    assert_eq!(file.text(), "<title>echo</title>");
    let zip = read(&server, ROOT, "download", "apps/echo/1.0.0");
    for (response, kind, name) in [
        (&file, "application/octet-stream", "index.html"),
        (&zip, "application/zip", "1.0.0.zip"),
    ] {
        assert_eq!(response.header("content-type").unwrap(), kind);
        assert_eq!(
            response.header("content-disposition").unwrap(),
            format!("attachment; filename=\"{name}\"")
        );
        assert_eq!(
            response.header("x-content-type-options").unwrap(),
            "nosniff"
        );
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox;"), "{policy}");
        assert_eq!(response.header("cache-control").unwrap(), "no-store");
    }
    assert_eq!(file.header("content-length").unwrap(), "19");
    let target = "/api/workers/files/download?path=apps/echo/1.0.0/index.html";
    let head = ask(&server, ROOT, "HEAD", target, None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length").unwrap(), "19");
}

#[test]
fn no_file_name_breaks_out_of_its_header() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    for (name, header) in [
        (
            "a\"b.txt",
            "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt",
        ),
        (
            "a\r\nSet-Cookie: x=1",
            "attachment; filename=\"a__Set-Cookie: x=1\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x%3D1",
        ),
        (
            "caf\u{e9} \u{2603}.js",
            "attachment; filename=\"caf_ _.js\"; filename*=UTF-8''caf%C3%A9%20%E2%98%83.js",
        ),
        (
            "100%41;b",
            "attachment; filename=\"100_41;b\"; filename*=UTF-8''100%2541%3Bb",
        ),
    ] {
        fs::write(unit.join(name), "content").unwrap();
        let path = format!("apps/echo/1.0.0/{name}");
        let response = read(&server, ROOT, "download", &path);
        assert_eq!(response.text(), "content", "{name:?}");
        assert_eq!(response.header("content-disposition").unwrap(), header);
        assert!(response.header("set-cookie").is_none());
    }
}

#[test]
fn a_large_file_and_a_large_folder_arrive_whole() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    let content: Vec<u8> = (0..5_000_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    fs::write(unit.join("large.bin"), &content).unwrap();
    let file = read(&server, ROOT, "download", "apps/echo/1.0.0/large.bin");
    assert!(file.body == content);
    let packed = unzipped(&read(&server, ROOT, "download", "apps/echo/1.0.0").body);
    assert!(packed["1.0.0/large.bin"] == content);
}

/// F13: a folder is swapped for a link that leads out while it is downloaded.
#[test]
fn f13_a_race_of_swaps_lets_nothing_out() {
    let server = server();
    let unit = server.dir().join("apps/echo/1.0.0");
    let outside = server.dir().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("file"), CANARY).unwrap();
    fs::write(outside.join("sub/file"), CANARY).unwrap();
    fs::create_dir_all(unit.join("dir/sub")).unwrap();
    fs::write(unit.join("dir/file"), "harmless").unwrap();
    fs::write(unit.join("dir/sub/file"), "harmless").unwrap();
    symlink(&outside, unit.join("trap")).unwrap();
    let swapped = AtomicBool::new(false);
    let whole = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10_000 {
                let (dir, trap) = (unit.join("dir"), unit.join("trap"));
                renameat_with(CWD, dir, CWD, trap, RenameFlags::EXCHANGE).unwrap();
            }
            swapped.store(true, Ordering::Relaxed);
        });
        let mut whole = 0;
        while !swapped.load(Ordering::Relaxed) || whole < 20 {
            for path in ["dir", "dir/file", "dir/sub", "trap/sub/file", "."] {
                let path = format!("apps/echo/1.0.0/{path}");
                let response = read(&server, ROOT, "download", &path);
                assert!(matches!(response.status, 200 | 404), "{}", response.text());
                assert!(!response.text().contains(CANARY), "{path}");
                if response.status == 200 && response.body.starts_with(b"PK") {
                    let packed = unzipped(&response.body);
                    assert!(packed.values().all(|content| content != CANARY.as_bytes()));
                    whole += 1;
                }
            }
        }
        whole
    });
    assert!(whole >= 20);
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), CANARY);
}
