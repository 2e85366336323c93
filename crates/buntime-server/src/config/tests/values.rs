//! Which values each variable takes, and what comes of them.

use buntime_core::ByteSize;

use super::*;

#[test]
fn every_variable_takes_good_values() {
    let good: &[(&str, &[&str])] = &[
        ("HOST", &["0.0.0.0", "::", "[::1]", "localhost"]),
        ("PORT", &["0", "1", "65535"]),
        ("NODE_ENV", &["production"]),
        ("RUNTIME_API_PREFIX", &["/_", "/a/b-c"]),
        (
            "RUNTIME_HOMEPAGE",
            &["home", "@a/home", "home@1", "@a/home@^1.2.0"],
        ),
        (
            "RUNTIME_WORKER_DIRS",
            &["apps", "apps:extra", "./apps:", "apps:.core"],
        ),
        ("RUNTIME_PLUGIN_DIRS", &["plugs", "plugs:.plugs"]),
        (
            "RUNTIME_STATE_DIR",
            &["state", "deep/state", ".state", "apps/.state"],
        ),
        ("RUNTIME_RELEASES_KEPT", &["1", "1000"]),
        ("RUNTIME_BUN", &["file"]),
        ("RUNTIME_BUN_COPY", &["auto", "off"]),
        ("RUNTIME_POOL_SIZE", &["1", "100000"]),
        ("RUNTIME_EPHEMERAL_CONCURRENCY", &["1"]),
        ("RUNTIME_EPHEMERAL_QUEUE_LIMIT", &["0", "5"]),
        ("RUNTIME_SANDBOX", &["auto", "require", "off"]),
        (
            "RUNTIME_NPM_REGISTRY",
            &["https://npm.example.org/", "http://u:p@localhost:4873"],
        ),
        ("RUNTIME_NPM_CAFILE", &["file"]),
        ("BODY_SIZE_DEFAULT", &["1", "5mb", "1.5 kb"]),
        ("BODY_SIZE_MAX", &["1gb"]),
        ("RUNTIME_HEAD_TIMEOUT", &["5", "5s", "500ms"]),
        ("RUNTIME_BODY_TIMEOUT", &["1m"]),
        ("RUNTIME_WRITE_TIMEOUT", &["1h"]),
        ("RUNTIME_IDLE_TIMEOUT", &["1d"]),
        ("RUNTIME_MAX_CONNECTIONS", &["1"]),
        ("RUNTIME_SHARDS", &["1", "256"]),
        ("RUNTIME_SHUTDOWN_TIMEOUT", &["0", "1w"]),
        ("RUNTIME_ROOT_KEY", &["0123456789abcdef", "short"]),
        (
            "RUNTIME_TRUSTED_PROXIES",
            &["none", "10.0.0.0/8", "10.1.2.3, fd00::/8"],
        ),
        (
            "RUNTIME_ALLOWED_HOSTS",
            &["a.example.org", "A.example.org,localhost,::1"],
        ),
        ("RUNTIME_ADMIN_HOST", &["admin.example.org"]),
        ("RUNTIME_ADMIN_PORT", &["0", "8001"]),
        ("RUNTIME_CPANEL_SESSION_TTL", &["12h"]),
        ("RUNTIME_GRANTS", &["grants"]),
        (
            "RUNTIME_PLUGIN_ENV",
            &["@acme/auth:AUTH_URL,AUTH_REALM; log:LEVEL;"],
        ),
        ("RUNTIME_LOG_LEVEL", &["debug", "info", "warn", "error"]),
        ("RUNTIME_LOG_FORMAT", &["json", "pretty"]),
    ];
    let place = Place::new();
    for (name, values) in good {
        for value in *values {
            assert!(
                place.with(name, value).is_ok(),
                "{name}={value}: {:?}",
                place.with(name, value).err()
            );
        }
    }
    // Not built yet, so that no value is good; they are in the table of bad ones.
    // The pair has a test of its own, as neither is good alone.
    let bad_only = [
        "RUNTIME_DATABASE_URL",
        "RUNTIME_TLS_CERT",
        "RUNTIME_TLS_KEY",
    ];
    for variable in VARIABLES {
        let is_covered = good.iter().any(|(name, _)| *name == variable.name)
            || bad_only.contains(&variable.name);
        assert!(is_covered, "{} has no line in this test", variable.name);
    }
}

