//! What the server puts into the pages of apps: `<base href>` and
//! `window.__env__` (contract sections 3 and 5).
//!
//! [`PageSettings`] is what an app asks for, `Insertion` the text for one
//! response, `Inserter` puts it into a page as the page streams by, and
//! [`PageBody`] is a response's body that does so. Which responses are pages is
//! decided in `dispatch::page`.
//!
//! A page's own bytes are never changed, dropped or reordered. Where the place
//! for the insertion is not found, the page passes as it is.

mod body;
mod inserter;
mod place;
mod snippet;

pub use self::body::PageBody;
pub use self::snippet::PageSettings;

pub(crate) use self::body::is_true_of_page;
pub(crate) use self::inserter::Inserter;
pub(crate) use self::snippet::{Insertion, is_plain_prefix};

#[cfg(test)]
mod tests;
