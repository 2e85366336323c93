//! What the server puts into the pages of apps, through the real program on the
//! real Bun (rows X1, X5, X6, X7).

mod pages {
    mod sites;
    mod streams;
    mod workers;

    use buntime_testkit::{Builder, Response, TestServer};

    const PAGES: &str = include_str!("pages/pages.ts");
    const WARM: &str = "ttl: 1h\ntimeout: 20s\n";
    const BASE: &str = "<base href=\"/app/\">";
    const NAVIGATION: (&str, &str) = ("accept", "text/html,*/*;q=0.8");

    fn builder() -> Builder {
        TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
    }

    /// A server with the app of `pages.ts`, warm, with these further keys.
    fn app(keys: &str) -> TestServer {
        let manifest = format!("{WARM}{keys}");
        builder()
            .app("app@1.0.0", &manifest, &[("index.ts", PAGES)])
            .start()
    }

    /// A GET with headers.
    #[track_caller]
    fn get(server: &TestServer, target: &str, headers: &[(&str, &str)]) -> Response {
        server.connect().request("GET", target, headers, b"")
    }
}
