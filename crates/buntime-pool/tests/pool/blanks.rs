//! Workers that are started ahead, and those that cannot be.

use std::sync::Arc;
use std::time::Duration;

use buntime_core::{Granted, Manifest};
use buntime_sandbox::Layers;

use crate::support::{Rig, soon};

fn persistent(_: &mut Manifest) {}

fn ephemeral(manifest: &mut Manifest) {
    manifest.ttl = Duration::ZERO;
}

async fn blanks(rig: &Rig, count: usize) {
    soon("blanks", async {
        while rig.pool.status().blanks != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Only what was started when nobody waited has rehearsed, so who has was a blank.
#[tokio::test]
async fn a_blank_that_is_taken_is_replaced_and_the_next_cold_request_gets_that_one() {
    for kind in [persistent, ephemeral] {
        let rig = Rig::fake();
        for name in ["first", "second", "third"] {
            blanks(&rig, 1).await;
            let app = rig.app(name, "", kind);
            assert_eq!(rig.text(&app, "/rehearsals").await, "1", "{name}");
        }
        blanks(&rig, 1).await;
        rig.finish().await;
    }
}

#[tokio::test]
async fn a_worker_of_a_kind_that_is_not_kept_does_not_rehearse() {
    let rig = Rig::fake();
    let small = rig.app("small", "", |manifest| manifest.low_memory = true);
    assert_eq!(rig.text(&small, "/rehearsals").await, "0");
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_that_is_started_for_what_its_app_was_granted_does_not_rehearse() {
    let confined = |config: &mut buntime_pool::PoolConfig| {
        config.sandbox.layers = Layers {
            calls: true,
            ..Layers::NONE
        };
    };
    let rig = Rig::with(buntime_testkit::fake_bun(), confined);
    blanks(&rig, 1).await;
    let usual = rig.app("usual", "", |_| {});
    assert_eq!(rig.text(&usual, "/rehearsals").await, "1");
    blanks(&rig, 1).await;
    let mut granted = Granted::default();
    granted.spawn = true;
    let mut manifest = Manifest::default();
    manifest.ttl = Duration::from_secs(60);
    let mut spec = rig.spec("granted", "", manifest);
    spec.granted = Arc::new(granted);
    let granted = rig.pool.app(spec);
    assert_eq!(rig.text(&granted, "/rehearsals").await, "0");
    // The blank is still there for somebody else.
    assert_eq!(rig.pool.status().blanks, 1);
    rig.finish().await;
}
