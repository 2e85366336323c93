use super::*;
use crate::DiagnosticKind;

fn parse(yaml: &str) -> Manifest {
    let parsed = Manifest::parse(yaml, "manifest.yaml").unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.value
}

#[test]
fn defaults_are_the_contracts() {
    let manifest = parse("");
    assert_eq!(manifest, Manifest::default());
    assert!(manifest.enabled && manifest.is_ephemeral());
    assert_eq!(manifest.timeout, Duration::from_secs(30));
    assert_eq!(manifest.idle_timeout, Duration::from_secs(60));
    assert_eq!(manifest.max_requests, 1000);
    assert_eq!(manifest.env_prefix, ["PUBLIC_", "VITE_"]);
    assert_eq!(manifest.csrf, CsrfPolicy::SameOrigin);
    assert_eq!(manifest.permissions.net, NetPermission::Public);
    assert_eq!(manifest.limits.instances, Instances { min: 1, max: 1 });
}

#[test]
fn bodies_stay_below_the_ceiling() {
    let mb = |count: u64| ByteSize::from_bytes(count << 20);
    let limit = |yaml| parse(yaml).body_limit(mb(10), mb(100));
    for (yaml, bytes, capped_from) in [
        ("", mb(10), None),
        ("maxBodySize: 100mb", mb(100), None),
        ("maxBodySize: 1gb", mb(100), Some(mb(1024))),
        ("maxBodySize: 0", mb(0), None),
        ("maxBodySize: 5000", ByteSize::from_bytes(5000), None),
    ] {
        assert_eq!(limit(yaml), BodyLimit { bytes, capped_from }, "{yaml}");
    }
    let small = parse("").body_limit(mb(10), mb(1));
    assert_eq!((small.bytes, small.capped_from), (mb(1), None));
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    let unix = parse("name: shop\nenv:\n  A: b\n");
    assert_eq!(parse("\u{feff}name: shop\r\nenv:\r\n  A: b\r\n"), unix);
    let errors = Manifest::parse("\u{feff}ttl: x\r\ntimeout: y\r\n", "f").unwrap_err();
    let places: Vec<_> = errors
        .errors
        .iter()
        .map(|error| (error.line, error.column))
        .collect();
    assert_eq!(places.len(), 2);
    assert_eq!(places[1], (2, 10));
}

#[test]
fn large_files_are_refused_unread() {
    let text = format!("# {}", "x".repeat(MANIFEST_MAX_BYTES));
    let errors = Manifest::parse(&text, "f").unwrap_err();
    assert_eq!(errors.to_string(), "f:1:1: a manifest has at most 256 kb");
    assert!(errors.has(DiagnosticKind::Syntax));
    assert!(!errors.has(DiagnosticKind::Value));
}

#[test]
fn instances_hold_their_invariant() {
    for (min, max, valid) in [
        (1, 1, true),
        (1, 1024, true),
        (0, 1, false),
        (2, 1, false),
        (1, 1025, false),
    ] {
        assert_eq!(Instances::new(min, max).is_some(), valid, "{min}..{max}");
    }
    for text in [
        "0",
        "-1",
        "1.5",
        "1..",
        "..4",
        "1...4",
        "1..+4",
        "1..4294967297",
        "a",
        "[]",
    ] {
        let yaml = format!("limits: {{instances: {text}}}");
        assert!(Manifest::parse(&yaml, "f").is_err(), "{text}");
    }
}

#[test]
fn numbers_that_are_none_are_refused() {
    for key in [
        "ttl",
        "timeout",
        "idleTimeout",
        "maxRequests",
        "maxBodySize",
    ] {
        for value in [
            ".nan",
            ".inf",
            "-.inf",
            "-1",
            "1e99",
            "0x10",
            "1_000",
            "true",
            "''",
            "99999999999999999999",
        ] {
            let yaml = format!("{key}: {value}");
            assert!(Manifest::parse(&yaml, "f").is_err(), "{yaml}");
        }
    }
    for value in [
        "0", "-1", ".nan", ".inf", "1e400", "''", "1025", "one", "1cpu",
    ] {
        assert!(
            Manifest::parse(&format!("limits: {{cpu: {value}}}"), "f").is_err(),
            "{value}"
        );
    }
}

#[test]
fn public_routes_take_both_forms() {
    let list = parse("publicRoutes: ['/a/**']").public_routes;
    assert!(list.matches("POST", "/a/b"));
    let mapping = parse("publicRoutes: {GET: ['/a'], ALL: ['/b']}").public_routes;
    assert!(mapping.matches("GET", "/a") && mapping.matches("POST", "/b"));
    assert!(!mapping.matches("POST", "/a"));
    let half = vec!["/a"; 60].join(", ");
    let both = format!("publicRoutes: {{GET: [{half}], get: [{half}]}}");
    let errors = Manifest::parse(&both, "f").unwrap_err().to_string();
    assert_eq!(errors, "f:1:15: publicRoutes: over 100 routes");
}
