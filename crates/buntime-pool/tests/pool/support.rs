//! A pool on a temporary directory, and what tests ask of it.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_core::{Instances, Manifest};
use buntime_http::{BodyError, BodySource, Frame, HeaderList, Method, RequestId, ResponseHead};
use buntime_pool::{
    App, AppSpec, ExchangeError, ExitReason, LogStream, Pool, PoolConfig, PoolEvents,
    ShardConnections, WorkerBodyError, WorkerRequest, WorkerResponse,
};
use buntime_sandbox::{Launcher, ProcessLimits};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// Longer than anything that is awaited; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Log(LogStream, String),
    Dropped(u64),
    Started(String, u32),
    Exited(Option<String>, u32, ExitReason),
    StartFailed(Option<String>, String),
    CrashLoop(Duration),
    AppError(String, Option<String>, String),
    Misbehaved(String),
    Bundled(String),
    NotBundled(String, bool, String),
    Installed(String),
    InstallFailed(String, String),
}

/// Remembers what happened.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    events: Mutex<Vec<Event>>,
    news: Notify,
}

impl Recorder {
    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.news.notify_waiters();
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// The first event that `found` takes, now or later.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        mut found: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        soon(what, async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if let Some(value) = self.all().iter().find_map(&mut found) {
                    return value;
                }
                news.await;
            }
        })
        .await
    }

    /// Waits until so many events were seen that `is_one` takes.
    pub(crate) async fn wait_for(&self, what: &str, count: usize, is_one: impl Fn(&Event) -> bool) {
        soon(what, async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if self.all().iter().filter(|event| is_one(event)).count() >= count {
                    return;
                }
                news.await;
            }
        })
        .await;
    }

    /// Waits until a worker has printed this.
    pub(crate) async fn line(&self, text: &str) {
        self.wait(text, |event| match event {
            Event::Log(_, line) if line == text => Some(()),
            _ => None,
        })
        .await;
    }

    /// The first worker's process, once it serves.
    pub(crate) async fn started(&self) -> u32 {
        self.wait("a start", |event| match event {
            Event::Started(_, pid) => Some(*pid),
            _ => None,
        })
        .await
    }

    /// Why the process `pid` ended, once it has.
    pub(crate) async fn exit_of(&self, pid: u32) -> ExitReason {
        self.wait(&format!("exit of {pid}"), |event| match event {
            Event::Exited(_, other, reason) if *other == pid => Some(*reason),
            _ => None,
        })
        .await
    }
}

impl PoolEvents for Recorder {
    fn log_line(&self, _: Option<&str>, _: Uuid, stream: LogStream, line: &str) {
        self.note(Event::Log(stream, line.to_owned()));
    }
    fn log_dropped(&self, _: Option<&str>, _: Uuid, lines: u64) {
        self.note(Event::Dropped(lines));
    }
    fn started(&self, app: &AppSpec, _: Uuid, pid: u32, _: Duration) {
        self.note(Event::Started(app.id.clone(), pid));
    }
    fn exited(&self, app: Option<&str>, _: Uuid, pid: u32, reason: ExitReason) {
        self.note(Event::Exited(app.map(str::to_owned), pid, reason));
    }
    fn start_failed(&self, app: Option<&str>, message: &str) {
        self.note(Event::StartFailed(
            app.map(str::to_owned),
            message.to_owned(),
        ));
    }
    fn crash_loop(&self, _: &str, pause: Duration) {
        self.note(Event::CrashLoop(pause));
    }
    fn app_error(&self, _: &str, _: Uuid, source: &str, request: Option<&str>, detail: &str) {
        self.note(Event::AppError(
            source.to_owned(),
            request.map(str::to_owned),
            detail.to_owned(),
        ));
    }
    fn misbehaved(&self, _: Option<&str>, _: Uuid, what: &str) {
        self.note(Event::Misbehaved(what.to_owned()));
    }
    fn installed(&self, app: &str, _: Duration) {
        self.note(Event::Installed(app.to_owned()));
    }

    fn install_failed(&self, app: &str, _: Duration, message: &str) {
        self.note(Event::InstallFailed(app.to_owned(), message.to_owned()));
    }

    fn bundled(&self, app: &str, _: Duration) {
        self.note(Event::Bundled(app.to_owned()));
    }
    fn not_bundled(&self, app: &str, demanded: bool, reason: &str) {
        let (app, reason) = (app.to_owned(), reason.to_owned());
        self.note(Event::NotBundled(app, demanded, reason));
    }
}

/// Answers no worker, and passes on what installs ask for.
struct NoGateways;

