//! A disk without room for another line.

use std::fs;

use buntime_testkit::SmallDisk;

use super::support::{ask, builder, change};

/// Room is kept ahead, so changes go on for a while; then they end with 503, none of
/// them half done, and begin again once there is room.
#[test]
fn a3_on_a_full_disk_changes_end_before_they_begin() {
    let Some(disk) = SmallDisk::mount("size=2m") else {
        return;
    };
    let state = disk.path();
    let server = builder()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .start();
    assert_eq!(change(&server).status, 200);
    disk.fill();
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
    disk.clear();
    assert_eq!(change(&server).status, 200);
}
