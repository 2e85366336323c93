//! What a worker knows of the world: its variables (rows E1 to E5 and E8), its
//! descriptors.

use std::collections::BTreeSet;

use buntime_testkit::{Response, TestServer};

use super::server;

const KEPT: &str = "ttl: 1h\n";
/// Contract section 6.
const DOCUMENTED: [&str; 22] = [
    "APP_DIR",
    "DATA_DIR",
    "ENTRYPOINT",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "NODE_ENV",
    "NODE_USE_ENV_PROXY",
    "NO_PROXY",
    "PATH",
    "RUNTIME_API_URL",
    "RUNTIME_LOG_LEVEL",
    "RUNTIME_PLUGIN_DIRS",
    "RUNTIME_WORKER_DIRS",
    "TMPDIR",
    "TZ",
    "WORKER_CONFIG",
    "WORKER_ID",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// Row E2.
const SENSITIVE: [&str; 15] = [
    "ANTHROPIC_X",
    "APIKEY",
    "API_KEY",
    "AUTH_KEY",
    "AWS_X",
    "DATABASE_URL",
    "DB_HOST",
    "GITHUB_X",
    "OPENAI_X",
    "PRIVATE_KEY",
    "SECRET_KEY",
    "STRIPE_X",
    "X_PASSWORD",
    "X_SECRET",
    "X_TOKEN",
];

fn names(response: &Response) -> BTreeSet<String> {
    response
        .json()
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A manifest with an `env`, each variable with the same value.
fn with_env(names: &[&str], value: &str) -> String {
    let env: String = names
        .iter()
        .map(|name| format!("  {name}: {value}\n"))
        .collect();
    format!("{KEPT}env:\n{env}")
}

/// The names of the one warning about variables of this app's worker.
fn blocked(server: &TestServer, app: &str) -> BTreeSet<String> {
    let is_it = |line: &buntime_testkit::log::LogLine| {
        line.message() == "Blocked sensitive env vars from worker" && line.text("app") == app
    };
    let line = server.wait_for_log(is_it);
    assert_eq!(line.level(), "warn");
    assert_eq!(server.log().iter().filter(|line| is_it(line)).count(), 1);
    let names = line.value()["blocked"].as_array().unwrap();
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn e1_a_worker_has_exactly_the_documented_variables() {
    for ttl in ["0", "1h"] {
        let server = server()
            .env("AWS_CANARY", "canary-of-the-server")
            .env("CANARY", "canary-of-the-server")
            .sample("plain@1.0.0", &format!("ttl: {ttl}\n"))
            .start();
        let response = server.get("/plain/env");
        assert_eq!(names(&response), set(&DOCUMENTED));
        let env = response.json();
        let dir = server.dir().canonicalize().unwrap();
        let path = |below: &str| dir.join(below).to_str().unwrap().to_owned();
        assert_eq!(env["APP_DIR"], path("apps/plain@1.0.0").as_str());
        assert_eq!(
            env["ENTRYPOINT"],
            path("apps/plain@1.0.0/index.ts").as_str()
        );
        assert_eq!(env["RUNTIME_WORKER_DIRS"], path("apps").as_str());
        assert!(
            env["RUNTIME_API_URL"]
                .as_str()
                .unwrap()
                .starts_with("http://127.0.0.1:")
        );
        let config: serde_json::Value =
            serde_json::from_str(env["WORKER_CONFIG"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&config["name"], &config["version"]),
            (&"plain".into(), &"1.0.0".into())
        );
        assert!(config.get("env").is_none(), "{config}");
        let id = env["WORKER_ID"].as_str().unwrap();
        assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");

        // What the process itself was started with is no more.
        let environ = server.get("/plain/read?file=/proc/self/environ");
        assert!(!environ.text().contains("canary"), "{environ:?}");
    }
}

#[test]
fn e1_an_app_sees_its_own_variables_and_no_others() {
    let server = server()
        .sample(
            "set@1.0.0",
            &with_env(&["GREETING", "PUBLIC_NAME"], "canary-of-the-app"),
        )
        .sample("other@1.0.0", KEPT)
        .start();
    let response = server.get("/set/env");
    assert_eq!(response.json()["GREETING"], "canary-of-the-app");
    let mut wanted = set(&DOCUMENTED);
    wanted.extend(set(&["GREETING", "PUBLIC_NAME"]));
    assert_eq!(names(&response), wanted);
    let config = response.json()["WORKER_CONFIG"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        !config.contains("canary"),
        "WORKER_CONFIG holds no variables: {config}"
    );
    assert!(!server.get("/other/env").text().contains("canary"));
    assert!(!server.output().contains("canary"));
}

#[test]
fn e2_sensitive_variables_are_kept_back_with_one_warning() {
    let server = server()
        .sample("nosy@1.0.0", &with_env(&SENSITIVE, "canary-of-the-app"))
        .start();
    for _ in 0..3 {
        assert_eq!(names(&server.get("/nosy/env")), set(&DOCUMENTED));
    }
    assert_eq!(blocked(&server, "nosy@1.0.0"), set(&SENSITIVE));
    assert!(!server.output().contains("canary"), "a value is in the log");
}

#[test]
fn e3_names_that_only_look_sensitive_pass() {
    const HARMLESS: [&str; 5] = ["API_URL", "DBX", "MY_TOKENS", "PASSWORD_HINT", "TOKEN"];
    let server = server()
        .sample("plain@1.0.0", &with_env(&HARMLESS, "x"))
        .start();
    let mut wanted = set(&DOCUMENTED);
    wanted.extend(set(&HARMLESS));
    assert_eq!(names(&server.get("/plain/env")), wanted);
    assert_eq!(
        server.count_messages("Blocked sensitive env vars from worker"),
        0
    );
}

#[test]
fn e4_sensitive_names_are_known_in_any_case() {
    const MIXED: [&str; 2] = ["Github_Token", "database_url"];
    let server = server()
        .sample("mixed@1.0.0", &with_env(&MIXED, "x"))
        .start();
    assert_eq!(names(&server.get("/mixed/env")), set(&DOCUMENTED));
    assert_eq!(blocked(&server, "mixed@1.0.0"), set(&MIXED));
}

#[test]
fn e5_what_the_server_sets_cannot_be_overridden() {
    const STEERING: [&str; 6] = [
        "BUN_OPTIONS",
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "PATH",
        "RUNTIME_API_URL",
        "WORKER_ID",
    ];
    let server = server()
        .sample("steering@1.0.0", &with_env(&STEERING, "/evil"))
        .start();
    let response = server.get("/steering/env");
    assert_eq!(names(&response), set(&DOCUMENTED));
    assert!(!response.text().contains("/evil"), "{response:?}");
    assert_eq!(blocked(&server, "steering@1.0.0"), set(&STEERING));
}

#[test]
fn e8_a_dotenv_file_overrides_and_is_filtered_too() {
    let manifest = with_env(&["GREETING"], "from-the-manifest");
    let server = server()
        .app(
            "dotted@1.0.0",
            &manifest,
            &[
                ("index.ts", buntime_testkit::sample::SAMPLE),
                (
                    ".env",
                    "GREETING=from-the-file\nGITHUB_TOKEN=canary-of-the-app\n",
                ),
                // Bun would load these by itself.
                (".env.local", "CANARY=canary-of-the-app\n"),
                (".env.development", "CANARY=canary-of-the-app\n"),
            ],
        )
        .start();
    let response = server.get("/dotted/env");
    assert_eq!(response.json()["GREETING"], "from-the-file");
    let mut wanted = set(&DOCUMENTED);
    wanted.insert("GREETING".to_owned());
    assert_eq!(names(&response), wanted);
    assert_eq!(blocked(&server, "dotted@1.0.0"), set(&["GITHUB_TOKEN"]));
    assert!(!server.output().contains("canary"), "a value is in the log");
}

#[test]
fn a_worker_inherits_no_descriptor_of_the_server() {
    let server = server().sample("curious@1.0.0", KEPT).start();
    // The server has files, sockets and pipes of its own by now.
    let probe = server.probe();
    let fds = server.get("/curious/fds").json();
    let fds = fds.as_object().unwrap();
    assert_eq!(fds["0"], "/dev/null");
    for output in ["1", "2"] {
        assert!(
            fds[output].as_str().unwrap().starts_with("pipe:"),
            "{fds:?}"
        );
    }
    let (mut sockets, mut strange) = (0, Vec::new());
    for (fd, what) in fds {
        let what = what.as_str().unwrap();
        match fd.as_str() {
            "0" | "1" | "2" => {}
            // The control channel, the listener, connections with the server.
            _ if what.starts_with("socket:") => sockets += 1,
            // Bun's own.
            _ if what.starts_with("anon_inode:") => {}
            _ => strange.push((fd, what)),
        }
    }
    assert!((3..=6).contains(&sockets), "{fds:?}");
    assert!(strange.is_empty(), "{strange:?}");
    // A descriptor of the server's would be the same object there.
    let own: BTreeSet<String> = std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .map(|link| link.to_str().unwrap().to_owned())
        .collect();
    let shared: Vec<_> = fds
        .values()
        .filter_map(|what| what.as_str())
        .filter(|what| what.starts_with("socket:") && own.contains(*what))
        .collect();
    assert!(shared.is_empty(), "{shared:?}");
    probe.finish();
}
