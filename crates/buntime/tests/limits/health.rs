//! What is said of the sandbox.

use buntime_testkit::api::ROOT_KEY;

use super::{api, server};

#[test]
fn health_tells_who_has_a_key_what_confines_workers() {
    let server = server("{}").start();
    let told = server.wait_for_log(|line| line.value()["context"] == "sandbox");
    let health = api(&server, "/api/health").json();
    assert_eq!(health["ok"], true);
    let sandbox = &health["sandbox"];
    let layers = told.text("layers");
    match sandbox["landlock"].as_u64() {
        Some(version) => assert!(layers.contains(&format!("landlock {version}"))),
        None => assert!(!layers.contains("landlock")),
    }
    assert_eq!(sandbox["seccomp"], layers.contains("seccomp"));
    assert_eq!(sandbox["namespaces"], layers.contains("namespaces"));
    let missing = sandbox["missing"].as_array().unwrap();
    assert_eq!(missing.is_empty(), told.text("missing").is_empty());
    let metrics = api(&server, "/api/metrics").text();
    let landlock = sandbox["landlock"].as_u64().unwrap_or(0);
    let series = format!("buntime_sandbox_layer{{layer=\"landlock\"}} {landlock}");
    assert!(metrics.contains(&series), "{metrics}");
}

#[test]
fn health_tells_nobody_else() {
    let server = server("{}").start();
    for (target, key) in [
        ("/api/health", ""),
        ("/api/health/ready", "a wrong key"),
        ("/health", ROOT_KEY),
    ] {
        let headers = [("x-api-key", key)];
        let headers = if key.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        let response = server.connect().request("GET", target, headers, b"");
        assert_eq!(response.status, 200);
        let mut names: Vec<_> = response
            .json()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        assert_eq!(names, ["ok", "status", "version"], "{target}");
    }
}
