//! What is private and reads bytes from outside, for the package `fuzz` alone.

use std::collections::{BTreeMap, VecDeque};

use buntime_core::Manifest;
use buntime_http::HeaderList;
use bytes::Bytes;

use crate::gate::session;
use crate::html::{Inserter, PageSettings};

/// A page, and what was put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The tag with the base; empty if this base is none.
    pub base: Vec<u8>,
    /// The script with the public variables.
    pub script: Vec<u8>,
    /// The page as a client gets it.
    pub sent: Vec<u8>,
}

/// A page that comes in pieces of `step` bytes, of an app at `base` with a public
/// variable of this value.
#[must_use]
pub fn page(page: &[u8], step: usize, base: &str, value: &str) -> Page {
    let mut manifest = Manifest::default();
    manifest.inject_base = true;
    let env = BTreeMap::from([("PUBLIC_X".to_owned(), value.to_owned())]);
    let settings = PageSettings::of(&manifest, &env);
    let Some(insertion) = settings.map(|settings| settings.insertion("", base)) else {
        return Page {
            base: Vec::new(),
            script: Vec::new(),
            sent: page.to_vec(),
        };
    };
    let [tag, script] = insertion.whole();
    let mut inserter = Inserter::new(insertion);
    let mut out = VecDeque::new();
    for piece in page.chunks(step.max(1)) {
        inserter.push(Bytes::copy_from_slice(piece), &mut out);
    }
    inserter.end(&mut out);
    Page {
        base: tag.to_vec(),
        script: script.to_vec(),
        sent: out.iter().flatten().copied().collect(),
    }
}

/// What is left of a `Cookie` line for an app, and whether that holds a session of
/// the server. `None` if the line can be no header.
#[must_use]
pub fn cookie_for_app(line: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut headers = HeaderList::new();
    headers.push(b"cookie", line).ok()?;
    session::remove_from(&mut headers);
    let left = headers.get_named(b"cookie").unwrap_or_default().to_vec();
    Some((left, session::is_in(&headers)))
}
