use proptest::prelude::*;

use super::*;

#[test]
fn normalises() {
    for (text, origin, authority) in [
        (
            "https://Shop.Example",
            "https://shop.example",
            "shop.example",
        ),
        (
            "HTTPS://shop.example:443",
            "https://shop.example",
            "shop.example",
        ),
        (
            "http://shop.example:80",
            "http://shop.example",
            "shop.example",
        ),
        (
            "http://shop.example:443",
            "http://shop.example:443",
            "shop.example:443",
        ),
        (
            "http://localhost:3000",
            "http://localhost:3000",
            "localhost:3000",
        ),
        ("http://[::1]:8000", "http://[::1]:8000", "[::1]:8000"),
        ("https://10.0.0.1", "https://10.0.0.1", "10.0.0.1"),
    ] {
        let parsed: Origin = text.parse().unwrap();
        assert_eq!(parsed.as_str(), origin);
        assert_eq!(parsed.authority(), authority);
    }
}

#[test]
fn refuses_what_is_no_web_origin() {
    for text in [
        "",
        "null",
        "a",
        "shop.example",
        "ftp://a",
        "file://",
        "http://",
        "https://user:pw@a",
        "https://user@a",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a b",
        "https://a:",
        "https://a:0",
        "https://a:080",
        "https://a:65536",
        "https://a:+1",
        "https://a:b",
        "https://*",
        "https://*.a",
        "https://a..b",
        "https://.a",
        "https://a.",
        "https://[::1",
        "https://[x]",
        "https://[]",
        "https://a, https://b",
        "https://a\\b",
        "https://é",
        "https://a\n",
        "javascript://a",
        "https://[::1]x",
        "https://::1",
    ] {
        assert_eq!(text.parse::<Origin>(), Err(OriginError), "{text}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_is_stable(text in "(https?://)?[a-c\\[\\]:.0-9@/é]{0,20}") {
        if let Ok(origin) = text.parse::<Origin>() {
            prop_assert_eq!(origin.as_str().parse(), Ok(origin.clone()));
        }
    }
}
