//! Replays every corpus: seeds, and whatever a fuzzer has found since.

use std::fs;
use std::path::{Path, PathBuf};

use buntime_fuzz::{TARGETS, target};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_target_holds_for_its_corpus() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 5, "{} has too few seeds", target.name);
        for file in files {
            let data = fs::read(&file).unwrap();
            let held = std::panic::catch_unwind(|| target.run(&data));
            assert!(held.is_ok(), "{} does not hold", file.display());
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "{name} is no target");
    }
}

/// Bytes on no one's mind: every target takes them all.
#[test]
fn every_target_takes_any_bytes() {
    // xorshift: the same bytes on every run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for target in TARGETS {
        for _ in 0..2_000 {
            let length = (next() % 64) as usize;
            let data: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            target.run(&data);
        }
    }
}
