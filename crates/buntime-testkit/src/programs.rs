//! The programs that tests start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The fake Bun, built if it is missing or stale; `make test` has built it before. What
/// it can do is told in its source.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn fake_bun() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("fake-bun")).clone()
}

/// The program that runs others as on a machine that gives less, built as the fake Bun is.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn lesser() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("lesser")).clone()
}

/// Builds the program of the package with the same name.
fn build(package: &str) -> PathBuf {
    // Tests run from target/PROFILE/deps.
    let here = std::env::current_exe().unwrap_or_default();
    let target = here
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .unwrap_or_default();
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if target.file_name().is_some_and(|name| name == "release") {
        build.arg("--release");
    }
    let built = build.status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cannot build {package} with {cargo}"
    );
    target.join(package)
}

/// The real Bun: `BUNTIME_TEST_BUN`, else the one that `make` installs.
///
/// # Panics
/// If there is none: a test that passes without Bun would prove nothing.
#[must_use]
pub fn real_bun() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bun = std::env::var_os("BUNTIME_TEST_BUN").map_or_else(
        || workspace.join("worker/node_modules/bun/bin/bun.exe"),
        PathBuf::from,
    );
    match bun.canonicalize() {
        Ok(bun) => bun,
        Err(error) => panic!(
            "no Bun at {} ({error}): `make test` installs it, or set BUNTIME_TEST_BUN",
            bun.display()
        ),
    }
}
