//! The probes tell the truth (threat T37).

use std::fs;

use super::server;

#[test]
fn t37_a_server_whose_apps_cannot_be_read_is_alive_and_not_ready() {
    let server = server().start();
    let ready = || server.get("/health/ready");
    assert_eq!(ready().status, 200);
    let (apps, away) = (server.dir().join("apps"), server.dir().join("away"));
    fs::rename(&apps, &away).unwrap();
    server.wait_until("not ready", || ready().status == 503);
    assert_eq!(ready().json()["status"], "impaired");
    for alive in ["/health", "/health/live", "/api/health"] {
        assert_eq!(server.get(alive).status, 200, "{alive}");
    }
    fs::rename(&away, &apps).unwrap();
    server.wait_until("ready again", || ready().status == 200);
    assert!(
        server
            .log()
            .iter()
            .any(|line| line.message() == "Not ready")
    );
}
