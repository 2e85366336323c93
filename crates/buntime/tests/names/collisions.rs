//! M12: one `name@version` in two folders.

use super::{KEPT, run, server, text, write};

const APP: &str = "export default { fetch: () => new Response(import.meta.dir) };\n";

fn message(id: &str, first: &str, second: &str) -> String {
    format!(
        "Worker collision: \"{id}\" already registered from \"{first}\", cannot register from \"{second}\""
    )
}

/// Puts an app into a folder at once, as a careful deployer does.
fn put(dir: &std::path::Path, folder: &str) {
    let staging = dir.join(".staging");
    write(&staging, "index.ts", APP);
    write(&staging, "manifest.yaml", KEPT);
    let target = dir.join(folder);
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::rename(staging, target).unwrap();
}

#[test]
fn m12_the_first_serves_and_the_second_is_told_at_start_and_while_running() {
    let builder = server();
    let dir = builder.dir().canonicalize().unwrap();
    let path = |below: &str| dir.join(below).display().to_string();
    for folder in [
        "apps/x/1.0.0",
        "apps/x@1.0.0",
        "more/x/1.0.0",
        "more/y@1.0.0",
    ] {
        put(&dir, folder);
    }
    let roots = format!("{}:{}", path("apps"), path("more"));
    let server = builder.env("RUNTIME_WORKER_DIRS", &roots).start();
    let serves = |name: &str| server.get(&format!("/{name}/")).text();
    assert_eq!(serves("x"), path("apps/x/1.0.0"));
    let told = |server: &buntime_testkit::TestServer| {
        let is_it = |line: &buntime_testkit::log::LogLine| {
            line.message().starts_with("Worker collision") && line.level() == "error"
        };
        let mut lines = server.log();
        lines.retain(is_it);
        let messages = lines.iter().map(|line| line.message().to_owned());
        messages.collect::<Vec<_>>()
    };
    let at_start = [
        message("x@1.0.0", &path("apps/x/1.0.0"), &path("apps/x@1.0.0")),
        message("x@1.0.0", &path("apps/x/1.0.0"), &path("more/x/1.0.0")),
    ];
    assert_eq!(told(&server), at_start);

    // One that comes later does not take the place of one that serves, not even
    // from a root before it.
    assert_eq!(serves("y"), path("more/y@1.0.0"));
    put(&dir, "apps/y/1.0.0");
    let late = message("y@1.0.0", &path("more/y@1.0.0"), &path("apps/y/1.0.0"));
    server.wait_for_message(&late);
    assert_eq!(serves("y"), path("more/y@1.0.0"));
    assert_eq!(told(&server).len(), 3, "each is told once");

    // The first goes: the next in order serves.
    std::fs::rename(path("apps/x/1.0.0"), path("apps/x/.gone")).unwrap();
    server.wait_until("the next one serves", || {
        serves("x") == path("apps/x@1.0.0")
    });
}

#[test]
fn m12_check_tells_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["apps/x/1.0.0", "more/x@1.0.0"] {
        put(dir.path(), folder);
    }
    let dir = dir.path().canonicalize().unwrap();
    let path = |below: &str| dir.join(below).display().to_string();
    for _ in 0..3 {
        let output = run(&dir, &["check", "apps", "more"], &[]);
        assert_eq!(output.status.code(), Some(1));
        let told = message("x@1.0.0", &path("apps/x/1.0.0"), &path("more/x@1.0.0"));
        assert_eq!(
            text(&output.stdout),
            format!("error: {told}\n1 errors, 0 warnings\n")
        );
        let turned = run(&dir, &["check", "more", "apps"], &[]);
        let told = message("x@1.0.0", &path("more/x@1.0.0"), &path("apps/x/1.0.0"));
        assert!(text(&turned.stdout).contains(&told), "{turned:?}");
    }
}
