//! Whether the code of a unit changed.
//!
//! Only files that are code count: an app may write its data into its own
//! folder, and must not be restarted for it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use buntime_fs::{EntryKind, FileInfo, OpenError, RelPath, Root};

use super::files::is_passing;

/// Most entries looked at in one unit; what lies beyond is not noticed.
const MAX_ENTRIES: usize = 5_000;
/// Deepest folder looked into.
const MAX_DEPTH: usize = 12;
/// Most folders of one unit that are worth a watch, so that a few units do not take those of
/// all others.
const MAX_WATCHED: usize = 512;

const CODE: &[&str] = &[
    "ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs", "wasm", "node",
];
/// Files without such an extension that change how code runs.
const SETTINGS: &[&str] = &["tsconfig.json", "bunfig.toml", "bun.lock", "bun.lockb"];

/// What a walk over a unit's code found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Equal for equal names, sizes, times and inodes.
    pub(super) print: u64,
    /// Entries looked at.
    pub(super) entries: usize,
    /// Folders below the unit's own, with their inodes, as far as they are
    /// worth a watch.
    pub(super) folders: Vec<(PathBuf, u64)>,
}

/// Whether a change of this file is a change of the code.
pub(super) fn is_code(name: &str) -> bool {
    SETTINGS.contains(&name)
        || name
            .rsplit_once('.')
            .is_some_and(|(_, extension)| CODE.contains(&extension))
}

/// Whether code is looked for in this folder.
pub(super) fn is_code_folder(name: &str) -> bool {
    !name.starts_with('.') && name != "node_modules"
}

/// Walks over the code of a unit. What may not be read does not count; `None`
/// if the system failed, which says nothing about the code.
pub(super) fn survey(unit: &Root, dir: &Path) -> Option<Sources> {
    let mut survey = Survey {
        unit,
        dir,
        hasher: DefaultHasher::new(),
        sources: Sources::default(),
    };
    survey.folder(unit, dir, 0).ok()?;
    survey.sources.print = survey.hasher.finish();
    Some(survey.sources)
}

struct Survey<'a> {
    unit: &'a Root,
    dir: &'a Path,
    hasher: DefaultHasher,
    sources: Sources,
}

impl Survey<'_> {
    fn folder(&mut self, folder: &Root, path: &Path, depth: usize) -> Result<(), OpenError> {
        let left = MAX_ENTRIES.saturating_sub(self.sources.entries);
        let mut entries = match folder.read_dir(left) {
            Ok(entries) => entries,
            Err(error) if is_passing(&error) => return Err(error),
            // Too many: nothing after it is looked at either.
            Err(_) => {
                self.sources.entries = MAX_ENTRIES;
                return Ok(());
            }
        };
        self.sources.entries += entries.len();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let name = entry.name.as_str();
            match entry.kind {
                EntryKind::File if is_code(name) => match folder.metadata(&entry.name) {
                    Ok(info) => self.file(&path.join(name), &info),
                    Err(error) if is_passing(&error) => return Err(error),
                    Err(_) => {}
                },
                EntryKind::Directory if is_code_folder(name) && depth < MAX_DEPTH => {
                    let below = match folder.open_dir(&entry.name) {
                        Ok(below) => below,
                        Err(error) if is_passing(&error) => return Err(error),
                        Err(_) => continue,
                    };
                    let path = path.join(name);
                    if self.sources.folders.len() < MAX_WATCHED {
                        self.sources
                            .folders
                            .push((path.clone(), below.info().inode));
                    }
                    self.folder(&below, &path, depth + 1)?;
                }
                EntryKind::Link if is_code_folder(name) => self.link(&path.join(name))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Bun follows links that stay in the unit, so where one leads is code too. What is in a
    /// folder that it leads to is looked at where that folder lies.
    fn link(&mut self, path: &Path) -> Result<(), OpenError> {
        let below = path.strip_prefix(self.dir).ok().and_then(Path::to_str);
        let Some(below) = below.and_then(|below| RelPath::try_from(below).ok()) else {
            return Ok(());
        };
        match self.unit.resolve(&below) {
            Ok(info) if info.kind == EntryKind::Directory => {
                path.hash(&mut self.hasher);
                (info.device, info.inode).hash(&mut self.hasher);
            }
            Ok(info) if is_code(below.file_name()) => self.file(path, &info),
            Err(error) if is_passing(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, info: &FileInfo) {
        path.hash(&mut self.hasher);
        (info.device, info.inode, info.size, info.modified_ns).hash(&mut self.hasher);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn notices_code_and_nothing_else() {
        let temp = tempfile::TempDir::new().unwrap();
        let dir = temp.path();
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let print = || survey(&Root::open(dir).unwrap(), dir).unwrap().print;
        write("index.ts", "1");
        write("src/a.ts", "1");
        let mut before = print();
        assert_eq!(print(), before);
        for ignored in [
            "data.db",
            "src/log.txt",
            "uploads/1.json",
            "node_modules/x/i.js",
            ".git/i.js",
        ] {
            write(ignored, "1");
        }
        assert_eq!(print(), before);
        for (name, text) in [
            ("src/a.ts", "22"),
            ("src/b.ts", "1"),
            ("tsconfig.json", "{}"),
            ("src/deep/c.mjs", "1"),
        ] {
            write(name, text);
            let after = print();
            assert_ne!(after, before, "{name}");
            before = after;
        }
        fs::rename(dir.join("src/b.ts"), dir.join("src/deep/b.ts")).unwrap();
        assert_ne!(print(), before);
    }

    #[test]
    fn notices_where_links_lead() {
        let temp = tempfile::TempDir::new().unwrap();
        let dir = temp.path();
        for name in ["one", "two"] {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("lib.ts"), "").unwrap();
        }
        let print = || survey(&Root::open(dir).unwrap(), dir).unwrap().print;
        let mut before = print();
        for (link, target, is_code) in [
            ("current", "one", true),
            ("current", "two", true),
            ("one/other.ts", "../one/lib.ts", true),
            ("one/other.ts", "../two/lib.ts", true),
            ("notes.txt", "one/lib.ts", false),
            ("node_modules", "one", false),
            ("outside.ts", "/etc/passwd", false),
            ("nowhere.ts", "nothing.ts", false),
        ] {
            let _ = fs::remove_file(dir.join(link));
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
            let after = print();
            assert_eq!(after != before, is_code, "{link} to {target}");
            before = after;
        }
    }

    #[test]
    fn is_bounded() {
        let temp = tempfile::TempDir::new().unwrap();
        let mut deep = temp.path().to_path_buf();
        for level in 0..30 {
            deep.push(format!("d{level}"));
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("index.ts"), "").unwrap();
        let found = survey(&Root::open(temp.path()).unwrap(), temp.path()).unwrap();
        assert_eq!(found.entries, MAX_DEPTH + 1);
        assert_eq!(found.folders.len(), MAX_DEPTH);
    }
}
