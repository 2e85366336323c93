//! Static sites: GET and HEAD for a folder of files.
//!
//! A [`StaticSite`] is a folder with an entry page. It answers a request with
//! a [`StaticResponse`]: an outcome, headers, a body. The server turns the
//! outcome into a status line.
//!
//! - A folder answers with its `index.html`; without its slash it redirects.
//! - What does not exist is the entry page for a navigation (no extension, or
//!   `text/html` is accepted), else missing.
//! - Names that are never served count as not existing: dot files, manifests,
//!   lockfiles, `node_modules`, source maps.
//! - `.br`, `.zst` and `.gz` beside a file are sent instead of it if they are
//!   at least as new and the client accepts them.
//! - One range is honoured; several are answered with the whole file, which
//!   RFC 9110 allows and which cannot be used to multiply work.
//!
//! **Freshness.** What was found on disk is kept in a [`FileCache`] and looked
//! at again once it is half a second old; nothing older than a second is sent.
//! A hot file costs no system call but those of the socket.

mod body;
mod cache;
mod conditional;
mod encoding;
mod find;
mod mime;
mod policy;
mod range;
mod response;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::rel_path::RelPath;
use crate::root::{OpenError, Root};

pub use body::{FileBody, StaticBody};
pub use cache::FileCache;
pub use policy::SourceMaps;
pub use range::{ByteRange, byte_range};
pub use response::{HeaderText, Outcome, StaticHeaders, StaticResponse};

use cache::{Entry, Freshness, Key};
use find::Finding;

/// Most blocking reads at a time for one site, so that a slow disk under one
/// site does not take every thread.
const PARALLEL_READS: usize = 16;
/// A look at the disk that takes longer fails the request.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The part of a request that a static answer depends on. Header values are
/// `None` when absent; of a header sent twice the server passes the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct StaticRequest<'a> {
    /// GET, HEAD, or anything else.
    pub method: StaticMethod,
    /// The path below the site's base, percent-encoded as sent, with or
    /// without its leading slash, without the query. It is decoded here,
    /// segment by segment, so that an encoded slash never separates.
    pub path: &'a [u8],
    /// The query without its question mark. Only a redirect repeats it.
    pub query: Option<&'a [u8]>,
    /// `Accept`.
    pub accept: Option<&'a [u8]>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<&'a [u8]>,
    /// `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// Set where the server changes the site's pages (`text/html`) before it sends
    /// them: what distinguishes its change, to be added to their entity tags. Such a
    /// page is offered whole and uncompressed, and has no date to compare.
    pub page_variant: Option<&'a str>,
}

/// The methods a static site tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaticMethod {
    /// Headers and body.
    #[default]
    Get,
    /// Headers only.
    Head,
    /// Refused with the list of the two above.
    Other,
}

/// How a site is served.
#[derive(Clone, Debug)]
pub struct StaticOptions {
    /// File name of the entry page in the site's folder: one segment.
    pub entry: RelPath,
    /// Whether `*.map` files are served.
    pub source_maps: SourceMaps,
    /// Where findings and small files are kept; one for the whole server.
    pub cache: Arc<FileCache>,
}

/// A folder of files with an entry page. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StaticSite {
    shared: Arc<Site>,
}

/// What the blocking side needs; outlives the request that asked.
#[derive(Debug)]
struct Site {
    id: u64,
    root: Root,
    options: StaticOptions,
    reads: Arc<Semaphore>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.options.cache.forget(self.id);
    }
}

