use proptest::prelude::*;

use super::*;

#[test]
fn keeps_paths_below_the_app() {
    for (text, path) in [
        ("index.ts", "index.ts"),
        ("./index.ts", "index.ts"),
        ("src//a/./b.js", "src/a/b.js"),
        ("src/../index.html", "index.html"),
        ("a/b/../../c.ts", "c.ts"),
        ("...", "..."),
        ("..a/b", "..a/b"),
        ("src/café.ts", "src/café.ts"),
    ] {
        assert_eq!(normalize_entrypoint(text).as_deref(), Ok(path), "{text}");
    }
}

#[test]
fn refuses_what_leads_out() {
    for text in [
        "../../etc/passwd",
        "/etc/passwd",
        "../1.0.0-evil/index.ts",
        "..",
        "a/../../b",
        "a/../..",
        "//x",
        "C:\\x",
        "./C:/x",
        "C:/x",
        "..\\x",
        "a\\..\\..\\x",
        "../1.0.0/index.ts",
        "\\x",
    ] {
        assert_eq!(
            normalize_entrypoint(text),
            Err(EntrypointError::Escapes),
            "{text}"
        );
    }
    for text in ["", ".", "./", "a/..", "src/", "a\0b", "a\nb", "a\u{1b}b"] {
        assert_eq!(
            normalize_entrypoint(text),
            Err(EntrypointError::Malformed),
            "{text}"
        );
    }
    assert_eq!(
        normalize_entrypoint(&"a".repeat(2000)),
        Err(EntrypointError::Malformed)
    );
    assert_eq!(
        EntrypointError::Escapes.to_string(),
        "Security: Entrypoint escapes app directory"
    );
}

proptest! {
    #[test]
    fn a_result_is_below_and_stays_as_it_is(text in "[a./\\\\:]{0,20}") {
        if let Ok(path) = normalize_entrypoint(&text) {
            prop_assert!(!path.starts_with('/'));
            prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
            prop_assert_eq!(normalize_entrypoint(&path), Ok(path.clone()));
        }
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}") {
        let _ = normalize_entrypoint(&text);
    }
}
