//! The server's own pages: those of its errors.

use super::{NAVIGATION, builder, get};

#[test]
fn x8_a_page_of_ours_loads_nothing_and_is_framed_by_nobody() {
    let server = builder().start();
    for target in ["/nothing/", "/api/keys", "/%00"] {
        let page = get(&server, target, &[NAVIGATION]);
        assert!((400..500).contains(&page.status), "{page:?}");
        assert_eq!(
            page.header("x-content-type-options").as_deref(),
            Some("nosniff")
        );
        if page.header("content-type").as_deref() != Some("text/html; charset=utf-8") {
            continue;
        }
        let policy = page.header("content-security-policy").unwrap();
        for rule in [
            "default-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert_eq!(
            page.header("referrer-policy").as_deref(),
            Some("no-referrer")
        );
        for part in ["<script", "<base", "http://", "https://", "src="] {
            assert!(!page.text().contains(part), "{}", page.text());
        }
    }
}

#[test]
fn x9_nothing_of_the_request_stands_in_an_error() {
    let server = builder().start();
    let requests: [(&str, &[u8]); 6] = [
        (
            "path",
            b"GET /<script>canary</script>/ HTTP/1.1\r\nHost: a\r\n",
        ),
        (
            "query",
            b"GET /x/?<script>canary</script> HTTP/1.1\r\nHost: a\r\n",
        ),
        (
            "bad path",
            b"GET /%zz<script>canary</script> HTTP/1.1\r\nHost: a\r\n",
        ),
        ("method", b"<script>canary HTTP/1.1\r\nHost: a\r\n"),
        (
            "host",
            b"GET / HTTP/1.1\r\nHost: <script>canary</script>\r\n",
        ),
        (
            "id",
            b"GET /x/ HTTP/1.1\r\nHost: a\r\nX-Request-Id: <script>canary\r\n",
        ),
    ];
    for (name, head) in requests {
        let mut connection = server.connect();
        connection.send(&[head, b"Accept: text/html\r\nConnection: close\r\n\r\n"].concat());
        let answer = connection.read_to_end();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"),
            "{name}: {answer}"
        );
        assert!(!answer.contains("canary"), "{name}: {answer}");
    }
}
