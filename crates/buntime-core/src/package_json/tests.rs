use super::*;

#[test]
fn reads_name_and_version_and_nothing_else() {
    let text = r#"{"name": "@a/b", "version": "1.2.3", "main": 5, "scripts": {"x": [null]}}"#;
    let parsed = PackageJson::parse(text).unwrap();
    assert_eq!(parsed.name.as_deref(), Some("@a/b"));
    assert_eq!(parsed.version.as_deref(), Some("1.2.3"));
    assert_eq!(
        PackageJson::parse("\u{feff}{}").unwrap(),
        PackageJson::default()
    );
    assert_eq!(
        PackageJson::parse(r#"{"name": null}"#).unwrap(),
        PackageJson::default()
    );
}

#[test]
fn refuses_what_is_no_package() {
    for text in [
        "",
        "null",
        "[]",
        "5",
        "{",
        "{\"name\": }",
        "\"x\"",
        "// {}",
        "[\"a\", \"1.0.0\"]",
        "{\"name\": \"a\", \"name\": \"b\"}",
    ] {
        assert!(PackageJson::parse(text).is_err(), "{text}");
    }
    for text in [
        r#"{"name": 5}"#,
        r#"{"name": {}}"#,
        r#"{"version": 1.0}"#,
        r#"{"version": []}"#,
    ] {
        let error = PackageJson::parse(text).unwrap_err();
        assert!(matches!(error, PackageJsonError::NotAString(_)), "{text}");
    }
}

#[test]
fn is_bounded() {
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(matches!(
        PackageJson::parse(&deep),
        Err(PackageJsonError::Syntax(_))
    ));
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(2 << 20));
    assert!(matches!(
        PackageJson::parse(&large),
        Err(PackageJsonError::TooLarge)
    ));
}
