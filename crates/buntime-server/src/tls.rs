//! The server's certificate: read, checked, and read again when its files change.

mod pair;
mod watch;

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

pub use self::pair::TlsPair;
pub(crate) use self::pair::{Part, TlsFault, TlsFiles, load};

/// What new connections are accepted with. Replaced as a whole, so that a
/// connection has the old certificate or the new one, never a mix.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Serves with `pair` until [`Tls::watch`] finds another one.
    pub(crate) fn new(pair: &TlsPair) -> Self {
        Self {
            files: pair.files.clone(),
            current: ArcSwap::new(Arc::clone(&pair.config)),
        }
    }

    /// What a connection that begins now is accepted with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}
