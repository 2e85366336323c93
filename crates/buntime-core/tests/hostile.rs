//! Files made to cost memory or time (alias bombs, depth, size, tags). Each must be
//! refused at once. Its own test binary, so that the peak memory of the process is
//! that of this test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use buntime_core::{DiagnosticKind, Manifest, PluginManifest};

/// The most memory that this process has held so far, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

fn alias_bomb() -> String {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    bomb
}

fn hostile_files() -> Vec<(&'static str, String)> {
    let numbered = |line: fn(usize) -> String| (0..20_000).map(line).collect::<String>();
    vec![
        ("alias bomb", alias_bomb()),
        ("flow depth", format!("env: {}", "[".repeat(10_000))),
        (
            "closed flow depth",
            format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        ),
        ("block depth", "- ".repeat(10_000)),
        (
            "mapping depth",
            (0..400)
                .map(|depth| format!("{}a:\n", " ".repeat(depth)))
                .collect(),
        ),
        ("5 mb", format!("env:\n  A: {}", "x".repeat(5 << 20))),
        ("5 mb of keys", "a: 1\n".repeat(1 << 20)),
        ("tag", "env: !!js/function 'x'".to_owned()),
        ("binary tag", "env: {A: !!binary aGk=}".to_owned()),
        ("many values", format!("cron: [{}]", "1,".repeat(20_000))),
        ("unknown keys", numbered(|index| format!("k{index}: 1\n"))),
        ("one key", "a: 1\n".repeat(50_000)),
        ("anchors", "&a ".repeat(80_000)),
        ("open quote", format!("name: \"{}", "a".repeat(250_000))),
        ("long key", format!("{}: 1\n- x", "a".repeat(250_000))),
        ("nul", "name: a\0b".to_owned()),
    ]
}

#[test]
fn hostile_manifests_are_refused_at_once() {
    let files = hostile_files();
    let before = peak_memory();
    for (name, text) in &files {
        let quickest = (0..3)
            .map(|_| {
                let start = Instant::now();
                let errors = Manifest::parse(text, "manifest.yaml").expect_err(name);
                let taken = start.elapsed();
                assert!(errors.has(DiagnosticKind::Syntax), "{name}: {errors}");
                assert!(errors.to_string().len() < 64 * 1024, "{name}");
                let start = Instant::now();
                // To a plugin, keys of any name are settings.
                if *name != "unknown keys" {
                    PluginManifest::parse(text, "manifest.yaml").expect_err(name);
                }
                taken.max(start.elapsed())
            })
            .min();
        // The best of three: the machine may be busy, the parser must not be.
        assert!(
            quickest < Some(Duration::from_millis(100)),
            "{name}: {quickest:?}"
        );
    }
    let grown = peak_memory() - before;
    assert!(grown < 16 << 20, "{grown} bytes");
}
