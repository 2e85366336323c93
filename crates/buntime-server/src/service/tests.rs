//! A second opinion on every path (threat T17): 100,000 of them, put together at
//! random from what attacks are made of, go through the real service and through
//! [`Model`], which is written after the contract and shares no code with it.

mod model;
mod paths;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::task::{Context, Poll};

use buntime_fs::Root;
use buntime_fs::static_files::{FileCache, SourceMaps, StaticSite};
use buntime_http::{BodyError, BodySource, Frame, HeaderId, HeaderList};
use tempfile::TempDir;

use self::model::{Expected, Model, UNITS};
use super::*;
use crate::access::Access;
use crate::audit::{self, Audit};
use crate::catalog::{CatalogEvents, Entry, Problem, Unit};
use crate::config::{AdminOrigin, ApiConfig};
use crate::message::Protocol;
use crate::metrics::Metrics;
use crate::plugins::{self, InstalledPlugins, Plugins};
use crate::store::Store;
use crate::unit_states::UnitStates;
use crate::worker_logs::WorkerLogs;

/// Of all settings together.
const PATHS: usize = 100_000;
const SEED: u64 = 0x5EED_0017;

/// Makes a site of each unit.
struct Sites(Arc<FileCache>);

impl CatalogEvents<Served> for Sites {
    fn deploy(&self, unit: &Unit) -> Served {
        let Entry::Static(page) = &unit.ready().unwrap().entry else {
            panic!("{} is no site", unit.id);
        };
        let root = Root::open(&unit.dir).unwrap();
        let site = StaticSite::of_app(root, page, SourceMaps::Hidden, Arc::clone(&self.0));
        Served {
            answers: Answers::Site(site.unwrap()),
            counters: Metrics::default().of(None),
        }
    }

    fn retire(&self, _: &Arc<Deployment<Served>>, _: Option<&Arc<Deployment<Served>>>) {}

    fn problem(&self, problem: &Problem) {
        panic!("{problem}");
    }
}

/// A request without a body.
struct NoBody;

impl BodySource for NoBody {
    fn content_length(&self) -> Option<u64> {
        Some(0)
    }

    fn is_end(&self) -> bool {
        true
    }

