//! A server with files in it, and who asks about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(super) use buntime_testkit::api::{ROOT_KEY as ROOT, ask};
use buntime_testkit::api::{custom_key, form, make_key, send_form};
use buntime_testkit::{Builder, Response, TestServer, api};
use serde_json::Value;

pub(super) const CANARY: &str = "canary-outside-of-the-roots";

/// A server with units of `@a`, `@b` and nobody, and a canary beside the roots.
pub(super) fn builder() -> Builder {
    let builder = TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_ROOT_KEY", ROOT)
        .env("RUNTIME_POOL_SIZE", "2");
    let dir = builder.dir().to_owned();
    for (file, content) in [
        ("apps/@a/x/1.0.0/index.html", "<title>a</title>"),
        ("apps/@a/x/1.0.0/src/deep.txt", "deep"),
        ("apps/@b/secret/1.0.0/index.html", "<title>b</title>"),
        ("apps/echo/1.0.0/index.html", "<title>echo</title>"),
        ("plugins/@a/tool/manifest.yaml", "name: '@a/tool'\n"),
        ("plugins/plain/manifest.yaml", "name: plain\n"),
        (".apps/core/1.0.0/index.html", "built-in"),
    ] {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        if file.contains("1.0.0/index.html") {
            fs::write(
                path.with_file_name("manifest.yaml"),
                "entrypoint: index.html\n",
            )
            .unwrap();
        }
    }
    fs::write(dir.join("canary"), CANARY).unwrap();
    let roots = format!("{0}/apps:{0}/.apps", dir.display());
    let plugins = dir.join("plugins");
    builder
        .env("RUNTIME_WORKER_DIRS", &roots)
        .env("RUNTIME_PLUGIN_DIRS", plugins.to_str().unwrap())
}

pub(super) fn server() -> TestServer {
    builder().start()
}

/// Something of the workers' file browser.
pub(super) fn read(server: &TestServer, key: &str, verb: &str, path: &str) -> Response {
    let target = format!("/api/workers/files/{verb}?path={}", escaped(path));
    ask(server, key, "GET", &target, None)
}

/// A change in the workers' file browser.
pub(super) fn change(server: &TestServer, key: &str, verb: &str, body: Value) -> Response {
    let method = if verb == "delete" { "DELETE" } else { "POST" };
    let target = format!("/api/workers/files/{verb}");
    ask(server, key, method, &target, Some(&body))
}

/// The names in a folder.
#[track_caller]
pub(super) fn names(server: &TestServer, key: &str, path: &str) -> Vec<String> {
    let response = read(server, key, "list", path);
    assert_eq!(response.status, 200, "{}", response.text());
    let entries = response.json()["data"]["entries"]
        .as_array()
        .unwrap()
        .clone();
    let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
    entries.iter().map(name).collect()
}

/// A form: `path`, then files with their names and contents, then `paths`.
pub(super) fn upload(
    server: &TestServer,
    key: &str,
    path: &str,
    files: &[(&str, &[u8])],
    paths: &[&str],
) -> Response {
    let mut parts = vec![("path", None, path.as_bytes())];
    parts.extend(
        files
            .iter()
            .map(|(name, content)| ("files", Some(*name), *content)),
    );
    parts.extend(paths.iter().map(|path| ("paths", None, path.as_bytes())));
    post_form(server, key, &form(&parts))
}

pub(super) fn post_form(server: &TestServer, key: &str, body: &[u8]) -> Response {
    send_form(server, key, "/api/workers/files/upload", body)
}

/// A key for these namespaces with these permissions.
#[track_caller]
pub(super) fn key(server: &TestServer, namespaces: &[&str], permissions: &[&str]) -> String {
    let body = custom_key("of a test", namespaces, permissions);
    make_key(server, ROOT, &body).secret
}

#[track_caller]
pub(super) fn failed(response: &Response, status: u16, code: &str) {
    api::failed(response, status, code);
    assert!(!response.text().contains(CANARY));
}

#[track_caller]
pub(super) fn fine(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    let json = response.json();
    assert_eq!(json["success"], true);
    json["data"].clone()
}

/// Every file below a folder with its content, links as what they lead to.
pub(super) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let info = fs::symlink_metadata(&path).unwrap();
            if info.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(name, target.to_str().unwrap().as_bytes().to_vec());
            } else if info.is_dir() {
                // Where uploads wait is there once there was one.
                if !name.ends_with(".buntime-staging") || path.read_dir().unwrap().count() > 0 {
                    found.insert(format!("{name}/"), Vec::new());
                }
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// All but the state of the server.
pub(super) fn roots(server: &TestServer) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for root in ["apps", ".apps", "plugins"] {
        let below = tree(&server.dir().join(root));
        all.extend(
            below
                .into_iter()
                .map(|(path, content)| (format!("{root}/{path}"), content)),
        );
    }
    all.insert(
        "canary".to_owned(),
        fs::read(server.dir().join("canary")).unwrap(),
    );
    all
}

/// For a query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What a zip holds: names and contents of its files.
pub(super) fn unzipped(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let temp = tempfile::TempDir::new().unwrap();
    let archive = temp.path().join("a.zip");
    fs::write(&archive, bytes).unwrap();
    let archive = fs::File::open(archive).unwrap();
    let into = temp.path().join("into");
    fs::create_dir(&into).unwrap();
    let folder = buntime_fs::Tree::open(&into).unwrap();
    let unpacked = buntime_fs::archive::unpack(
        &archive,
        buntime_fs::archive::ArchiveKind::Zip,
        &folder,
        &buntime_fs::archive::ArchiveLimits::default(),
        &mut |_| std::ops::ControlFlow::Continue(()),
    )
    .unwrap();
    let mut found = tree(&into);
    found.retain(|name, _| !name.ends_with('/'));
    match unpacked.top_folder {
        Some(top) => found
            .into_iter()
            .map(|(name, content)| (format!("{top}/{name}"), content))
            .collect(),
        None => found,
    }
}
