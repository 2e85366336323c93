//! Which key a request brings, and whose it is.

use std::sync::Arc;
use std::time::SystemTime;

use buntime_core::access::Principal;
use buntime_http::{HeaderId, HeaderList};

use crate::config::Secret;

/// The keys that there are. One for the whole server.
#[derive(Debug)]
pub(crate) struct Access {
    root: Option<(Secret, Arc<Principal>)>,
}

impl Access {
    pub(crate) fn new(root: Option<Secret>) -> Self {
        let principal = || Arc::new(Principal::root(SystemTime::now()));
        Self {
            root: root.map(|secret| (secret, principal())),
        }
    }

    /// Whose credential a request brings. One in a header decides alone.
    pub(crate) fn authenticate(&self, headers: &HeaderList) -> Option<Arc<Principal>> {
        let (secret, principal) = self.root.as_ref()?;
        let given = headers.get(HeaderId::XApiKey)?;
        (given == secret.expose().as_bytes()).then(|| Arc::clone(principal))
    }
}
