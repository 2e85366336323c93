//! Workers for one request each.

use std::collections::BTreeSet;
use std::time::Duration;

use buntime_core::Manifest;
use buntime_http::Method;
use buntime_pool::{ExchangeError, ExitReason, WorkerBodyError};
use tokio::sync::watch;

use crate::persistent::futures;
use crate::support::{Event, Failed, Rig, TestBody, is_running};

const FUNCTION: &str = r#"
export default async (req) => {
  const { pathname } = new URL(req.url);
  if (pathname === "/wait") await Bun.sleep(300);
  if (pathname === "/hang") await new Promise(() => {});
  if (pathname === "/silent") {
    return new Response(new ReadableStream({ async pull(c) { c.enqueue("one"); await new Promise(() => {}); } }));
  }
  return new Response(String(process.pid));
};
"#;

fn ephemeral(manifest: &mut Manifest) {
    manifest.ttl = Duration::ZERO;
}

#[tokio::test]
async fn each_request_has_a_fresh_worker_that_ends_with_it() {
    let rig = Rig::real();
    let app = rig.app("function", FUNCTION, ephemeral);
    let mut pids = BTreeSet::new();
    for _ in 0..10 {
        let pid = rig.pid(&app).await;
        assert!(pids.insert(pid), "{pid} came again");
        assert_eq!(rig.events.exit_of(pid).await, ExitReason::EphemeralDone);
        assert!(!is_running(pid));
    }
    rig.finish().await;
}

#[tokio::test]
async fn slots_are_per_app_and_the_queue_is_bounded() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| {
        config.ephemeral_queue_limit = 3
    });
    let app = rig.app("function", FUNCTION, ephemeral);
    let other = rig.app("other", FUNCTION, ephemeral);
    let crowd = futures((0..8).map(|_| rig.get(&app, "/wait")));
    let neighbour = async {
        let begun = tokio::time::Instant::now();
        rig.text(&other, "/").await;
        begun.elapsed()
    };
    let (crowd, took) = tokio::join!(crowd, neighbour);
    let full = crowd
        .iter()
        .filter(|one| matches!(one, Err(Failed::Exchange(ExchangeError::QueueFull { .. }))))
        .count();
    let served = crowd.iter().filter(|one| one.is_ok()).count();
    assert_eq!(
        (served, full),
        (5, 3),
        "two served, three queued, three refused"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    rig.finish().await;
}

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| config.size = 1);
    let hog = rig.app("hog", FUNCTION, ephemeral);
    let app = rig.app("function", FUNCTION, |manifest| {
        ephemeral(manifest);
        manifest.timeout = Duration::from_millis(300);
    });
    let (gone, _) = watch::channel(false);
    let hogging = rig.begin(&hog, Method::Get, "/hang", TestBody::none().leaving(&gone));
    let waiting = async {
        rig.events.started().await;
        let waited = rig.get(&app, "/").await;
        gone.send_replace(true);
        waited
    };
    let (_, waited) = tokio::join!(hogging, waiting);
    let waited = waited.unwrap_err();
    assert!(
        matches!(waited, Failed::Exchange(ExchangeError::QueueTimeout { .. })),
        "{waited:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place_and_its_worker() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| {
        config.ephemeral_concurrency = 1
    });
    let app = rig.app("function", FUNCTION, ephemeral);
    let (gone, _) = watch::channel(false);
    let served = rig.begin(&app, Method::Get, "/hang", TestBody::none().leaving(&gone));
    let queued = rig.begin(&app, Method::Get, "/hang", TestBody::none().leaving(&gone));
    let leave = async {
        let pid = rig.events.started().await;
        assert_eq!(app.status().queued, 1);
        gone.send_replace(true);
        pid
    };
    let (served, queued, pid) = tokio::join!(served, queued, leave);
    for one in [served, queued] {
        assert!(
            matches!(one, Err(Failed::Exchange(ExchangeError::ClientGone))),
            "{one:?}"
        );
    }
    assert_eq!(app.status().queued, 0);
    rig.events.exit_of(pid).await;
    rig.text(&app, "/").await;
    rig.finish().await;
}

#[tokio::test]
async fn a_silent_response_is_ended() {
    let rig = Rig::real();
    let app = rig.app("function", FUNCTION, |manifest| {
        ephemeral(manifest);
        manifest.idle_timeout = Duration::from_millis(200);
    });
    let failed = rig.get(&app, "/silent").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Body(WorkerBodyError::Silent)),
        "{failed:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_full_pool_goes_round_over_the_apps() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| config.size = 1);
    let greedy = rig.app("greedy", FUNCTION, ephemeral);
    let modest = rig.app("modest", FUNCTION, ephemeral);
    let crowd = futures((0..12).map(|_| rig.text(&greedy, "/")));
    let one = async {
        tokio::task::yield_now().await;
        rig.text(&modest, "/").await;
        // The crowd that came first has not all been served.
        let finished = rig
            .events
            .all()
            .iter()
            .filter(|event| matches!(event, Event::Started(..)))
            .count();
        assert!(finished < 8, "{finished}");
    };
    tokio::join!(crowd, one);
    rig.finish().await;
}
