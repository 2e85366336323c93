//! From a path to what is on disk. Runs on a blocking thread.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::StaticOptions;
use super::conditional::Validators;
use super::encoding::Coding;
use super::response::HeaderText;
use super::{mime, policy};
use crate::rel_path::RelPath;
use crate::root::{EntryKind, FileInfo, OpenError, OpenFile, Root};

/// Files up to this size are kept in memory, larger ones as an open file.
const SMALL: u64 = 64 * 1024;
/// The page of a folder.
const INDEX: &str = "index.html";
/// How often a small file is read again that changes while it is read.
const READ_ATTEMPTS: usize = 3;

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) enum Finding {
    /// A file to send.
    File(Arc<Resource>),
    /// A folder with a page, asked for without its slash.
    Folder,
    /// Nothing that may be served.
    Missing,
    /// The disk or the system failed; not kept.
    Failed,
}

impl Finding {
    pub(super) fn resource(&self) -> Option<&Resource> {
        match self {
            Self::File(resource) => Some(resource),
            Self::Folder | Self::Missing | Self::Failed => None,
        }
    }

    /// What it costs to keep, in bytes.
    pub(super) fn cost(&self) -> usize {
        self.resource().map_or(0, |resource| {
            resource
                .representations()
                .map(|representation| representation.content.cost())
                .sum()
        })
    }
}

/// A file with its precompressed siblings.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) plain: Representation,
    pub(super) coded: Vec<(Coding, Representation)>,
    /// Whether it is HTML.
    pub(super) is_page: bool,
}

impl Resource {
    fn representations(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.plain).chain(self.coded.iter().map(|(_, coded)| coded))
    }
}

/// One form of a file with everything about it that no request changes.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) content: Content,
    pub(super) size: u64,
    pub(super) validators: Validators,
    /// Headers of a 200 and, with `content-range`, of a 206.
    pub(super) full_headers: Arc<[(&'static str, HeaderText)]>,
    /// Headers of a 304.
    pub(super) brief_headers: Arc<[(&'static str, HeaderText)]>,
    info: FileInfo,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// Shared by all requests, each reads at its own offset.
    Open(Arc<File>),
}

impl Content {
    /// An open file counts as much as the largest kept one, so that the bound
    /// on memory bounds descriptors too.
    fn cost(&self) -> usize {
        let memory = match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Open(_) => usize::try_from(SMALL).unwrap_or(usize::MAX),
        };
        memory + size_of::<Representation>() + 1024
    }
}

/// Looks a path up; `before` is what it led to last time, whose content is
/// taken over if nothing changed.
pub(super) fn find(
    root: &Root,
    options: &StaticOptions,
    path: &[u8],
    before: Option<&Resource>,
) -> Finding {
    match locate(root, options, path, before) {
        Ok(finding) => finding,
        Err(error) => missing_or_failed(&error),
    }
}

fn locate(
    root: &Root,
    options: &StaticOptions,
    path: &[u8],
    before: Option<&Resource>,
) -> Result<Finding, OpenError> {
    let file = if path.is_empty() {
        options.entry.clone()
    } else {
        let (folder, name) = match path.strip_suffix(b"/") {
            Some(folder) => (folder, Some(INDEX)),
            None => (path, None),
        };
        let Ok(path) = RelPath::from_url(folder) else {
            return Ok(Finding::Missing);
        };
        match name {
            None => path,
            Some(index) => match format!("{path}/{index}").parse() {
                Ok(page) => page,
                Err(_) => return Ok(Finding::Missing),
            },
        }
    };
    if !policy::is_public(file.as_str(), options.source_maps) {
        return Ok(Finding::Missing);
    }
    match load(root, options, &file, before) {
        Ok(resource) => Ok(Finding::File(Arc::new(resource))),
        Err(OpenError::WrongKind { .. }) if has_page(root, &file) => Ok(Finding::Folder),
        Err(error) => Err(error),
    }
}

fn has_page(root: &Root, folder: &RelPath) -> bool {
    format!("{folder}/{INDEX}")
        .parse::<RelPath>()
        .is_ok_and(|page| {
            root.metadata(&page)
                .is_ok_and(|info| info.kind == EntryKind::File)
        })
}

fn missing_or_failed(error: &OpenError) -> Finding {
    match error {
        OpenError::Io(source) if source.kind() != io::ErrorKind::PermissionDenied => {
            Finding::Failed
        }
        _ => Finding::Missing,
    }
}

fn load(
    root: &Root,
    options: &StaticOptions,
    path: &RelPath,
    before: Option<&Resource>,
) -> Result<Resource, OpenError> {
    let (plain, info) = read(root, path, before.map(|before| &before.plain))?;
    let mut siblings = Vec::new();
    for coding in Coding::ALL {
        let Ok(sibling) = path.with_suffix(coding.suffix()) else {
            continue;
        };
        let known = before.and_then(|before| {
            before
                .coded
                .iter()
                .find(|(known, _)| *known == coding)
                .map(|(_, coded)| coded)
        });
        match read(root, &sibling, known) {
            // An older sibling was made from an older file.
            Ok((content, sibling_info)) if sibling_info.modified_ns >= info.modified_ns => {
                siblings.push((coding, content, sibling_info));
            }
            Ok(_) | Err(_) => {}
        }
    }
    let is_entry = *path == options.entry;
    let describe = Description {
        path,
        is_entry,
        varies: !siblings.is_empty(),
    };
    Ok(Resource {
        is_page: mime::is_page(path.file_name()),
        plain: describe.representation(plain, info, None),
        coded: siblings
            .into_iter()
            .map(|(coding, content, info)| {
                (coding, describe.representation(content, info, Some(coding)))
            })
            .collect(),
    })
}

fn read(
    root: &Root,
    path: &RelPath,
    before: Option<&Representation>,
) -> Result<(Content, FileInfo), OpenError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let OpenFile { file, info } = root.open_file(path)?;
        if info.is_foreign_link(root.info()) {
            return Err(OpenError::Link);
        }
        if let Some(before) = before.filter(|before| before.info == info) {
            return Ok((before.content.clone(), info));
        }
        if info.size > SMALL {
            return Ok((Content::Open(Arc::new(file)), info));
        }
        let mut content = Vec::with_capacity(usize::try_from(info.size).unwrap_or(0));
        (&file)
            .take(SMALL + 1)
            .read_to_end(&mut content)
            .map_err(OpenError::Io)?;
        let unchanged = FileInfo::of(&file)? == info && content.len() as u64 == info.size;
        if unchanged || attempt == READ_ATTEMPTS {
            return Ok((Content::Memory(content.into()), info));
        }
    }
}

