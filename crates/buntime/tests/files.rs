//! The file browser, through the real program. Tests are named after the rows of the
//! bad inputs that they try: F the file browser, N namespaces.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files {
    mod batches;
    mod changes;
    mod downloads;
    mod namespaces;
    mod reading;
    mod support;
    mod uploads;
}
