//! Bad days of the machine and of those who run it, through the real program on
//! the real Bun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults {
    mod clients;
    mod clock;
    mod disk;
    mod kills;
    mod readiness;
    mod stop;
    mod units;
    mod unreadable;

    use buntime_testkit::{Builder, TestServer};

    /// A server with a neighbour to be probed.
    fn server() -> Builder {
        TestServer::builder(env!("CARGO_BIN_EXE_buntime")).neighbour()
    }
}