    fn set_limit(&mut self, _: u64) {}

    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(None)
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Installs [`UNITS`]: each has a page that is its id, a file, and a folder with a
/// page; both begin with its id too.
fn install(root: &Path) {
    for (folder, id) in UNITS {
        let dir = root.join(folder);
        fs::create_dir_all(dir.join("sub")).unwrap();
        for (file, text) in [
            ("manifest.yaml", "entrypoint: index.html\n"),
            ("index.html", id),
            ("a.txt", &format!("{id} a.txt")),
            ("sub/index.html", &format!("{id} sub/index.html")),
            (".env", "SECRET=canary\n"),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
    }
}

fn service(apps: &Path, model: &Model) -> Service {
    let sites = Sites(Arc::new(FileCache::new(8 << 20)));
    let readiness = Readiness::default();
    readiness.ready();
    let prefix = match model.prefix {
        "" => ApiPrefix::default(),
        prefix => prefix.parse().unwrap(),
    };
    let gate = Gate::new(&ApiConfig {
        prefix: prefix.clone(),
        allowed_hosts: None,
        admin: AdminOrigin::default(),
        session_ttl: std::time::Duration::from_secs(60),
    });
    let catalog = Catalog::open([&apps.to_path_buf()], sites);
    let log = Logger::capture().0;
    let audit = Audit::open(apps, audit::Limits::default(), log.clone()).unwrap();
    let api = Arc::new(Management {
        audit,
        description: crate::api::Description::new("/api"),
        metrics: Metrics::default(),
        access: Access::for_tests("the root key of these tests"),
        catalog: catalog.clone(),
        deployments: crate::deploy::Deployments::for_tests(catalog.clone(), log.clone()),
        plugins: Arc::new(InstalledPlugins::new(
            Plugins::default(),
            plugins::Overrides::new(),
            Vec::new(),
            prefix.clone(),
            Arc::default(),
        )),
        units: UnitStates::new(Store::in_memory(), catalog.clone(), log.clone()),
        store: Store::in_memory(),
        worker_logs: WorkerLogs::default(),
        files: crate::files::FileBrowsers::new(&[], &[], &crate::config::ApiPrefix::default()),
        readiness: readiness.clone(),
        sandbox: Arc::new(crate::sandbox::Strength {
            layers: crate::sandbox::Layers::NONE,
            missing: Vec::new(),
        }),
        log: log.clone(),
    });
    Service {
        gate,
        api,
        catalog,
        readiness,
        proxies: TrustedProxies::loopback(),
        bodies: BodyLimits {
            default: buntime_core::ByteSize::from_bytes(1 << 20),
            max: buntime_core::ByteSize::from_bytes(1 << 20),
        },
        api_prefix: prefix,
        homepage: model.homepage.map(|name| Homepage {
            name: name.parse().unwrap(),
            range: None,
        }),
        log,
    }
}

/// What the service answers to a browser that navigates to a target.
async fn respond(service: &Service, method: Method, target: Target) -> Response {
    let mut headers = HeaderList::new();
    headers.push(b"host", b"test.example").unwrap();
    // So that a path without a file is the site's page, which tells whose it is.
    headers.push(b"accept", b"text/html").unwrap();
    let request = Request {
        id: RequestId::fresh(),
        method,
        target,
        protocol: Protocol::Http11,
        headers,
        websocket: false,
        peer: service.peer(Ipv4Addr::LOCALHOST.into(), Listener::Public),
        body: Box::new(NoBody),
    };
    let workers = ShardConnections::for_one_of(1);
    service.handle(&workers, request).await.unwrap()
}

/// The body, which is text.
async fn text(response: &mut Response) -> String {
    let mut text = Vec::new();
    while let Some(frame) = response.body.frame().await {
        if let Frame::Data(data) = frame.unwrap() {
            text.extend_from_slice(&data);
        }
    }
    String::from_utf8(text).unwrap()
}

/// What the service does with a target.
async fn answer(service: &Service, method: Method, target: &[u8]) -> Expected {
    let Ok(target) = Target::parse(target) else {
        return Expected::Failure(400, "BAD_PATH".to_owned());
    };
    let mut response = respond(service, method, target).await;
    let location = response.headers.get(HeaderId::Location);
    if let Some(location) = location.map(|value| String::from_utf8(value.to_vec()).unwrap()) {
        return Expected::Redirect(response.status, location);
    }
    let text = text(&mut response).await;
    match response.status {
        200 if method == Method::Head => Expected::Head,
        200 => Expected::Text(text),
        204 => Expected::Empty,
        status => {
            // An error is a page here, as the request looks like a navigation; its
            // code stands in it.
            assert!((400..500).contains(&status), "{status}: {text}");
            Expected::Failure(status, code_of(&text))
        }
    }
}

/// The error code in a body, JSON or page: its only word in upper case.
fn code_of(text: &str) -> String {
    let is_code =
        |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .into_iter()
        .find(is_code)
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_hundred_thousand_paths_go_where_the_model_says() {
    let temp = TempDir::new().unwrap();
    install(temp.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let models = [
        Model::new("", None),
        Model::new("", Some("home")),
        Model::new("/_", None),
        Model::new("/admin/deep", Some("home")),
    ];
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut differing = Vec::new();
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for model in &models {
        let service = service(temp.path(), model);
        for _ in 0..PATHS / models.len() {
            let method = match random.u8(..10) {
                0 => Method::Head,
                1 => Method::Options,
                _ => Method::Get,
            };
            let target = paths::target(&mut random);
            let expected = model.answer(method, &target);
            let found = runtime.block_on(answer(&service, method, &target));
            let shown = target.escape_ascii();
            if found != expected {
                differing.push(format!(
                    "{method:?} {shown} with prefix {:?} and homepage {:?}: {found:?}, not {expected:?}",
                    model.prefix, model.homepage
                ));
            }
            *kinds.entry(expected.kind()).or_default() += 1;
        }
    }
    let some: Vec<_> = differing.iter().take(20).collect();
    assert!(some.is_empty(), "{} differ: {some:#?}", differing.len());
    // A generator that never gets anywhere would agree with anything.
    for (kind, least) in [
        ("site", 8_000),
        ("redirect 308", 2_000),
        ("redirect 302", 10),
        ("400 BAD_PATH", 10_000),
        ("401 AUTH_REQUIRED", 1_000),
        ("404 NOT_FOUND", 5_000),
        ("405 METHOD_NOT_ALLOWED", 500),
        ("server", 200),
        ("empty", 20),
    ] {
        let count = kinds.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} of {kinds:?}");
    }
}

/// A server accepts only when all is there, so nobody can be made to see it start: between
/// the two lies no more than a line of the log, told for the admin's listener. A client that
/// is as fast must not be told that the server is ready.
#[tokio::test]
async fn t37_who_asks_before_the_server_is_ready_is_told_that_it_starts() {
    let temp = TempDir::new().unwrap();
    let mut service = service(temp.path(), &Model::new("", None));
    service.readiness = Readiness::default();
    let ask = async |path: &str| {
        let target = Target::parse(path.as_bytes()).unwrap();
        let mut response = respond(&service, Method::Get, target).await;
        let body = text(&mut response).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ok"], response.status == 200);
        let stored = response.headers.get_named(b"cache-control");
        assert_eq!(stored, Some(&b"no-store"[..]));
        (response.status, body["status"].as_str().unwrap().to_owned())
    };
    let is = |status: u16, told: &str| (status, told.to_owned());
    let alive = async || {
        assert_eq!(ask("/health").await, is(200, "healthy"));
        assert_eq!(ask("/health/live").await, is(200, "live"));
    };
    assert_eq!(ask("/health/ready").await, is(503, "starting"));
    alive().await;
    service.readiness.ready();
    assert_eq!(ask("/health/ready").await, is(200, "ready"));
    service.readiness.stopping();
    assert_eq!(ask("/health/ready").await, is(503, "stopping"));
    // A start that ends only now does not take the stop back.
    service.readiness.ready();
    assert_eq!(ask("/health/ready").await, is(503, "stopping"));
    alive().await;
}
