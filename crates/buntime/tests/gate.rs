//! What a request must pass before it is dispatched, through the real program on
//! real sockets. Tests are named after the rows of the bad inputs that they try: C
//! CSRF and hosts, K sessions, H and X headers, T18 upgrades.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gate {
    mod api;
    mod apps;
    mod hosts;
    mod json;
    mod own;
    mod plugins;
    mod scopes;
    mod sessions;
    mod support;
}