impl StaticSite {
    /// Serves the files beneath `root`.
    #[must_use]
    pub fn new(root: Root, options: StaticOptions) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            shared: Arc::new(Site {
                id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
                root,
                options,
                reads: Arc::new(Semaphore::new(PARALLEL_READS)),
            }),
        }
    }

    /// Serves the folder of an app's entry page: `dist` for `dist/index.html`.
    ///
    /// # Errors
    /// That folder cannot be opened.
    pub fn of_app(
        app: Root,
        entry: &RelPath,
        source_maps: SourceMaps,
        cache: Arc<FileCache>,
    ) -> Result<Self, OpenError> {
        let (root, entry) = match entry.split_last() {
            (Some(folder), name) => (app.open_dir(&folder)?, name),
            (None, name) => (app, name),
        };
        Ok(Self::new(
            root,
            StaticOptions {
                entry,
                source_maps,
                cache,
            },
        ))
    }

    /// Answers one request.
    ///
    /// Needs a tokio runtime with time and blocking threads. Cancel safe: the
    /// look at the disk goes on and its finding is kept.
    pub async fn respond(&self, request: &StaticRequest<'_>) -> StaticResponse {
        if request.method == StaticMethod::Other {
            return StaticResponse::method_not_allowed();
        }
        let path = request.path.strip_prefix(b"/").unwrap_or(request.path);
        let response = self.answer(request, path).await;
        if let StaticBody::File(file) = &response.body
            && !matches!(timeout(LOOK_TIMEOUT, file.try_read()).await, Ok(Ok(())))
        {
            return StaticResponse::unreadable();
        }
        response
    }

    async fn answer(&self, request: &StaticRequest<'_>, path: &[u8]) -> StaticResponse {
        match self.find(path).await {
            Finding::File(resource) => response::file(request, &resource),
            Finding::Folder => response::redirect_to_folder(path, request.query),
            Finding::Failed => StaticResponse::unreadable(),
            Finding::Missing if !policy::is_navigation(path, request.accept) => {
                StaticResponse::not_found()
            }
            Finding::Missing => match self.find(b"").await {
                Finding::File(entry) => response::file(request, &entry),
                Finding::Failed => StaticResponse::unreadable(),
                Finding::Folder | Finding::Missing => StaticResponse::not_found(),
            },
        }
    }

    /// What the path leads to: from the cache if that is fresh, else from disk.
    async fn find(&self, path: &[u8]) -> Finding {
        let site = &self.shared;
        let known = site.options.cache.get(&Key {
            site: site.id,
            path,
        });
        if let Some(entry) = &known {
            match entry.freshness(Instant::now()) {
                Freshness::Fresh => return entry.finding.clone(),
                // The first to come here looks again in the background; nobody
                // waits for the disk as long as requests keep coming. When all
                // permits are taken, the entry just goes stale.
                Freshness::Ageing => {
                    if entry.begin_refresh()
                        && let Ok(permit) = Arc::clone(&site.reads).try_acquire_owned()
                    {
                        drop(self.look(path, Some(Arc::clone(entry)), permit));
                    }
                    return entry.finding.clone();
                }
                Freshness::Stale => {}
            }
        }
        let looking = async {
            let permit = Arc::clone(&site.reads).acquire_owned().await.ok()?;
            self.look(path, known, permit).await.ok()
        };
        match timeout(LOOK_TIMEOUT, looking).await {
            Ok(Some(finding)) => finding,
            Ok(None) | Err(_) => Finding::Failed,
        }
    }

    /// Looks at the disk on a blocking thread and keeps what it finds, even if
    /// nobody waits for it any more.
    fn look(
        &self,
        path: &[u8],
        known: Option<Arc<Entry>>,
        permit: OwnedSemaphorePermit,
    ) -> JoinHandle<Finding> {
        let site = Arc::clone(&self.shared);
        let path: Box<[u8]> = path.into();
        tokio::task::spawn_blocking(move || {
            let before = known.as_ref().and_then(|entry| entry.finding.resource());
            // Taken before the look: a change during it counts as newer.
            let looked_at = Instant::now();
            let finding = find::find(&site.root, &site.options, &path, before);
            if !matches!(finding, Finding::Failed) {
                let key = Key {
                    site: site.id,
                    path: &path,
                };
                site.options
                    .cache
                    .insert(Entry::new(&key, finding.clone(), looked_at));
            }
            drop(permit);
            finding
        })
    }
}

#[cfg(test)]
mod tests;
