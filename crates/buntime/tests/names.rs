//! Names, bases, manifests and paths as the operator meets them: the real program,
//! on real Bun where anything is served. Tests are named after the rows of the bad
//! inputs that they try: G5 and G6 bases of plugins, M manifests and package data,
//! P paths, E the environment of workers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "names/check.rs"]
mod check;
#[path = "names/collisions.rs"]
mod collisions;
#[path = "names/environment.rs"]
mod environment;
#[path = "names/files.rs"]
mod files;
#[path = "names/grants.rs"]
mod grants;
#[path = "names/manifests.rs"]
mod manifests;
#[path = "names/paths.rs"]
mod paths;
#[path = "names/plugins.rs"]
mod plugins;

use std::path::Path;
use std::process::{Command, Output};

use buntime_testkit::{Builder, TestServer};

/// The program under test.
const BUNTIME: &str = env!("CARGO_BIN_EXE_buntime");
/// A worker that stays.
const KEPT: &str = "ttl: 1h\ntimeout: 20s\n";

/// A server without apps, before it is started.
fn server() -> Builder {
    TestServer::builder(BUNTIME)
}

/// Writes a file and the folders above it.
fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Runs the program to its end, in an empty environment.
fn run(dir: &Path, args: &[&str], vars: &[(&str, &str)]) -> Output {
    Command::new(BUNTIME)
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(vars.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
