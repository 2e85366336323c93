//! A disk without room for another line.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use tempfile::TempDir;

use super::support::{ask, builder, change};

/// A small file system for the log alone; `None`, with a word on stderr, where this
/// user may not mount one.
fn small_disk(dir: &TempDir) -> Option<()> {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "buntime-test"])
        .arg(dir.path())
        .output();
    match mounted {
        Ok(output) if output.status.success() => Some(()),
        other => {
            let mut err = std::io::stderr();
            let _ = writeln!(err, "skipped: no file system can be mounted ({other:?})");
            None
        }
    }
}

struct Unmount(TempDir);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Room is kept ahead, so changes go on for a while; then they end with 503, none of
/// them half done, and begin again once there is room.
#[test]
fn a3_on_a_full_disk_changes_end_before_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    if small_disk(&dir).is_none() {
        return;
    }
    let disk = Unmount(dir);
    let state = disk.0.path();
    let server = builder()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .start();
    assert_eq!(change(&server).status, 200);
    let filler = state.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let mut changes = 0;
    let refused = loop {
        let response = change(&server);
        match response.status {
            200 => changes += 1,
            _ => break response,
        }
        assert!(changes < 5000);
    };
    assert_eq!(refused.error_code(), "AUDIT_UNAVAILABLE");
    assert!(changes > 100, "only {changes}");
    assert_eq!(ask(&server, "GET", "/api/audit?limit=1").status, 200);
    let text = fs::read_to_string(state.join("audit.log")).unwrap();
    assert_eq!(text.lines().count(), changes + 1);
    fs::remove_file(&filler).unwrap();
    drop(file);
    assert_eq!(change(&server).status, 200);
}
