//! From a host name to addresses, without taking the threads that others need.
//!
//! The system's resolver blocks a thread, and nothing makes it return: who waits for it may
//! give up, the thread goes on. So what is limited are the threads, until they are free
//! again, for each app and in all. Other work of the server that blocks has the rest.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Look-ups at once, in all: an eighth of the threads for what blocks.
const LOOKUPS: usize = 64;
/// Look-ups of one app at once.
pub(super) const OF_APP: usize = 16;
/// Addresses that are tried; a name with more is odd.
const ADDRESSES: usize = 8;

/// Finds the addresses of a host. Blocks.
pub(super) type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The look-ups of all apps.
pub(super) struct Lookups {
    resolve: Arc<Resolve>,
    places: Arc<Semaphore>,
    /// By app: those that have look-ups. They outlive the app's workers.
    of_apps: Mutex<HashMap<Box<str>, Weak<Semaphore>>>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Lookups {
    /// Asks the system.
    pub(super) fn system() -> Self {
        Self::by(Arc::new(|host: &str, port| {
            Ok((host, port).to_socket_addrs()?.take(ADDRESSES).collect())
        }))
    }

    pub(super) fn by(resolve: Arc<Resolve>) -> Self {
        Self {
            resolve,
            places: Arc::new(Semaphore::new(LOOKUPS)),
            of_apps: Mutex::default(),
        }
    }

    /// The addresses of `host`, for `app`. It waits for a place, so it wants a deadline.
    ///
    /// # Errors
    /// What the resolver says.
    pub(super) async fn find(
        &self,
        app: &str,
        host: &str,
        port: u16,
    ) -> io::Result<Vec<SocketAddr>> {
        let own = self.of_app(app).acquire_owned().await;
        let own = own.map_err(io::Error::other)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (resolve, host) = (Arc::clone(&self.resolve), host.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            // Held until the thread is free, even if nobody waits any more.
            let _held = (own, place);
            resolve(&host, port)
        });
        found.await?
    }

    /// The places of one app.
    pub(super) fn of_app(&self, app: &str) -> Arc<Semaphore> {
        let mut apps = self.of_apps.lock();
        if let Some(places) = apps.get(app).and_then(Weak::upgrade) {
            return places;
        }
        apps.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(OF_APP));
        apps.insert(app.into(), Arc::downgrade(&places));
        places
    }
}
