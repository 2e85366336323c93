//! K10: the server's own cookie stays between the browser and the server.

use buntime_testkit::Connection;

use super::support::{ask, ask_h2, seen, server};

#[test]
fn k10_no_app_sees_the_servers_cookie_and_its_own_stay_as_they_are() {
    let server = server();
    for (sent, left) in [
        ("a=1; b=\"2\";;c", Some("a=1; b=\"2\";;c")),
        ("a=1; buntime_session=secret-x; b=2", Some("a=1; b=2")),
        ("buntime_session=secret-x; a=%20;b", Some("a=%20;b")),
        ("a=1; __Host-buntime_session=secret-x", Some("a=1")),
        ("__host-BUNTIME_SESSION=secret-x", None),
        ("my_buntime_session=1", Some("my_buntime_session=1")),
    ] {
        for method in ["GET", "POST"] {
            let response = ask(server.addr(), method, "/say/x", &[("Cookie", sent)]);
            assert!(!response.text().contains("secret-x"));
            let cookies = seen(&response, "cookie");
            assert_eq!(cookies.first().map(String::as_str), left, "{sent}");
            assert!(cookies.len() < 2);
        }
    }
    // On lines of their own, as HTTP/2 may bring them, and with an upgrade.
    let lines = [
        ("Cookie", "a=1"),
        ("Cookie", "buntime_session=secret-x"),
        ("Cookie", "b=2"),
    ];
    let response = ask(server.addr(), "GET", "/say/x", &lines);
    assert!(!response.text().contains("secret-x"));
    let cookies = seen(&response, "cookie").join("; ");
    assert!(
        cookies.contains("a=1") && cookies.contains("b=2"),
        "{cookies}"
    );
    let crumbs = [
        ("cookie", "a=1"),
        ("cookie", "buntime_session=secret-x"),
        ("cookie", "b=2"),
    ];
    let (status, _, body) = ask_h2(server.addr(), "GET", "http://a/say/x", &crumbs);
    assert_eq!(status, 200);
    assert!(
        body.contains("a=1; b=2") && !body.contains("secret-x"),
        "{body}"
    );
}

#[test]
fn an_app_cannot_set_the_servers_cookie() {
    let server = server();
    let response = Connection::open(server.addr()).get("/say/login");
    assert_eq!(response.all("set-cookie"), ["own=x; Path=/"]);
}

#[test]
fn an_apps_own_bearer_token_and_key_reach_it() {
    let server = server();
    let headers = [
        ("Authorization", "Bearer of-the-app"),
        ("X-API-Key", "of-the-app"),
    ];
    let response = ask(server.addr(), "GET", "/say/x", &headers);
    assert_eq!(seen(&response, "authorization"), ["Bearer of-the-app"]);
    assert_eq!(seen(&response, "x-api-key"), ["of-the-app"]);
}
