//! Installs that take too much, and what apps do to them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::Manifest;
use buntime_pool::{App, ExchangeError, InstallLimits, PoolConfig};
use buntime_testkit::NpmRegistry;
use buntime_testkit::npm::locked;

use crate::support::{Event, Failed, Rig, soon};

const SOURCE: &str = "import text from \"plain\";\n\
     export default { fetch: () => new Response(text) };\n";

fn rig(registry: &NpmRegistry, change: impl FnOnce(&mut InstallLimits)) -> Rig {
    let npmrc = format!("registry={}\n", registry.url());
    Rig::with(buntime_testkit::real_bun(), |config: &mut PoolConfig| {
        config.install.npmrc = npmrc;
        change(&mut config.install.limits);
    })
}

fn app(rig: &Rig, name: &str, packages: &[(&str, &str, &str)]) -> Arc<App> {
    let mut manifest = Manifest::default();
    manifest.auto_install = true;
    manifest.ttl = Duration::from_secs(3600);
    manifest.timeout = Duration::from_secs(20);
    let spec = rig.spec(name, SOURCE, manifest);
    let (package, lock) = locked(packages);
    fs::write(spec.dir.join("package.json"), package).unwrap();
    fs::write(spec.dir.join("bun.lock"), lock).unwrap();
    rig.pool.app(spec)
}

async fn refused(rig: &Rig, app: &Arc<App>) -> String {
    match rig.get(app, "/").await {
        Err(Failed::Exchange(ExchangeError::StartFailed(failure))) => failure.message,
        other => panic!("{other:?}"),
    }
}

fn registry(text: &str) -> NpmRegistry {
    let registry = NpmRegistry::start();
    let module = format!("module.exports = \"{text}\";");
    registry.publish("plain", "1.0.0", "", &[("index.js", &module)]);
    registry
}

