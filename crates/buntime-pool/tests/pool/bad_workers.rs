//! Apps and machines on their bad days.

use std::time::{Duration, Instant};

use buntime_core::Manifest;
use buntime_pool::{ExchangeError, ExitReason, LogStream};

use crate::persistent::futures;
use crate::support::{Event, Failed, Rig, soon};

fn short(manifest: &mut Manifest) {
    manifest.timeout = Duration::from_millis(500);
}

fn mood(mood: &'static str) -> Rig {
    Rig::with(buntime_testkit::fake_bun(), |config| {
        config
            .base_env
            .push(("FAKE_BUN".to_owned(), mood.to_owned()));
    })
}

#[tokio::test]
async fn an_app_that_cannot_start_is_left_alone_until_its_files_change() {
    let rig = Rig::real();
    let app = rig.app("broken", "throw new Error('no luck')", |_| {});
    let mut failures = 0;
    let retry_after = loop {
        match rig.get(&app, "/").await.unwrap_err() {
            Failed::Exchange(ExchangeError::StartFailed(failure)) => {
                assert!(failure.message.contains("no luck"), "{failure}");
                failures += 1;
            }
            Failed::Exchange(ExchangeError::CrashLoop { retry_after }) => break retry_after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failures, 5);
    assert!(retry_after <= Duration::from_secs(1));
    assert!(app.status().crash_loop.is_some());
    // Changed files are another deployment, which has not failed.
    let source = "export default () => new Response('mended')";
    let mended = rig.app("broken", source, |_| {});
    app.retire(buntime_pool::Retirement::Replaced);
    assert_eq!(rig.text(&mended, "/").await, "mended");
    assert_eq!(mended.status().start_failures, 0);
    rig.finish().await;
}

#[tokio::test]
async fn many_requests_to_a_broken_app_start_it_five_times_at_most() {
    let rig = Rig::fake();
    let counted = rig.file("starts");
    let source = format!("count {}\nfail on purpose", counted.display());
    for ttl in [0, 3600] {
        let _ = std::fs::remove_file(&counted);
        let app = rig.app(&format!("broken{ttl}"), &source, |manifest| {
            manifest.ttl = Duration::from_secs(ttl);
        });
        for _ in 0..100 {
            rig.get(&app, "/").await.unwrap_err();
        }
        assert_eq!(std::fs::read(&counted).unwrap().len(), 5, "ttl {ttl}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn an_app_that_spins_at_import_is_killed() {
    let rig = Rig::real();
    for ttl in [0, 3600] {
        let app = rig.app(&format!("spinner{ttl}"), "for (;;);", |manifest| {
            short(manifest);
            manifest.ttl = Duration::from_secs(ttl);
        });
        let failed = rig.get(&app, "/").await.unwrap_err();
        assert!(
            matches!(failed, Failed::Exchange(ExchangeError::Timeout)),
            "{failed:?}"
        );
    }
    let mut killed = 0;
    rig.events
        .wait("both killed", |event| {
            killed += usize::from(matches!(
                event,
                Event::Exited(Some(_), _, ExitReason::Timeout)
            ));
            (killed >= 2).then_some(())
        })
        .await;
    rig.finish().await;
}

#[tokio::test]
async fn an_app_that_ends_while_it_loads_says_how() {
    let rig = Rig::fake();
    let app = rig.app("quitter", "exit 9", |_| {});
    let failed = rig.get(&app, "/").await.unwrap_err();
    let Failed::Exchange(ExchangeError::StartFailed(failure)) = failed else {
        panic!("{failed:?}");
    };
    assert!(failure.message.contains("code 9"), "{failure}");
    rig.finish().await;
}

#[tokio::test]
async fn a_bun_that_does_not_start_is_not_tried_without_end() {
    let begun = Instant::now();
    let rig = mood("exit");
    let app = rig.app("any", "", |_| {});
    let failed = rig.get(&app, "/").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::StartFailed(_))),
        "{failed:?}"
    );
    rig.events
        .wait("what Bun said", |event| match event {
            Event::Log(LogStream::Stderr, line) if line == "fake Bun cannot start" => Some(()),
            _ => None,
        })
        .await;
    // Pauses of 100, 200 and 400 milliseconds lie between them, but for the start that
    // the request asked for; a slow machine makes it later only.
    let failed = |event: &Event| matches!(event, Event::StartFailed(None, _));
    rig.events.wait_for("the sixth start", 6, failed).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "six in {took:?}");
    rig.finish().await;
}

