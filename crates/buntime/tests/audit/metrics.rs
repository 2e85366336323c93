//! The metrics as Prometheus would fetch them.

use super::support::{KEY, ask, ask_as, builder};

const HELLO: &str = "export default () => new Response('hello');";
const THROWS: &str = "export default () => { throw new Error('no'); };";

#[test]
fn metrics_tell_what_the_server_does() {
    let server = builder()
        .app(
            "kept@1.0.0",
            "ttl: 1h\nenv: {SOME_TOKEN: x}\n",
            &[("index.ts", HELLO)],
        )
        .app("brief@1.0.0", "ttl: 0\n", &[("index.ts", HELLO)])
        .app("bad@1.0.0", "ttl: 1h\n", &[("index.ts", THROWS)])
        .app(
            "site@1.0.0",
            "entrypoint: index.html\n",
            &[("index.html", "<p>site")],
        )
        .start();
    for _ in 0..3 {
        assert_eq!(server.get("/kept/").status, 200);
    }
    assert_eq!(server.get("/brief/").status, 200);
    assert_eq!(server.get("/bad/").status, 502);
    assert_eq!(server.get("/site/").status, 200);
    assert_eq!(server.get("/site/nothing.js").status, 404);
    let foreign = [("Origin", "https://evil.example")];
    assert_eq!(ask_as(&server, &foreign, "POST", "/kept/").status, 403);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.get("/nothing-here").status, 404);
    let gone = r#"buntime_worker_exits_total{app="brief@1.0.0",reason="ephemeral-done"} 1"#;
    server.wait_until("the ephemeral worker is gone", || {
        ask(&server, "GET", "/api/metrics").text().contains(gone)
    });
    let response = ask(&server, "GET", "/api/metrics");
    assert_eq!(
        response.header("content-type").unwrap(),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = response.text();
    for line in [
        r#"buntime_app_requests_total{app="kept@1.0.0",class="2xx"} 3"#,
        r#"buntime_app_requests_total{app="kept@1.0.0",class="4xx"} 1"#,
        r#"buntime_app_requests_total{app="bad@1.0.0",class="5xx"} 1"#,
        r#"buntime_app_requests_total{app="site@1.0.0",class="4xx"} 1"#,
        r#"buntime_app_request_duration_seconds_count{app="kept@1.0.0"} 4"#,
        r#"buntime_app_csrf_refusals_total{app="kept@1.0.0"} 1"#,
        r#"buntime_worker_starts_total{app="kept@1.0.0"} 1"#,
        r#"buntime_worker_blocked_variables_total{app="kept@1.0.0"} 1"#,
        r#"buntime_workers{app="kept@1.0.0",state="ready"} 1"#,
        r#"buntime_own_requests_total{class="4xx"} 1"#,
        "buntime_audit_available 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in [
        "buntime_connections",
        "buntime_pool_size",
        "process_resident_memory_bytes",
        "process_proportional_memory_bytes",
        r#"buntime_worker_memory_bytes{app="kept@1.0.0"}"#,
    ] {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let value = line
            .unwrap_or_else(|| panic!("{name}\n{text}"))
            .rsplit_once(' ');
        assert!(value.unwrap().1.parse::<f64>().unwrap() > 0.0, "{name}");
    }
    assert!(!text.contains(KEY) && !text.contains("SOME_TOKEN"));
    assert_eq!(server.get("/api/metrics").status, 401);
}
