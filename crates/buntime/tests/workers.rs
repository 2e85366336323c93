//! What apps do to their workers, through the real program on the real Bun, and
//! what their neighbour sees of it: nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod workers {
    mod bad_code;
    mod environment;
    mod examples;
    mod install;
    mod life;
    mod logs;
    mod pretty;
    mod program;
    mod queue;
    mod streams;
    mod wire;

    use buntime_testkit::{Builder, TestServer};

    /// A server with a neighbour to be probed.
    fn server() -> Builder {
        TestServer::builder(env!("CARGO_BIN_EXE_buntime")).neighbour()
    }
}
