//! `RUNTIME_GRANTS`: what apps placed by hand may have, and what `buntime check` says.

use std::fs;

use buntime_testkit::api::{ROOT_KEY, ask_text};

use super::{KEPT, run, server, text, write};

const APP: &str = "export default { fetch: () => new Response('well') };\n";

#[test]
fn an_app_that_asks_for_more_than_granted_is_disabled_until_it_asks_for_less() {
    let greedy = format!(
        "{KEPT}permissions: {{spawn: true, net: ['localhost:8000']}}\nlimits: {{memory: 1gb}}\n"
    );
    let modest = format!("{KEPT}limits: {{memory: 1gb}}\n");
    let builder = server()
        .neighbour()
        .env("RUNTIME_ROOT_KEY", ROOT_KEY)
        .module("greedy@1.0.0", &greedy, APP)
        .module("modest@1.0.0", &modest, APP);
    let grants = builder.dir().join("grants.yaml");
    fs::write(&grants, "'*': {limits: {memory: 1gb}}\n").unwrap();
    let server = builder
        .env("RUNTIME_GRANTS", grants.to_str().unwrap())
        .start();
    assert_eq!(server.get("/modest/").text(), "well");
    let response = server.get("/greedy/");
    assert_eq!(response.status, 503);
    assert_eq!(response.error_code(), "PERMISSION_NOT_GRANTED");
    // The log says what; a stranger is not told.
    assert!(!response.text().contains("spawn"));
    let line = server.wait_for_log(|line| {
        line.message()
            .contains("it asks for what it is not granted")
    });
    assert_eq!(line.level(), "error");
    let asked = [
        "permissions.spawn: true",
        "permissions.net: localhost:8000 (never granted)",
    ];
    assert!(line.message().contains(&format!(
        "greedy@1.0.0: disabled: it asks for what it is not granted: {}; grant it",
        asked.join(", ")
    )));
    let list = ask_text(server.addr(), ROOT_KEY, "GET", "/api/workers", "").json();
    let workers = list.as_array().unwrap();
    let find = |name: &str| {
        workers
            .iter()
            .find(|worker| worker["name"] == name)
            .unwrap()
    };
    let broken = serde_json::json!([
        {"version": "1.0.0", "code": "PERMISSION_NOT_GRANTED", "notGranted": asked}
    ]);
    assert_eq!(find("greedy")["brokenVersions"], broken);
    assert_eq!(find("greedy")["live"]["status"], "broken");
    assert!(find("modest").get("brokenVersions").is_none());
    write(
        &server.dir().join("apps/greedy@1.0.0"),
        "manifest.yaml",
        KEPT,
    );
    server.wait_until("the app serves", || server.get("/greedy/").text() == "well");
}

#[test]
fn grants_that_cannot_be_used_stop_the_start_with_every_mistake() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("apps")).unwrap();
    let apps = dir.path().canonicalize().unwrap().join("apps");
    let grants = format!(
        "shop: {{limits: {{memory: much}}}}\n'@a': {{}}\nx: {{permissions: {{read: [{}]}}}}\n",
        apps.display()
    );
    fs::write(dir.path().join("g.yaml"), &grants).unwrap();
    let vars = [("RUNTIME_WORKER_DIRS", "apps"), ("PORT", "0")];
    let output = run(dir.path(), &["serve", "--grants", "g.yaml"], &vars);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for part in [
        "g.yaml:1:25: shop.limits.memory: `much`",
        "g.yaml:2:1: @a: is no unit",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    // Where paths lead is looked at once the file can be read.
    let sound = grants.lines().last().unwrap();
    fs::write(dir.path().join("g.yaml"), sound).unwrap();
    let output = run(dir.path(), &["serve", "--grants", "g.yaml"], &vars);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("leads to a worker root"));
    assert!(!dir.path().join(".buntime").exists());
}

#[test]
fn check_explains_what_is_asked_for_and_what_would_grant_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        (
            "apps/@acme/shop/manifest.yaml",
            "permissions: {spawn: true, net: ['db.internal:5432', 'api.example.com:443']}\nlimits: {memory: 1gb, cpu: 2}\n",
        ),
        ("apps/@acme/shop/index.ts", "export default {}\n"),
        ("apps/plain/manifest.yaml", "entrypoint: index.ts\n"),
        ("apps/plain/index.ts", "export default {}\n"),
        (
            "plugins/p/manifest.yaml",
            "name: p\npermissions: {read: [/srv/maps]}\n",
        ),
        (
            "g.yaml",
            "'@acme/*':\n  limits: {memory: 1gb}\n'@acme/shop':\n  limits: {cpu: 4}\ngone: {limits: {cpu: 2}}\n",
        ),
    ] {
        write(dir.path(), name, content);
    }
    let vars = [("RUNTIME_WORKER_DIRS", "apps")];
    let output = run(dir.path(), &["check", "--grants", "g.yaml"], &vars);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    let explained = "\
@acme/shop@latest: asks for
  permissions.spawn: true: not granted
  permissions.net: db.internal:5432: not granted
  permissions.net: api.example.com:443: free
  limits.memory: 1gb: granted to \"@acme/*\", g.yaml:1
  limits.cpu: 2: granted to \"@acme/shop\", g.yaml:3
  to grant the rest, merge into g.yaml:3:
    \"@acme/shop\": {permissions: {spawn: true, net: [\"db.internal:5432\"]}}
plain@latest: asks for nothing
plugin p: asks for
  permissions.read: /srv/maps: not granted
  to grant the rest, add to g.yaml:
    \"p\": {permissions: {read: [\"/srv/maps\"]}}
g.yaml:5: \"gone\" is granted something, and is none of these
";
    assert!(told.starts_with(explained), "{told}");
    assert!(told.contains("2 errors, 0 warnings"), "{told}");
    // With all of it granted nothing is wrong, by the variable as well.
    write(
        dir.path(),
        "all.yaml",
        "'@acme/shop': {permissions: {spawn: true, net: ['db.internal:5432']}, limits: {memory: 1gb, cpu: 2}}\np: {permissions: {read: [/srv/maps]}}\n",
    );
    let vars = [vars[0], ("RUNTIME_GRANTS", "all.yaml")];
    let output = run(dir.path(), &["check"], &vars);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(!text(&output.stdout).contains("asks for"));
    // One app by itself is called what it would be called in its root.
    write(
        dir.path(),
        "spawn.yaml",
        "'@acme/shop': {permissions: {spawn: true}}\n",
    );
    let args = ["check", "--grants", "spawn.yaml", "apps/@acme/shop"];
    let output = run(dir.path(), &args, &[]);
    let told = text(&output.stdout);
    assert!(
        told.contains("permissions.spawn: true: granted to \"@acme/shop\", spawn.yaml:1"),
        "{told}"
    );
    // What nobody is granted is told as at a start.
    write(
        dir.path(),
        "proc.yaml",
        "'*': {permissions: {read: [/proc/1]}}\n",
    );
    let output = run(dir.path(), &["check", "--grants", "proc.yaml"], &vars[..1]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("proc.yaml:1: \"/proc/1\" leads to"));
    // A file that cannot be used is wrong usage.
    write(dir.path(), "bad.yaml", "shop: yes\n");
    let output = run(dir.path(), &["check", "--grants", "bad.yaml"], &vars[..1]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("bad.yaml:1:7: shop: `yes`"));
}
