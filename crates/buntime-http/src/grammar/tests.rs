use super::*;

#[test]
fn tokens_are_the_rfcs() {
    let others = b"!#$%&'*+-.^_`|~";
    for byte in 0..=255_u8 {
        let expected = byte.is_ascii_alphanumeric() || others.contains(&byte);
        assert_eq!(is_token_byte(byte), expected, "{byte:#x}");
    }
    assert!(!is_token(b""));
}

#[test]
fn values_hold_no_control_character_but_tab() {
    for byte in 0..=255_u8 {
        let expected = byte == b'\t' || (byte >= 0x20 && byte != 0x7F);
        assert_eq!(is_field_value(&[b'a', byte, b'b']), expected, "{byte:#x}");
        // At every place of a long value, since many bytes are checked at a time.
        let mut long = [b'a'; 67];
        long[usize::from(byte) % 67] = byte;
        assert_eq!(is_field_value(&long), expected, "{byte:#x}");
    }
}

#[test]
fn white_space_around_values_goes() {
    for (value, trimmed) in [
        ("", ""),
        (" ", ""),
        (" \t ", ""),
        ("a", "a"),
        ("\t a \tb \t", "a \tb"),
    ] {
        assert_eq!(trim_ows(value.as_bytes()), trimmed.as_bytes(), "{value:?}");
    }
}

#[test]
fn lists_skip_empty_elements() {
    let values = [&b" a,, b ,"[..], b"", b"c"];
    let elements: Vec<_> = list(values.into_iter()).collect();
    assert_eq!(elements, [b"a", b"b", b"c"]);
}

#[test]
fn decimals_are_digits_only() {
    for (text, expected) in [
        ("0", Some(0)),
        ("010", Some(10)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("99999999999999999999", None),
        ("000000000000000000005", None),
        ("", None),
        ("+5", None),
        ("-1", None),
        ("0x5", None),
        ("1_0", None),
        ("3, 3", None),
        ("5 ", None),
        ("٣", None),
    ] {
        assert_eq!(decimal(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn authorities() {
    for valid in [
        "a",
        "localhost:8000",
        "a.example",
        "under_score.example",
        "xn--bcher-kva.example:443",
        "127.0.0.1:65535",
        "a:",
        "[::1]",
        "[2001:db8::1]:80",
        &"a".repeat(255),
    ] {
        assert!(authority(valid.as_bytes()).is_some(), "{valid:?}");
    }
    for invalid in [
        "",
        ":80",
        "a b",
        "a b/c",
        "a/",
        "a?x",
        "a#x",
        "a,b",
        "user@a",
        "user:pw@a",
        "a%2fb",
        "a\\b",
        "a:65536",
        "a:000080",
        "a:-1",
        "a:8x",
        "a:80:80",
        "::1",
        "[::1",
        "[::1]x",
        "[::g]",
        "[fe80::1%25eth0]",
        "[]",
        "b\u{fc}cher.example",
        "<script>",
        &"a".repeat(256),
    ] {
        assert!(authority(invalid.as_bytes()).is_none(), "{invalid:?}");
    }
}

#[test]
fn names_are_classified_in_any_case() {
    for (name, id) in [
        ("host", HeaderId::Host),
        ("HOST", HeaderId::Host),
        ("Content-Length", HeaderId::ContentLength),
        ("X-API-Key", HeaderId::XApiKey),
        ("x-forwarded-for", HeaderId::XForwarded),
        ("X-Forwarded-Anything", HeaderId::XForwarded),
        ("X-Buntime-Internal", HeaderId::XBuntime),
        ("x-forwarded", HeaderId::Other),
        // No alias: these are other names (CGI would fold them).
        ("X_Api_Key", HeaderId::Other),
        ("Content_Length", HeaderId::Other),
        ("X_Buntime_Internal", HeaderId::Other),
        ("", HeaderId::Other),
    ] {
        assert_eq!(classify(name.as_bytes()), id, "{name:?}");
    }
}

#[test]
fn every_known_name_stands_under_its_length() {
    for len in 0..64 {
        for (name, id) in known(&vec![b'a'; len]) {
            assert_eq!(name.len(), len);
            assert_eq!(classify(name), *id);
            assert!(name.iter().all(|byte| !byte.is_ascii_uppercase()));
        }
    }
}
