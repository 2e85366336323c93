//! "Prevents XSS via a manipulated X-Forwarded-Prefix header or base path". The
//! escapes themselves are tested where they are made, in `buntime-server::html`:
//! no character that needs one comes that far.

use buntime_testkit::TestServer;

use crate::support::BUNTIME;

const PAGE: &str = "<!doctype html><html><head><title>x</title></head></html>";

fn server() -> TestServer {
    TestServer::builder(BUNTIME)
        .app("app@1.0.0", "injectBase: true\n", &[("index.html", PAGE)])
        .start()
}

/// The page with a base, and nothing else, in it.
fn with_base(href: &str) -> String {
    PAGE.replacen("<head>", &format!("<head><base href=\"{href}\">"), 1)
}

#[test]
fn a_manipulated_forwarded_prefix_does_not_reach_the_page() {
    let server = server();
    let mut client = server.connect();
    for prefix in [
        "/\"><script>alert(1)</script>",
        "\"onload=alert(1)//",
        "/'\"&<>\\",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)//",
        "/%22%3E",
    ] {
        let headers = [("X-Forwarded-Prefix", prefix)];
        let page = client.request("GET", "/app/", &headers, b"");
        assert_eq!(
            (page.status, page.text()),
            (200, with_base("/app/")),
            "{prefix}"
        );
    }
    let page = client.request("GET", "/app/", &[("X-Forwarded-Prefix", "/tools")], b"");
    assert_eq!(page.text(), with_base("/tools/app/"));
}

#[test]
fn a_manipulated_base_path_does_not_reach_the_page() {
    let server = server();
    let mut client = server.connect();
    for path in [
        "/app@1\"><script>alert(1)</script>/",
        "/app@1'&<>/",
        "/app@1%22%3E%3Cscript%3E/",
        "//evil.example/app/",
        "/%5Cevil.example/app/",
    ] {
        let answer = client.request("GET", path, &[], b"");
        assert!(matches!(answer.status, 308 | 404), "{path}: {answer:?}");
        assert!(
            !answer.text().contains("<base"),
            "{path}: {}",
            answer.text()
        );
    }
    let encoded = client.request("GET", "/%61pp@%5E1.0.0/", &[], b"");
    assert_eq!(encoded.text(), with_base("/%61pp@%5E1.0.0/"));
}
