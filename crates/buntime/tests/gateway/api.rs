//! The server as workers reach it.

use buntime_testkit::Connection;
use buntime_testkit::api::{ask, make_key};
use serde_json::{Value, json};

use super::support::{
    CALLER, KEY, builder, call, gateway_of, server, server_in_the_open, with_net,
};

#[test]
fn a_request_of_a_worker_is_told_by_the_name_of_its_app() {
    let server = server("none");
    let (gateway, _) = gateway_of(&server, "app");
    let answer = call(&server, "fetch", &format!("http://{gateway}/api/health"));
    assert!(answer.starts_with("200 "), "{answer}");
    let told = server
        .wait_for_log(|line| line.message() == "Request" && line.text("path") == "/api/health");
    assert_eq!(told.text("from"), "worker:app");

    let answer = call(
        &server,
        "change",
        &format!("http://{gateway}/api/plugins/reload"),
    );
    assert!(answer.starts_with("200 "), "{answer}");
    let audit = std::fs::read_to_string(server.dir().join("state/audit.log")).unwrap();
    let line: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    assert_eq!(line["address"], "worker:app", "{line}");
}

#[test]
fn strangers_among_workers_are_counted_by_their_app() {
    let mut server = server("none");
    let (gateway, _) = gateway_of(&server, "app");
    let answer = call(&server, "fetch", &format!("http://{gateway}/api/keys"));
    assert!(answer.starts_with("401 "), "{answer}");
    server.terminate();
    server.wait_exit(std::time::Duration::from_secs(20));
    let audit = std::fs::read_to_string(server.dir().join("state/audit.log")).unwrap();
    let found = audit.lines().any(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["address"] == "worker:app" && line["counts"]["AUTH_REQUIRED"] == 1
    });
    assert!(found, "{audit}");
}

#[test]
fn w17_a_token_that_is_stolen_or_made_up_opens_nothing_of_the_api() {
    let server = server("none");
    let (gateway, proxy) = gateway_of(&server, "app");
    let ask_with = |header: &str, value: &str| {
        let to = format!("{header}|{value}|http://{gateway}/api/keys");
        call(&server, "presented", &to)
    };
    let made = make_key(&server, KEY, &json!({"name": "ci", "role": "admin"}));
    let (id, key) = (made.id, made.secret);
    // Whoever has a key may what the key may: being a worker takes nothing away either.
    for (header, value) in [
        ("X-API-Key", key.clone()),
        ("Authorization", format!("Bearer {key}")),
    ] {
        let answer = ask_with(header, &value);
        assert!(answer.starts_with("200 "), "{header}: {answer}");
    }
    let revoked = ask(&server, KEY, "DELETE", &format!("/api/keys/{id}"), None);
    assert_eq!(revoked.status, 200, "{revoked:?}");

    let mut invented = key.clone();
    invented.pop();
    let secret = proxy.rsplit_once('@').unwrap().0;
    let secret = secret.rsplit_once(':').unwrap().1;
    assert!(secret.len() > 16, "{proxy}");
    for value in [&key, &invented, "admin", "btk_", "worker:app", secret] {
        for (header, value) in [
            ("X-API-Key", value.to_owned()),
            ("Authorization", format!("Bearer {value}")),
            ("Cookie", format!("buntime_session={value}")),
        ] {
            let answer = ask_with(header, &value);
            assert!(answer.starts_with("401 "), "{header}: {value}: {answer}");
        }
    }
    // What exempts a caller on this machine from CSRF is no key.
    let answer = ask_with("X-Buntime-Internal", "true");
    assert!(answer.starts_with("401 "), "{answer}");
}

