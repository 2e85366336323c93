use super::*;

fn list(fields: impl IntoIterator<Item = (String, usize)>) -> HeaderList {
    let mut headers = HeaderList::new();
    for (name, len) in fields {
        headers.push(name.as_bytes(), &vec![b'v'; len]).unwrap();
    }
    headers
}

fn names(headers: &HeaderList) -> Vec<String> {
    headers
        .iter()
        .map(|header| String::from_utf8(header.name.to_vec()).unwrap())
        .collect()
}

fn numbered(count: usize, len: usize) -> impl Iterator<Item = (String, usize)> {
    (0..count).map(move |number| (format!("x-{number}"), len))
}

#[test]
fn within_the_limits_nothing_changes() {
    let mut headers = list(numbered(100, 10));
    assert_eq!(apply_response_limits(&mut headers), Ok(Trimmed::default()));
    assert!(!Trimmed::default().any());
    assert_eq!(headers.len(), 100);
}

#[test]
fn the_first_hundred_stay() {
    let mut headers = list(numbered(150, 10));
    let trimmed = apply_response_limits(&mut headers).unwrap();
    assert_eq!(
        trimmed,
        Trimmed {
            cut: 0,
            dropped: 50
        }
    );
    assert!(trimmed.any());
    let expected: Vec<_> = numbered(100, 10).map(|(name, _)| name).collect();
    assert_eq!(names(&headers), expected);
}

#[test]
fn protected_fields_are_never_among_the_dropped() {
    let protected = [
        "Set-Cookie",
        "location",
        "CONTENT-TYPE",
        "Content-Security-Policy",
        "Content-Security-Policy-Report-Only",
        "Strict-Transport-Security",
        "X-Frame-Options",
        "Set-Cookie",
        "Content-Encoding",
    ];
    let late = protected.iter().map(|name| ((*name).to_owned(), 10));
    let mut headers = list(numbered(150, 10).chain(late));
    let trimmed = apply_response_limits(&mut headers).unwrap();
    assert_eq!(trimmed.dropped, 59);
    let names = names(&headers);
    assert_eq!(names.len(), 100);
    assert_eq!(names[90], "x-90");
    assert_eq!(names[91..], protected);
}

#[test]
fn long_values_are_cut() {
    let mut headers = list([("x-a".into(), 9_000), ("x-b".into(), 8_192)]);
    let trimmed = apply_response_limits(&mut headers).unwrap();
    assert_eq!(trimmed, Trimmed { cut: 1, dropped: 0 });
    assert!(headers.iter().all(|header| header.value.len() == 8_192));
}

#[test]
fn protected_values_are_not() {
    for name in [
        "Set-Cookie",
        "Location",
        "Content-Type",
        "Content-Security-Policy",
        "content-security-policy-report-only",
        "Permissions-Policy",
        "Feature-Policy",
        "Origin-Agent-Cluster",
        "X-Permitted-Cross-Domain-Policies",
    ] {
        let mut headers = list([("x-a".into(), 9_000), (name.into(), 8_193)]);
        assert_eq!(
            apply_response_limits(&mut headers),
            Err(ProtectedHeader),
            "{name}"
        );
        assert_eq!(headers.get_named(b"x-a").map(<[u8]>::len), Some(9_000));
    }
}

#[test]
fn all_together_stay_within_64_kilobytes() {
    let late = [("x-late".to_owned(), 1), ("Set-Cookie".to_owned(), 8_000)];
    let mut headers = list(numbered(20, 8_000).chain(late));
    let trimmed = apply_response_limits(&mut headers).unwrap();
    // Once one does not fit, no later one is kept in its stead.
    assert_eq!(
        trimmed,
        Trimmed {
            cut: 0,
            dropped: 14
        }
    );
    assert_eq!(
        names(&headers).last().map(String::as_str),
        Some("Set-Cookie")
    );
    assert!(headers.text_len() <= 64 * 1024);
}

#[test]
fn too_much_that_is_protected_is_an_error() {
    let cookies = |count, len| (0..count).map(move |_| ("Set-Cookie".to_owned(), len));
    assert_eq!(
        apply_response_limits(&mut list(cookies(101, 1))),
        Err(ProtectedHeader)
    );
    assert_eq!(
        apply_response_limits(&mut list(cookies(9, 8_000))),
        Err(ProtectedHeader)
    );
    assert!(apply_response_limits(&mut list(cookies(100, 1))).is_ok());
}