#[tokio::test]
async fn a_bun_that_never_comes_up_costs_a_timeout() {
    for mood_name in ["hang", "deaf"] {
        let rig = mood(mood_name);
        let app = rig.app("any", "", short);
        let failed = rig.get(&app, "/").await.unwrap_err();
        assert!(
            matches!(failed, Failed::Exchange(ExchangeError::Timeout)),
            "{mood_name}: {failed:?}"
        );
        rig.finish().await;
    }
}

#[tokio::test]
async fn a_bun_without_socket_or_manners_is_no_worker() {
    for mood_name in ["no-socket", "garbage"] {
        let rig = mood(mood_name);
        let app = rig.app("any", "", |_| {});
        let failed = rig.get(&app, "/").await.unwrap_err();
        assert!(
            matches!(failed, Failed::Exchange(ExchangeError::StartFailed(_))),
            "{mood_name}: {failed:?}"
        );
        rig.finish().await;
    }
}

#[tokio::test]
async fn noise_on_the_control_channel_costs_the_worker_its_life() {
    let rig = Rig::fake();
    let app = rig.app("noisy", "noise", |_| {});
    // It may be dead before it has answered, or even before it is known to serve.
    let _ = rig.get(&app, "/pid").await;
    rig.events
        .wait("its end", |event| match event {
            Event::Exited(Some(_), _, ExitReason::Misbehaved) => Some(()),
            _ => None,
        })
        .await;
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_that_hangs_up_on_the_server_is_ended() {
    let rig = Rig::fake();
    let app = rig.app("deaf", "close-control", |_| {});
    // It may or may not have said before that it is ready.
    let _ = rig.get(&app, "/pid").await;
    rig.events
        .wait("its end", |event| match event {
            Event::Exited(Some(_), _, ExitReason::Misbehaved) => Some(()),
            _ => None,
        })
        .await;
    rig.finish().await;
}

#[tokio::test]
async fn a_flood_of_output_is_thinned_and_the_worker_serves_on() {
    let rig = Rig::fake();
    let app = rig.app("flooder", "flood", |_| {});
    let pid = rig.pid(&app).await;
    rig.events
        .wait("dropped lines", |event| match event {
            Event::Dropped(lines) if *lines > 1000 => Some(()),
            _ => None,
        })
        .await;
    assert_eq!(rig.pid(&app).await, pid);
    let lines = rig
        .events
        .all()
        .iter()
        .filter(|event| matches!(event, Event::Log(..)))
        .count();
    assert!(lines < 5000, "{lines}");
    rig.finish().await;
}

#[tokio::test]
async fn a_long_line_is_cut() {
    let rig = Rig::fake();
    let long = "é".repeat(20_000);
    let app = rig.app("talker", &format!("print {long}"), |_| {});
    rig.pid(&app).await;
    let length = rig
        .events
        .wait("the line", |event| match event {
            Event::Log(LogStream::Stdout, line) => Some(line.len()),
            _ => None,
        })
        .await;
    assert_eq!(length, 16 * 1024);
    rig.finish().await;
}

#[tokio::test]
async fn who_ignores_the_order_to_end_is_killed() {
    let rig = Rig::with(buntime_testkit::fake_bun(), |config| {
        config.terminate_grace = Duration::from_millis(100);
    });
    let app = rig.app("stubborn", "stubborn", |_| {});
    let pid = rig.pid(&app).await;
    app.retire(buntime_pool::Retirement::Replaced);
    assert_eq!(rig.events.exit_of(pid).await, ExitReason::Retired);
    rig.finish().await;
}

#[tokio::test]
async fn a_neighbour_feels_no_kill() {
    let rig = Rig::real();
    let source = "export default () => new Response(String(process.pid))";
    let victim = rig.app("victim", source, |_| {});
    let neighbour = rig.app("neighbour", source, |_| {});
    let pid = rig.pid(&neighbour).await;
    let kills = async {
        for _ in 0..30 {
            let Ok(answer) = rig.get(&victim, "/").await else {
                continue;
            };
            let pid = answer
                .text()
                .parse()
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
        }
    };
    let probes = async {
        for _ in 0..300 {
            assert_eq!(rig.pid(&neighbour).await, pid);
        }
    };
    soon(
        "both",
        futures([Box::pin(kills) as Boxed<'_>, Box::pin(probes)]),
    )
    .await;
    rig.finish().await;
}

type Boxed<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;
