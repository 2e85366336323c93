//! Full disks and several of them.

use std::fs;

use buntime_testkit::SmallDisk;
use buntime_testkit::archive::{Entry, Format};

use super::support::{builder, deploy, failed, site, tree, upload_entries};

/// Twelve megabytes that pack well enough to come in, and not into eight.
fn large(name: &str) -> Vec<Entry> {
    let mut entries = site(name, "1.0.0", "large");
    let line = "a line that is not all zeros, so that it is no bomb 0123456789\n";
    for number in 0..12 {
        let text = format!("{number}{}", line.repeat((1 << 20) / line.len()));
        // What does not pack keeps the ratio down.
        entries.push(Entry::file(format!("{number}.txt"), text));
        entries.push(Entry::file(format!("{number}.bin"), noise(8_000, number)));
    }
    entries
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Row D2; row D3 with it: the worker root is a file system of its own, so what is
/// renamed into it was staged on it.
#[test]
fn d2_d3_a_full_worker_disk_leaves_the_old_version_and_no_rubbish() {
    let Some(disk) = SmallDisk::mount("size=8m") else {
        return;
    };
    let root = disk.path().join("apps");
    fs::create_dir(&root).unwrap();
    let server = builder()
        .env("RUNTIME_WORKER_DIRS", root.to_str().unwrap())
        .start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    let (used, before) = (disk.used(), tree(&root));
    for format in Format::ALL {
        let response = upload_entries(server.addr(), format, &large("shop"));
        failed(&response, 507, "STORAGE_FULL");
        assert_eq!(server.get("/shop/").text(), "old");
        assert_eq!(tree(&root), before);
        assert_eq!(disk.used(), used);
    }
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    assert_eq!(server.get("/shop/").text(), "new");
}

#[test]
fn d14_a_full_state_disk_leaves_the_old_version_and_no_rubbish() {
    let Some(disk) = SmallDisk::mount("size=4m") else {
        return;
    };
    let state = disk.path().join("state");
    let server = builder()
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .start();
    deploy(server.addr(), &site("shop", "1.0.0", "old"));
    let kept = tree(&state.join("releases"));
    let mut entries = site("shop", "1.0.0", "new");
    entries.push(Entry::file("noise", noise(6_000_000, 1)));
    let response = upload_entries(server.addr(), Format::TarGz, &entries);
    failed(&response, 507, "STORAGE_FULL");
    assert_eq!(server.get("/shop/").text(), "old");
    assert_eq!(tree(&state.join("releases")), kept);
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    assert_eq!(server.get("/shop/").text(), "new");
}
