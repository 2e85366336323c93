//! Workers that stay.

use std::collections::BTreeSet;
use std::time::Duration;

use buntime_pool::{ExchangeError, ExitReason};

use crate::support::{Event, Failed, Rig, instances};

const HELLO: &str = r#"
let calls = 0;
export default {
  fetch(req) {
    calls++;
    const { pathname } = new URL(req.url);
    if (pathname === "/pid") return new Response(String(process.pid));
    if (pathname === "/env") return Response.json(process.env);
    if (pathname === "/exit") process.exit(5);
    if (pathname === "/exit-later") { setTimeout(() => process.exit(5), 1); return new Response("soon"); }
    if (pathname === "/throw") throw new Error("on purpose");
    if (pathname === "/bad") return Response.error();
    if (pathname === "/spin") { for (;;); }
    if (pathname === "/slow") return Bun.sleep(300).then(() => new Response(String(process.pid)));
    if (pathname === "/id") return new Response(req.headers.get("x-request-id"));
    return new Response("hello " + calls);
  },
};
"#;

#[tokio::test]
async fn one_worker_answers_all() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |_| {});
    assert_eq!(rig.text(&app, "/").await, "hello 1");
    assert_eq!(rig.text(&app, "/?again").await, "hello 2");
    assert_eq!(rig.text(&app, "/id").await, "test-id");
    let status = app.status();
    assert_eq!(status.instances.len(), 1);
    assert_eq!(status.instances[0].requests, 3);
    assert_eq!(rig.pool.status().used, 1);
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_gets_the_contracts_environment_and_nothing_else() {
    let rig = Rig::real();
    let mut spec = rig.spec("hello", HELLO, {
        let mut manifest = buntime_core::Manifest::default();
        manifest.ttl = Duration::from_secs(60);
        manifest
    });
    spec.env.insert("GREETING".to_owned(), "hi".to_owned());
    spec.env.insert("WORKER_ID".to_owned(), "mine".to_owned());
    let app = rig.pool.app(spec);
    let env: serde_json::Value = serde_json::from_str(&rig.text(&app, "/env").await).unwrap();
    let names: BTreeSet<&str> = env
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "APP_DIR",
        "DATA_DIR",
        "ENTRYPOINT",
        "GREETING",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NODE_ENV",
        "NODE_USE_ENV_PROXY",
        "NO_PROXY",
        "PATH",
        "RUNTIME_API_URL",
        "TMPDIR",
        "WORKER_CONFIG",
        "WORKER_ID",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(env["WORKER_ID"], app.status().instances[0].id.to_string());
    rig.finish().await;
}

#[tokio::test]
async fn concurrent_first_requests_share_one_start() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |_| {});
    let pids = (0..20).map(|_| rig.pid(&app));
    let pids: BTreeSet<u32> = futures(pids).await.into_iter().collect();
    assert_eq!(pids.len(), 1);
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_that_is_gone_is_replaced() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |_| {});
    let first = rig.pid(&app).await;
    assert_eq!(rig.text(&app, "/exit-later").await, "soon");
    rig.events.exit_of(first).await;
    let second = rig.pid(&app).await;
    assert_ne!(first, second);
    // And killed from outside, without waiting for the news.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(second.try_into().unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    while let Err(Failed::Exchange(error)) = rig.get(&app, "/").await {
        assert!(matches!(error, ExchangeError::Crashed), "{error:?}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_request_that_kills_its_worker_gets_crashed() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |_| {});
    let pid = rig.pid(&app).await;
    let failed = rig.get(&app, "/exit").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Crashed)),
        "{failed:?}"
    );
    let reason = rig.events.exit_of(pid).await;
    assert_eq!(reason, ExitReason::Crashed(buntime_pool::Death::Code(5)));
    assert_eq!(rig.text(&app, "/").await, "hello 1");
    rig.finish().await;
}

