//! Somebody else is at work in the same folder.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

/// F13: a folder is swapped for a link that leads out, again and again, while all
/// that can be done is done through it.
#[test]
fn f13_a_race_of_swaps_neither_writes_nor_removes_outside() {
    let (temp, tree) = folder();
    let inside = temp.path().join("inside");
    let outside = contents(&temp.path().join("outside"));
    fs::create_dir(inside.join("real")).unwrap();
    symlink("../outside", inside.join("trap")).unwrap();
    let (swaps, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = tree.exchange(&path("real"), &tree, &path("trap"));
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut done = 0;
        // On a busy machine the two may take turns for a while.
        while swaps.load(Ordering::Relaxed) < 10_000 || done <= 100 {
            for way in ["real", "trap"] {
                let at = |name: &str| path(&format!("{way}/{name}"));
                done += usize::from(tree.create_file(&at("x"), FileMode::Plain).is_ok());
                done += usize::from(tree.ensure_dir(&at("sub/deeper")).is_ok());
                let _ = tree.create_file(&path("new"), FileMode::Plain);
                done += usize::from(tree.replace(&path("new"), &tree, &at("secret")).is_ok());
                if let Ok((content, _)) = tree.root().read(&at("secret"), 100) {
                    assert_eq!(content, b"", "read through the link");
                    done += 1;
                }
                done += usize::from(tree.remove_file(&at("x")).is_ok());
                done += usize::from(tree.rename(&at("secret"), &tree, &at("moved")).is_ok());
                done += usize::from(tree.remove_tree(&at("moved")).is_ok());
                done += usize::from(tree.remove_tree(&at("sub")).is_ok());
            }
        }
        stop.store(true, Ordering::Relaxed);
        done
    });
    assert!(done > 100, "the race was won {done} times");
    assert_eq!(contents(&temp.path().join("outside")), outside);
}

/// The folder that is being removed is itself swapped, and its folders too.
#[test]
fn f13_removing_a_tree_that_is_swapped_for_links_stays_inside() {
    let (temp, tree) = folder();
    let inside = temp.path().join("inside");
    let outside = contents(&temp.path().join("outside"));
    symlink("../outside", inside.join("trap")).unwrap();
    symlink("../../outside", inside.join("deep-trap")).unwrap();
    let removed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !removed.load(Ordering::Relaxed) {
                let _ = tree.exchange(&path("real"), &tree, &path("trap"));
                let _ = tree.exchange(&path("real/sub"), &tree, &path("deep-trap"));
            }
        });
        for _ in 0..300 {
            for way in ["real/sub", "trap/sub", "real/sub/sub"] {
                let _ = tree.ensure_dir(&path(way));
                let _ = tree.create_file(&path(&format!("{way}/x")), FileMode::Plain);
            }
            let _ = tree.remove_tree(&path("real"));
            let _ = tree.remove_tree(&path("trap"));
            let _ = symlink("../outside", inside.join("trap"));
        }
        removed.store(true, Ordering::Relaxed);
    });
    assert_eq!(contents(&temp.path().join("outside")), outside);
}

/// A neighbour that writes on does not hold the remover for ever, and an entry
/// that somebody else removes first is no error.
#[test]
fn removing_survives_others_who_write_and_remove() {
    let (_temp, tree) = folder();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let name = format!("busy/{}/f{number}", number % 7);
                let _ = tree.ensure_dir(&path("busy"));
                let _ = tree.ensure_dir(&path(&name[..name.rfind('/').unwrap()]));
                let _ = tree.create_file(&path(&name), FileMode::Plain);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = tree.remove_tree(&path("busy"));
            }
        });
        for _ in 0..200 {
            let removed = tree.remove_tree(&path("busy"));
            let fine = matches!(
                removed,
                Ok(()) | Err(WriteError::NotFound | WriteError::Busy)
            );
            assert!(fine, "{removed:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
