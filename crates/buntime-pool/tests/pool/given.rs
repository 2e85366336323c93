//! Workers that are started for their app because no blank is ready.

use std::collections::BTreeMap;
use std::time::Duration;

use buntime_core::Manifest;
use buntime_http::Method;
use buntime_pool::{ExchangeError, ExitReason, StartFailure};
use tokio::sync::watch;

use crate::support::{Failed, Rig, TestBody, is_running};

const TELLS: &str = r#"
import { readdirSync } from "node:fs";
export default () => Response.json({
  env: JSON.stringify(process.env), cwd: process.cwd(), main: process.argv[1],
  home: JSON.stringify(readdirSync(process.env.HOME)),
});
"#;

fn ephemeral(manifest: &mut Manifest) {
    manifest.ttl = Duration::ZERO;
}

/// A pool that starts no blanks ahead.
fn without_blanks(bun: std::path::PathBuf) -> Rig {
    Rig::with(bun, |config| config.blanks = 0)
}

type Told = BTreeMap<String, String>;

async fn told(rig: &Rig) -> (Told, Told) {
    let app = rig.app("tells", TELLS, ephemeral);
    let mut told: Told = serde_json::from_str(&rig.text(&app, "/").await).unwrap();
    let env = told.remove("env").unwrap();
    let mut env: Told = serde_json::from_str(&env).unwrap();
    for private in ["HOME", "TMPDIR", "WORKER_ID"] {
        assert!(env.remove(private).is_some(), "{private}");
    }
    for own in [
        "RUNTIME_API_URL",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ] {
        assert!(env.remove(own).is_some(), "{own}");
    }
    let root = rig.dir.path().to_str().unwrap();
    for value in env.values_mut().chain(told.values_mut()) {
        *value = value.replace(root, "");
    }
    (env, told)
}

#[tokio::test]
async fn an_app_sees_no_difference_to_a_blank() {
    let with = Rig::real();
    crate::support::soon("a blank", async {
        while with.pool.status().blanks == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let without = without_blanks(buntime_testkit::real_bun());
    let (blank, given) = (told(&with).await, told(&without).await);
    assert_eq!(blank, given);
    assert!(given.0.keys().all(|name| !name.starts_with("BUN")));
    with.finish().await;
    without.finish().await;
}

#[tokio::test]
async fn what_goes_wrong_while_it_loads_is_told() {
    let rig = without_blanks(buntime_testkit::fake_bun());
    for (source, wanted) in [
        ("fail no such module", "no such module"),
        ("exit 5", "the process ended with code 5"),
    ] {
        let app = rig.app(&source[..4], source, ephemeral);
        let failed = rig.get(&app, "/").await.unwrap_err();
        let Failed::Exchange(ExchangeError::StartFailed(StartFailure { message })) = failed else {
            panic!("{source}: {failed:?}");
        };
        assert!(message.contains(wanted), "{source}: {message}");
    }
    let app = rig.app("hang", "hang", |manifest| {
        ephemeral(manifest);
        manifest.timeout = Duration::from_millis(300);
    });
    let failed = rig.get(&app, "/").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::Timeout)),
        "{failed:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_ready_worker_without_a_socket_has_failed() {
    let rig = Rig::with(buntime_testkit::fake_bun(), |config| {
        config.blanks = 0;
        config
            .base_env
            .push(("FAKE_BUN".to_owned(), "no-socket".to_owned()));
    });
    let app = rig.app("app", "", ephemeral);
    let failed = rig.get(&app, "/").await.unwrap_err();
    assert!(
        matches!(failed, Failed::Exchange(ExchangeError::StartFailed(_))),
        "{failed:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_start() {
    let rig = without_blanks(buntime_testkit::fake_bun());
    let started = rig.file("started");
    let source = format!("count {}\nhang", started.display());
    let app = rig.app("hang", &source, ephemeral);
    let (gone, _) = watch::channel(false);
    let served = rig.begin(&app, Method::Get, "/", TestBody::none().leaving(&gone));
    let leave = async {
        crate::support::soon("a start", async {
            while !started.exists() || app.status().instances.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let pid = app.status().instances[0].pid;
        gone.send_replace(true);
        assert_eq!(rig.events.exit_of(pid).await, ExitReason::EphemeralDone);
        assert!(!is_running(pid));
    };
    let (served, ()) = tokio::join!(served, leave);
    assert!(
        matches!(served, Err(Failed::Exchange(ExchangeError::ClientGone))),
        "{served:?}"
    );
    rig.finish().await;
}

#[tokio::test]
async fn an_environment_that_no_variable_can_hold_goes_to_a_blank() {
    let rig = without_blanks(buntime_testkit::fake_bun());
    let mut manifest = Manifest::default();
    ephemeral(&mut manifest);
    let mut spec = rig.spec("large", "", manifest);
    spec.env.insert("LARGE".to_owned(), "x".repeat(200 * 1024));
    let app = rig.pool.app(spec);
    assert!(rig.text(&app, "/env").await.len() > 200 * 1024);
    rig.finish().await;
}

#[tokio::test]
async fn low_memory_is_heeded() {
    let rig = without_blanks(buntime_testkit::fake_bun());
    let app = rig.app("small", "", |manifest| {
        ephemeral(manifest);
        manifest.low_memory = true;
    });
    assert!(rig.text(&app, "/args").await.starts_with("--smol\n"));
    rig.finish().await;
}
