//! `buntime check` and plugins.

use tempfile::TempDir;

use super::{run, text, write};

fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("apps/shop/manifest.yaml", "entrypoint: index.ts\n"),
        ("apps/shop/index.ts", "export default {}\n"),
        ("plugins/fine/manifest.yaml", "name: fine\nbase: /fine\n"),
        ("plugins/bad/manifest.yaml", "name: bad\nbase: /api\n"),
        (
            "plugins/shadow/manifest.yaml",
            "name: shadow\nbase: /shop\n",
        ),
        ("plugins/prefix/manifest.yaml", "name: prefix\nbase: /_\n"),
        ("other/x/manifest.yaml", "name: x\nbase: a\n"),
        ("work/@me/p/manifest.yaml", "name: '@me/p'\nbase: /health\n"),
        ("work/@me/p/plugin.ts", "export default {};\n"),
        ("work/bare/manifest.yaml", "name: bare\nbase: b/c\n"),
        ("work/bare/plugin.js", "export default {};\n"),
        ("work/app/manifest.yaml", "entrypoint: index.ts\n"),
        ("work/app/index.ts", "export default {};\n"),
        ("work/app/plugin.ts", "export const own = 1;\n"),
    ] {
        write(dir.path(), name, content);
    }
    dir
}

/// What a check says and ends with; the first line of each problem, without the folder.
#[track_caller]
fn checked(dir: &TempDir, args: &[&str], vars: &[(&str, &str)], code: i32, parts: &[&str]) {
    let args = [&["check"], args].concat();
    let output = run(dir.path(), &args, vars);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    let problems: Vec<_> = told.lines().filter(|line| line.contains(": ")).collect();
    assert_eq!(problems.len(), parts.len(), "{args:?}: {told}");
    for (problem, part) in problems.iter().zip(parts) {
        assert!(
            problem.contains(part),
            "{args:?}: {part} is not in {problem}"
        );
    }
}

const BAD: &str = "plugins/bad: Plugin \"bad\" cannot use reserved path \"/api\". Reserved paths: /api, /health, /.well-known";
const SHADOW: &str = "base \"/shop\" already belongs to the worker \"shop\"";
const PREFIX: &str = "Plugin \"prefix\" cannot use reserved path \"/_\"";
const OTHER: &str = "Plugin \"x\" has invalid base path \"a\"";

#[test]
fn g5_g6_check_covers_plugin_roots() {
    let dir = place();
    let apps = ("RUNTIME_WORKER_DIRS", "apps");
    checked(&dir, &[], &[apps], 1, &[BAD, SHADOW]);
    checked(
        &dir,
        &[],
        &[apps, ("RUNTIME_API_PREFIX", "/_")],
        1,
        &[BAD, PREFIX, SHADOW],
    );
    checked(
        &dir,
        &["--api-prefix", "/_"],
        &[apps],
        1,
        &[BAD, PREFIX, SHADOW],
    );
    checked(
        &dir,
        &[],
        &[apps, ("RUNTIME_PLUGIN_DIRS", "other")],
        1,
        &[OTHER],
    );
    checked(&dir, &["--plugin-dirs", "other"], &[apps], 1, &[OTHER]);
    // Named folders alone.
    checked(&dir, &["apps"], &[apps], 0, &[]);
    checked(&dir, &["plugins"], &[], 1, &[BAD]);
    checked(&dir, &["plugins/fine"], &[], 0, &[]);
    checked(&dir, &["plugins/bad"], &[], 1, &[BAD]);
    checked(&dir, &["apps", "plugins"], &[], 1, &[BAD, SHADOW]);
    checked(&dir, &["apps", "--plugin-dirs", "other"], &[], 1, &[OTHER]);
    checked(&dir, &["work/app"], &[], 0, &[]);
    // A plugin that lies in no root of those.
    let scoped = "work/@me/p: Plugin \"@me/p\" cannot use reserved path \"/health\"";
    checked(&dir, &["work/@me/p"], &[], 1, &[scoped]);
    checked(
        &dir,
        &["work/bare", "apps"],
        &[],
        1,
        &["has invalid base path \"b/c\""],
    );
}

#[test]
fn what_is_not_there_or_no_prefix_is_wrong_usage() {
    let dir = place();
    for args in [
        &["check", "--plugin-dirs", "nowhere"][..],
        &["check", "apps", "--plugin-dirs", "nowhere"],
        &["check", "apps", "--api-prefix", "no-slash"],
        &["check", "plugins/nothing"],
    ] {
        let output = run(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
