//! All routes, resource by resource.

use super::route::Route;

/// The routes of the API. Where two patterns fit a path, the first counts.
pub(super) fn all() -> &'static [&'static [Route]] {
    const ALL: &[&[Route]] = &[
        super::system::ROUTES,
        super::openapi::ROUTES,
        super::docs::ROUTES,
        // Before those of a unit: no scope is called `files`.
        super::files::WORKER_ROUTES,
        super::files::PLUGIN_ROUTES,
        super::session::ROUTES,
        super::keys::ROUTES,
        super::audit::ROUTES,
        super::metrics::ROUTES,
        super::workers::ROUTES,
        super::logs::ROUTES,
        super::upload::ROUTES,
        super::plugin_upload::ROUTES,
        super::releases::ROUTES,
        super::plugins::ROUTES,
    ];
    ALL
}
