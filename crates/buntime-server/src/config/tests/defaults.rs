//! What holds when nothing is said, and who wins when two say it.

use std::net::IpAddr;

use super::*;
use crate::logging::{Format, Level};

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
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config.listen.shards, cores);
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
    assert!(config.pool.copies_bun);
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
