//! All routes, resource by resource.

use super::route::Route;
use super::{plugins, system};

/// The routes of the API. Where two patterns fit a path, the first counts.
pub(super) fn all() -> &'static [&'static [Route]] {
    const ALL: &[&[Route]] = &[system::ROUTES, plugins::ROUTES];
    ALL
}
