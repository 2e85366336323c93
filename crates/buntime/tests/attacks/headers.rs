//! Headers that say one thing to the server and another to who reads them later.

use super::server;

#[test]
fn an_app_cannot_steer_what_lies_above_its_base() {
    let server = server().start();
    let response = server.get("/held/steer");
    assert_eq!(response.all("set-cookie"), ["own=1"]);
    assert_eq!(response.all("service-worker-allowed"), [""; 0]);
}

#[test]
fn every_line_of_a_proxy_about_the_way_counts() {
    let server = server().start();
    let response = server.connect().request(
        "GET",
        "/held/headers",
        &[
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-For", "9.9.9.9"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Host", "own.example"),
        ],
        b"",
    );
    let seen = response.json();
    let of = |name: &str| {
        let pairs = seen.as_array().unwrap();
        let pair = pairs.iter().find(|pair| pair[0] == name).unwrap();
        pair[1].as_str().unwrap().to_owned()
    };
    // Lines are added at the end: the last are those of the nearest proxy.
    assert_eq!(of("x-forwarded-for"), "6.6.6.6, 9.9.9.9, 127.0.0.1");
    assert_eq!(of("x-forwarded-proto"), "https");
    assert_eq!(of("x-forwarded-host"), "own.example");
}
