//! K10, K12: credentials in headers, how they decide, and that no app sees them.

use buntime_testkit::TestServer;
use serde_json::Value;

use super::support::{ROOT, builder, failed, get, make, viewer};

/// Answers with the headers that it got.
const SAY: &str = "export default { fetch: (request) => Response.json([...request.headers]) };\n";

fn said(server: &TestServer, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let response = server.connect().request("GET", "/say/", headers, b"");
    assert_eq!(response.status, 200, "{}", response.text());
    let pairs: Vec<(String, String)> = serde_json::from_value(response.json()).unwrap();
    pairs
}

#[test]
fn k10_no_app_sees_a_valid_key_and_its_own_tokens_reach_it() {
    let server = builder()
        .app("say@1.0.0", "ttl: 1h\n", &[("index.ts", SAY)])
        .start();
    let made = make(&server, ROOT, &viewer("used on an app"));
    let sent = |name: &str, value: &str| {
        let got = said(&server, &[(name, value), ("X-Mine", "stays")]);
        assert!(got.iter().any(|(name, _)| name == "x-mine"));
        let name = name.to_ascii_lowercase();
        got.into_iter()
            .find(|(got, _)| *got == name)
            .map(|(_, value)| value)
    };
    for key in [ROOT, &made.secret] {
        assert_eq!(sent("X-API-Key", key), None);
        assert_eq!(sent("Authorization", &format!("Bearer {key}")), None);
        assert_eq!(sent("authorization", &format!("bearer  {key}")), None);
    }
    let foreign = format!("{}x", &made.secret[..52]);
    for value in ["of-the-app", &foreign, "btk_"] {
        assert_eq!(sent("X-API-Key", value).as_deref(), Some(value));
        let bearer = format!("Bearer {value}");
        assert_eq!(sent("Authorization", &bearer).as_deref(), Some(&*bearer));
    }
    assert_eq!(
        sent("Authorization", "Basic dTpw").as_deref(),
        Some("Basic dTpw")
    );
    // One of ours beside one of the app's.
    let got = said(
        &server,
        &[
            ("X-API-Key", &made.secret),
            ("Authorization", "Bearer mine"),
        ],
    );
    assert!(!got.iter().any(|(name, _)| name == "x-api-key"));
    assert!(got.contains(&("authorization".to_owned(), "Bearer mine".to_owned())));
    assert!(!server.output().contains(&made.secret));
}

#[test]
fn a_header_decides_alone_and_several_are_refused() {
    let server = builder().start();
    let cookie = super::session::log_in(&server, ROOT);
    let key = make(&server, ROOT, &viewer("viewer"));
    let who = |headers: &[(&str, &str)]| {
        let host = [("Host", "localhost"), ("Cookie", cookie.as_str())];
        let headers = [&host, headers].concat();
        let mut connection = server.connect();
        let response = connection.request("GET", "/api/admin/session", &headers, b"");
        match response.status {
            200 => response.json()["principal"]["name"].clone(),
            status => Value::from(status),
        }
    };
    let bearer = format!("Bearer {}", key.secret);
    assert_eq!(who(&[]), "root");
    assert_eq!(who(&[("X-API-Key", &key.secret)]), "viewer");
    assert_eq!(who(&[("Authorization", &bearer)]), "viewer");
    assert_eq!(who(&[("X-API-Key", "wrong")]), 401);
    assert_eq!(who(&[("Authorization", "Bearer wrong")]), 401);
    assert_eq!(
        who(&[("X-API-Key", &key.secret), ("X-API-Key", &key.secret)]),
        401
    );
    assert_eq!(
        who(&[("X-API-Key", &key.secret), ("Authorization", &bearer)]),
        401
    );
    assert_eq!(
        who(&[("Authorization", &bearer), ("Authorization", &bearer)]),
        401
    );
    // Not ours: the cookie decides.
    assert_eq!(who(&[("Authorization", "Basic dTpw")]), "root");
}

#[test]
fn k12_a_key_with_one_character_changed_is_refused() {
    let server = builder().start();
    let key = make(&server, ROOT, &viewer("typed")).secret;
    assert_eq!(get(&server, &key, "/api/admin/session").status, 200);
    for at in 0..key.len() {
        let mut wrong = key.clone().into_bytes();
        wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
        let wrong = String::from_utf8(wrong).unwrap();
        failed(&get(&server, &wrong, "/api/keys"), 401, "AUTH_REQUIRED");
    }
    let twice = format!("{key}{key}");
    let upper = key.to_uppercase();
    for wrong in [&key[..52], &key[1..], &twice, &upper] {
        failed(&get(&server, wrong, "/api/keys"), 401, "AUTH_REQUIRED");
    }
}