#[test]
fn what_a_worker_says_of_others_is_nothing() {
    let server = server_in_the_open();
    let mut gateway = Connection::open(gateway_of(&server, "app").0);
    let told = gateway.request(
        "GET",
        "/api/health",
        &[
            ("Host", "x"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Request-Id", "by-proxy"),
        ],
        b"",
    );
    assert_eq!(told.status, 200);
    let told = server.wait_for_log(|line| {
        line.message() == "Request" && line.value()["requestId"] == "by-proxy"
    });
    assert_eq!(told.text("from"), "worker:app");
}

#[test]
fn a_connection_of_a_worker_is_for_one_request() {
    let server = server_in_the_open();
    let (gateway, proxy) = gateway_of(&server, "app");
    let mut to_server = Connection::open(gateway);
    assert_eq!(to_server.get("/api/health").status, 200);
    to_server.assert_closed();

    let authorization = authorization(&proxy);
    let known = [("Host", "a"), ("Proxy-Authorization", &authorization)];
    let mut to_proxy = Connection::open(gateway);
    let refused = to_proxy.request("GET", "http://127.0.0.1/", &known, b"");
    assert_eq!(refused.status, 403, "{refused:?}");
    to_proxy.assert_closed();
}

#[test]
fn http2_on_a_connection_of_a_worker_is_refused_as_the_one_request_that_it_is() {
    let server = server_in_the_open();
    let (gateway, _) = gateway_of(&server, "app");
    let mut prior = Connection::open(gateway);
    prior.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let refused = prior.next_response("GET").unwrap();
    assert_eq!(refused.status, 505, "{refused:?}");
    prior.assert_closed();

    let mut upgrade = Connection::open(gateway);
    let asked = [
        ("Host", "x"),
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    let ignored = upgrade.request("GET", "/api/health", &asked, b"");
    assert_eq!(ignored.status, 200, "{ignored:?}");
    upgrade.assert_closed();
}

#[test]
fn an_app_that_fails_to_log_in_keeps_no_other_app_and_no_operator_from_it() {
    let server = builder()
        .module("app@1.0.0", &with_net("none"), CALLER)
        .module("other@1.0.0", &with_net("none"), CALLER)
        .env("RUNTIME_SANDBOX", "off")
        .start();
    let log_in = |mut connection: Connection, key: &str| {
        let body = json!({ "key": key }).to_string();
        let headers = [("Host", "localhost"), ("X-Buntime-Internal", "true")];
        let answer = connection.request("POST", "/api/admin/session", &headers, body.as_bytes());
        answer.status
    };
    let from = |app| Connection::open(gateway_of(&server, app).0);
    for _ in 0..10 {
        assert_eq!(log_in(from("app"), "wrong"), 401);
    }
    assert_eq!(log_in(from("app"), KEY), 429);
    assert_eq!(log_in(from("other"), KEY), 200);
    // From the same address, and not by a gateway.
    assert_eq!(log_in(server.connect(), KEY), 200);
}

#[test]
fn an_app_may_ask_the_server_and_the_outside_in_turns() {
    let server = server("public");
    let (gateway, _) = gateway_of(&server, "app");
    for _ in 0..3 {
        let api = call(&server, "fetch", &format!("http://{gateway}/api/health"));
        assert!(api.starts_with("200 "), "{api}");
        let outside = call(&server, "fetch", "http://10.255.255.1/");
        assert!(outside.starts_with("403 "), "{outside}");
    }
}

#[test]
fn a_worker_may_open_a_websocket_to_another_app() {
    let server = builder()
        .module("app@1.0.0", &with_net("none"), CALLER)
        .module("other@1.0.0", &with_net("none"), CALLER)
        .start();
    assert_eq!(call(&server, "upgrade", "/other/"), "done app hello");
}

#[test]
fn a_request_under_way_reaches_all_it_could_while_the_server_stops() {
    let mut server = server("public");
    let data = server.dir().join("state/data/app");
    let mut under_way = server.begin("/app/?way=later&to=go");
    server.wait_until("the request is under way", || data.join("begun").exists());
    server.terminate();
    server.wait_for_message("Stopping");
    std::fs::write(data.join("go"), "").unwrap();
    let answer = under_way.response_to("GET");
    assert_eq!(answer.text(), "200 403", "{answer:?}");
    server.wait_exit(std::time::Duration::from_secs(20));
}

#[test]
fn who_is_not_the_worker_gets_nothing_from_its_proxy() {
    let server = server_in_the_open();
    let mut stranger = Connection::open(gateway_of(&server, "app").0);
    let answer = stranger.request(
        "GET",
        "http://api.example.com/",
        &[("Host", "api.example.com")],
        b"",
    );
    assert_eq!(answer.status, 407, "{answer:?}");
}

fn authorization(proxy: &str) -> String {
    use base64::Engine as _;
    let (credentials, _) = proxy
        .strip_prefix("http://")
        .unwrap()
        .split_once('@')
        .unwrap();
    format!(
        "Basic {}",
        base64::prelude::BASE64_STANDARD.encode(credentials)
    )
}
