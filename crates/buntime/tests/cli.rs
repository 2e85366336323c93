//! The program as a user meets it: words and exit codes. Nothing here needs Bun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in an empty environment, in `dir`.
fn buntime(dir: &Path, args: &[&str], vars: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_buntime"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(vars.iter().copied())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_succeed_and_wrong_usage_is_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["dev", "-h"],
        &["check", "--help"],
    ] {
        let output = buntime(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(out(&output).contains("buntime"), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
    }
    for args in [
        &[][..],
        &["fly"],
        &["serve", "--fly"],
        &["serve", "--port"],
        &["serve", "--port", "1", "--port", "2"],
    ] {
        let output = buntime(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn serve_reports_every_problem_of_the_configuration_and_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let vars = [
        ("PORT", "70000"),
        ("RUNTIME_WORKER_DIRS", "nowhere"),
        ("RUNTIME_DATABASE_URL", "postgres://user:hunter2@host/db"),
        ("RUNTIME_POOL_SIZE", "5"),
    ];
    let output = buntime(
        dir.path(),
        &["serve", "--pool-size", "none", "--shutdown-timeout", "soon"],
        &vars,
    );
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    for part in [
        "PORT=\"70000\"",
        "\"nowhere\" does not exist",
        "Postgres",
        "--pool-size=\"none\"",
        "--shutdown-timeout",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains("hunter2"));
    assert_eq!(
        text.lines().count(),
        6,
        "a heading and one line each:\n{text}"
    );
    assert!(
        !dir.path().join(".buntime").exists(),
        "a wrong configuration leaves nothing behind"
    );
}

#[test]
fn check_prints_all_problems_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("apps/good/manifest.yaml", "entrypoint: index.ts\n");
    file("apps/good/index.ts", "export default {}\n");
    let output = buntime(dir.path(), &["check", "apps"], &[]);
    assert_eq!(
        (output.status.code(), out(&output).as_str()),
        (Some(0), "0 errors, 0 warnings\n")
    );
    let output = buntime(dir.path(), &["check"], &[("RUNTIME_WORKER_DIRS", "apps")]);
    assert_eq!(output.status.code(), Some(0));

    file("apps/late/manifest.yaml", "ttl: never\n");
    file("apps/gone/manifest.yaml", "entrypoint: missing.ts\n");
    let output = buntime(dir.path(), &["check", "apps"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = out(&output);
    assert!(text.contains("late") && text.contains("gone"), "{text}");
    assert!(
        text.lines()
            .filter(|line| line.starts_with("error: "))
            .count()
            >= 2,
        "{text}"
    );

    for args in [&["check"][..], &["check", "nowhere"]] {
        assert_eq!(
            buntime(dir.path(), args, &[]).status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

#[test]
fn doctor_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let output = buntime(
        dir.path(),
        &["doctor", "--json", "--bun", "/nowhere/bun"],
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let bun = &report["findings"][0];
    assert_eq!(
        (&bun["subject"], &bun["verdict"]),
        (&"bun".into(), &"bad".into())
    );
    assert!(bun["advice"].as_str().unwrap().contains("/nowhere/bun"));
    let table = out(&buntime(
        dir.path(),
        &["doctor", "--bun", "/nowhere/bun"],
        &[],
    ));
    assert!(table.starts_with("bad  bun"), "{table}");
}