impl buntime_pool::Gateways for NoGateways {
    fn serve(&self, _: buntime_pool::Gateway, _: &AppSpec) -> tokio_util::sync::DropGuard {
        tokio_util::sync::CancellationToken::new().drop_guard()
    }

    fn serve_install(
        &self,
        gateway: buntime_pool::Gateway,
        _: &AppSpec,
    ) -> tokio_util::sync::DropGuard {
        let ended = tokio_util::sync::CancellationToken::new();
        let socket = tokio::net::TcpListener::from_std(gateway.socket).unwrap();
        let serve = async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(pass_on(stream));
            }
        };
        tokio::spawn(ended.clone().run_until_cancelled_owned(serve));
        ended.drop_guard()
    }
}

/// Asks whom a request in absolute form is for, and carries bytes on.
async fn pass_on(mut client: tokio::net::TcpStream) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(client.read_u8().await.ok()?));
    }
    let host = head.split('/').nth(2)?;
    let mut server = tokio::net::TcpStream::connect(host).await.ok()?;
    let asked = head.replacen(&format!("http://{host}"), "", 1);
    server.write_all(asked.as_bytes()).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server)
        .await
        .ok()?;
    Some(())
}

/// A pool and what belongs to it.
pub(crate) struct Rig {
    pub(crate) pool: Pool,
    pub(crate) events: Arc<Recorder>,
    pub(crate) connections: ShardConnections,
    pub(crate) dir: TempDir,
}

impl Rig {
    pub(crate) fn real() -> Self {
        Self::with(buntime_testkit::real_bun(), |_| {})
    }

    pub(crate) fn fake() -> Self {
        Self::with(buntime_testkit::fake_bun(), |_| {})
    }

    pub(crate) fn with(bun: PathBuf, change: impl FnOnce(&mut PoolConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let events = Arc::new(Recorder::default());
        let launcher = Launcher::start();
        let mut config = PoolConfig {
            size: 10,
            ephemeral_concurrency: 2,
            ephemeral_queue_limit: 100,
            blanks: 1,
            bun,
            copies_bun: false,
            runtime_dir: dir.path().join("run"),
            data_dir: dir.path().join("data"),
            bundle_dir: dir.path().join("bundles"),
            install: buntime_pool::InstallConfig {
                dir: dir.path().join("install"),
                npmrc: String::new(),
                registry: String::new(),
                ca_file: None,
                limits: buntime_pool::InstallLimits::default(),
            },
            base_env: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("NODE_ENV".to_owned(), "production".to_owned()),
            ],
            launcher: launcher.unwrap(),
            control: tokio::runtime::Handle::current(),
            sandbox: buntime_pool::Confinement::default(),
            limits: ProcessLimits::default(),
            terminate_grace: Duration::from_secs(2),
            crash_loop: buntime_pool::CrashLoop::default(),
            gateways: Arc::new(NoGateways),
            events: events.clone(),
        };
        change(&mut config);
        Self {
            pool: Pool::start(config).unwrap(),
            events,
            connections: ShardConnections::for_one_of(1),
            dir,
        }
    }

    /// An app of this source; `change` adjusts its manifest, which has a ttl of an hour.
    pub(crate) fn app(
        &self,
        name: &str,
        source: &str,
        change: impl FnOnce(&mut Manifest),
    ) -> Arc<App> {
        let mut manifest = Manifest::default();
        manifest.ttl = Duration::from_secs(3600);
        manifest.timeout = Duration::from_secs(20);
        change(&mut manifest);
        self.pool.app(self.spec(name, source, manifest))
    }

