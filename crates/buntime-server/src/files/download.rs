//! Files as they are, folders and batches as a zip that is made while it is sent.

use std::os::unix::fs::FileExt as _;

use buntime_core::access::Grant;
use buntime_fs::archive::{Keep, ZipPart, ZipStream};
use buntime_fs::{EntryKind, OpenFile, RelPath, Root, WalkLimits};

use super::view::View;
use super::{FileBrowser, FilesError, Named};

/// Most entries of one folder with all below it.
const LIMITS: WalkLimits = WalkLimits {
    entries: 200_000,
    depth: 64,
};

/// Something to be sent.
#[derive(Debug)]
pub(crate) struct Download {
    /// What the client should call it.
    pub(crate) name: String,
    /// What it is.
    pub(crate) content: Content,
}

/// What is sent. Everything is read from handles that were opened before.
#[derive(Debug)]
pub(crate) enum Content {
    /// A file as it is.
    File(OpenFile),
    /// A zip.
    Zip(Box<ZipStream>),
}

impl FileBrowser {
    /// A file, or a folder as a zip, with what of it the caller may see.
    ///
    /// # Errors
    /// [`FilesError::NoFile`], [`FilesError::Denied`], [`FilesError::System`].
    pub(crate) fn download(&self, grant: &Grant, text: &str) -> Result<Download, FilesError> {
        Ok(match self.part(grant, text)? {
            ZipPart::File { name, file } => {
                // Once the head is out, a file that cannot be read only breaks off.
                file.file
                    .read_at(&mut [0], 0)
                    .map_err(|error| FilesError::System(error.into()))?;
                Download {
                    name: name.file_name().to_owned(),
                    content: Content::File(file),
                }
            }
            folder @ ZipPart::Folder { .. } => {
                let name = match &folder {
                    ZipPart::File { name, .. } | ZipPart::Folder { name, .. } => name.file_name(),
                };
                Download::zip(format!("{name}.zip"), vec![folder])
            }
        })
    }

    /// Several of them in one zip. All are opened before anything is sent.
    ///
    /// # Errors
    /// As [`FileBrowser::download`].
    pub(crate) fn download_all(
        &self,
        grant: &Grant,
        texts: &[&str],
    ) -> Result<Download, FilesError> {
        super::check_batch(texts.len())?;
        // Who may not see one of them does not learn whether the others are there.
        for text in texts {
            if let Named::Place(place) = self.name(text)? {
                grant.over(place.scope())?;
            }
        }
        let parts = texts.iter().map(|text| self.part(grant, text));
        let parts = parts.collect::<Result<_, _>>()?;
        Ok(Download::zip("files.zip".to_owned(), parts))
    }

    pub(super) fn part(&self, grant: &Grant, text: &str) -> Result<ZipPart, FilesError> {
        let place = match self.name(text)? {
            Named::Top => return Err(FilesError::BadPath("it names no file or folder")),
            Named::Root(root) => {
                let view = self.view(&root.0)?;
                let name = RelPath::try_from(&*root.0.name).map_err(|_| FilesError::NoFolder)?;
                let folder = view.tree.root().try_clone()?;
                return Ok(view.folder(name, None, folder, grant));
            }
            Named::Place(place) => place,
        };
        grant.over(place.scope())?;
        let spot = self.spot(&place)?;
        let name = spot.path.split_last().1;
        let root = spot.view.tree.root();
        match spot.kind()? {
            EntryKind::Directory => {
                let folder = root.open_dir(&spot.path)?;
                Ok(spot.view.folder(name, Some(spot.path), folder, grant))
            }
            EntryKind::File => {
                let file = root.open_file(&spot.path)?;
                if file.info.is_foreign_link(root.info()) {
                    return Err(FilesError::NoFile);
                }
                Ok(ZipPart::File { name, file })
            }
            EntryKind::Link | EntryKind::Other => Err(FilesError::NoFile),
        }
    }
}

impl View {
    /// A folder of the root, or the root itself, with what is shown of it.
    fn folder(&self, name: RelPath, at: Option<RelPath>, folder: Root, grant: &Grant) -> ZipPart {
        let (view, grant) = (self.clone(), grant.clone());
        let keep: Keep = Box::new(move |entry| {
            let whole = match &at {
                None => Ok(entry.path.clone()),
                Some(at) => at.join(&entry.path),
            };
            whole.is_ok_and(|whole| view.shows(&grant, &whole, entry.kind))
        });
        ZipPart::Folder { name, folder, keep }
    }
}

impl Download {
    fn zip(name: String, parts: Vec<ZipPart>) -> Self {
        Self {
            name,
            content: Content::Zip(Box::new(ZipStream::new(parts, LIMITS))),
        }
    }
}
