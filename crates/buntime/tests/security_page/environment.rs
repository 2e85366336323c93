//! "When manifest.yaml declares env:, sensitive variables are automatically
//! blocked" and "the wrapper passes a controlled set".

use std::collections::BTreeSet;

use buntime_testkit::{TestServer, is_uuid};
use serde_json::Value;

use crate::support::{KEPT, server, with_app};

/// Answers with its environment.
const DUMP: &str = "export default { fetch: () => Response.json(process.env) };\n";
const WARNING: &str = "Blocked sensitive env vars from worker";
const CANARY: &str = "canary-value";

/// A server with an app that declares these variables.
fn declaring(names: &[&str]) -> TestServer {
    let lines: String = names
        .iter()
        .map(|name| format!("  {name}: {CANARY}\n"))
        .collect();
    with_app(&format!("env:\n{lines}"), DUMP).start()
}

fn environment(server: &TestServer) -> Value {
    let response = server.get("/app/");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// None of `blocked` reaches the worker in any letter case, `passed` do, and the one
/// warning names the blocked ones and no value.
#[track_caller]
fn filtered(blocked: &[&str], passed: &[&str]) {
    let lower: Vec<String> = blocked
        .iter()
        .map(|name| format!("{}_x", name.to_lowercase()))
        .collect();
    // In another letter case, where that still matches: with a suffix only for prefixes.
    let lower: Vec<&str> = if passed.is_empty() {
        lower.iter().map(String::as_str).collect()
    } else {
        Vec::new()
    };
    let all = [blocked, passed, &lower].concat();
    let server = declaring(&all);
    let env = environment(&server);
    for name in [blocked, &lower].concat() {
        assert!(env.get(name).is_none(), "{name} reached the worker");
    }
    for name in passed {
        assert_eq!(env[name], CANARY, "{name} did not reach the worker");
    }
    let named = warned(&server);
    let wanted: BTreeSet<String> = [blocked, &lower]
        .concat()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(named, wanted);
}

/// The names of the only warning.
#[track_caller]
fn warned(server: &TestServer) -> BTreeSet<String> {
    let line = server.wait_for_message(WARNING);
    assert_eq!(line.level(), "warn");
    assert_eq!(server.count_messages(WARNING), 1);
    assert!(!server.output().contains(CANARY), "a value is in the log");
    let names = line.value()["blocked"].as_array().unwrap();
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pattern_database_and_db() {
    filtered(
        &["DATABASE_URL", "DB_HOST", "database_url"],
        &["DBX", "MY_DB_HOST"],
    );
}

#[test]
fn pattern_api_auth_secret_and_private_keys() {
    filtered(
        &[
            "API_KEY",
            "APIKEY",
            "AUTH_KEY",
            "SECRET_KEY",
            "PRIVATE_KEY",
            "PRIVATEKEY",
            "Api_Key",
            "API_KEY_2",
        ],
        &["API_URL", "MY_API_URL", "PUBLIC_KEY"],
    );
}

#[test]
fn pattern_token() {
    filtered(
        &["ACCESS_TOKEN", "GITHUB_TOKEN", "access_token"],
        &["TOKEN", "MY_TOKENS"],
    );
}

#[test]
fn pattern_secret() {
    filtered(
        &["JWT_SECRET", "CLIENT_SECRET", "Jwt_Secret"],
        &["SECRET", "MY_SECRETS"],
    );
}

#[test]
fn pattern_password() {
    filtered(
        &["DB_PASSWORD", "ADMIN_PASSWORD", "admin_password"],
        &["PASSWORD", "PASSWORD_HINT"],
    );
}

#[test]
fn pattern_aws() {
    filtered(&["AWS_ACCESS_KEY_ID", "AWS_REGION"], &[]);
}

#[test]
fn pattern_github() {
    filtered(&["GITHUB_TOKEN", "GITHUB_ACTOR"], &[]);
}

#[test]
fn pattern_openai() {
    filtered(&["OPENAI_API_KEY", "OPENAI_ORG"], &[]);
}

#[test]
fn pattern_anthropic() {
    filtered(&["ANTHROPIC_API_KEY", "ANTHROPIC_MODEL"], &[]);
}

#[test]
fn pattern_stripe() {
    filtered(&["STRIPE_SECRET_KEY", "STRIPE_PRICE"], &[]);
}

#[test]
fn a_warning_names_the_blocked_and_no_value() {
    let server = declaring(&["DATABASE_PASSWORD", "API_KEY"]);
    for _ in 0..3 {
        environment(&server);
    }
    let wanted = ["API_KEY", "DATABASE_PASSWORD"].map(str::to_owned);
    assert_eq!(warned(&server), BTreeSet::from(wanted));
}

#[test]
fn a_dotenv_file_is_under_the_same_filter() {
    let files = [
        ("index.ts", DUMP),
        (".env", "JWT_SECRET=canary-value\nGREETING=hello\n"),
    ];
    let server = server().app("app@1.0.0", KEPT, &files).start();
    let env = environment(&server);
    assert_eq!(env["GREETING"], "hello");
    assert!(env.get("JWT_SECRET").is_none());
    assert_eq!(warned(&server), BTreeSet::from(["JWT_SECRET".to_owned()]));
}

#[test]
fn nothing_of_the_servers_own_environment_is_inherited() {
    let server = with_app("", DUMP)
        .env("SOME_VARIABLE", CANARY)
        .env("AWS_PROFILE", CANARY)
        .env(
            "RUNTIME_ROOT_KEY",
            "canary-value-that-is-long-enough-for-a-key",
        )
        .start();
    let env = environment(&server);
    assert!(!env.to_string().contains(CANARY), "{env}");
    let known = [
        "APP_DIR",
        "DATA_DIR",
        "ENTRYPOINT",
        "HOME",
        "HTTP_PROXY",
        "HTTPS_PROXY",
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
    for name in env.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name} is not documented");
    }
}

/// Where the app lies, without links.
fn app_dir(server: &TestServer) -> String {
    let dir = server.dir().canonicalize().unwrap().join("apps/app@1.0.0");
    dir.to_str().unwrap().to_owned()
}

#[test]
fn passed_is_app_dir_absolute() {
    let server = with_app("", DUMP).start();
    assert_eq!(environment(&server)["APP_DIR"], app_dir(&server).as_str());
}

#[test]
fn passed_is_entrypoint_the_full_path() {
    let server = with_app("", DUMP).start();
    let wanted = format!("{}/index.ts", app_dir(&server));
    assert_eq!(environment(&server)["ENTRYPOINT"], wanted.as_str());
}

#[test]
fn passed_is_node_env_as_the_server_has_it() {
    for mode in ["production", "staging", "test", "development"] {
        let server = with_app("", DUMP).env("NODE_ENV", mode).start();
        assert_eq!(environment(&server)["NODE_ENV"], mode);
    }
}

#[test]
fn passed_is_runtime_api_url() {
    const ASKS: &str = "export default { async fetch() {\n\
        const response = await fetch(new URL('/api/health', process.env.RUNTIME_API_URL));\n\
        return new Response(`${response.status} ${(await response.json()).status}`);\n\
    } };\n";
    let server = with_app("", ASKS).start();
    assert_eq!(server.get("/app/").text(), "200 healthy");
}

#[test]
fn passed_is_runtime_log_level_as_the_server_has_it() {
    for level in ["debug", "info"] {
        let server = with_app("", DUMP).env("RUNTIME_LOG_LEVEL", level).start();
        assert_eq!(environment(&server)["RUNTIME_LOG_LEVEL"], level);
    }
}

#[test]
fn passed_is_runtime_plugin_dirs_as_the_server_has_it() {
    let builder = with_app("", DUMP);
    let plugins = builder.dir().canonicalize().unwrap().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let plugins = plugins.to_str().unwrap().to_owned();
    let server = builder.env("RUNTIME_PLUGIN_DIRS", &plugins).start();
    assert_eq!(
        environment(&server)["RUNTIME_PLUGIN_DIRS"],
        plugins.as_str()
    );
}

#[test]
fn passed_is_runtime_worker_dirs_as_the_server_has_it() {
    let server = with_app("", DUMP).start();
    let apps = server.dir().canonicalize().unwrap().join("apps");
    let wanted = apps.to_str().unwrap();
    assert_eq!(environment(&server)["RUNTIME_WORKER_DIRS"], wanted);
}

#[test]
fn passed_is_worker_config_as_json_without_variables() {
    let server = with_app("timeout: 7s\nenv:\n  GREETING: canary-value\n", DUMP).start();
    let env = environment(&server);
    let config: Value = serde_json::from_str(env["WORKER_CONFIG"].as_str().unwrap()).unwrap();
    assert!(config.is_object(), "{config}");
    assert!(config.get("env").is_none(), "{config}");
    assert!(!config.to_string().contains(CANARY), "{config}");
}

#[test]
fn passed_is_worker_id_a_uuid_of_each_worker() {
    let server = server()
        .module("app@1.0.0", KEPT, DUMP)
        .module("other@1.0.0", KEPT, DUMP)
        .start();
    let one = environment(&server)["WORKER_ID"].clone();
    let two = server.get("/other/").json()["WORKER_ID"].clone();
    assert!(is_uuid(one.as_str().unwrap()), "{one}");
    assert!(is_uuid(two.as_str().unwrap()), "{two}");
    assert_ne!(one, two);
}

#[test]
fn passed_are_the_custom_ones_of_the_manifest_after_the_filter() {
    let server = with_app(
        "env:\n  GREETING: hello\n  PUBLIC_NAME: shop\n  RUNTIME_API_URL: http://evil.example\n  \
         LD_PRELOAD: /evil.so\n  NODE_OPTIONS: --inspect\n  BUN_OPTIONS: --smol\n",
        DUMP,
    )
    .start();
    let env = environment(&server);
    assert_eq!(env["GREETING"], "hello");
    assert_eq!(env["PUBLIC_NAME"], "shop");
    for name in ["LD_PRELOAD", "NODE_OPTIONS", "BUN_OPTIONS"] {
        assert!(env.get(name).is_none(), "{name} reached the worker");
    }
    assert!(!env.to_string().contains("evil"), "{env}");
}
