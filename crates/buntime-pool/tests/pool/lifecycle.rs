//! Replacing apps, stopping, and what an earlier run left.

use std::sync::Arc;
use std::time::Duration;

use buntime_core::Manifest;
use buntime_http::Method;
use buntime_pool::{ExchangeError, ExitReason, StartError};

use crate::support::{Failed, Rig, TestBody, read_all, soon};

const SOURCE: &str = r#"
export default async (req) => {
  const { pathname } = new URL(req.url);
  if (pathname === "/wait") await Bun.sleep(300);
  if (pathname === "/hang") {
    console.log("hanging");
    await new Promise(() => {});
  }
  if (pathname === "/drip") return new Response(new ReadableStream({
    async start(c) { c.enqueue("a"); await Bun.sleep(300); c.enqueue("b"); c.close(); },
  }));
  return new Response(String(process.pid));
};
"#;

fn manifest(ttl: u64) -> Manifest {
    let mut manifest = Manifest::default();
    manifest.ttl = Duration::from_secs(ttl);
    manifest
}

#[tokio::test]
async fn two_deployments_of_an_app_go_on_side_by_side_until_one_is_retired() {
    let rig = Rig::fake();
    let first = rig.pool.app(rig.spec("a", "", manifest(60)));
    let second = rig.pool.app(rig.spec("a", "", manifest(60)));
    assert_ne!(rig.pid(&first).await, rig.pid(&second).await);
    first.retire(buntime_pool::Retirement::Replaced);
    let failed = rig.get(&first, "/").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Retired)),
        "{failed:?}"
    );
    assert_eq!(rig.text(&second, "/served").await, "/served");
    rig.finish().await;
}

#[tokio::test]
async fn a_replaced_app_finishes_what_it_has_begun() {
    let rig = Rig::real();
    let old = rig.pool.app(rig.spec("a", SOURCE, manifest(60)));
    let pid = rig.pid(&old).await;
    let dripping = rig
        .begin(&old, Method::Get, "/drip", TestBody::none())
        .await
        .unwrap();
    let new = rig.pool.app(rig.spec("a", SOURCE, manifest(61)));
    assert_ne!(rig.pid(&new).await, pid);
    old.retire(buntime_pool::Retirement::Replaced);
    let answer = soon("the old body", read_all(dripping)).await.unwrap();
    assert_eq!(answer.text(), "ab");
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Retired);
    rig.finish().await;
}

#[tokio::test]
async fn a_stop_waits_for_requests_but_not_for_ever() {
    let rig = Rig::real();
    let app = rig.pool.app(rig.spec("a", SOURCE, manifest(60)));
    let stuck = rig.pool.app(rig.spec("b", SOURCE, manifest(60)));
    let (pid, stuck_pid) = (rig.pid(&app).await, rig.pid(&stuck).await);
    let dripping = rig
        .begin(&app, Method::Get, "/drip", TestBody::none())
        .await
        .unwrap();
    let hanging = rig.get(&stuck, "/hang");
    let stop = async {
        rig.events.line("hanging").await;
        rig.pool.shutdown(Duration::from_secs(1)).await;
    };
    let (answer, hung, ()) = tokio::join!(read_all(dripping), hanging, stop);
    assert_eq!(answer.unwrap().text(), "ab");
    assert!(
        matches!(hung, Err(Failed::Exchange(ExchangeError::Crashed))),
        "{hung:?}"
    );
    for pid in [pid, stuck_pid] {
        assert_eq!(rig.events.exit_of(pid).await, ExitReason::ServerStopping);
    }
    let refused = rig.get(&app, "/").await.unwrap_err();
    assert!(
        matches!(refused, Failed::Exchange(ExchangeError::Retired)),
        "{refused:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_runtime_directory_belongs_to_one_pool_and_is_cleaned() {
    let rig = Rig::fake();
    let run = rig.file("run");
    let mut again = None;
    let config = |config: &mut buntime_pool::PoolConfig| again = Some(config.clone());
    let other = Rig::with(buntime_testkit::fake_bun(), config);
    let mut again = again.unwrap();
    again.runtime_dir = run.clone();
    let refused = buntime_pool::Pool::start(again.clone());
    assert!(
        matches!(refused, Err(StartError::RuntimeDir { .. })),
        "{refused:?}"
    );
    let gone = other.file("elsewhere");
    std::fs::create_dir_all(gone.join("slots/stale/tmp")).unwrap();
    again.runtime_dir = gone.clone();
    again.blanks = 0;
    let pool = buntime_pool::Pool::start(again).unwrap();
    assert!(!gone.join("slots/stale").exists());
    pool.shutdown(Duration::from_secs(1)).await;
    other.finish().await;
    rig.finish().await;
}

#[tokio::test]
async fn no_bun_is_said_at_the_start() {
    let rig = Rig::fake();
    let mut config = None;
    let other = Rig::with(buntime_testkit::fake_bun(), |given| {
        config = Some(given.clone())
    });
    let mut config = config.unwrap();
    config.bun = rig.file("no-bun");
    let refused = buntime_pool::Pool::start(config);
    assert!(
        matches!(refused, Err(StartError::NoBun { .. })),
        "{refused:?}"
    );
    other.finish().await;
    rig.finish().await;
}

/// What the server spawns and moves between threads must allow it.
#[test]
fn exchanges_are_send() {
    fn send<T: Send>(_: T) {}
    fn check(
        rig: &'static Rig,
        app: &'static Arc<buntime_pool::App>,
        request: buntime_pool::WorkerRequest<'static>,
    ) {
        let mut body: Option<Box<dyn buntime_http::BodySource>> = None;
        send(app.exchange(&rig.connections, request, &mut body));
    }
    let _ = check;
}
