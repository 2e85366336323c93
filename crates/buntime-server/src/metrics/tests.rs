use std::time::Duration;

use buntime_core::access::Namespaces;
use buntime_pool::{AppStatus, ExitReason, PoolStatus};

use super::*;
use crate::audit::{Audit, Limits};
use crate::logging::Logger;
use crate::sandbox::Layers;

fn deployed(metrics: &Metrics, id: &str) -> Arc<AppCounters> {
    let (name, _) = id.rsplit_once('@').unwrap();
    metrics.deployed(&id.into(), &name.try_into().unwrap())
}

fn status(ids: &[&str]) -> PoolStatus {
    let app = |id: &&str| AppStatus {
        id: (*id).to_owned(),
        instances: Vec::new(),
        requests: 0,
        queued: 3,
        start_failures: 0,
        crash_loop: None,
        last_exit: None,
    };
    PoolStatus {
        size: 10,
        used: 2,
        blanks: 3,
        queued: 0,
        apps: ids.iter().map(app).collect(),
    }
}

fn seen_by(metrics: &Metrics, pool: &PoolStatus, reader: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Limits::default(), Logger::capture().0).unwrap();
    let stranger = std::net::IpAddr::from([127, 0, 0, 1]).into();
    audit.refuse_stranger(&stranger, "AUTH_REQUIRED");
    let reader = Namespaces::parse(reader.iter().copied()).unwrap();
    let facts = Facts {
        pool,
        audit: &audit,
        sandbox: Layers {
            landlock: Some(crate::sandbox::Landlock(7)),
            calls: true,
            namespaces: None,
            network: false,
            broker: false,
        },
        reader: &reader,
    };
    report(metrics, &facts)
}

/// What Prometheus would refuse fails here: samples outside of their family, a family
/// or a series twice, histograms that go down.
fn check(text: &str) {
    let (mut families, mut series) = (std::collections::HashSet::new(), Vec::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(family));
        } else {
            assert!(line.starts_with(family), "{line} in {family}");
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            assert!(!series.contains(&name), "{name} twice");
            series.push(name);
        }
    }
}

#[test]
fn a_report_tells_what_was_counted() {
    let metrics = Metrics::default();
    let app = deployed(&metrics, "@a/shop@1.0.0");
    app.answered(200, Duration::from_micros(900));
    app.answered(204, Duration::from_millis(3));
    app.answered(502, Duration::from_secs(60));
    app.aborted();
    app.csrf_refused();
    metrics
        .of(Some("@a/shop@1.0.0"))
        .started(Duration::from_millis(20), 2);
    metrics
        .of(Some("@a/shop@1.0.0"))
        .exited(ExitReason::Timeout);
    metrics.of(None).exited(ExitReason::Surplus);
    metrics.own().answered(404, Duration::ZERO);
    let text = seen_by(&metrics, &status(&["@a/shop@1.0.0"]), &["*"]);
    check(&text);
    for line in [
        r#"buntime_app_requests_total{app="@a/shop@1.0.0",class="2xx"} 2"#,
        r#"buntime_app_requests_total{app="@a/shop@1.0.0",class="5xx"} 1"#,
        r#"buntime_app_requests_total{app="@a/shop@1.0.0",class="aborted"} 1"#,
        r#"buntime_app_request_duration_seconds_bucket{app="@a/shop@1.0.0",le="0.001"} 1"#,
        r#"buntime_app_request_duration_seconds_bucket{app="@a/shop@1.0.0",le="0.01"} 2"#,
        r#"buntime_app_request_duration_seconds_bucket{app="@a/shop@1.0.0",le="30"} 2"#,
        r#"buntime_app_request_duration_seconds_bucket{app="@a/shop@1.0.0",le="+Inf"} 3"#,
        r#"buntime_app_request_duration_seconds_sum{app="@a/shop@1.0.0"} 60.0039"#,
        r#"buntime_app_request_duration_seconds_count{app="@a/shop@1.0.0"} 3"#,
        r#"buntime_app_csrf_refusals_total{app="@a/shop@1.0.0"} 1"#,
        r#"buntime_worker_starts_total{app="@a/shop@1.0.0"} 1"#,
        r#"buntime_worker_start_seconds_total{app="@a/shop@1.0.0"} 0.02"#,
        r#"buntime_worker_blocked_variables_total{app="@a/shop@1.0.0"} 2"#,
        r#"buntime_worker_exits_total{app="@a/shop@1.0.0",reason="timeout"} 1"#,
        r#"buntime_worker_exits_total{app="blank",reason="surplus"} 1"#,
        r#"buntime_workers{app="blank",state="ready"} 3"#,
        r#"buntime_queued_requests{app="@a/shop@1.0.0"} 3"#,
        r#"buntime_own_requests_total{class="4xx"} 1"#,
        r#"buntime_refusals_total{code="AUTH_REQUIRED"} 1"#,
        "buntime_pool_size 10",
        "buntime_audit_available 1",
        r#"buntime_sandbox_layer{layer="landlock"} 7"#,
        r#"buntime_sandbox_layer{layer="seccomp"} 1"#,
        r#"buntime_sandbox_layer{layer="namespaces"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_key_of_a_namespace_is_told_of_nothing_else() {
    let metrics = Metrics::default();
    let ids = ["@a/x@1.0.0", "@b/x@1.0.0", "x@1.0.0"];
    for id in ids {
        deployed(&metrics, id).answered(200, Duration::ZERO);
        metrics.of(Some(id)).exited(ExitReason::IdleTtl);
    }
    metrics.of(None).exited(ExitReason::Surplus);
    metrics.own().answered(200, Duration::ZERO);
    let text = seen_by(&metrics, &status(&ids), &["@A"]);
    check(&text);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for line in samples {
        assert!(line.contains(r#"app="@a/x@1.0.0""#), "{line}");
    }
    let all = seen_by(&metrics, &status(&ids), &["*"]);
    check(&all);
    assert!(ids.iter().all(|id| all.contains(&format!("app=\"{id}\""))));
}

#[test]
fn what_was_counted_outlasts_a_redeploy_and_is_bounded() {
    let metrics = Metrics::default();
    deployed(&metrics, "x@1.0.0").answered(200, Duration::ZERO);
    deployed(&metrics, "x@1.0.0").answered(200, Duration::ZERO);
    let again = deployed(&metrics, "x@1.0.0");
    assert_eq!(again.requests().unwrap().by_class[1], 2);
    let many: Vec<_> = (0..MOST_APPS + 10)
        .map(|n| deployed(&metrics, &format!("app{n}@1.0.0")))
        .collect();
    assert_eq!(metrics.0.apps.read().len(), MOST_APPS);
    assert_eq!(many.last().unwrap().id(), "others");
    drop(many);
    assert_eq!(deployed(&metrics, "new@1.0.0").id(), "new@1.0.0");
    assert_eq!(metrics.0.apps.read().len(), 2, "x and the new one");
    assert_eq!(again.requests().unwrap().by_class[1], 2);
}

#[test]
fn threads_lose_no_count() {
    let metrics = Metrics::default();
    let app = deployed(&metrics, "x@1.0.0");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..10_000_u16 {
                    app.answered(100 + n % 600, Duration::from_micros(n.into()));
                }
            });
        }
    });
    let requests = app.requests().unwrap();
    assert_eq!(requests.by_class.iter().sum::<u64>(), 80_000);
    assert_eq!(requests.by_time.iter().sum::<u64>(), 80_000);
}
