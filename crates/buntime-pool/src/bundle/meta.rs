//! What Bun says of a build: its metafile.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// Built into Bun, so that importing them says nothing about the app's files.
const BUILT_IN: [&str; 42] = [
    "assert",
    "assert/strict",
    "async_hooks",
    "buffer",
    "bun",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "dns/promises",
    "domain",
    "events",
    "fs",
    "fs/promises",
    "http",
    "http2",
    "https",
    "net",
    "os",
    "path",
    "path/posix",
    "path/win32",
    "perf_hooks",
    "process",
    "querystring",
    "readline",
    "readline/promises",
    "stream",
    "stream/promises",
    "stream/web",
    "string_decoder",
    "timers",
    "timers/promises",
    "tls",
    "tty",
    "url",
    "util",
    "zlib",
];

/// What was read and how it hangs together.
#[derive(Debug, Deserialize)]
pub(super) struct Metafile {
    inputs: BTreeMap<String, Input>,
}

#[derive(Debug, Deserialize)]
struct Input {
    #[serde(default)]
    imports: Vec<Import>,
    format: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Import {
    path: String,
    kind: String,
    #[serde(default)]
    external: bool,
}

impl Metafile {
    pub(super) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// All files that were read, absolute. `cwd` is where Bun ran.
    pub(super) fn inputs(&self, cwd: &Path) -> Vec<PathBuf> {
        self.inputs.keys().map(|path| resolve(cwd, path)).collect()
    }

    /// Whether all modules are ES modules, which are always strict, or data.
    pub(super) fn is_strict(&self) -> bool {
        let is_sloppy = |input: &Input| input.format.as_deref() == Some("cjs");
        !self.inputs.values().any(is_sloppy)
    }

    /// An import whose outcome depends on where or when it runs.
    pub(super) fn unsettled_import(&self) -> Option<String> {
        let imports = self.inputs.values().flat_map(|input| &input.imports);
        imports
            .filter(|import| match import.kind.as_str() {
                "import-statement" => import.external && !is_built_in(&import.path),
                "require-call" => !(import.external && is_built_in(&import.path)),
                _ => true,
            })
            .map(|import| format!("{} of {}", import.kind, import.path))
            .next()
    }
}

/// Whether a module comes with Bun and neither looks for files beside its
/// importer nor loads native code.
pub(super) fn is_built_in(name: &str) -> bool {
    let bare = name.strip_prefix("node:").unwrap_or(name);
    BUILT_IN.binary_search(&bare).is_ok() || matches!(name, "bun:sqlite" | "bun:jsc")
}

/// `base` and `path` joined, without `.` and `..`. Lexical: `base` must be free of
/// symbolic links.
fn resolve(base: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(import: &str) -> Metafile {
        let text = format!(
            r#"{{"inputs":{{"../a/i.ts":{{"bytes":1,"imports":[{import}],"format":"esm"}}}},"outputs":{{}}}}"#
        );
        Metafile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_list_of_built_in_modules_is_sorted() {
        assert!(BUILT_IN.is_sorted());
        assert!(is_built_in("node:fs") && is_built_in("fs") && is_built_in("bun:sqlite"));
        assert!(!is_built_in("bun:ffi") && !is_built_in("./fs") && !is_built_in("node:module"));
    }

    #[test]
    fn inputs_are_found_from_where_bun_ran() {
        let found = with("").inputs(Path::new("/x/y"));
        assert_eq!(found, [PathBuf::from("/x/a/i.ts")]);
    }

    #[test]
    fn imports_that_depend_on_time_and_place_are_told() {
        for settled in [
            "",
            r#"{"path":"b.ts","kind":"import-statement"}"#,
            r#"{"path":"fs","kind":"import-statement","external":true}"#,
            r#"{"path":"node:fs","kind":"require-call","external":true}"#,
        ] {
            assert_eq!(with(settled).unsettled_import(), None, "{settled}");
        }
        for unsettled in [
            r#"{"path":"x","kind":"import-statement","external":true}"#,
            r#"{"path":"bun:ffi","kind":"import-statement","external":true}"#,
            r#"{"path":"b.ts","kind":"dynamic-import"}"#,
            r#"{"path":"b.ts","kind":"require-call"}"#,
            r#"{"path":"b.ts","kind":"require-resolve"}"#,
            r#"{"path":"p.html","kind":"html_manifest"}"#,
        ] {
            assert!(with(unsettled).unsettled_import().is_some(), "{unsettled}");
        }
    }
}
