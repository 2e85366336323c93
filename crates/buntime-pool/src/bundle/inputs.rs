//! What a bundle was made from, and whether it is still the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use buntime_core::hex;

/// Most files of one bundle.
const MOST_FILES: usize = 5_000;
/// All their content together, in bytes.
const MOST_BYTES: u64 = 64 << 20;
/// Entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;
/// They decide how modules are found and compiled, in any folder above a module.
const SETTINGS: [&str; 3] = ["package.json", "tsconfig.json", "jsconfig.json"];
/// Files that a new import could find.
const CODE: [&str; 10] = [
    "cjs", "cts", "js", "json", "jsx", "mjs", "mts", "node", "ts", "tsx",
];

/// Enough to see that a file was written or replaced, without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// A file, and what was in it; without a stamp: that there was none.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FileMark {
    path: PathBuf,
    stamp: Option<Stamp>,
    hash: String,
}

/// A folder, and the names in it that a module can be found by.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FolderMark {
    path: PathBuf,
    stamp: Stamp,
    names: String,
}

/// The state of everything that a bundle depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    files: Vec<FileMark>,
    folders: Vec<FolderMark>,
}

impl Snapshot {
    /// Looks at the modules of a bundle and at what decided which they are. All must
    /// be below `root`. Returns the text of those that are code, too.
    pub(super) fn take(root: &Path, inputs: &[PathBuf]) -> Result<(Self, Vec<String>), String> {
        if inputs.len() > MOST_FILES {
            return Err(format!("it has more than {MOST_FILES} modules"));
        }
        let mut snapshot = Self {
            files: Vec::new(),
            folders: Vec::new(),
        };
        let mut texts = Vec::new();
        let mut folders = BTreeSet::new();
        let mut left = MOST_BYTES;
        for input in inputs {
            let real = input.canonicalize();
            let input = &real.map_err(|error| format!("{}: {error}", input.display()))?;
            if !input.starts_with(root) {
                return Err(format!("{} is outside of the app", input.display()));
            }
            let (mark, content) = read(input, &mut left)?;
            if mark.stamp.is_none() {
                return Err(format!("{} is no file", input.display()));
            }
            snapshot.files.push(mark);
            if input.extension().is_some_and(is_code) {
                texts.push(String::from_utf8_lossy(&content).into_owned());
            }
            let above = input.ancestors().skip(1);
            let within = above.take_while(|folder| folder.starts_with(root));
            folders.extend(within.map(Path::to_owned));
        }
        let mut settings: BTreeSet<PathBuf> = BTreeSet::new();
        for folder in folders {
            snapshot.folder(&folder)?;
            let modules = folder.join("node_modules");
            if modules.is_dir() && folder.file_name() != Some(OsStr::new("node_modules")) {
                snapshot.folder(&modules)?;
            }
            settings.extend(SETTINGS.map(|name| folder.join(name)));
        }
        for folder in root.ancestors().skip(1) {
            settings.extend(SETTINGS.map(|name| folder.join(name)));
        }
        for path in settings {
            let (mark, content) = read(&path, &mut left)?;
            let extends = b"\"extends\"";
            if content.windows(extends.len()).any(|part| part == extends) {
                return Err(format!("{} extends another file", path.display()));
            }
            snapshot.files.push(mark);
        }
        Ok((snapshot, texts))
    }

    fn folder(&mut self, path: &Path) -> Result<(), String> {
        let mark = list(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.folders.push(mark);
        Ok(())
    }

    /// Whether everything is as it was. Reads only what looks different.
    pub(super) fn is_current(&self) -> bool {
        self.files.iter().all(FileMark::is_current)
            && self.folders.iter().all(FolderMark::is_current)
    }

    /// Whether nothing changed since `seconds` of the system's clock.
    pub(super) fn is_older_than(&self, seconds: i64) -> bool {
        let files = self.files.iter().filter_map(|file| file.stamp.as_ref());
        let folders = self.folders.iter().map(|folder| &folder.stamp);
        files.chain(folders).all(|stamp| stamp.changed.0 < seconds)
    }

    /// A hash of all content, names included.
    pub(super) fn content(&self) -> String {
        let mut hasher = Sha256::new();
        for file in &self.files {
            hash_field(&mut hasher, file.path.as_os_str().as_bytes());
            hash_field(&mut hasher, file.hash.as_bytes());
        }
        for folder in &self.folders {
            hash_field(&mut hasher, folder.path.as_os_str().as_bytes());
            hash_field(&mut hasher, folder.names.as_bytes());
        }
        hex(&hasher.finalize())
    }
}

impl FileMark {
    fn is_current(&self) -> bool {
        match (&self.stamp, fs::metadata(&self.path)) {
            (Some(stamp), Ok(found)) => {
                *stamp == Stamp::of(&found)
                    || found.size() == stamp.size
                        && read(&self.path, &mut MOST_BYTES.clone())
                            .is_ok_and(|(now, _)| now.hash == self.hash)
            }
            (None, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

impl FolderMark {
    fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| Stamp::of(&found) == self.stamp)
            || list(&self.path).is_ok_and(|now| now.names == self.names)
    }
}

/// Reads a whole file; an absent one is empty and has no stamp.
fn read(path: &Path, left: &mut u64) -> Result<(FileMark, Vec<u8>), String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    let mark = |stamp, content: &[u8]| FileMark {
        path: path.to_owned(),
        stamp,
        hash: hex(&Sha256::digest(content)),
    };
    // The app may put a pipe in a file's place at any time, and opening one could
    // wait for ever.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options().read(true).custom_flags(nonblock).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((mark(None, b""), Vec::new()));
        }
        opened => opened.map_err(told)?,
    };
    let found = file.metadata().map_err(told)?;
    if !found.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let stamp = Stamp::of(&found);
    let mut content = Vec::new();
    let limit = left.saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(told)?;
    *left = left
        .checked_sub(content.len() as u64)
        .ok_or_else(|| format!("its modules are larger than {} MB", MOST_BYTES >> 20))?;
    Ok((mark(Some(stamp), &content), content))
}

