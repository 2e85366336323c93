//! A wall clock that jumps by a day (row D16).

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use buntime_testkit::sample::assert_error;
use tempfile::TempDir;

use super::server;

/// Stands before the C library's clock: the wall clock is off by as many seconds
/// as the file says that `SHIFT_FILE` names.
const SHIFTED: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
  const char *name = getenv("SHIFT_FILE");
  char text[32] = {0};
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return 0;
  if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
  close(file);
  return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, at);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
  return result;
}
"#;

/// Compiles it with the compiler that links Rust programs.
fn shifted_clock(dir: &TempDir) -> String {
    let source = dir.path().join("clock.c");
    let library = dir.path().join("clock.so");
    fs::write(&source, SHIFTED).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(
        status.unwrap().success(),
        "cc cannot compile a small library"
    );
    library.to_str().unwrap().to_owned()
}

#[test]
fn d16_timeouts_and_ttl_do_not_follow_the_wall_clock() {
    let dir = tempfile::tempdir().unwrap();
    let library = shifted_clock(&dir);
    let file = dir.path().join("shift");
    fs::write(&file, "0").unwrap();
    let server = server()
        .env("LD_PRELOAD", &library)
        .env("SHIFT_FILE", file.to_str().unwrap())
        .sample("kept@1.0.0", "ttl: 1h\ntimeout: 2s\n")
        .sample(
            "short@1.0.0",
            "ttl: 1500ms\ntimeout: 500ms\nidleTimeout: 500ms\n",
        )
        .start();
    let probe = server.probe();
    let worker = server.worker("kept");
    for (shift, number) in [("86400", 0), ("-86400", 1), ("0", 2)] {
        let mut slow = server.begin(&format!("/kept/slow?ms=1000&tag=slow{number}"));
        let mut stream = server.begin("/kept/events?ms=100&count=10");
        assert_eq!(stream.head("GET").unwrap().status, 200);
        server.wait_for_message(&format!("begun slow{number}"));
        fs::write(&file, shift).unwrap();
        // Neither too early nor never.
        assert_eq!(slow.response_to("GET").text(), format!("slow{number}"));
        while stream.chunk(&mut Vec::new()).is_some() {}
        assert_eq!(server.worker("kept"), worker, "an hour has not passed");
        let short = server.worker("short");
        assert_eq!(server.wait_for_end(short), "idle-ttl");
    }
    // The clock was really another one.
    let mut days: Vec<String> = server
        .log()
        .iter()
        .map(|line| line.text("time")[..10].to_owned())
        .collect();
    days.sort();
    days.dedup();
    assert!(days.len() >= 3, "{days:?}");
    fs::write(&file, "86400").unwrap();
    let begun = Instant::now();
    assert_error(&server.get("/kept/hang"), 504, "WORKER_TIMEOUT");
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    probe.finish();
}
