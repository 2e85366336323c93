//! From a host name to addresses, without taking the threads that others need.
//!
//! The system's resolver blocks a thread, and nothing makes it return: who waits for it may
//! give up, the thread goes on. So what is limited are the threads, until they are free
//! again, for each app and in all. Other work of the server that blocks has the rest.
//!
//! **Shares.** An app may hold half as many places as are free. The fewer are left, the
//! fewer one app gets of them, and the last is for one that holds none: it takes more than a
//! few apps whose names hang to keep a neighbour from its first look-up.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Look-ups at once, in all: an eighth of the threads for what blocks.
pub(super) const LOOKUPS: usize = 64;
/// Look-ups of one app at once.
pub(super) const OF_APP: usize = 16;
/// Addresses that are tried; a name with more is odd.
const ADDRESSES: usize = 8;

/// Finds the addresses of a host. Blocks.
pub(super) type Resolve = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The look-ups of all apps.
pub(super) struct Lookups {
    resolve: Arc<Resolve>,
    shares: Arc<Mutex<Shares>>,
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
            shares: Arc::default(),
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
        let place = self.place(app).await.map_err(io::Error::other)?;
        let (resolve, host) = (Arc::clone(&self.resolve), host.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            // Held until the thread is free, even if nobody waits any more.
            let _held = place;
            resolve(&host, port)
        });
        found.await?
    }

    async fn place(&self, app: &str) -> Result<Place, oneshot::error::RecvError> {
        let (sender, receiver) = oneshot::channel();
        let app: Arc<str> = app.into();
        self.shares.lock().wait(&app, sender);
        hand_out(&self.shares);
        receiver.await
    }

    /// Places that `app` holds.
    #[cfg(test)]
    pub(super) fn held_by(&self, app: &str) -> usize {
        let shares = self.shares.lock();
        shares.apps.get(app).map_or(0, |share| share.held)
    }
}

/// Who has which places, and who waits for one.
#[derive(Debug, Default)]
struct Shares {
    held: usize,
    /// Those that hold places or wait. They outlive the app's workers.
    apps: HashMap<Arc<str>, Share>,
}

#[derive(Debug, Default)]
struct Share {
    held: usize,
    /// At most as many as the app has connections.
    waiting: VecDeque<oneshot::Sender<Place>>,
}

impl Shares {
    fn wait(&mut self, app: &Arc<str>, sender: oneshot::Sender<Place>) {
        let share = self.apps.entry(Arc::clone(app)).or_default();
        // Those who gave up are not to be kept.
        share.waiting.retain(|waiting| !waiting.is_closed());
        share.waiting.push_back(sender);
    }

    /// Whose turn it is: of those who may have a place, the app that holds the fewest.
    fn next(&mut self) -> Option<(Arc<str>, oneshot::Sender<Place>)> {
        let free = LOOKUPS - self.held;
        let may_have = OF_APP.min(free.div_ceil(2));
        loop {
            let waiting = self
                .apps
                .iter_mut()
                .filter(|(_, share)| !share.waiting.is_empty() && share.held < may_have);
            let (app, share) = waiting.min_by_key(|(_, share)| share.held)?;
            while let Some(sender) = share.waiting.pop_front() {
                if !sender.is_closed() {
                    share.held += 1;
                    self.held += 1;
                    return Some((Arc::clone(app), sender));
                }
            }
        }
    }

    fn give_back(&mut self, app: &str) {
        self.held -= 1;
        if let Some(share) = self.apps.get_mut(app) {
            share.held -= 1;
        }
        self.apps
            .retain(|_, share| share.held > 0 || !share.waiting.is_empty());
    }
}

/// Gives places to those who wait, as long as somebody may have one.
fn hand_out(shares: &Arc<Mutex<Shares>>) {
    loop {
        // The lock is free again by the time that a place is given: who gave up in this
        // moment gives it back.
        let next = shares.lock().next();
        let Some((app, sender)) = next else {
            return;
        };
        let shares = Arc::clone(shares);
        let _ = sender.send(Place { shares, app });
    }
}

/// A place of an app, until it is dropped.
#[derive(Debug)]
struct Place {
    shares: Arc<Mutex<Shares>>,
    app: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.lock().give_back(&self.app);
        hand_out(&self.shares);
    }
}
