//! "The pool prevents duplicate registrations of the same app@version from
//! different directories."

use std::fs;
use std::path::Path;

use buntime_testkit::{Builder, TestServer};

use crate::support::{KEPT, server};

/// The same app@version in another layout of the same root.
fn write(apps: &Path, folder: &str, answer: &str) {
    let dir = apps.join(folder);
    fs::create_dir_all(&dir).unwrap();
    let module = format!("export default {{ fetch: () => new Response({answer:?}) }};\n");
    fs::write(dir.join("index.ts"), module).unwrap();
    fs::write(dir.join("manifest.yaml"), KEPT).unwrap();
}

/// The documented line, between two folders of the server's worker root.
fn message(server: &TestServer, first: &str, second: &str) -> String {
    let apps = server.dir().canonicalize().unwrap().join("apps");
    format!(
        "Worker collision: \"my-app@1.0.0\" already registered from {:?}, cannot register from {:?}",
        apps.join(first),
        apps.join(second)
    )
}

#[test]
fn two_folders_at_startup_are_an_error_and_the_first_serves() {
    let builder: Builder = server();
    let apps = builder.dir().join("apps");
    write(&apps, "my-app/1.0.0", "nested");
    write(&apps, "my-app@1.0.0", "flat");
    let server = builder.start();
    let line = server.wait_for_log(|line| line.message().starts_with("Worker collision"));
    assert_eq!(line.level(), "error");
    let answer = server.get("/my-app/").text();
    let (first, second) = match answer.as_str() {
        "nested" => ("my-app/1.0.0", "my-app@1.0.0"),
        "flat" => ("my-app@1.0.0", "my-app/1.0.0"),
        other => panic!("{other}"),
    };
    assert_eq!(line.message(), message(&server, first, second));
}

#[test]
fn one_that_appears_later_is_an_error_and_the_first_keeps_serving() {
    let builder = server();
    let apps = builder.dir().join("apps");
    write(&apps, "my-app@1.0.0", "first");
    let server = builder.start();
    assert_eq!(server.get("/my-app/").text(), "first");
    write(&apps, "my-app/1.0.0", "second");
    let line = server.wait_for_log(|line| line.message().starts_with("Worker collision"));
    assert_eq!(line.level(), "error");
    assert_eq!(
        line.message(),
        message(&server, "my-app@1.0.0", "my-app/1.0.0")
    );
    assert_eq!(server.get("/my-app/").text(), "first");
    assert_eq!(server.get("/my-app@1.0.0/").text(), "first");
}

#[test]
fn the_same_name_in_two_roots_is_one_too() {
    let builder = server();
    let (apps, other) = (builder.dir().join("apps"), builder.dir().join("other"));
    write(&apps, "my-app@1.0.0", "first");
    write(&other, "my-app@1.0.0", "second");
    let roots = format!("{}:{}", apps.display(), other.display());
    let server = builder.env("RUNTIME_WORKER_DIRS", &roots).start();
    let line = server.wait_for_log(|line| line.message().starts_with("Worker collision"));
    let dir = server.dir().canonicalize().unwrap();
    let wanted = format!(
        "Worker collision: \"my-app@1.0.0\" already registered from {:?}, cannot register from {:?}",
        dir.join("apps/my-app@1.0.0"),
        dir.join("other/my-app@1.0.0")
    );
    assert_eq!(line.message(), wanted);
    assert_eq!(server.get("/my-app/").text(), "first");
}

#[test]
fn two_versions_of_one_app_are_none() {
    let builder = server();
    let apps = builder.dir().join("apps");
    write(&apps, "my-app@1.0.0", "one");
    write(&apps, "my-app/2.0.0", "two");
    let server = builder.start();
    assert_eq!(server.get("/my-app@1/").text(), "one");
    assert_eq!(server.get("/my-app@2/").text(), "two");
    assert!(!server.output().contains("Worker collision"));
}