#[tokio::test]
async fn an_app_that_throws_fails_that_request_alone() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |_| {});
    let pid = rig.pid(&app).await;
    let threw = rig.get(&app, "/throw").await.unwrap_err();
    assert!(
        matches!(threw, Failed::Exchange(ExchangeError::Threw)),
        "{threw:?}"
    );
    let bad = rig.get(&app, "/bad").await.unwrap_err();
    assert!(
        matches!(bad, Failed::Exchange(ExchangeError::BadResponse(_))),
        "{bad:?}"
    );
    rig.events
        .wait("the reason", |event| match event {
            Event::AppError(source, Some(id), detail)
                if source == "handler" && id == "test-id" && detail.contains("on purpose") =>
            {
                Some(())
            }
            _ => None,
        })
        .await;
    assert_eq!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_that_spins_is_killed_and_replaced() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |manifest| {
        manifest.timeout = Duration::from_secs(1)
    });
    let pid = rig.pid(&app).await;
    let neighbour = rig.app("other", HELLO, |_| {});
    let (spun, _) = tokio::join!(rig.get(&app, "/spin"), rig.text(&neighbour, "/"));
    let failed = spun.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Timeout)),
        "{failed:?}"
    );
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Timeout);
    assert_ne!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn recycling_loses_no_request() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |manifest| manifest.max_requests = 7);
    let mut pids = BTreeSet::new();
    while pids.len() < 4 {
        pids.extend(futures((0..4).map(|_| rig.pid(&app))).await);
    }
    let recycled = |event: &Event| match event {
        Event::Exited(_, _, ExitReason::MaxRequests) => Some(()),
        _ => None,
    };
    rig.events.wait("a recycled worker", recycled).await;
    rig.finish().await;
}

#[tokio::test]
async fn more_workers_start_when_all_are_busy() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |manifest| {
        manifest.limits.instances = instances(1, 3)
    });
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        seen.extend(futures((0..6).map(|_| rig.text(&app, "/slow"))).await);
        assert!(app.status().instances.len() <= 3);
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_minimum_of_workers_is_kept() {
    let rig = Rig::real();
    let app = rig.app("hello", HELLO, |manifest| {
        manifest.limits.instances = instances(3, 3)
    });
    rig.text(&app, "/").await;
    let mut started = 0;
    rig.events
        .wait("three workers", |event| {
            started += usize::from(matches!(event, Event::Started(..)));
            (started >= 3).then_some(())
        })
        .await;
    rig.finish().await;
}

#[tokio::test]
async fn a_full_pool_retires_the_least_recently_used() {
    let rig = Rig::with(buntime_testkit::real_bun(), |config| config.size = 2);
    let apps = ["a", "b", "c"].map(|name| rig.app(name, HELLO, |_| {}));
    let first = rig.pid(&apps[0]).await;
    let second = rig.pid(&apps[1]).await;
    assert_eq!(rig.pid(&apps[0]).await, first);
    rig.pid(&apps[2]).await;
    assert_eq!(rig.events.exit_of(second).await, ExitReason::Evicted);
    assert_eq!(rig.pid(&apps[0]).await, first, "used more recently");
    rig.finish().await;
}

#[tokio::test]
async fn an_idle_worker_is_told_and_then_ends() {
    let rig = Rig::real();
    let source = r#"
export default {
  fetch: () => new Response(String(process.pid)),
  onIdle: () => console.log("idle now"),
  onTerminate: () => console.log("ending now"),
};"#;
    let app = rig.app("idler", source, |manifest| {
        manifest.timeout = Duration::from_millis(50);
        manifest.idle_timeout = Duration::from_millis(100);
        manifest.ttl = Duration::from_millis(400);
        manifest.timeout = Duration::from_secs(5);
    });
    let pid = rig.pid(&app).await;
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::IdleTtl);
    let lines: Vec<String> = rig
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::Log(_, line) => Some(line),
            _ => None,
        })
        .collect();
    assert_eq!(lines, ["idle now", "ending now"]);
    assert_ne!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn a_small_app_gets_a_worker_of_its_own_flavour() {
    let rig = Rig::fake();
    let app = rig.app("small", "", |manifest| manifest.low_memory = true);
    assert!(rig.text(&app, "/args").await.starts_with("--smol\n"));
    let usual = rig.app("usual", "", |_| {});
    assert!(
        rig.text(&usual, "/args")
            .await
            .starts_with("--config=/dev/null\n--no-env-file\n--no-install\n")
    );
    rig.finish().await;
}

/// All of them at the same time.
pub(crate) async fn futures<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, value) in &mut all {
            if value.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => *value = Some(done),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    all.into_iter().filter_map(|(_, value)| value).collect()
}