#[test]
fn every_variable_refuses_bad_values() {
    let bad: &[(&str, &[&str])] = &[
        ("HOST", &["example.org", "1.2.3", "127.0.0.1:80"]),
        (
            "PORT",
            &[
                "65536",
                "-1",
                "http",
                "8000 ",
                "0x50",
                "99999999999999999999",
            ],
        ),
        ("NODE_ENV", &["prod", "Production"]),
        ("RUNTIME_TLS_CERT", &["missing", "file"]),
        ("RUNTIME_TLS_KEY", &["missing", "file"]),
        (
            "RUNTIME_API_PREFIX",
            &["_", "/", "/a/", "/a//b", "/a/../b", "/ä", "/a?b"],
        ),
        (
            "RUNTIME_HOMEPAGE",
            &["../x", "a/b/c", "home@not a range", "@"],
        ),
        (
            "RUNTIME_WORKER_DIRS",
            &[
                "missing",
                "file",
                "apps:apps",
                "apps:./apps",
                ":",
                "apps:missing",
            ],
        ),
        ("RUNTIME_PLUGIN_DIRS", &["missing", "file"]),
        (
            "RUNTIME_STATE_DIR",
            &[
                "file",
                "file/below",
                "apps/state",
                "apps",
                ".",
                "missing/../state",
            ],
        ),
        (
            "RUNTIME_DATABASE_URL",
            &["postgres://u:hunter2@h/db", "mysql://hunter2", "x"],
        ),
        ("RUNTIME_SHARDS", &["0", "257", "1.5", "auto"]),
        ("RUNTIME_RELEASES_KEPT", &["0", "1001", "all"]),
        ("RUNTIME_BUN", &["missing", "apps"]),
        ("RUNTIME_BUN_COPY", &["on", "no"]),
        ("RUNTIME_POOL_SIZE", &["0", "-1", "1.5", "100001", "many"]),
        ("RUNTIME_EPHEMERAL_CONCURRENCY", &["0"]),
        ("RUNTIME_EPHEMERAL_QUEUE_LIMIT", &["x"]),
        ("RUNTIME_SANDBOX", &["on", "full"]),
        (
            "RUNTIME_NPM_REGISTRY",
            &[
                "npm.example.org",
                "ftp://x",
                "https://",
                "https://u:hunter2@/",
                "https://a b",
            ],
        ),
        ("RUNTIME_NPM_CAFILE", &["missing"]),
        ("BODY_SIZE_DEFAULT", &["0", "x", "10 tb", "101mb", "-1"]),
        ("BODY_SIZE_MAX", &["0", "x"]),
        (
            "RUNTIME_HEAD_TIMEOUT",
            &["0", "x", "-1s", "1 fortnight", "1e9y"],
        ),
        ("RUNTIME_BODY_TIMEOUT", &["0"]),
        ("RUNTIME_WRITE_TIMEOUT", &["0s"]),
        ("RUNTIME_IDLE_TIMEOUT", &["NaN"]),
        ("RUNTIME_MAX_CONNECTIONS", &["0", "1000001"]),
        ("RUNTIME_SHUTDOWN_TIMEOUT", &["-1", "soon"]),
        (
            "RUNTIME_ROOT_KEY",
            &["hunter2 hunter2", "hunter2\n", "hunter2ä"],
        ),
        (
            "RUNTIME_TRUSTED_PROXIES",
            &["10.0.0.0/33", "x", "10.0.0.0/8;::1", ",", "none,10.0.0.1"],
        ),
        (
            "RUNTIME_ALLOWED_HOSTS",
            &["https://a.example", "a.example:443", "a b", "-a", ","],
        ),
        (
            "RUNTIME_ADMIN_HOST",
            &["a.example:8000", "http://a", "a..b"],
        ),
        ("RUNTIME_ADMIN_PORT", &["x", "8000", "65536"]),
        ("RUNTIME_CPANEL_SESSION_TTL", &["0"]),
        ("RUNTIME_GRANTS", &["missing", "apps"]),
        (
            "RUNTIME_PLUGIN_ENV",
            &[
                "auth",
                "auth:",
                "auth:RUNTIME_ROOT_KEY",
                "auth:1A",
                "../x:A",
                ";",
                "auth:A-B",
            ],
        ),
        ("RUNTIME_LOG_LEVEL", &["verbose", "INFO"]),
        ("RUNTIME_LOG_FORMAT", &["text"]),
    ];
    let place = Place::new();
    for (name, values) in bad {
        let variable = VARIABLES
            .iter()
            .find(|variable| variable.name == *name)
            .unwrap();
        for value in *values {
            let error = place
                .with(name, value)
                .map(|_| ())
                .expect_err(&format!("{name}={value}"));
            assert!(error.contains(name), "{name}={value}: {error}");
            assert!(!error.contains("hunter2"), "a secret in: {error}");
            assert!(
                variable.secret || name.contains("TLS") || error.contains("=\""),
                "no value in: {error}"
            );
        }
    }
    assert_eq!(bad.len(), VARIABLES.len(), "each variable has a line");
}

