//! Properties of everything that reads bytes from outside.
//!
//! A target takes any bytes and panics when a property does not hold. `make fuzz`
//! hands them to libFuzzer, which looks for such bytes; `make test` replays the
//! corpora, so that what was found once is found for ever. Why it is built this way:
//! docs/decisions/0010-fuzzing.md.

#![expect(
    clippy::expect_used,
    reason = "a target fails by panicking, as a test does"
)]

mod archives;
mod files;
mod forms;
mod frames;
mod heads;
mod names;
mod pages;
mod paths;

/// Inputs are cut to this many bytes: longer ones show nothing new and cost time.
pub const MAX_INPUT: usize = 16 * 1024;

/// One parser and what must hold for it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the folder of its corpus.
    pub name: &'static str,
    check: fn(&[u8]),
}

impl Target {
    /// Checks the properties for these bytes.
    ///
    /// # Panics
    /// If one does not hold: that is a bug of the parser.
    pub fn run(&self, data: &[u8]) {
        (self.check)(data.get(..MAX_INPUT).unwrap_or(data));
    }
}

/// All targets.
pub const TARGETS: [Target; 19] = [
    new("canonical_path", paths::canonical_path),
    new("request_head", heads::request_head),
    new("response_head", heads::response_head),
    new("chunked_body", heads::chunked_body),
    new("form", forms::form),
    new("request_id", names::request_id),
    new("origin", names::origin),
    new("range_header", heads::range_header),
    new("cookie_header", pages::cookie_header),
    new("html_insertion", pages::html_insertion),
    new("websocket_frames", frames::websocket_frames),
    new("manifest", files::manifest),
    new("plugin_manifest", files::plugin_manifest),
    new("dotenv", files::dotenv),
    new("install_plan", files::install_plan),
    new("entrypoint", paths::entrypoint),
    new("version_range", names::version_range),
    new("archive_tar", archives::archive_tar),
    new("archive_zip", archives::archive_zip),
];

const fn new(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
