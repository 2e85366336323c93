use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn holds_back_what_looks_like_a_secret() {
    for name in [
        "DATABASE_URL",
        "DB_HOST",
        "API_KEY",
        "APIKEY",
        "AUTH_KEY",
        "AUTHKEY",
        "SECRET_KEY",
        "SECRETKEY",
        "PRIVATE_KEY",
        "PRIVATEKEY",
        "X_TOKEN",
        "X_SECRET",
        "X_PASSWORD",
        "AWS_X",
        "GITHUB_X",
        "OPENAI_X",
        "ANTHROPIC_X",
        "STRIPE_X",
        "database_url",
        "Github_Token",
        "API_KEYS",
        "_TOKEN",
        "PUBLIC_API_TOKEN",
    ] {
        assert!(is_blocked_variable(name), "{name}");
    }
}

#[test]
fn lets_through_what_only_resembles_one() {
    for name in [
        "TOKEN",
        "MY_TOKENS",
        "API_URL",
        "PASSWORD_HINT",
        "DBX",
        "DATABASE",
        "DB",
        "MY_DB_URL",
        "MY_API_KEY",
        "SECRET",
        "PASSWORD",
        "AWS",
        "MYAWS_X",
        "PUBLIC_URL",
        "VITE_TITLE",
        "PORT",
        "DEBUG",
        "NODE",
        "PATHS",
        "HOMEPAGE",
        "LDAP_URL",
        "BUNDLE",
        "",
        "É",
    ] {
        assert!(!is_blocked_variable(name), "{name}");
    }
}

#[test]
fn holds_back_what_the_server_sets_or_what_steers_the_engine() {
    for name in [
        "APP_DIR",
        "ENTRYPOINT",
        "NODE_ENV",
        "RUNTIME_API_URL",
        "RUNTIME_LOG_LEVEL",
        "RUNTIME_PLUGIN_DIRS",
        "RUNTIME_WORKER_DIRS",
        "RUNTIME_ROOT_KEY",
        "WORKER_CONFIG",
        "WORKER_ID",
        "PATH",
        "HOME",
        "TMPDIR",
        "DATA_DIR",
        "TZ",
        "LANG",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "https_proxy",
        "no_proxy",
        "NODE_OPTIONS",
        "NODE_PATH",
        "NODE_CHANNEL_FD",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "BUN_OPTIONS",
        "BUN_INSPECT",
        "BUN_CONFIG_REGISTRY",
        "GLIBC_TUNABLES",
        "MALLOC_CONF",
        "MIMALLOC_VERBOSE",
        "JSC_useJIT",
        "ASAN_OPTIONS",
        "OPENSSL_CONF",
        "GCONV_PATH",
        "XDG_CONFIG_HOME",
        "npm_config_registry",
        "LISTEN_FDS",
        "NOTIFY_SOCKET",
        "SSLKEYLOGFILE",
        "path",
        "Ld_Preload",
    ] {
        assert!(is_blocked_variable(name), "{name}");
    }
}

#[test]
fn dotenv_wins_and_names_alone_are_reported() {
    let env = worker_env(
        &map(&[
            ("A", "manifest"),
            ("B", "b"),
            ("X_TOKEN", "hidden1"),
            ("DB_HOST", "hidden2"),
        ]),
        &map(&[
            ("A", "dotenv"),
            ("GITHUB_TOKEN", "hidden3"),
            ("X_TOKEN", "hidden4"),
        ]),
    );
    assert_eq!(env.passed, map(&[("A", "dotenv"), ("B", "b")]));
    assert_eq!(env.blocked, ["DB_HOST", "GITHUB_TOKEN", "X_TOKEN"]);
    assert!(!format!("{env:?}").contains("hidden"));
}

#[test]
fn pages_see_prefixed_variables_only() {
    let passed = map(&[
        ("PUBLIC_A", "1"),
        ("VITE_B", "2"),
        ("C", "3"),
        ("public_d", "4"),
    ]);
    let prefixes = ["PUBLIC_".to_owned(), "VITE_".to_owned()];
    assert_eq!(
        public_env(&passed, &prefixes),
        map(&[("PUBLIC_A", "1"), ("VITE_B", "2")])
    );
    assert!(public_env(&passed, &[]).is_empty());
    assert!(public_env(&passed, &[String::new()]).is_empty());
    // Nobody should hand over unfiltered variables; it would still not leak.
    let unfiltered = map(&[("PUBLIC_TOKEN", "hidden")]);
    assert!(public_env(&unfiltered, &prefixes).is_empty());
}

proptest! {
    #[test]
    fn every_variable_goes_one_way(names in prop::collection::btree_map("[A-Za-z_]{1,12}|(DB|AWS|LD|X)_[A-Z]{1,5}|[A-Z]_TOKEN", ".{0,3}", 0..20)) {
        let env = worker_env(&names, &BTreeMap::new());
        prop_assert_eq!(env.passed.len() + env.blocked.len(), names.len());
        for name in &env.blocked {
            prop_assert!(!env.passed.contains_key(name));
            prop_assert!(is_blocked_variable(&name.to_lowercase()));
        }
    }
}
