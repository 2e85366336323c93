//! Responses that are none, and requests that break off.

use std::sync::Arc;
use std::time::Duration;

use buntime_http::{BodyError, Method};
use buntime_pool::{App, ExchangeError, WorkerBodyError};
use bytes::Bytes;

use crate::support::{Failed, Rig, TestBody};

fn fake_app(rig: &Rig) -> Arc<App> {
    rig.app("fake", "", |manifest| {
        manifest.timeout = Duration::from_secs(5)
    })
}

#[tokio::test]
async fn what_is_no_response_fails_its_own_request() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    let pid = rig.pid(&app).await;
    for path in ["/garbage", "/half-head", "/close", "/header-flood"] {
        let failed = rig.get(&app, path).await.unwrap_err();
        assert!(
            matches!(failed, Failed::Exchange(ExchangeError::BadResponse(_))),
            "{path}: {failed:?}"
        );
    }
    let failed = rig.get(&app, "/failure").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Threw)),
        "{failed:?}"
    );
    assert_eq!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_whole_body() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    for path in ["/short", "/short-chunk"] {
        let failed = rig.get(&app, path).await.unwrap_err();
        assert!(
            matches!(failed, Failed::Body(WorkerBodyError::Truncated)),
            "{path}: {failed:?}"
        );
    }
    let failed = rig.get(&app, "/bad-chunk").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Body(WorkerBodyError::Framing)),
        "{failed:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn bytes_past_a_response_answer_nobody() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    for _ in 0..10 {
        assert_eq!(rig.text(&app, "/long").await, "long");
        assert_eq!(rig.text(&app, "/twice").await, "one");
        assert_eq!(rig.text(&app, "/mine").await, "/mine");
    }
    rig.finish().await;
}

#[tokio::test]
async fn other_framings_are_read() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    assert_eq!(rig.text(&app, "/until-close").await, "until the end");
    let trailers = rig.get(&app, "/trailers").await.unwrap();
    assert_eq!(trailers.text(), "ok");
    assert_eq!(
        trailers.trailers.unwrap().get_named(b"x-sum"),
        Some(&b"1"[..])
    );
    let hinted = rig.get(&app, "/informational").await.unwrap();
    assert_eq!((hinted.head.status, hinted.text().as_str()), (200, "final"));
    assert_eq!(hinted.hints.len(), 1);
    assert_eq!(hinted.head.headers.get_named(b"x-buntime-x"), None);
    rig.finish().await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    for _ in 0..20 {
        assert_eq!(rig.text(&app, "/close-later").await, "bye");
        assert_eq!(rig.text(&app, "/next").await, "/next");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_head_that_never_ends_runs_into_the_timeout() {
    let rig = Rig::fake();
    let app = rig.app("drip", "", |manifest| {
        manifest.timeout = Duration::from_millis(300)
    });
    let failed = rig.get(&app, "/drip").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Timeout)),
        "{failed:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_request_body_that_fails_is_the_clients_fault() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    for length in [None, Some(1000)] {
        let body = TestBody::failing(length, BodyError::TooLarge);
        let failed = rig
            .send(&app, Method::Post, "/echo", body)
            .await
            .unwrap_err();
        assert!(
            matches!(
                failed,
                Failed::Exchange(ExchangeError::Body(BodyError::TooLarge))
            ),
            "{failed:?}"
        );
    }
    // More or less than was announced must not become another request.
    for length in [2, 50] {
        let body = TestBody::of(Some(length), vec![Bytes::from_static(b"twelve bytes")]);
        let failed = rig
            .send(&app, Method::Post, "/echo", body)
            .await
            .unwrap_err();
        assert!(
            matches!(
                failed,
                Failed::Exchange(ExchangeError::Body(BodyError::Framing))
            ),
            "{failed:?}"
        );
    }
    assert_eq!(rig.text(&app, "/fine").await, "/fine");
    rig.finish().await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_does_not_cost_the_worker_its_life() {
    let rig = Rig::fake();
    let app = rig.app("patient", "", |manifest| {
        manifest.timeout = Duration::from_secs(1);
    });
    let pid = rig.pid(&app).await;
    let slow = TestBody::of(Some(1000), vec![Bytes::from_static(b"some")]).endless();
    let begun = rig.begin(&app, Method::Post, "/echo", slow);
    let waited = tokio::time::timeout(Duration::from_millis(2500), begun).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(rig.pid(&app).await, pid);
    rig.finish().await;
}

#[tokio::test]
async fn a_worker_may_answer_before_it_has_read_the_body() {
    let rig = Rig::fake();
    let app = fake_app(&rig);
    let large = vec![Bytes::from(vec![b'x'; 1 << 20]); 8];
    let answer = rig
        .send(&app, Method::Post, "/early", TestBody::of(None, large))
        .await;
    assert_eq!(answer.unwrap().text(), "early");
    rig.finish().await;
}
