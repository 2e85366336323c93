mod grants;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buntime_core::ByteSize;

use super::*;
use crate::logging::{Format, Level};

/// A folder with `apps/`, `extra/`, `.core/`, `file` and `plugins-elsewhere/`, to start from.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["apps", "extra", ".core", "plugs", ".plugs"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        fs::write(temp.path().join("file"), "x").unwrap();
        fs::write(temp.path().join("grants"), "shop: {limits: {cpu: 2}}\n").unwrap();
        Self(temp)
    }

    fn path(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap()
    }

    fn load(
        &self,
        vars: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Loaded, ConfigErrors> {
        let vars: HashMap<String, String> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut given = Flags::new();
        for (name, value) in flags {
            given.set(name, value);
        }
        Config::load(&Sources {
            vars: &vars,
            flags: &given,
            current_dir: self.path(),
        })
    }

    /// With worker roots, and one more variable.
    fn with(&self, name: &str, value: &str) -> Result<Config, String> {
        let mut vars = vec![("RUNTIME_WORKER_DIRS", "apps")];
        vars.retain(|(known, _)| *known != name);
        vars.push((name, value));
        self.load(&vars, &[])
            .map(|loaded| loaded.config)
            .map_err(|errors| errors.to_string())
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn defaults() {
    let place = Place::new();
    let loaded = place.load(&[("RUNTIME_WORKER_DIRS", "apps")], &[]).unwrap();
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.mode, Mode::Development);
    assert_eq!(config.listen.host, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(
        (config.listen.port, config.listen.max_connections),
        (8000, 10_000)
    );
    assert_eq!(config.workers[0].path, place.path().join("apps"));
    assert!(config.plugins.roots.is_empty());
    assert_eq!(config.state.dir, place.path().join(".buntime"));
    assert!(!config.state.dir.exists(), "loading creates nothing");
    assert_eq!(config.state.releases_kept, 10);
    assert_eq!(config.pool.ephemeral_concurrency, 2);
    assert_eq!(config.pool.ephemeral_queue_limit, 100);
    let expected = Timeouts {
        head: secs(10),
        body: secs(30),
        write: secs(30),
        idle: secs(75),
        shutdown: secs(30),
    };
    assert_eq!(config.timeouts, expected);
    assert_eq!(config.bodies.default.bytes(), 10 << 20);
    assert_eq!(config.bodies.max.bytes(), 100 << 20);
    assert_eq!(config.api.session_ttl, secs(86_400));
    assert_eq!(config.api.prefix.as_str(), "");
    assert_eq!(config.sandbox, SandboxMode::Auto);
    assert!(config.trusted_proxies.trusts("127.0.0.9".parse().unwrap()));
    assert!(!config.trusted_proxies.trusts("10.0.0.1".parse().unwrap()));
}

#[test]
fn defaults_by_mode() {
    let place = Place::new();
    for (mode, size, level, format) in [
        ("development", 10, Level::Debug, Format::Pretty),
        ("test", 5, Level::Debug, Format::Pretty),
        ("staging", 50, Level::Info, Format::Json),
        ("production", 500, Level::Info, Format::Json),
    ] {
        let config = place.with("NODE_ENV", mode).unwrap();
        assert_eq!(
            (config.pool.size, config.log.level, config.log.format),
            (size, level, format),
            "{mode}"
        );
        assert_eq!(config.mode.to_string(), mode);
    }
}

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
        ("RUNTIME_RELEASES_KEPT", &["0", "1001", "all"]),
        ("RUNTIME_BUN", &["missing", "apps"]),
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
fn a_certificate_and_its_key_are_read_together() {
    let place = Place::new();
    let make = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (cert, key) = make();
    let (_, other) = make();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("cert", cert.as_str()),
        ("key", &key),
        ("other", &other),
        ("both", &format!("{key}{cert}")),
        ("garbage", garbage),
        ("cut", &cert[..cert.len() / 2]),
        ("empty", ""),
        ("large", &"x".repeat((1 << 20) + 1)),
    ] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let said = |cert: &str, key: &str| {
        let vars = [
            ("RUNTIME_WORKER_DIRS", "apps"),
            ("RUNTIME_TLS_CERT", cert),
            ("RUNTIME_TLS_KEY", key),
        ];
        let problems = match place.load(&vars, &[]) {
            Ok(loaded) => {
                assert!(loaded.config.listen.tls.is_some());
                return Vec::new();
            }
            Err(errors) => errors.problems().to_vec(),
        };
        problems
            .iter()
            .map(|problem| (problem.setting.clone(), problem.message.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(said("cert", "key"), []);
    assert_eq!(said("both", "both"), [], "one file may hold both");
    for (cert, key, wrong) in [
        (
            "cert",
            "other",
            &[("RUNTIME_TLS_KEY", "is not the key of the certificate")][..],
        ),
        (
            "key",
            "cert",
            &[
                ("RUNTIME_TLS_CERT", "holds no certificate"),
                ("RUNTIME_TLS_KEY", "holds no unencrypted private key"),
            ],
        ),
        (
            "empty",
            "key",
            &[("RUNTIME_TLS_CERT", "holds no certificate")],
        ),
        ("garbage", "key", &[("RUNTIME_TLS_CERT", "cannot be used")]),
        ("cut", "key", &[("RUNTIME_TLS_CERT", "not valid PEM")]),
        (
            "large",
            "large",
            &[
                ("RUNTIME_TLS_CERT", "larger than 1 MB"),
                ("RUNTIME_TLS_KEY", "larger than 1 MB"),
            ],
        ),
        ("missing", "key", &[("RUNTIME_TLS_CERT", "cannot be read")]),
        ("cert", "", &[("RUNTIME_TLS_CERT", "without its key")]),
        ("", "key", &[("RUNTIME_TLS_KEY", "without its certificate")]),
    ] {
        let said = said(cert, key);
        assert_eq!(said.len(), wrong.len(), "{cert}, {key}: {said:?}");
        for ((setting, message), (in_setting, words)) in said.iter().zip(wrong) {
            assert_eq!(setting, in_setting, "{cert}, {key}");
            assert!(message.contains(words), "{cert}, {key}: {message}");
        }
    }
}

#[test]
fn all_problems_come_at_once_with_their_names() {
    let place = Place::new();
    let errors = place
        .load(
            &[
                ("PORT", "http"),
                ("RUNTIME_POOL_SIZE", "0"),
                ("RUNTIME_TLS_CERT", "file"),
                ("BODY_SIZE_MAX", "1"),
            ],
            &[("RUNTIME_HEAD_TIMEOUT", "soon"), ("BODY_SIZE_DEFAULT", "2")],
        )
        .unwrap_err();
    let settings: Vec<&str> = errors
        .problems()
        .iter()
        .map(|problem| problem.setting.as_str())
        .collect();
    assert_eq!(
        settings,
        [
            "PORT",
            "RUNTIME_POOL_SIZE",
            "--head-timeout",
            "RUNTIME_WORKER_DIRS",
            "RUNTIME_TLS_CERT",
            "--body-size-default"
        ]
    );
    assert_eq!(errors.to_string().lines().count(), settings.len());
    let first = errors.to_string().lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        r#"PORT="http": is not a whole number; write a port from 0 to 65535"#
    );
}

#[test]
fn a_flag_wins_and_an_empty_one_takes_the_variable_back() {
    let place = Place::new();
    let vars = [
        ("RUNTIME_WORKER_DIRS", "missing"),
        ("PORT", "1"),
        ("RUNTIME_HOMEPAGE", "home"),
        ("NODE_ENV", ""),
    ];
    let flags = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("PORT", "2"),
        ("RUNTIME_HOMEPAGE", ""),
    ];
    let config = place.load(&vars, &flags).unwrap().config;
    assert_eq!(config.listen.port, 2);
    assert!(config.homepage.is_none());
    assert_eq!(config.workers[0].path, place.path().join("apps"));
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

#[test]
fn unknown_variables_are_warned_of_with_the_nearest_known() {
    let place = Place::new();
    let vars = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("RUNTIME_POOLSIZE", "5"),
        ("RUNTIME_SOMETHING_ELSE_ENTIRELY", "1"),
        ("OTHER", "1"),
    ];
    let warnings = place.load(&vars, &[]).unwrap().warnings;
    let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[0],
        "RUNTIME_POOLSIZE: unknown variable, ignored; did you mean RUNTIME_POOL_SIZE?"
    );
    assert!(lines[1].contains("buntime serve --help"), "{}", lines[1]);
}

#[test]
fn values_that_are_no_utf8_are_refused_without_being_shown() {
    let place = Place::new();
    let mut flags = Flags::new();
    flags.set("RUNTIME_WORKER_DIRS", OsString::from_vec(vec![b'a', 0xff]));
    let vars = HashMap::new();
    let errors = Config::load(&Sources {
        vars: &vars,
        flags: &flags,
        current_dir: place.path(),
    })
    .unwrap_err();
    assert_eq!(errors.problems().len(), 1);
    assert!(
        errors
            .to_string()
            .starts_with("--worker-dirs: is not valid UTF-8")
    );
}

#[test]
fn long_and_hostile_values_stay_one_short_line() {
    let place = Place::new();
    let error = place
        .with("PORT", &format!("\u{1b}[31m\n{}", "9".repeat(100_000)))
        .unwrap_err();
    assert_eq!(error.lines().count(), 1);
    assert!(error.len() < 300 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    let place = Place::new();
    let config = place
        .with("RUNTIME_ROOT_KEY", "hunter2hunter2hunter2")
        .unwrap();
    assert_eq!(
        config.state.root_key.as_ref().unwrap().expose(),
        "hunter2hunter2hunter2"
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let mut flags = Flags::new();
    flags.set("RUNTIME_ROOT_KEY", "hunter2");
    assert!(!format!("{flags:?}").contains("hunter2"));
    let vars = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("RUNTIME_ROOT_KEY", "hunter2"),
    ];
    let warnings = place.load(&vars, &[]).unwrap().warnings;
    assert!(
        warnings[0].message.contains("guessed") && !warnings[0].to_string().contains("hunter2")
    );
}

#[test]
fn a_key_that_can_be_guessed_does_not_open_what_is_deployed() {
    let place = Place::new();
    for mode in ["staging", "production"] {
        let vars = |key| {
            [
                ("RUNTIME_WORKER_DIRS", "apps"),
                ("NODE_ENV", mode),
                ("RUNTIME_ROOT_KEY", key),
            ]
        };
        let errors = place.load(&vars("fifteen letters"), &[]).unwrap_err();
        assert!(errors.to_string().contains("RUNTIME_ROOT_KEY"), "{errors}");
        let errors = place.load(&vars("fifteen-letters"), &[]).unwrap_err();
        assert!(errors.to_string().contains("guessed"), "{errors}");
        assert!(!errors.to_string().contains("fifteen"), "{errors}");
        assert!(place.load(&vars("sixteen--letters"), &[]).is_ok());
    }
}

#[test]
fn settings_that_do_nothing_yet_are_named() {
    let place = Place::new();
    let vars = [
        ("RUNTIME_WORKER_DIRS", "apps"),
        ("RUNTIME_PLUGIN_ENV", "auth:AUTH_URL"),
    ];
    let warnings = place.load(&vars, &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    let shown = warnings[0].to_string();
    assert!(
        shown.contains("RUNTIME_PLUGIN_ENV") && shown.contains("has no effect"),
        "{shown}"
    );
}

#[test]
fn the_state_dir_is_made_private() {
    let place = Place::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let state = place.with("RUNTIME_STATE_DIR", "deep/state").unwrap().state;
    assert_eq!(state.prepare(), Ok(None));
    assert_eq!(mode(&state.dir), 0o700);
    assert_eq!(state.prepare(), Ok(None), "a second start finds it");

    fs::set_permissions(&state.dir, fs::Permissions::from_mode(0o755)).unwrap();
    let warning = state.prepare().unwrap().unwrap();
    assert!(warning.message.contains("0755"), "{warning}");
    assert_eq!(mode(&state.dir), 0o755, "a mode that we did not set stays");

    fs::remove_dir(&state.dir).unwrap();
    fs::write(&state.dir, "").unwrap();
    assert!(
        state
            .prepare()
            .unwrap_err()
            .to_string()
            .contains("RUNTIME_STATE_DIR")
    );
}

#[test]
fn the_declarations_are_sound() {
    let mut flags: Vec<&str> = VARIABLES.iter().map(|variable| variable.flag).collect();
    flags.sort_unstable();
    flags.dedup();
    assert_eq!(flags.len(), VARIABLES.len());
    for variable in VARIABLES {
        let expected = variable
            .name
            .trim_start_matches("RUNTIME_")
            .to_ascii_lowercase()
            .replace('_', "-");
        assert_eq!(variable.flag, expected);
        assert!(!variable.meaning.is_empty() && !variable.accepted.is_empty());
        assert!(!variable.meaning.contains('|'), "it stands in a table");
    }
}

/// With `UPDATE_DOCS=1` it writes the part of the page that is generated.
#[test]
fn the_reference_in_the_docs_is_up_to_date() {
    const START: &str = "<!-- reference: generated from the declarations, see crates/buntime-server/src/config -->\n";
    const END: &str = "<!-- end of reference -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).expect("the start of the reference");
    let (table, after) = rest.split_once(END).expect("the end of the reference");
    let wanted = format!("\n{}", reference_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{START}{wanted}{END}{after}")).unwrap();
    } else {
        assert!(
            table == wanted,
            "run `UPDATE_DOCS=1 cargo test -p buntime-server reference`"
        );
    }
}
