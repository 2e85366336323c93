//! What an operator does through the API, by the real program on the real Bun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod manage {
    mod logs;
    mod namespaces;
    mod support;
    mod workers;
}