/// What the headers of a file's representations have in common.
struct Description<'a> {
    path: &'a RelPath,
    is_entry: bool,
    varies: bool,
}

impl Description<'_> {
    fn representation(
        &self,
        content: Content,
        info: FileInfo,
        coding: Option<Coding>,
    ) -> Representation {
        let validators = validators(&info, coding);
        let full_headers = self.headers(&validators, coding, true).into();
        let brief_headers = self.headers(&validators, coding, false).into();
        let size = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Open(_) => info.size,
        };
        Representation {
            content,
            size,
            validators,
            full_headers,
            brief_headers,
            info,
        }
    }

    fn headers(
        &self,
        validators: &Validators,
        coding: Option<Coding>,
        full: bool,
    ) -> Vec<(&'static str, HeaderText)> {
        let mut headers: Vec<(&'static str, HeaderText)> = Vec::with_capacity(8);
        if full {
            headers.push((
                "content-type",
                Cow::from(mime::content_type(self.path.file_name())),
            ));
            headers.push(("accept-ranges", Cow::from("bytes")));
            headers.push((
                "last-modified",
                httpdate::fmt_http_date(validators.modified).into(),
            ));
            if let Some(coding) = coding {
                headers.push(("content-encoding", Cow::from(coding.name())));
            }
        }
        headers.push(("etag", validators.etag.to_string().into()));
        headers.push(("cache-control", Cow::from(self.cache_control())));
        if self.varies {
            headers.push(("vary", Cow::from("accept-encoding")));
        }
        headers.push(("x-content-type-options", Cow::from("nosniff")));
        headers
    }

    /// Names that carry a hash for a year, the rest is asked for each time and
    /// mostly answered with a 304.
    fn cache_control(&self) -> &'static str {
        if !self.is_entry && policy::is_immutable(self.path.as_str()) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        }
    }
}

/// Size, time in nanoseconds and inode: any way of replacing a file changes
/// one of them. The coding is added because siblings are other bytes.
fn validators(info: &FileInfo, coding: Option<Coding>) -> Validators {
    let mut etag = format!("\"{:x}-{:x}-{:x}", info.size, info.modified_ns, info.inode);
    if let Some(coding) = coding {
        // Writing to a string cannot fail.
        let _ = write!(etag, "-{}", coding.name());
    }
    etag.push('"');
    // `Last-Modified` must not lie in the future, and has whole seconds.
    let modified = info.modified().min(SystemTime::now());
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
    Validators {
        etag: etag.into(),
        modified,
    }
}
