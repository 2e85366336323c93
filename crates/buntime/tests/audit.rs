//! Who did what, and how much of it: the audit log and the metrics, through the real
//! program. Tests are named after the rows of the bad inputs that they try.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit {
    mod disk;
    mod lines;
    mod metrics;
    mod routes;
    mod support;
}
