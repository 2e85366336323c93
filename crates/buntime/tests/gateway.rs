//! What an app reaches: the server by its gateway, the outside by the proxy there, and
//! nothing by any other way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gateway {
    mod api;
    mod bounds;
    mod outside;
    mod support;
    mod world;
}
