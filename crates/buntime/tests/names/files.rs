//! Entrypoints and files that lie elsewhere: `..`, absolute, a sibling with the
//! same prefix, links of both sorts, other letter case (rows M7, P12, P13).

use std::fs;
use std::os::unix::fs::symlink;

use super::{KEPT, server, write};

const CANARY: &str = "canary-71c4";
const ESCAPES: &str = "Security: Entrypoint escapes app directory";

#[test]
fn m7_an_entrypoint_outside_of_the_app_is_never_run() {
    let named = [
        "../../etc/passwd",
        "/etc/passwd",
        "../1.0.0-evil/index.ts",
        "src/../../1.0.0-evil/index.ts",
        "./../1.0.0-evil/index.ts",
        "..\\1.0.0-evil\\index.ts",
        "C:/evil.ts",
    ];
    let evil = format!("export default {{ fetch: () => new Response('{CANARY}') }};\n");
    let mut builder = server()
        .neighbour()
        .module("app/1.0.0-evil", KEPT, &evil)
        .app("linked/1.0.0", "entrypoint: linked.ts\n", &[("x.ts", "")])
        .app(
            "folder/1.0.0",
            "entrypoint: out/index.ts\n",
            &[("x.ts", "")],
        );
    for (index, entrypoint) in named.iter().enumerate() {
        let manifest = format!("entrypoint: '{entrypoint}'\n");
        builder = builder.app(&format!("app/1.0.{index}"), &manifest, &[("index.ts", "")]);
    }
    let apps = builder.dir().join("apps");
    symlink(
        "../../app/1.0.0-evil/index.ts",
        apps.join("linked/1.0.0/linked.ts"),
    )
    .unwrap();
    symlink("../../app/1.0.0-evil", apps.join("folder/1.0.0/out")).unwrap();
    let server = builder.start();
    let refused = |target: &str, folder: &str| {
        let response = server.get(target);
        assert_eq!(response.status, 502, "{target}");
        assert_eq!(response.error_code(), "WORKER_START_FAILED", "{target}");
        assert!(!response.text().contains(CANARY));
        let line = server.wait_for_log(|line| {
            line.message().contains(&format!("{folder}: ")) && line.message().ends_with(ESCAPES)
        });
        assert_eq!(line.level(), "error");
    };
    for index in 0..named.len() {
        refused(&format!("/app@1.0.{index}/"), &format!("app/1.0.{index}"));
    }
    refused("/linked/", "linked/1.0.0");
    refused("/folder/", "folder/1.0.0");
    // The sibling itself is an app like any other.
    assert_eq!(server.get("/app@1.0.0-evil/").text(), CANARY);
}

#[test]
fn m7_an_entrypoint_that_becomes_a_link_out_is_not_run_any_more() {
    let evil = format!("export default {{ fetch: () => new Response('{CANARY}') }};\n");
    let server = server()
        .module(
            "app@1.0.0",
            "ttl: 0\n",
            "export default { fetch: () => new Response('well') };\n",
        )
        .start();
    assert_eq!(server.get("/app/").text(), "well");
    let dir = server.dir();
    write(dir, "outside.ts", &evil);
    let app = dir.join("apps/app@1.0.0");
    symlink(dir.join("outside.ts"), app.join("new.ts")).unwrap();
    fs::rename(app.join("new.ts"), app.join("index.ts")).unwrap();
    server.wait_until("the app is refused", || {
        let response = server.get("/app/");
        assert_ne!(response.text(), CANARY, "a file outside of the app ran");
        response.status == 502
    });
    // Told by the catalog, and by the pool if it was asked before that.
    server.wait_for_log(|line| line.message().ends_with(ESCAPES));
}

