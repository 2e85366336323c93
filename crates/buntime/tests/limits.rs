//! Apps that take more than they may: each ends with its reason, and its neighbour does
//! not notice (rows W15, W18, T19 and T20).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod limits {
    mod disk;
    mod health;
    mod memory;
    mod other;

    use buntime_testkit::api::{ROOT_KEY, ask};
    use buntime_testkit::process::ProcessId;
    use buntime_testkit::sample::assert_error;
    use buntime_testkit::{Builder, TestServer};

    const HOG: &str = include_str!("limits/hog.ts");

    /// A server with an app that takes what it can get, and its neighbour.
    fn server(limits: &str) -> Builder {
        let manifest = format!("ttl: 1h\ntimeout: 20s\nlimits: {limits}\n");
        TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
            .env("RUNTIME_ROOT_KEY", ROOT_KEY)
            .neighbour()
            .module("hog@1.0.0", &manifest, HOG)
    }

    /// The worker of the app.
    #[track_caller]
    fn hog(server: &TestServer) -> ProcessId {
        let response = server.get("/hog/id");
        assert_eq!(response.status, 200, "{response:?}");
        server.process_of(&response.text()).unwrap()
    }

    /// Asks the API with the root key.
    fn api(server: &TestServer, target: &str) -> buntime_testkit::Response {
        ask(server.addr(), ROOT_KEY, "GET", target, None)
    }

    /// Asserts that a worker was killed for this reason, and that log, metrics and API
    /// say so.
    #[track_caller]
    fn assert_killed(server: &TestServer, worker: ProcessId, reason: &str) {
        assert_eq!(server.wait_for_end(worker), reason);
        let line = server.wait_for_log(|line| {
            line.message() == "Worker ended" && line.value()["pid"] == worker.pid
        });
        assert_eq!((line.level(), line.text("app")), ("warn", "hog@1.0.0"));
        let workers = api(server, "/api/workers").json();
        let hog = workers.as_array().unwrap().iter();
        let hog = hog.clone().find(|worker| worker["name"] == "hog").unwrap();
        assert_eq!(hog["live"]["lastExit"]["reason"], reason, "{hog}");
        let label = reason.split(' ').nth(1).unwrap();
        let metrics = api(server, "/api/metrics").text();
        let series =
            format!("buntime_worker_exits_total{{app=\"hog@1.0.0\",reason=\"{label}\"}} 1");
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }

    /// Has the app take what it may not in a request, which fails without a word of why.
    #[track_caller]
    fn assert_killed_by(limits: &str, way: &str, reason: &str) {
        let server = server(limits).start();
        let neighbour = server.probe();
        let worker = hog(&server);
        let response = server.get(&format!("/hog/{way}"));
        assert_error(&response, 502, "WORKER_CRASHED");
        let text = response.text();
        assert!(
            !text.contains("killed") && !text.contains("limit"),
            "{text}"
        );
        assert_killed(&server, worker, reason);
        neighbour.finish();
        // The next request has a worker again.
        assert_ne!(hog(&server), worker);
    }
}
