//! An archive on its way in: streamed to a file beside the releases, hashed as it
//! comes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use buntime_core::hex;
use buntime_fs::archive::ArchiveKind;
use buntime_fs::{FileMode, RelPath, Staging, Tree, WriteError};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use super::step::step;
use super::{DeployError, UploadPlace};

/// Largest archive (contract section 7).
pub(crate) const PACKED_MAX: u64 = 100 * 1024 * 1024;

/// Written at a time.
const BLOCK: usize = 256 * 1024;

/// The archive's name in its folder.
const ARCHIVE: RelPath = RelPath::literal("archive");

/// Something whose end blocks. Wherever it is dropped, it ends where that is allowed.
#[derive(Debug)]
pub(super) struct OffThread<T: Send + 'static> {
    value: Option<T>,
    blocking: Handle,
}

impl<T: Send + 'static> OffThread<T> {
    pub(super) fn new(value: T, blocking: &Handle) -> Self {
        Self {
            value: Some(value),
            blocking: blocking.clone(),
        }
    }

    /// Takes it out, for somebody who may block.
    pub(super) fn take(&mut self) -> Result<T, DeployError> {
        self.value.take().ok_or(DeployError::Internal)
    }

    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Ends it now.
    pub(super) async fn end(mut self) {
        let value = self.value.take();
        let ended = on(&self.blocking, move || {
            drop(value);
            Ok(())
        });
        // Fails only with the runtime, and then it was dropped.
        let _ = ended.await;
    }
}

impl<T: Send + 'static> Drop for OffThread<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            drop(self.blocking.spawn_blocking(move || drop(value)));
        }
    }
}

/// An archive that is being received. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Spool {
    kind: ArchiveKind,
    buffer: Vec<u8>,
    size: u64,
    /// Empty while a block is being written.
    sink: OffThread<Sink>,
    blocking: Handle,
}

#[derive(Debug)]
struct Sink {
    file: File,
    hash: Sha256,
    staging: Staging,
    /// Among those that are received at a time.
    place: UploadPlace,
}

/// An archive that has arrived whole.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(super) kind: ArchiveKind,
    pub(super) file: File,
    pub(super) sha256: [u8; 32],
    pub(super) size: u64,
    staging: Staging,
    _place: UploadPlace,
}

impl Spool {
    /// Begins one in the folder of releases.
    pub(super) async fn begin(
        releases: &Path,
        kind: ArchiveKind,
        place: UploadPlace,
        blocking: &Handle,
    ) -> Result<Self, DeployError> {
        let folder = releases.to_owned();
        let sink = on(blocking, move || {
            let staging = Staging::new(&Tree::open(&folder)?)?;
            let file = staging.tree().create_file(&ARCHIVE, FileMode::Plain)?;
            step("spool begun");
            Ok(Sink {
                file,
                hash: Sha256::new(),
                staging,
                place,
            })
        });
        Ok(Self {
            kind,
            buffer: Vec::with_capacity(BLOCK),
            size: 0,
            sink: OffThread::new(sink.await?, blocking),
            blocking: blocking.clone(),
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The archive is too large, or the disk is full.
    pub(crate) async fn push(&mut self, piece: &[u8]) -> Result<(), DeployError> {
        self.size += piece.len() as u64;
        if self.size > PACKED_MAX {
            return Err(DeployError::Packed);
        }
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() >= BLOCK {
            self.write().await?;
        }
        Ok(())
    }

    /// Bytes that have come.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    async fn write(&mut self) -> Result<(), DeployError> {
        let mut sink = self.sink.take()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = on(&self.blocking, move || {
            sink.hash.update(&buffer);
            sink.file.write_all(&buffer).map_err(WriteError::from)?;
            step("spool written");
            buffer.clear();
            Ok((sink, buffer))
        });
        let (sink, buffer) = written.await?;
        self.sink = OffThread::new(sink, &self.blocking);
        self.buffer = buffer;
        Ok(())
    }

    /// All of it has come.
    pub(crate) async fn finish(mut self) -> Result<Spooled, DeployError> {
        self.write().await?;
        let sink = self.sink.take()?;
        let (kind, size) = (self.kind, self.size);
        on(&self.blocking, move || {
            Ok(Spooled {
                kind,
                file: sink.staging.tree().root().open_file(&ARCHIVE)?.file,
                sha256: sink.hash.finalize().into(),
                size,
                staging: sink.staging,
                _place: sink.place,
            })
        })
        .await
    }

    /// Removes what has come, before the caller is answered.
    pub(crate) async fn discard(self) {
        self.sink.end().await;
    }
}

impl Spooled {
    /// Moves the archive among the releases, durably, under its hash. Blocks.
    pub(super) fn keep(self, releases: &Tree) -> Result<(), DeployError> {
        self.file.sync_all().map_err(WriteError::from)?;
        step("archive synced");
        let name = name_of(&self.sha256);
        match self.staging.tree().rename(&ARCHIVE, releases, &name) {
            // The same bytes were deployed before.
            Err(WriteError::Exists) => {}
            renamed => renamed?,
        }
        step("archive kept");
        Ok(releases.sync()?)
    }
}

/// What an archive is called among the releases: its hash.
pub(super) fn name_of(sha256: &[u8; 32]) -> RelPath {
    // Letters and digits are a path.
    RelPath::try_from(hex(sha256).as_str()).unwrap_or(ARCHIVE)
}

/// Runs `work` where blocking is allowed.
pub(super) async fn on<T: Send + 'static>(
    blocking: &Handle,
    work: impl FnOnce() -> Result<T, DeployError> + Send + 'static,
) -> Result<T, DeployError> {
    let done = blocking.spawn_blocking(work).await;
    done.map_err(|_| DeployError::Internal)?
}
