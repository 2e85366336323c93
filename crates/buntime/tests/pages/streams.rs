//! Pages that come slowly, or are large.

use std::io::Read as _;

use buntime_testkit::PATIENCE;
use buntime_testkit::memory::Peak;

use super::{BASE, app};

const MEGABYTE: usize = 1024 * 1024;

#[test]
fn a_slow_page_is_not_held_back() {
    let server = app("injectBase: true\n");
    let mut page = server.begin("/app/slow");
    assert_eq!(page.head("GET").unwrap().status, 200);
    let mut text = String::new();
    while !text.ends_with("first") {
        let chunk = page.chunk(&mut Vec::new()).unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert_eq!(
        text,
        format!("<!doctype html><head>{BASE}<title>x</title></head><p>first")
    );
    assert_eq!(server.get("/app/go").text(), "gone");
    assert_eq!(page.chunk(&mut Vec::new()).unwrap(), b"last");
    assert_eq!(page.chunk(&mut Vec::new()), None);
}

#[test]
fn x5_utf_8_that_is_split_across_chunks_comes_whole() {
    let server = app("injectBase: true\n");
    assert_eq!(
        server.get("/app/bytes").text(),
        format!("<!doctype html><HEAD lang=x>{BASE}<title>é😀</title></HEAD><p>é😀</p>")
    );
}

#[test]
fn a_page_that_breaks_off_does_not_end_well() {
    let server = app("injectBase: true\n");
    let mut page = server.begin("/app/broken");
    // What it got is no matter, as long as it is no whole body.
    let received = page.read_to_end();
    assert!(
        !received.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&received)
    );
}

#[test]
fn x6_a_page_of_50_mb_flows_through_little_memory() {
    let server = app("injectBase: true\nenv:\n  PUBLIC_X: x\n");
    // What the first page costs is no part of the stream.
    assert!(server.get("/app/large?bytes=1000000").text().contains(BASE));
    let memory = Peak::watch(server.pid());
    let page = server.begin(&format!("/app/large?bytes={}", 50 * MEGABYTE));
    let mut stream = page.stream();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut block = vec![0; 64 * 1024];
    let (mut received, mut start, mut end) = (0, Vec::new(), Vec::new());
    while !end.ends_with(b"0\r\n\r\n") {
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "the page ended after {received} bytes");
        received += read;
        if start.len() < 4096 {
            start.extend_from_slice(&block[..read]);
        }
        end.extend_from_slice(&block[read.saturating_sub(5)..read]);
        end.drain(..end.len().saturating_sub(5));
    }
    let grown = memory.growth();
    assert!(received >= 50 * MEGABYTE, "{received}");
    assert!(String::from_utf8_lossy(&start).contains(BASE));
    assert!(grown < 4 * MEGABYTE as u64, "{} KB", grown / 1024);
}
