//! What is told of a configuration that is wrong, or does not do what one may think.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::*;

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
