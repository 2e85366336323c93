//! New workers on request, the end of removed apps, and what an app shows of itself.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use buntime_http::Method;
use buntime_pool::{ExchangeError, ExitReason, InstanceState, Retirement};

use crate::support::{Event, Failed, Rig, TestBody, instances, read_all, soon};

/// Numbers its processes: the number outlives none of them.
const SOURCE: &str = r#"
export default async (req) => {
  const { pathname } = new URL(req.url);
  if (pathname === "/drip") return new Response(new ReadableStream({
    async start(c) { c.enqueue("a"); await Bun.sleep(300); c.enqueue("b"); c.close(); },
  }));
  if (pathname === "/endless") return new Response(new ReadableStream({
    start(c) { c.enqueue("a"); },
  }));
  return new Response(String(process.pid));
};
"#;

#[tokio::test]
async fn after_a_restart_requests_get_a_new_process_and_old_ones_are_finished() {
    let rig = Rig::real();
    let app = rig.app("a", SOURCE, |_| {});
    let pid = rig.pid(&app).await;
    let dripping = rig
        .begin(&app, Method::Get, "/drip", TestBody::none())
        .await
        .unwrap();
    app.restart();
    assert_ne!(rig.pid(&app).await, pid);
    let answer = soon("the old body", read_all(dripping)).await.unwrap();
    assert_eq!(answer.text(), "ab");
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Restarted);
    rig.finish().await;
}

#[tokio::test]
async fn restarts_under_load_lose_no_request_and_no_answer_is_of_an_older_process() {
    let rig = Arc::new(Rig::real());
    let app = rig.app("a", SOURCE, |manifest| {
        manifest.limits.instances = instances(1, 2);
    });
    let done = Arc::new(AtomicBool::new(false));
    rig.pid(&app).await;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (rig, app, done) = (Arc::clone(&rig), Arc::clone(&app), Arc::clone(&done));
            async move {
                let mut served = 0;
                while !done.load(Ordering::Relaxed) {
                    rig.text(&app, "/").await;
                    served += 1;
                }
                served
            }
        })
        .collect();
    let restarts = async {
        let mut before = Vec::new();
        for _ in 0..8 {
            before.extend(app.status().instances.iter().map(|instance| instance.pid));
            app.restart();
            let pid = rig.pid(&app).await;
            assert!(!before.contains(&pid), "{pid} is older than the restart");
        }
        done.store(true, Ordering::Relaxed);
    };
    let (served, ()) = tokio::join!(futures_of(clients), restarts);
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    Arc::try_unwrap(rig).ok().unwrap().finish().await;
}

async fn futures_of<F: Future<Output = u32>>(futures: Vec<F>) -> Vec<u32> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut results = vec![None; futures.len()];
    std::future::poll_fn(|cx| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *result = Some(value);
            }
        }
        match results.iter().copied().collect::<Option<Vec<_>>>() {
            Some(all) => std::task::Poll::Ready(all),
            None => std::task::Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn a_restart_forgets_failed_starts() {
    let rig = Rig::real();
    let app = rig.app("a", "throw new Error('broken')", |_| {});
    loop {
        match rig.get(&app, "/").await {
            Err(Failed::Exchange(ExchangeError::StartFailed(_))) => {}
            Err(Failed::Exchange(ExchangeError::CrashLoop { .. })) => break,
            other => panic!("{other:?}"),
        }
    }
    let status = app.status();
    assert!(status.crash_loop.is_some());
    assert_eq!(status.last_exit.unwrap().reason, ExitReason::StartFailed);
    // What made it fail is gone, though none of its own files has changed.
    fs::write(&app.spec().entrypoint, SOURCE).unwrap();
    app.restart();
    assert!(app.status().crash_loop.is_none());
    assert_eq!(app.status().start_failures, 0);
    rig.pid(&app).await;
    rig.finish().await;
}

#[tokio::test]
async fn who_waits_for_a_start_that_hangs_gets_the_next_one_by_a_restart() {
    let rig = Rig::real();
    let app = rig.app("a", "await new Promise(() => {});", |manifest| {
        manifest.timeout = Duration::from_secs(20);
    });
    let waiting = rig.get(&app, "/");
    let restart = async {
        while app.status().instances.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fs::write(&app.spec().entrypoint, SOURCE).unwrap();
        app.restart();
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(waiting, restart);
    answer.unwrap().text().parse::<u32>().unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "it waited");
    let ended = |event: &Event| matches!(event, Event::Exited(_, _, ExitReason::Restarted));
    rig.events.wait_for("the hanging one", 1, ended).await;
    rig.finish().await;
}

#[tokio::test]
async fn d9_a_removed_app_ends_what_is_under_way_within_its_timeout() {
    let rig = Rig::real();
    let app = rig.app("a", SOURCE, |manifest| {
        manifest.timeout = Duration::from_secs(1);
    });
    let pid = rig.pid(&app).await;
    let endless = rig
        .begin(&app, Method::Get, "/endless", TestBody::none())
        .await
        .unwrap();
    let began = Instant::now();
    app.retire(Retirement::Removed);
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Removed);
    assert!(began.elapsed() >= Duration::from_secs(1));
    drop(endless);
    rig.finish().await;
}

#[tokio::test]
async fn an_app_shows_its_workers() {
    let rig = Rig::real();
    let app = rig.app("a", SOURCE, |_| {});
    let status = app.status();
    assert!(status.instances.is_empty() && status.last_exit.is_none());
    let pid = rig.pid(&app).await;
    let dripping = rig
        .begin(&app, Method::Get, "/drip", TestBody::none())
        .await
        .unwrap();
    let status = app.status();
    let [worker] = status.instances.as_slice() else {
        panic!("{status:?}");
    };
    assert_eq!((worker.pid, worker.state), (pid, InstanceState::Busy));
    assert_eq!((worker.requests, status.requests), (2, 2));
    assert!(worker.memory.is_some_and(|bytes| bytes > 1 << 20));
    read_all(dripping).await.unwrap();
    app.restart();
    rig.events.exit_of(pid).await;
    rig.pid(&app).await;
    let status = app.status();
    assert_eq!(status.requests, 3);
    assert_eq!(status.last_exit.unwrap().reason, ExitReason::Restarted);
    rig.finish().await;
}

#[tokio::test]
async fn an_ephemeral_app_counts_its_requests_and_keeps_no_worker() {
    let rig = Rig::real();
    let app = rig.app("a", SOURCE, |manifest| manifest.ttl = Duration::ZERO);
    for _ in 0..3 {
        rig.text(&app, "/").await;
    }
    app.restart();
    rig.text(&app, "/").await;
    let exits = |event: &Event| matches!(event, Event::Exited(_, _, ExitReason::EphemeralDone));
    rig.events.wait_for("the exits", 4, exits).await;
    let status = app.status();
    assert_eq!((status.requests, status.instances.len()), (4, 0));
    assert!(status.last_exit.is_none());
    rig.finish().await;
}
