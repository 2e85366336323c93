#![doc = include_str!("../README.md")]

pub mod archive;
mod rel_path;
mod root;
pub mod static_files;

pub use rel_path::{InvalidPath, RelPath};
pub use root::edit::{FileMode, Staging, Tree, WriteError};
pub use root::walk::{Walk, WalkEntry, WalkLimits};
pub use root::{DirEntry, EntryKind, FileInfo, OpenError, OpenFile, Root};