#[test]
fn p13_links_that_leave_a_site_lead_nowhere() {
    let builder = server().app(
        "site@1.0.0",
        "entrypoint: public/index.html\n",
        &[
            ("public/index.html", "<title>the site</title>"),
            ("public/sub/page.html", "a page"),
            ("server.ts", CANARY),
            (".env", &format!("X={CANARY}\n")),
        ],
    );
    let dir = builder.dir().to_owned();
    write(&dir, "outside/secret.txt", CANARY);
    write(&dir, "apps/site@1.0.0-evil/secret.txt", CANARY);
    let public = dir.join("apps/site@1.0.0/public");
    for (target, link) in [
        ("/etc/passwd", "passwd.txt"),
        ("../../../outside/secret.txt", "relative.txt"),
        ("../../../outside", "folder"),
        ("..", "up"),
        ("../../site@1.0.0-evil", "evil"),
        ("../server.ts", "code.txt"),
        ("../.env", "env.txt"),
        ("/proc/self/environ", "environ.txt"),
        ("sub/page.html", "inside.html"),
        ("loop.txt", "loop.txt"),
    ] {
        symlink(target, public.join(link)).unwrap();
    }
    let server = builder.start();
    let mut client = server.connect();
    for path in [
        "passwd.txt",
        "relative.txt",
        "folder/secret.txt",
        "up/server.ts",
        "up/.env",
        "evil/secret.txt",
        "code.txt",
        "env.txt",
        "environ.txt",
        "inside.html",
        "loop.txt",
        "../server.ts",
        "..%2fserver.ts",
        "%2e%2e/server.ts",
        "..%5cserver.ts",
    ] {
        for accept in ["*/*", "text/html"] {
            let mut client = server.connect();
            let target = format!("/site/{path}");
            let response = client.request("GET", &target, &[("Accept", accept)], b"");
            let text = response.text();
            assert!(
                !text.contains(CANARY) && !text.contains("root:"),
                "{target}"
            );
            assert!(
                matches!(response.status, 200 | 400 | 404),
                "{target}: {response:?}"
            );
            assert!(
                response.status != 200 || text.contains("the site"),
                "{target}: {text}"
            );
        }
    }
    assert_eq!(client.get("/site/sub/page.html").text(), "a page");
}

#[test]
fn p12_no_letter_case_and_no_suffix_reaches_a_private_file() {
    let private = [
        ".env",
        ".ENV",
        ".env.local",
        ".git/config",
        ".well-known/secret",
        "Manifest.YAML",
        "sub/manifest.yml",
        "manifest.yaml.bak",
        "PACKAGE.json",
        "package.json.gz",
        "bun.lock",
        "node_modules/x/index.js",
        "Node_Modules/x/index.js",
        "app.js.map",
        "app.js.MAP",
        "sub/.hidden/file.txt",
        "sub/manifest.yaml",
    ];
    let mut files = vec![("index.html", "<title>the site</title>")];
    let variable = format!("X={CANARY}\n");
    files.extend(private.iter().map(|name| (*name, variable.as_str())));
    let server = server()
        .app("site@1.0.0", "enabled: true\n", &files)
        .start();
    for name in private {
        for target in [
            format!("/site/{name}"),
            format!("/site/{}", name.replace('.', "%2e")),
            format!("/site/{}", name.replace('e', "%65")),
            format!("/site/{name}?x"),
        ] {
            let response = server.get(&target);
            assert!(!response.text().contains(CANARY), "{target}");
            assert!(
                matches!(response.status, 200 | 404),
                "{target}: {response:?}"
            );
        }
    }
}

/// A hard link looks like the file that it names. One to a file of another user is
/// told by its owner; making one takes the right to write to that file.
#[test]
fn p13_a_hard_link_to_another_users_file_is_not_served() {
    use std::os::unix::fs::{MetadataExt as _, chown};

    let builder = server()
        .app(
            "site@1.0.0",
            "enabled: true\n",
            &[("index.html", "the site"), ("own.txt", "own")],
        )
        .app("code@1.0.0", KEPT, &[("x.txt", "")]);
    let dir = builder.dir().to_owned();
    write(&dir, "foreign.txt", CANARY);
    write(
        &dir,
        "foreign.ts",
        &format!("export default {{ fetch: () => new Response('{CANARY}') }};\n"),
    );
    let own = fs::metadata(&dir).unwrap().uid();
    let foreign = ["foreign.txt", "foreign.ts"].map(|name| dir.join(name));
    if foreign
        .iter()
        .any(|file| chown(file, Some(own + 1), None).is_err())
    {
        // Only root can give a file away; the file layer's own test shows the rule.
        return;
    }
    let apps = dir.join("apps");
    fs::hard_link(&foreign[0], apps.join("site@1.0.0/link.txt")).unwrap();
    fs::hard_link(&foreign[1], apps.join("code@1.0.0/index.ts")).unwrap();
    fs::hard_link(
        apps.join("site@1.0.0/own.txt"),
        apps.join("site@1.0.0/own-link.txt"),
    )
    .unwrap();
    let server = builder.start();
    let response = server.get("/site/link.txt");
    assert_eq!(response.status, 404, "{response:?}");
    assert_eq!(server.get("/site/own-link.txt").text(), "own");
    let response = server.get("/code/");
    assert_eq!(response.error_code(), "WORKER_START_FAILED", "{response:?}");
    server.wait_for_log(|line| line.message().ends_with(ESCAPES));
}
