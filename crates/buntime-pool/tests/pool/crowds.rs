//! More requests at a time than a worker has room for.

use std::sync::Arc;
use std::time::Duration;

use buntime_core::Manifest;
use buntime_http::Method;
use buntime_pool::{App, ExchangeError, ExitReason, WorkerResponse};
use tokio::sync::watch;

use crate::persistent::futures;
use crate::support::{Failed, Rig, TestBody, instances, read_all, soon};

const STREAMS: &str = r#"
export default {
  fetch(req) {
    const { pathname } = new URL(req.url);
    if (pathname === "/pid") return new Response(String(process.pid));
    if (pathname === "/exit") process.exit(5);
    return new Response(new ReadableStream({ start(c) { c.enqueue("data: 1\n\n"); } }));
  },
};
"#;
/// Of 128 descriptors.
const ROOM: usize = 96;

fn small() -> Rig {
    Rig::with(buntime_testkit::real_bun(), |config| {
        config.limits.open_files = 128;
    })
}

fn app(rig: &Rig, change: impl FnOnce(&mut Manifest)) -> Arc<App> {
    rig.app("streams", STREAMS, |manifest| {
        manifest.max_requests = 1_000_000;
        change(manifest);
    })
}

async fn stream(rig: &Rig, app: &Arc<App>) -> WorkerResponse {
    let begun = rig.begin(app, Method::Get, "/", TestBody::none()).await;
    let mut response = begun.unwrap();
    let first = soon("first event", response.body.frame()).await;
    assert!(matches!(first, Some(Ok(_))), "{first:?}");
    response
}

async fn streams(rig: &Rig, app: &Arc<App>, count: usize) -> Vec<WorkerResponse> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(stream(rig, app).await);
    }
    all
}

async fn queued(app: &Arc<App>, count: usize) {
    soon("requests that wait", async {
        while app.status().queued != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_finds_no_place_waits_for_one_and_harms_nobody() {
    let rig = small();
    let app = app(&rig, |_| {});
    let pid = rig.pid(&app).await;
    let mut held = streams(&rig, &app, ROOM).await;
    let waiting = [rig.get(&app, "/pid"), rig.get(&app, "/pid")];
    let leave = async {
        queued(&app, 2).await;
        // One place is enough: who had it gives it to the next.
        drop(held.pop());
    };
    let (answers, ()) = tokio::join!(futures(waiting), leave);
    for answer in answers {
        assert_eq!(answer.unwrap().text(), pid.to_string());
    }
    assert_eq!(app.status().instances.len(), 1);
    assert_eq!(app.status().instances[0].in_flight as usize, held.len());
    held.clear();
    assert_eq!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn who_waits_too_long_for_a_place_is_told_so() {
    let rig = small();
    let app = app(&rig, |manifest| {
        manifest.timeout = Duration::from_millis(500);
    });
    let held = streams(&rig, &app, ROOM).await;
    let failed = rig.get(&app, "/pid").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::QueueTimeout { .. })),
        "{failed:?}"
    );
    // Nobody else notices.
    assert_eq!(app.status().instances[0].in_flight as usize, ROOM);
    assert_eq!(app.status().queued, 0);
    drop(held);
    rig.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_the_place_along() {
    let rig = small();
    let app = app(&rig, |_| {});
    let mut held = streams(&rig, &app, ROOM).await;
    let (gone, _) = watch::channel(false);
    let leaves = rig.begin(&app, Method::Get, "/pid", TestBody::none().leaving(&gone));
    let stays = async {
        queued(&app, 1).await;
        rig.get(&app, "/pid").await
    };
    let leave = async {
        queued(&app, 2).await;
        gone.send_replace(true);
        queued(&app, 1).await;
        drop(held.pop());
    };
    let (left, stayed, ()) = tokio::join!(leaves, stays, leave);
    assert!(
        matches!(left, Err(Failed::Exchange(ExchangeError::ClientGone))),
        "{left:?}"
    );
    assert!(stayed.is_ok(), "{stayed:?}");
    drop(held);
    rig.finish().await;
}

#[tokio::test]
async fn who_waits_for_a_place_gets_another_worker_when_there_may_be_one() {
    let rig = small();
    let app = app(&rig, |manifest| {
        manifest.limits.instances = instances(1, 2);
    });
    let held = streams(&rig, &app, 2 * ROOM).await;
    let busy: Vec<u32> = app
        .status()
        .instances
        .iter()
        .map(|one| one.in_flight)
        .collect();
    assert_eq!(busy, [ROOM as u32, ROOM as u32]);
    drop(held);
    rig.finish().await;
}

#[tokio::test]
async fn when_the_worker_dies_who_waits_for_a_place_gets_the_next_one() {
    let rig = small();
    let app = app(&rig, |_| {});
    let pid = rig.pid(&app).await;
    let mut held = streams(&rig, &app, ROOM).await;
    let waits = rig.get(&app, "/pid");
    let kill = async {
        queued(&app, 1).await;
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (answer, ()) = tokio::join!(waits, kill);
    assert_ne!(answer.unwrap().text(), pid.to_string());
    let last = read_all(held.pop().unwrap()).await;
    assert!(last.is_err(), "{last:?}");
    drop(held);
    rig.finish().await;
}

#[tokio::test]
async fn a_restart_does_not_wait_for_places() {
    let rig = small();
    let app = app(&rig, |_| {});
    let pid = rig.pid(&app).await;
    let held = streams(&rig, &app, ROOM).await;
    let waits = rig.get(&app, "/pid");
    let restart = async {
        queued(&app, 1).await;
        app.restart();
    };
    let (answer, ()) = tokio::join!(waits, restart);
    assert_ne!(answer.unwrap().text(), pid.to_string());
    drop(held);
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Restarted);
    rig.finish().await;
}

#[tokio::test]
async fn a_retired_app_lets_nobody_wait_for_a_place() {
    let rig = small();
    let app = app(&rig, |_| {});
    let held = streams(&rig, &app, ROOM).await;
    let waits = rig.get(&app, "/pid");
    let retire = async {
        queued(&app, 1).await;
        app.retire(buntime_pool::Retirement::Replaced);
    };
    let (failed, ()) = tokio::join!(waits, retire);
    assert!(
        matches!(failed, Err(Failed::Exchange(ExchangeError::Retired))),
        "{failed:?}"
    );
    drop(held);
    rig.finish().await;
}
