//! Servers that take uploads, and what their clients send.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use buntime_testkit::api::ask_text;
pub(super) use buntime_testkit::api::{ROOT_KEY as KEY, failed, form};
use buntime_testkit::archive::{Entry, Format, forge};
use buntime_testkit::{Builder, Response, TestServer, api};

/// A server that knows [`KEY`].
pub(super) fn builder() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime")).env("RUNTIME_ROOT_KEY", KEY)
}

/// A call of the API with [`KEY`].
pub(super) fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    call_as(KEY, address, method, path, body)
}

/// A call of the API with any key.
pub(super) fn call_as(
    key: &str,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Response {
    ask_text(address, key, method, path, body)
}

/// Where archives become workers.
pub(super) const WORKERS: &str = "/api/workers/upload";
/// Where archives become plugins.
pub(super) const PLUGINS: &str = "/api/plugins/upload";

/// Sends a form to the upload of workers.
pub(super) fn send_form(key: &str, address: SocketAddr, body: &[u8]) -> Response {
    send_form_to(WORKERS, key, address, body)
}

/// Sends a form to an upload.
pub(super) fn send_form_to(route: &str, key: &str, address: SocketAddr, body: &[u8]) -> Response {
    api::send_form(address, key, route, body)
}

/// Uploads an archive with [`KEY`].
pub(super) fn upload(address: SocketAddr, file_name: &str, archive: &[u8]) -> Response {
    send_form(KEY, address, &form(&[("file", Some(file_name), archive)]))
}

/// Uploads what holds these entries.
pub(super) fn upload_entries(address: SocketAddr, format: Format, entries: &[Entry]) -> Response {
    upload(address, format.file_name(), &forge(format, entries))
}

/// A static app whose page says `text`.
pub(super) fn site(name: &str, version: &str, text: &str) -> Vec<Entry> {
    let package = format!("{{\"name\": \"{name}\", \"version\": \"{version}\"}}");
    vec![
        Entry::file("package.json", package),
        Entry::file("index.html", text),
        Entry::file("assets/deep/file.txt", text),
    ]
}

/// An app of which a worker answers with `text`.
pub(super) fn app(name: &str, version: &str, text: &str) -> Vec<Entry> {
    let manifest = format!("name: \"{name}\"\nversion: {version}\nttl: 1h\n");
    let source = format!("export default {{ fetch: () => new Response({text:?}) }};\n");
    vec![
        Entry::file("manifest.yaml", manifest),
        Entry::file("index.ts", source),
    ]
}

/// Uploads a site and expects that it is taken; gives the number of the release.
#[track_caller]
pub(super) fn deploy(address: SocketAddr, entries: &[Entry]) -> u64 {
    let response = upload_entries(address, Format::TarGz, entries);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["data"]["worker"]["release"]
        .as_u64()
        .unwrap()
}

/// All files below a folder with their contents; folders with a slash at the end.
pub(super) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !path.is_symlink() {
                found.insert(format!("{name}/"), Vec::new());
                left.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap_or_default());
            }
        }
    }
    found
}

/// What lies in the staging folders and among the archives that should not: nothing, if
/// nobody is deploying.
pub(super) fn leftovers(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["apps", "plugins", "state/releases"] {
        let folder = format!("{folder}/.buntime-staging");
        found.extend(tree(&dir.join(folder)).into_keys());
    }
    found
}

/// The archives that are kept.
pub(super) fn archives(dir: &Path) -> usize {
    let names = tree(&dir.join("state/releases")).into_keys();
    names.filter(|name| name.len() == 64).count()
}
