//! D10: what was answered is so, whatever happens next.

use super::support::{ROOT, get, make, on, revoke, viewer};

/// Starts, makes one key, revokes another, and is killed at once; a hundred times.
#[test]
fn d10_a_key_that_was_made_or_revoked_stays_so_after_kill_9() {
    let state = tempfile::tempdir().unwrap();
    let mut kept: Vec<String> = Vec::new();
    let mut revoked: Vec<String> = Vec::new();
    let mut doomed: Option<(String, String)> = None;
    for run in 0..100 {
        let mut server = on(state.path()).start();
        // All that the run before was told, and one of each of all others.
        for key in kept.iter().rev().take(2) {
            assert_eq!(
                get(&server, key, "/api/admin/session").status,
                200,
                "run {run}"
            );
        }
        for key in revoked.iter().rev().take(2) {
            assert_eq!(
                get(&server, key, "/api/admin/session").status,
                401,
                "run {run}"
            );
        }
        if let Some((id, secret)) = doomed.take() {
            assert_eq!(revoke(&server, ROOT, &id).status, 200);
            revoked.push(secret);
            if run % 2 == 0 {
                server.kill();
                continue;
            }
        }
        let key = make(&server, ROOT, &viewer("made"));
        if run % 3 == 0 {
            doomed = Some((key.id, key.secret));
        } else {
            kept.push(key.secret);
        }
        server.kill();
    }
    let server = on(state.path()).start();
    for (keys, status) in [(&kept, 200), (&revoked, 401)] {
        assert!(keys.len() > 20, "{}", keys.len());
        for key in keys {
            assert_eq!(get(&server, key, "/api/admin/session").status, status);
        }
    }
}
