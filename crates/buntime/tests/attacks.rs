//! What an attacker with time tries, through the real program on the real Bun.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks {
    mod headers;
    mod leaving;
    mod leftovers;
    mod trickle;

    use buntime_testkit::{Builder, TestServer};

    const HELD: &str = include_str!("attacks/held.ts");

    /// A server with the app `held`, before it is started.
    fn server() -> Builder {
        TestServer::builder(env!("CARGO_BIN_EXE_buntime")).app(
            "held@1.0.0",
            // Neither a bundle nor many requests bring another worker, which would know
            // of no stream.
            "ttl: 1h\ntimeout: 20s\nbundle: false\nmaxRequests: 1000000\n",
            &[("index.ts", HELD)],
        )
    }
}
