//! Golden tests of manifests, and properties of all of them.
//!
//! Each `manifests/NAME.yaml` has a `NAME.expected` beside it: the warnings, and
//! then what differs from the defaults or the errors. With `UPDATE_EXPECTED=1` in
//! the environment the files are written instead of compared.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use buntime_core::Manifest;
use proptest::prelude::*;

macro_rules! differing {
    ($manifest:ident: $($field:ident)*) => {{
        let default = Manifest::default();
        let mut out = String::new();
        $(if $manifest.$field != default.$field {
            writeln!(out, "{}: {:?}", stringify!($field), $manifest.$field).unwrap();
        })*
        out
    }};
}

fn show(yaml: &str, file: &str) -> String {
    let mut out = String::new();
    let mut list = |title: &str, diagnostics: &[buntime_core::Diagnostic]| {
        for diagnostic in diagnostics {
            writeln!(out, "{title} {diagnostic} [{:?}]", diagnostic.kind).unwrap();
        }
    };
    match Manifest::parse(yaml, file) {
        Ok(parsed) => {
            list("warning", &parsed.warnings);
            let manifest = parsed.value;
            out += &differing!(manifest: name version enabled entrypoint ttl timeout idle_timeout
                max_requests max_body_size low_memory bundle auto_install inject_base env
                env_prefix public_routes csrf visibility permissions limits cron);
        }
        Err(errors) => {
            list("warning", &errors.warnings);
            list("error", &errors.errors);
        }
    }
    out
}

#[test]
fn manifests_read_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let update = env::var_os("UPDATE_EXPECTED").is_some();
    let mut differing = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let actual = show(&fs::read_to_string(&path).unwrap(), name);
        assert_eq!(
            name.starts_with("invalid-"),
            actual.contains("error "),
            "{name}"
        );
        // Values of variables may be secrets.
        assert!(!actual.contains("hunter2"), "{name}");
        let expected = path.with_extension("expected");
        if update {
            fs::write(expected, actual).unwrap();
        } else if fs::read_to_string(expected).unwrap_or_default() != actual {
            differing.push(format!("{name}:\n{actual}"));
        }
    }
    assert!(seen > 20, "the fixtures were not found");
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

proptest! {
    #[test]
    fn never_panics(words in prop::collection::vec(
        prop::sample::select(vec![
            "name", "ttl", "timeout", "idleTimeout", "env", "limits", "cpu", "instances", "cron",
            "csrf", "publicRoutes", "permissions", "net", "entrypoint", "trustedOrigins", ": ", ":\n  ", "\n",
            "\n  - ", "- ", "[", "]", "{", "}", ", ", "\"", "'", "|\n ", "~", "0", "1..4", "30s", "-1",
            "1e99", "true", "/a/**", "..", "*", "&x ", "!t ", "#", "\t", "\r\n", "é", "\u{feff}", "\0", "? ",
        ]),
        0..40,
    )) {
        let _ = Manifest::parse(&words.concat(), "f");
    }

    #[test]
    fn never_panics_on_any_text(text in "(?s).{0,200}") {
        let _ = Manifest::parse(&text, "f");
    }

    #[test]
    fn times_keep_their_order(
        ttl in prop::option::of(0_u32..100),
        timeout in prop::option::of(1_u32..100),
        idle in prop::option::of(1_u32..100),
    ) {
        let line = |key: &str, value: Option<u32>| {
            value.map_or_else(String::new, |value| format!("{key}: {value}\n"))
        };
        let yaml = line("ttl", ttl) + &line("timeout", timeout) + &line("idleTimeout", idle);
        let seconds = ttl.unwrap_or(0);
        let refused = seconds > 0
            && timeout.is_some_and(|timeout| seconds < timeout || idle.is_some_and(|idle| idle < timeout));
        match Manifest::parse(&yaml, "f") {
            Err(errors) => prop_assert!(refused, "{errors}"),
            Ok(parsed) => {
                prop_assert!(!refused, "{yaml}");
                let manifest = parsed.value;
                prop_assert!(!manifest.timeout.is_zero() && !manifest.idle_timeout.is_zero());
                if !manifest.is_ephemeral() {
                    prop_assert!(manifest.timeout <= manifest.idle_timeout, "{yaml}");
                    prop_assert!(manifest.idle_timeout <= manifest.ttl, "{yaml}");
                }
                let lowered = seconds > 0 && idle > ttl;
                prop_assert_eq!(!parsed.warnings.is_empty(), lowered, "{}", yaml);
            }
        }
    }
}
