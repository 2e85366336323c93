use proptest::prelude::*;

use super::*;

#[test]
fn accepts_names_and_splits_them() {
    for (text, scope, base) in [
        ("shop", None, "shop"),
        ("0", None, "0"),
        ("a..b", None, "a..b"),
        ("a_b-c.d", None, "a_b-c.d"),
        ("@acme/shop", Some("@acme"), "shop"),
        ("@0.x/1", Some("@0.x"), "1"),
    ] {
        let name = PackageName::try_from(text).unwrap();
        assert_eq!(name.as_str(), text);
        assert_eq!(name.to_string(), text);
        assert_eq!(name.scope().map(Namespace::as_str), scope);
        assert_eq!(name.base(), base);
        assert!(!name.is_reserved(), "{text}");
    }
}

#[test]
fn refuses_what_is_no_name() {
    for text in [
        "@a/..", "..", ".", "a/b/c", "@a", "@/x", "a b/c?#d", "a/b", "@a/b/c", "@@a/b", "@a/@b",
        "@A/x", "Shop", "-a", "_a", ".a", "@.a/b", "@a/.b", "@a/_b", "a\0", "a\n", "a\\b", "a%2fb",
        "é", "a ", " a", "@a /b", "/a", "a/", "@a/", "~a", "a~b", "latest!", "@", "/",
    ] {
        assert_eq!(
            PackageName::try_from(text),
            Err(NameError::Malformed),
            "{text}"
        );
    }
    assert_eq!(PackageName::try_from(""), Err(NameError::Empty));
    assert!(PackageName::try_from("a".repeat(214).as_str()).is_ok());
    let long = format!("@{}/{}", "a".repeat(106), "b".repeat(107));
    assert_eq!(
        PackageName::try_from(long.as_str()),
        Err(NameError::TooLong)
    );
}

#[test]
fn knows_reserved_names() {
    for text in [
        "api",
        "health",
        "cpanel",
        "favicon.ico",
        "node_modules",
        "con",
        "prn",
        "aux",
        "nul",
        "com1",
        "lpt9",
        "con.txt",
        "nul.js",
        "@a/con",
        "@a/com0.x",
    ] {
        assert!(PackageName::try_from(text).unwrap().is_reserved(), "{text}");
    }
    for text in [".well-known", ".buntime", ".git"] {
        assert_eq!(
            PackageName::try_from(text),
            Err(NameError::Reserved),
            "{text}"
        );
    }
    for text in [
        "apis",
        "@a/api",
        "@api/x",
        "console",
        "com",
        "com10",
        "comx",
        "health2",
        "auxiliary",
    ] {
        assert!(
            !PackageName::try_from(text).unwrap().is_reserved(),
            "{text}"
        );
    }
}

#[test]
fn namespaces_have_no_case() {
    let lower = Namespace::try_from("@acme.x").unwrap();
    assert_eq!(Namespace::try_from("@ACME.x").unwrap(), lower);
    assert_eq!(lower.as_str(), "@acme.x");
    let name = PackageName::try_from("@acme.x/shop").unwrap();
    assert_eq!(name.scope(), Some(&lower));
    for text in [
        "@", "a", "@a/b", "@a.evil/", "@-a", "@a b", " @a", "*", "@é",
    ] {
        assert_eq!(
            Namespace::try_from(text),
            Err(NameError::MalformedNamespace),
            "{text}"
        );
    }
    assert_eq!(Namespace::try_from(""), Err(NameError::Empty));
}

proptest! {
    #[test]
    fn never_panics_and_round_trips(text in "\\PC{0,40}") {
        if let Ok(name) = PackageName::try_from(text.as_str()) {
            prop_assert_eq!(name.to_string(), text.clone());
        }
        let _ = Namespace::try_from(text.as_str());
    }

    #[test]
    fn a_name_is_plain_folders(text in "(@[a-z0-9][a-z0-9._-]{0,9}/)?[a-z0-9][a-z0-9._-]{0,9}") {
        let name = PackageName::try_from(text.as_str()).unwrap();
        for folder in name.as_str().split('/') {
            prop_assert!(!folder.is_empty() && folder != "." && folder != "..");
        }
        let again = match name.scope() {
            Some(scope) => format!("{scope}/{}", name.base()),
            None => name.base().to_owned(),
        };
        prop_assert_eq!(again, text);
    }

    #[test]
    fn agrees_with_the_contracts_pattern(text in "[@a-cA./_ -]{0,8}") {
        // A model of the pattern that shares nothing with the parser.
        let part = |part: &str| {
            let mut chars = part.chars();
            chars.next().is_some_and(|c| "abc".contains(c)) && chars.all(|c| "abc._-".contains(c))
        };
        let parts: Vec<_> = text.split('/').collect();
        let valid = match parts[..] {
            [base] => part(base),
            [scope, base] => scope.strip_prefix('@').is_some_and(part) && part(base),
            _ => false,
        };
        prop_assert_eq!(PackageName::try_from(text.as_str()).is_ok(), valid);
    }
}
