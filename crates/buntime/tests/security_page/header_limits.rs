//! "Headers exceeding the limit are truncated or ignored": the limits on what a
//! worker answers.

use buntime_testkit::{Response, TestServer};

use crate::support::with_app;

/// Answers with as many headers of a length as it is asked for, and one by name.
const HEADERS: &str = "export default { fetch(request) {\n\
    const query = new URL(request.url).searchParams;\n\
    const headers = new Headers({ 'content-type': 'text/plain' });\n\
    for (let n = 0; n < Number(query.get('count')); n++)\n\
      headers.set(`x-n-${String(n).padStart(3, '0')}`, 'v'.repeat(Number(query.get('size'))));\n\
    if (query.has('name')) headers.set(query.get('name'), 'w'.repeat(Number(query.get('length'))));\n\
    return new Response('ok', { headers });\n\
} };\n";

fn ask(server: &TestServer, query: &str, id: &str) -> Response {
    let target = format!("/app/?{query}");
    let mut client = server.connect();
    client.request("GET", &target, &[("X-Request-Id", id)], b"")
}

/// How many warnings belong to a request.
fn warnings(server: &TestServer, id: &str) -> usize {
    server.wait_for_log(|line| line.level() == "warn" && line.text("requestId") == id);
    let of_it = |line: &buntime_testkit::log::LogLine| {
        line.level() == "warn" && line.text("requestId") == id
    };
    server.log().iter().filter(|line| of_it(line)).count()
}

/// Name and value of each header, as the limits count them.
fn size(response: &Response) -> usize {
    response
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-n-"))
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

#[test]
fn max_count_is_100_headers() {
    let server = with_app("", HEADERS).start();
    let response = ask(&server, "count=150&size=1", "count");
    assert_eq!(response.status, 200, "{response:?}");
    let of_the_app = |name: &String| name.starts_with("x-n-");
    let kept = response
        .headers
        .iter()
        .filter(|(name, _)| of_the_app(name))
        .count();
    assert!((90..=100).contains(&kept), "{kept} kept");
    assert_eq!(response.text(), "ok");
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(warnings(&server, "count"), 1);
}

#[test]
fn max_total_size_is_64_kb() {
    let server = with_app("", HEADERS).start();
    let response = ask(&server, "count=20&size=8000", "total");
    assert_eq!(response.status, 200, "{response:?}");
    assert!(size(&response) <= 64 * 1024, "{}", size(&response));
    assert!(size(&response) > 48 * 1024, "{}", size(&response));
    assert_eq!(warnings(&server, "total"), 1);
}

#[test]
fn max_value_size_is_8_kb() {
    let server = with_app("", HEADERS).start();
    let whole = ask(&server, "name=x-long&length=8192", "whole");
    assert_eq!(whole.header("x-long").unwrap().len(), 8192);
    let cut = ask(&server, "name=x-long&length=9000", "cut");
    assert_eq!(cut.header("x-long").unwrap(), "w".repeat(8192));
    assert_eq!(warnings(&server, "cut"), 1);
}

#[test]
fn set_cookie_location_content_type_and_policies_are_never_cut() {
    let server = with_app("", HEADERS).start();
    for name in [
        "set-cookie",
        "location",
        "content-type",
        "content-security-policy",
        "strict-transport-security",
        "x-frame-options",
    ] {
        let response = ask(&server, &format!("name={name}&length=9000"), "protected");
        assert_eq!(response.status, 502, "{name}: {response:?}");
        assert_eq!(response.error_code(), "WORKER_BAD_RESPONSE", "{name}");
    }
}
