//! "When the runtime injects <base href> into HTML responses, the value is escaped."

use buntime_testkit::TestServer;

use crate::support::{KEPT, server};

const PAGE: &str = "<!doctype html><HEAD lang=en><title>t</title></head><body>hello</body>";

/// A static app whose pages get a base.
fn with_base(manifest: &str) -> TestServer {
    let manifest = format!("injectBase: true\n{manifest}");
    server()
        .app("app@1.0.0", &manifest, &[("index.html", PAGE)])
        .start()
}

/// The page under a path, as a proxy asks for it.
fn page(server: &TestServer, target: &str, prefix: &str) -> String {
    let headers: &[(&str, &str)] = &[("X-Forwarded-Prefix", prefix)];
    let headers = if prefix.is_empty() { &[] } else { headers };
    let response = server.connect().request("GET", target, headers, b"");
    assert_eq!(response.status, 200, "{target}: {response:?}");
    response.text()
}

/// What stands in the only base of a page.
#[track_caller]
fn base_of(page: &str) -> &str {
    let (before, rest) = page.split_once("<base href=\"").unwrap();
    assert!(before.ends_with("<HEAD lang=en>"), "{page}");
    let (value, after) = rest.split_once('"').unwrap();
    assert!(!after.contains("<base"), "{page}");
    value
}

/// A prefix that holds the character is no plain path, and is not used at all.
#[track_caller]
fn never_from_a_prefix(character: char) {
    let server = with_base("");
    for prefix in [
        format!("/{character}"),
        format!("/a{character}b"),
        format!("/{character}><script>alert(1)</script>"),
    ] {
        let page = page(&server, "/app/", &prefix);
        assert_eq!(base_of(&page), "/app/", "{prefix}");
        assert!(!page.contains("<script>"), "{prefix}");
    }
}

#[test]
fn ampersand() {
    never_from_a_prefix('&');
}

#[test]
fn double_quote() {
    never_from_a_prefix('"');
}

#[test]
fn single_quote() {
    never_from_a_prefix('\'');
}

#[test]
fn less_than() {
    never_from_a_prefix('<');
    let page = page(&with_base(""), "/app@<2.0.0/", "");
    assert_eq!(base_of(&page), "/app@&lt;2.0.0/");
}

#[test]
fn greater_than() {
    never_from_a_prefix('>');
    let page = page(&with_base(""), "/app@>=1.0.0/", "");
    assert_eq!(base_of(&page), "/app@&gt;=1.0.0/");
}

#[test]
fn backslash() {
    never_from_a_prefix('\\');
}

#[test]
fn a_manipulated_x_forwarded_prefix_is_ignored() {
    let server = with_base("");
    for prefix in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "\"><script>alert(1)</script>",
        "/a b",
        "/a%22b",
        "a",
        "/a?b",
        "/a#b",
    ] {
        let page = page(&server, "/app/", prefix);
        assert!(!page.contains("evil") && !page.contains("alert"), "{page}");
        assert!(base_of(&page).starts_with("/app"), "{prefix}: {page}");
    }
    assert_eq!(
        base_of(&page(&server, "/app/", "/proxy/a")),
        "/proxy/a/app/"
    );
}

#[test]
fn a_prefix_counts_from_a_trusted_proxy_alone() {
    let server = server()
        .env("RUNTIME_TRUSTED_PROXIES", "none")
        .app("app@1.0.0", "injectBase: true\n", &[("index.html", PAGE)])
        .start();
    assert_eq!(base_of(&page(&server, "/app/", "/proxy")), "/app/");
}

#[test]
fn nothing_is_injected_unless_the_app_asks_for_it() {
    let server = server()
        .app("app@1.0.0", "injectBase: false\n", &[("index.html", PAGE)])
        .start();
    assert_eq!(page(&server, "/app/", "/proxy"), PAGE);
}

#[test]
fn pages_of_workers_are_under_the_same_rules() {
    let module = format!(
        "export default {{ fetch: () => new Response({PAGE:?}, {{ headers: {{ 'content-type': 'text/html' }} }}) }};\n"
    );
    let manifest = format!("{KEPT}injectBase: true\n");
    let server = server().module("app@1.0.0", &manifest, &module).start();
    assert_eq!(base_of(&page(&server, "/app/", "/proxy")), "/proxy/app/");
    let evil = page(&server, "/app/", "/\"><script>alert(1)</script>");
    assert_eq!(base_of(&evil), "/app/");
    assert_eq!(
        base_of(&page(&server, "/app@>=1.0.0/", "")),
        "/app@&gt;=1.0.0/"
    );
}

#[test]
fn public_variables_cannot_close_their_script() {
    let manifest = "env:\n  PUBLIC_NAME: \"</script><script>alert(1)</script><!--\"\n  SECRET_WORD: canary\n  \
                    GREETING: canary\n";
    let server = with_base(manifest);
    let page = page(&server, "/app/", "");
    assert!(page.contains("window.__env__"), "{page}");
    assert!(page.contains("PUBLIC_NAME"), "{page}");
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    assert_eq!(page.matches("</script").count(), 1, "{page}");
    assert!(!page.contains("<!--") && !page.contains("canary"), "{page}");
}
