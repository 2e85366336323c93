//! E: the warning about variables that were kept back, start by start, and what
//! `buntime check --env` says beforehand.

use std::collections::BTreeSet;

use buntime_testkit::TestServer;

use super::{KEPT, run, server, text, write};

const WARNING: &str = "Blocked sensitive env vars from worker";
const CANARY: &str = "canary-e2b9";

/// The names in each warning about an app, in the order of its starts.
fn warnings(server: &TestServer, app: &str) -> Vec<Vec<String>> {
    let mut lines = server.log();
    lines.retain(|line| line.message() == WARNING && line.text("app") == app);
    let names = |line: &buntime_testkit::log::LogLine| {
        let blocked = line.value()["blocked"].as_array().unwrap().clone();
        blocked
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    lines.iter().map(names).collect()
}

#[test]
fn e2_every_start_warns_once_and_no_value_is_ever_logged() {
    let env = format!("env:\n  API_KEY: {CANARY}\n  AWS_X: {CANARY}\n  GREETING: {CANARY}\n");
    let server = server()
        .sample("fresh@1.0.0", &format!("ttl: 0\n{env}"))
        .sample("kept@1.0.0", &format!("{KEPT}{env}"))
        .start();
    let expected = vec!["API_KEY".to_owned(), "AWS_X".to_owned()];
    for count in 1..=3 {
        assert_eq!(server.get("/fresh/env").status, 200);
        server.wait_until("one more warning", || {
            warnings(&server, "fresh@1.0.0").len() >= count
        });
        assert_eq!(server.get("/kept/env").status, 200);
    }
    assert_eq!(warnings(&server, "fresh@1.0.0"), vec![expected.clone(); 3]);
    assert_eq!(warnings(&server, "kept@1.0.0"), vec![expected.clone()]);
    // A worker that is replaced is another start.
    let worker = server.worker("kept");
    assert_eq!(server.get("/kept/exit").status, 502);
    let _ = server.wait_for_end(worker);
    assert_eq!(server.get("/kept/env").status, 200);
    server.wait_until("a warning of the second start", || {
        warnings(&server, "kept@1.0.0") == vec![expected.clone(); 2]
    });
    assert!(!server.output().contains(CANARY), "a value is in the log");
}

#[test]
fn e5_every_sort_of_steering_is_kept_back_in_any_case() {
    const STEERING: [&str; 24] = [
        "APP_DIR",
        "BUNTIME_KEY",
        "BUN_INSPECT",
        "DATA_DIR",
        "ENTRYPOINT",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "LD_LIBRARY_PATH",
        "MALLOC_CONF",
        "NODE_ENV",
        "NODE_EXTRA_CA_CERTS",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "RUNTIME_LOG_LEVEL",
        "RUNTIME_ROOT_KEY",
        "SSLKEYLOGFILE",
        "TMPDIR",
        "TZ",
        "WORKER_CONFIG",
        "bun_options",
        "http_proxy",
        "ld_preload",
        "runtime_api_url",
    ];
    let env: String = STEERING
        .iter()
        .map(|name| format!("  {name}: {CANARY}\n"))
        .collect();
    let server = server()
        .sample("app@1.0.0", &format!("{KEPT}env:\n{env}"))
        .start();
    let response = server.get("/app/env");
    assert_eq!(response.status, 200);
    assert!(!response.text().contains(CANARY), "{}", response.text());
    // The log comes when it comes: not before the answer, at any rate.
    server.wait_until("it is told", || !warnings(&server, "app@1.0.0").is_empty());
    assert_eq!(
        warnings(&server, "app@1.0.0"),
        [STEERING.map(str::to_owned)]
    );
    assert!(!server.output().contains(CANARY));
}

#[test]
fn e8_a_dotenv_file_that_is_wrong_keeps_its_values_to_itself() {
    let server = server()
        .app(
            "app@1.0.0",
            KEPT,
            &[
                (
                    "index.ts",
                    "export default { fetch: () => new Response('well') };\n",
                ),
                (
                    ".env",
                    &format!("GOOD=1\nSECRET_KEY=\"{CANARY}\n{CANARY} = 1\n"),
                ),
            ],
        )
        .start();
    assert_eq!(server.get("/app/").error_code(), "INVALID_MANIFEST");
    let line = server.wait_for_log(|line| line.message().contains(".env:2:"));
    assert!(line.message().contains("SECRET_KEY"), "{line:?}");
    assert!(!line.message().contains(&format!("\"{CANARY}")), "{line:?}");
}

#[test]
fn e1_check_tells_the_environment_that_a_worker_gets() {
    let manifest = format!(
        "{KEPT}env:\n  GREETING: hello\n  API_KEY: {CANARY}\n  COUNT: 5\n  LINES: \"a\\nb\\u001b[31m\"\n"
    );
    let builder = server().sample("app@1.0.0", &manifest);
    write(
        &builder.dir().join("apps/app@1.0.0"),
        ".env",
        &format!("GREETING=from-the-file\nMY_TOKEN={CANARY}\n"),
    );
    let server = builder.start();
    let worker = server.get("/app/env").json();
    let worker = worker.as_object().unwrap();

    let dir = server.dir().canonicalize().unwrap();
    let output = run(&dir, &["check", "--env", "apps"], &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = text(&output.stdout);
    assert!(!told.contains(CANARY) && !told.contains('\u{1b}'), "{told}");
    let lines: Vec<_> = told
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    let names: BTreeSet<_> = lines
        .iter()
        .filter(|line| !line.starts_with("blocked:"))
        .map(|line| line.split(['=', ' ']).next().unwrap().to_owned())
        .collect();
    let of_worker: BTreeSet<_> = worker.keys().cloned().collect();
    assert_eq!(names, of_worker, "what is told is what a worker gets");
    for name in ["APP_DIR", "ENTRYPOINT", "GREETING", "COUNT"] {
        let line = format!("{name}={}", worker[name]);
        assert!(lines.contains(&line.as_str()), "{line} is not in\n{told}");
    }
    assert!(lines.contains(&"LINES=\"a\\nb\\u{1b}[31m\""), "{told}");
    assert!(lines.contains(&"blocked: API_KEY, MY_TOKEN"), "{told}");
    // Only who asks for values gets them.
    let silent = run(&dir, &["check", "apps"], &[]);
    assert_eq!(text(&silent.stdout), "0 errors, 0 warnings\n");
}