    pub(crate) fn spec(&self, name: &str, source: &str, manifest: Manifest) -> AppSpec {
        let dir = self.dir.path().join("apps").join(name);
        fs::create_dir_all(&dir).unwrap();
        let entrypoint = dir.join("index.ts");
        fs::write(&entrypoint, source).unwrap();
        AppSpec {
            id: format!("{name}@1.0.0"),
            name: name.parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            dir,
            entrypoint,
            manifest: Arc::new(manifest),
            granted: Arc::default(),
            env: BTreeMap::new(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A GET whose whole answer is wanted.
    pub(crate) async fn get(&self, app: &Arc<App>, path: &str) -> Result<Answer, Failed> {
        self.send(app, Method::Get, path, TestBody::none()).await
    }

    pub(crate) async fn send(
        &self,
        app: &Arc<App>,
        method: Method,
        path: &str,
        body: TestBody,
    ) -> Result<Answer, Failed> {
        let response = self.begin(app, method, path, body).await?;
        soon(path, read_all(response)).await.map_err(Failed::Body)
    }

    /// A request up to the head of its response.
    pub(crate) async fn begin(
        &self,
        app: &Arc<App>,
        method: Method,
        path: &str,
        body: TestBody,
    ) -> Result<WorkerResponse, Failed> {
        let mut headers = HeaderList::new();
        headers.push(b"host", b"test.example").unwrap();
        let id = RequestId::parse(b"test-id").unwrap();
        let request = WorkerRequest {
            method,
            target: path.as_bytes(),
            headers: &headers,
            request_id: &id,
            websocket: false,
        };
        let mut body: Option<Box<dyn BodySource>> = Some(Box::new(body));
        let exchange = app.exchange(&self.connections, request, &mut body);
        soon(path, exchange).await.map_err(Failed::Exchange)
    }

    pub(crate) async fn text(&self, app: &Arc<App>, path: &str) -> String {
        match self.get(app, path).await {
            Ok(answer) => answer.text(),
            Err(failed) => panic!("{path}: {failed:?}"),
        }
    }

    pub(crate) async fn pid(&self, app: &Arc<App>) -> u32 {
        self.text(app, "/pid").await.parse().unwrap()
    }

    /// Stops the pool and looks for what it may have left.
    pub(crate) async fn finish(self) {
        soon("shutdown", self.pool.shutdown(Duration::from_secs(2))).await;
        for event in self.events.all() {
            if let Event::Started(app, pid) = event {
                self.events.exit_of(pid).await;
                assert!(!is_running(pid), "{app} still runs as {pid}");
            }
        }
        let slots = fs::read_dir(self.dir.path().join("run/slots")).unwrap();
        assert_eq!(slots.count(), 0, "a slot was left");
        assert_eq!(self.pool.status().used, 0, "a place was left");
    }
}

pub(crate) fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

pub(crate) fn instances(min: u32, max: u32) -> Instances {
    Instances::new(min, max).unwrap()
}

#[derive(Debug)]
pub(crate) enum Failed {
    Exchange(ExchangeError),
    Body(WorkerBodyError),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderList>,
    pub(crate) hints: Vec<HeaderList>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) async fn read_all(mut response: WorkerResponse) -> Result<Answer, WorkerBodyError> {
    let mut body = Vec::new();
    let mut trailers = None;
    while let Some(frame) = response.body.frame().await {
        match frame? {
            Frame::Data(data) => body.extend_from_slice(&data),
            Frame::Trailers(fields) => trailers = Some(fields),
        }
    }
    Ok(Answer {
        head: response.head,
        body,
        trailers,
        hints: response.early_hints,
    })
}

/// A request's body that a test feeds.
pub(crate) struct TestBody {
    frames: VecDeque<Result<Frame, BodyError>>,
    length: Option<u64>,
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_gone: bool,
    /// Whether the end comes after the frames, or nothing more.
    ends: bool,
}

impl TestBody {
    pub(crate) fn none() -> Self {
        Self::of(Some(0), Vec::new())
    }

    pub(crate) fn of(length: Option<u64>, pieces: Vec<Bytes>) -> Self {
        Self {
            frames: pieces
                .into_iter()
                .map(|data| Ok(Frame::Data(data)))
                .collect(),
            length,
            gone: None,
            is_gone: false,
            ends: true,
        }
    }

    pub(crate) fn failing(length: Option<u64>, error: BodyError) -> Self {
        let mut body = Self::of(length, vec![Bytes::from_static(b"some")]);
        body.frames.push_back(Err(error));
        body
    }

    pub(crate) fn endless(mut self) -> Self {
        self.ends = false;
        self
    }

    /// A client that leaves when the sender says so.
    pub(crate) fn leaving(mut self, gone: &watch::Sender<bool>) -> Self {
        let mut gone = gone.subscribe();
        // Kept from poll to poll: a future that is dropped wakes nobody.
        self.gone = Some(Box::pin(async move {
            let _ = gone.wait_for(|gone| *gone).await;
        }));
        self
    }
}

impl BodySource for TestBody {
    fn content_length(&self) -> Option<u64> {
        self.length
    }
    fn is_end(&self) -> bool {
        self.frames.is_empty() && self.ends
    }
    fn set_limit(&mut self, _: u64) {}
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.frames.pop_front() {
            None if !self.ends => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(gone) = &mut self.gone {
            std::task::ready!(gone.as_mut().poll(cx));
            self.gone = None;
            self.is_gone = true;
        }
        if self.is_gone {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
