//! Keys, sessions and the state directory, through the real program. Tests are named
//! after the rows of the bad inputs that they try: K keys and sessions, N14
//! namespaces of a new key, D the state directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod keys {
    mod crashes;
    mod header;
    mod lists;
    mod made;
    mod root;
    mod session;
    mod store;
    mod support;
}
