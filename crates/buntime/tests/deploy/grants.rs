//! Archives that ask for more than is granted.

use std::fs;

use buntime_testkit::TestServer;
use buntime_testkit::archive::{Entry, Format, forge};

use super::support::{
    KEY, PLUGINS, archives, builder, call, deploy, failed, form, leftovers, send_form_to, site,
    tree, upload_entries,
};

/// What is asked for, in a manifest.
const ASKS: &str = "permissions: {spawn: true, read: [/srv/maps]}\nlimits: {memory: 1gb}\n";
const REFUSED: &str = "permissions.read: /srv/maps, permissions.spawn: true, limits.memory: 1gb";

/// A server that grants this.
fn server(grants: &str) -> TestServer {
    let builder = builder();
    let file = builder.dir().join("grants.yaml");
    fs::write(&file, grants).unwrap();
    builder
        .env("RUNTIME_GRANTS", file.to_str().unwrap())
        .start()
}

fn worker(name: &str, more: &str) -> Vec<Entry> {
    vec![
        Entry::file(
            "manifest.yaml",
            format!("name: '{name}'\nversion: 1.0.0\n{more}"),
        ),
        Entry::file("index.html", "page"),
    ]
}

#[test]
fn an_upload_that_asks_for_more_is_refused_with_all_of_it_and_changes_nothing() {
    let server =
        server("'@acme/*': {permissions: {spawn: true, read: [/srv]}, limits: {memory: 1gb}}\n");
    let address = server.addr();
    deploy(address, &site("shop", "1.0.0", "old"));
    let before = tree(&server.dir().join("apps"));
    for more in [ASKS.to_owned(), format!("{ASKS}enabled: false\n")] {
        let response = upload_entries(address, Format::Zip, &worker("shop", &more));
        failed(&response, 403, "PERMISSION_NOT_GRANTED");
        let message = response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            message,
            format!("The package asks for what it is not granted: {REFUSED}.")
        );
    }
    assert_eq!(tree(&server.dir().join("apps")), before);
    assert_eq!(leftovers(server.dir()), [""; 0]);
    assert_eq!(archives(server.dir()), 1);
    // Who was granted it may have it.
    deploy(address, &worker("@acme/shop", ASKS));
    assert_eq!(server.get("/@acme/shop/").text(), "page");
}

#[test]
fn a_rollback_to_what_is_granted_no_more_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("apps")).unwrap();
    let start = || {
        builder()
            .env("RUNTIME_WORKER_DIRS", &path("apps"))
            .env("RUNTIME_STATE_DIR", &path("state"))
            .env("RUNTIME_GRANTS", &path("grants.yaml"))
            .start()
    };
    let roll_back = |server: &TestServer| {
        let to = "/api/workers/_/shop/rollback";
        call(server.addr(), "POST", to, "{\"release\": 1}")
    };
    fs::write(path("grants.yaml"), "shop: {permissions: {spawn: true}}\n").unwrap();
    let server = start();
    deploy(
        server.addr(),
        &worker("shop", "permissions: {spawn: true}\n"),
    );
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    // Grants are read at the start.
    fs::write(path("grants.yaml"), "shop: {}\n").unwrap();
    assert_eq!(roll_back(&server).status, 200);
    deploy(server.addr(), &site("shop", "1.0.0", "new"));
    drop(server);
    let server = start();
    let response = roll_back(&server);
    failed(&response, 403, "PERMISSION_NOT_GRANTED");
    assert!(response.text().contains("permissions.spawn: true"));
    assert_eq!(server.get("/shop/").text(), "new");
    assert_eq!(leftovers(dir.path()), [""; 0]);
}

#[test]
fn a_plugin_that_asks_for_more_is_refused_and_the_set_stays() {
    let builder = builder();
    let dir = builder.dir().to_path_buf();
    fs::create_dir_all(dir.join("plugins/by-hand")).unwrap();
    fs::write(
        dir.join("plugins/by-hand/manifest.yaml"),
        format!("name: by-hand\n{ASKS}"),
    )
    .unwrap();
    fs::write(
        dir.join("grants.yaml"),
        "good: {permissions: {spawn: true}}\n",
    )
    .unwrap();
    let server = builder
        .env("RUNTIME_PLUGIN_DIRS", dir.join("plugins").to_str().unwrap())
        .env("RUNTIME_GRANTS", dir.join("grants.yaml").to_str().unwrap())
        .start();
    let line = server.wait_for_log(|line| line.message().contains("Plugin \"by-hand\""));
    assert_eq!(line.level(), "error");
    assert!(line.message().contains(&format!(
        "it asks for what it is not granted: {REFUSED}; grant it"
    )));
    fs::remove_dir_all(dir.join("plugins/by-hand")).unwrap();
    let send = |name: &str, lines: &str| {
        let archive = forge(
            Format::TarGz,
            &[Entry::file(
                "manifest.yaml",
                format!("name: '{name}'\n{lines}"),
            )],
        );
        let body = form(&[("file", Some("p.tgz"), &archive)]);
        send_form_to(PLUGINS, KEY, server.addr(), &body)
    };
    let listed = || call(server.addr(), "GET", "/api/plugins", "").json();
    let before = listed();
    for lines in [ASKS.to_owned(), format!("enabled: false\n{ASKS}")] {
        let response = send("greedy", &lines);
        failed(&response, 403, "PERMISSION_NOT_GRANTED");
        assert!(response.text().contains(REFUSED), "{}", response.text());
    }
    assert_eq!(listed(), before);
    assert_eq!(leftovers(server.dir()), [""; 0]);
    assert!(!dir.join("plugins/greedy").exists());
    assert_eq!(send("good", "permissions: {spawn: true}\n").status, 200);
}