/// What an install leaves when it fails: nothing.
fn assert_clean(rig: &Rig, app: &App) {
    let names = |path| -> Vec<_> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(rig.file("install/work")), [""; 0]);
    assert_eq!(names(app.spec().dir.clone()).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn t39_packages_over_the_limit_are_not_installed() {
    let registry = registry("small");
    let large = "x".repeat(3 << 20);
    registry.publish("large", "1.0.0", "", &[("data", &large)]);
    let rig = rig(&registry, |limits| limits.packages = 1 << 20);
    let large = app(
        &rig,
        "large",
        &[("plain", "1.0.0", ""), ("large", "1.0.0", "")],
    );
    let why = refused(&rig, &large).await;
    // The kernel may stop a file before we see the sum.
    assert!(
        why.contains("1 MB") || why.contains("signal") || why.contains("code"),
        "{why}"
    );
    assert_clean(&rig, &large);
    let small = app(&rig, "small", &[("plain", "1.0.0", "")]);
    assert_eq!(rig.text(&small, "/").await, "small");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t39_many_files_over_the_limit_are_not_installed() {
    let registry = registry("small");
    let piece = "x".repeat(100 << 10);
    let names: Vec<String> = (0..30).map(|number| format!("f{number}")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), piece.as_str()))
        .collect();
    registry.publish("many", "1.0.0", "", &files);
    let rig = rig(&registry, |limits| limits.packages = 1 << 20);
    let many = app(
        &rig,
        "many",
        &[("plain", "1.0.0", ""), ("many", "1.0.0", "")],
    );
    let why = refused(&rig, &many).await;
    assert_eq!(why, "node_modules takes more than 1 MB");
    assert_clean(&rig, &many);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t39_an_install_over_its_time_is_ended() {
    let registry = registry("late");
    registry.hold("plain", "1.0.0");
    let rig = rig(&registry, |limits| limits.time = Duration::from_secs(1));
    let late = app(&rig, "late", &[("plain", "1.0.0", "")]);
    assert_eq!(refused(&rig, &late).await, "it took more than 1 seconds");
    assert_clean(&rig, &late);
    registry.release();
    assert_eq!(rig.text(&late, "/").await, "late");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_is_ended_before_the_server_when_memory_is_out() {
    let registry = registry("kept");
    registry.hold("plain", "1.0.0");
    let rig = rig(&registry, |_| {});
    let kept = app(&rig, "kept", &[("plain", "1.0.0", "")]);
    let own = readiness_to_go(std::process::id()).unwrap();
    let look = async {
        tokio::task::block_in_place(|| registry.wait_for_requests(1));
        soon("all processes go first", async {
            let ours = || buntime_testkit::process::with_environment_of(rig.dir.path().as_os_str());
            let goes_first = |pid| readiness_to_go(pid).is_none_or(|its| its > own);
            while ours().is_empty() || !ours().iter().all(|process| goes_first(process.pid)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        registry.release();
    };
    let (answer, ()) = tokio::join!(rig.text(&kept, "/"), look);
    assert_eq!(answer, "kept");
    rig.finish().await;
}

/// How soon the kernel ends a process for want of memory.
fn readiness_to_go(pid: u32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
    Some(text.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_ends_with_its_app() {
    let registry = registry("gone");
    registry.hold("plain", "1.0.0");
    let rig = rig(&registry, |_| {});
    let gone = app(&rig, "gone", &[("plain", "1.0.0", "")]);
    let retire = async {
        let registry = &registry;
        tokio::task::block_in_place(|| registry.wait_for_requests(1));
        gone.retire(buntime_pool::Retirement::Replaced);
    };
    let (answer, ()) = tokio::join!(rig.get(&gone, "/"), retire);
    assert!(
        matches!(answer, Err(Failed::Exchange(ExchangeError::Retired))),
        "{answer:?}"
    );
    let next = app(&rig, "gone", &[("plain", "1.0.0", "")]);
    registry.release();
    assert_eq!(rig.text(&next, "/").await, "gone");
    let told: Vec<Event> = rig
        .events
        .all()
        .into_iter()
        .filter(|event| matches!(event, Event::Installed(_) | Event::InstallFailed(..)))
        .collect();
    assert_eq!(told, [Event::Installed("gone@1.0.0".to_owned())]);
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_app_installed_is_not_another_apps() {
    let registry = registry("honest");
    registry.publish(
        "other",
        "1.0.0",
        "",
        &[("index.js", "module.exports = \"evil\";")],
    );
    let rig = rig(&registry, |_| {});
    // Says that another tarball of the same registry is `plain`.
    let address = format!("{}other/-/other-1.0.0.tgz", registry.url());
    let evil = app(&rig, "evil", &[("plain", "1.0.0", &address)]);
    let honest = app(&rig, "honest", &[("plain", "1.0.0", "")]);
    let _ = rig.get(&evil, "/").await;
    assert_eq!(rig.text(&honest, "/").await, "honest");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_changes_its_packages_changes_no_other() {
    let registry = registry("as published");
    let rig = rig(&registry, |_| {});
    let first = app(&rig, "first", &[("plain", "1.0.0", "")]);
    assert_eq!(rig.text(&first, "/").await, "as published");
    let file = first.spec().dir.join("node_modules/plain/index.js");
    fs::write(&file, "module.exports = \"changed\";").unwrap();
    first.retire(buntime_pool::Retirement::Replaced);
    fs::remove_dir_all(first.spec().dir.join("node_modules")).unwrap();
    let again = app(&rig, "first", &[("plain", "1.0.0", "")]);
    assert_eq!(rig.text(&again, "/").await, "as published");
    assert_eq!(registry.requests().len(), 1, "it came from the cache");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_install_into_one_folder_one_after_the_other() {
    let registry = registry("shared");
    registry.hold("plain", "1.0.0");
    let (one, two) = (rig(&registry, |_| {}), rig(&registry, |_| {}));
    let first = app(&one, "app", &[("plain", "1.0.0", "")]);
    let second = two.pool.app(first.spec().as_ref().clone());
    let release = async {
        let registry = &registry;
        tokio::task::block_in_place(|| registry.wait_for_requests(1));
        // The other one has not asked: it waits for the folder.
        assert_eq!(registry.requests().len(), 1);
        registry.release();
    };
    let (a, b, ()) = tokio::join!(one.text(&first, "/"), two.text(&second, "/"), release);
    assert_eq!((a.as_str(), b.as_str()), ("shared", "shared"));
    let left = fs::read_dir(&first.spec().dir).unwrap();
    assert_eq!(left.count(), 4);
    one.finish().await;
    two.finish().await;
}