fn list(path: &Path) -> io::Result<FolderMark> {
    let stamp = Stamp::of(&fs::metadata(path)?);
    let mut names = BTreeSet::new();
    for (count, entry) in fs::read_dir(path)?.enumerate() {
        if count >= MOST_ENTRIES {
            return Err(io::Error::other("it has too many entries"));
        }
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let target = if kind.is_symlink() {
            fs::read_link(entry.path())?
        } else {
            PathBuf::new()
        };
        let is_candidate = Path::new(&name).extension().is_some_and(is_code);
        if !kind.is_file() || is_candidate {
            names.insert((name, kind.is_dir(), target));
        }
    }
    let mut hasher = Sha256::new();
    for (name, is_dir, target) in names {
        hash_field(&mut hasher, name.as_bytes());
        hash_field(&mut hasher, &[u8::from(is_dir)]);
        hash_field(&mut hasher, target.as_os_str().as_bytes());
    }
    Ok(FolderMark {
        path: path.to_owned(),
        stamp,
        names: hex(&hasher.finalize()),
    })
}

fn is_code(extension: &OsStr) -> bool {
    extension.to_str().is_some_and(|name| CODE.contains(&name))
}

/// Adds a field so that no two lists of fields look the same.
pub(super) fn hash_field(hasher: &mut Sha256, field: &[u8]) {
    hasher.update((field.len() as u64).to_le_bytes());
    hasher.update(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::TempDir::new().unwrap());
            tree.write("index.ts", "one");
            tree.write("lib/a.ts", "two");
            tree
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn take(&self) -> Result<Snapshot, String> {
            let inputs = [self.path("index.ts"), self.path("lib/a.ts")];
            Snapshot::take(&self.path(""), &inputs).map(|(snapshot, _)| snapshot)
        }
    }

    #[test]
    fn what_decides_about_modules_is_seen() {
        for (name, text) in [
            ("lib/a.ts", "TWO"),
            ("lib/a.js", "new"),
            ("package.json", "{}"),
            ("tsconfig.json", "{}"),
            ("lib/tsconfig.json", "{}"),
            ("node_modules/x/index.js", "new"),
            ("lib/node_modules/x/index.js", "new"),
        ] {
            let tree = Tree::new();
            let before = tree.take().unwrap();
            assert!(before.is_current());
            tree.write(name, text);
            assert!(!before.is_current(), "{name}");
            assert_ne!(before.content(), tree.take().unwrap().content(), "{name}");
        }
    }

    #[test]
    fn the_apps_data_and_equal_content_do_not_count() {
        let tree = Tree::new();
        let before = tree.take().unwrap();
        tree.write("data.db", "x");
        tree.write("data.db-journal", "x");
        tree.write("lib/a.ts", "two");
        assert!(before.is_current());
        assert_eq!(before.content(), tree.take().unwrap().content());
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let tree = Tree::new();
        tree.write("tsconfig.json", r#"{"extends":"./base.json"}"#);
        assert!(tree.take().unwrap_err().contains("extends"));
        let outside = Tree::new();
        let found = Snapshot::take(&tree.path(""), &[outside.path("index.ts")]);
        assert!(found.unwrap_err().contains("outside"));
        let found = Snapshot::take(&tree.path(""), &[tree.path("lib")]);
        assert!(found.is_err());
        // A pipe is neither waited for nor read.
        let pipe = tree.path("pipe.ts");
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let found = Snapshot::take(&tree.path(""), &[pipe]);
        assert!(found.unwrap_err().contains("is no file"));
    }
}