#[test]
fn values_meet_their_types() {
    let place = Place::new();
    let config = place.with("RUNTIME_PLUGIN_DIRS", "plugs:.plugs").unwrap();
    assert_eq!(
        config.plugins.roots,
        [place.path().join(".plugs"), place.path().join("plugs")]
    );
    let config = place
        .with("RUNTIME_PLUGIN_ENV", "@acme/auth:URL,REALM;log:LEVEL")
        .unwrap();
    let auth = "@acme/auth".parse().unwrap();
    assert!(config.plugins.env.allows(&auth, "URL") && !config.plugins.env.allows(&auth, "LEVEL"));
    let config = place
        .with("RUNTIME_ALLOWED_HOSTS", "A.Example, b.example")
        .unwrap();
    assert_eq!(
        config.api.allowed_hosts.unwrap(),
        ["a.example", "b.example"]
    );
    let config = place.with("RUNTIME_HOMEPAGE", "@a/home@^1").unwrap();
    let homepage = config.homepage.unwrap();
    assert_eq!(
        (homepage.name.as_str(), homepage.range.is_some()),
        ("@a/home", true)
    );
    let config = place.with("BODY_SIZE_MAX", "1mb").unwrap();
    assert_eq!(
        config.bodies.default,
        ByteSize::from_bytes(1 << 20),
        "the default follows the ceiling"
    );
    let config = place.with("RUNTIME_TRUSTED_PROXIES", "10.0.0.0/8").unwrap();
    for (peer, trusted) in [
        ("10.9.9.9", true),
        ("::ffff:10.9.9.9", true),
        ("127.0.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(
            config.trusted_proxies.trusts(peer.parse().unwrap()),
            trusted,
            "{peer}"
        );
    }
    let vars = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("NODE_ENV", "test"),
        ("RUNTIME_EPHEMERAL_CONCURRENCY", "50"),
    ];
    let pool = place.load(&vars, &[]).unwrap().config.pool;
    assert_eq!(
        (pool.size, pool.ephemeral_concurrency),
        (5, 5),
        "all stay within the pool size"
    );
    fs::create_dir(place.path().join("plugins")).unwrap();
    let config = place.with("PORT", "1").unwrap();
    assert_eq!(config.plugins.roots, [place.path().join("plugins")]);
}
