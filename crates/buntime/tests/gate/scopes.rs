//! Paths of the API that name no unit.

use buntime_testkit::TestServer;
use buntime_testkit::api::{ROOT_KEY, ask_text, failed};

#[test]
fn what_is_no_scope_names_no_unit() {
    let server = TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_ROOT_KEY", ROOT_KEY)
        .start();
    for (method, path) in [
        ("GET", "/api/workers/shop/releases"),
        ("POST", "/api/workers/shop/rollback"),
        ("GET", "/api/workers/shop/logs"),
        ("DELETE", "/api/workers/shop/1.0.0"),
        ("POST", "/api/workers/acme/shop/1.0.0/disable"),
        ("POST", "/api/workers/%2540b/secret/1.0.0/disable"),
    ] {
        let response = ask_text(&server, ROOT_KEY, method, path, "");
        failed(&response, 404, "NOT_FOUND");
        assert!(
            response.text().contains("/workers/_/name"),
            "{}",
            response.text()
        );
        // Who has no key learns nothing.
        let stranger =
            server
                .connect()
                .request(method, path, &[("Origin", "http://a"), ("Host", "a")], b"");
        assert_eq!(stranger.status, 401, "{path}");
    }
    let other = ask_text(&server, ROOT_KEY, "GET", "/api/workers/_/shop", "");
    failed(&other, 405, "METHOD_NOT_ALLOWED");
}
