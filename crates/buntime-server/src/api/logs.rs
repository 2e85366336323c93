//! The last lines of a worker, and those that come.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use buntime_core::access::{KeyId, Permission, Permit};
use buntime_core::{PackageName, Version};
use buntime_http::{HeaderList, Method};
use bytes::Bytes;
use schemars::JsonSchema;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Api;
use super::call::Call;
use super::json::reply;
use super::openapi::Param;
use super::query::Query;
use super::route::{Access, Route};
use super::workers::WORKER_NOT_FOUND;
use crate::failure::Failure;
use crate::message::{BodyLength, ByteSender, ReaderGone, Response, Scheme};
use crate::service::Answer;
use crate::worker_logs::{Batch, Cursor, Follower, LINES_MAX, Place};

pub(super) const ROUTES: &[Route] = &[Route::get(
    "/workers/:scope/:name/logs",
    Access::Unit(Permission::WorkersRead, |api, call, permit, name| {
        Box::pin(logs(api, call, permit, name))
    }),
    "The last lines of a worker; with `follow=1` those that come, as server-sent events.",
)
.reads(&[
    Param::new(
        "lines",
        "How many of the last lines, at most 1000; else 100.",
    )
    .matching("^([0-9]{1,3}|1000)$"),
    Param::new("version", "Of this version alone.")
        .matching("^(latest|[0-9]{1,9}\\.[0-9]{1,9}\\.[0-9]{1,9})$"),
    Param::new("follow", "1: go on with the lines that come.").matching("^(0|1|true|false)$"),
])
.gives::<Vec<WorkerLogLine>>(200)
.gives_also(&["text/event-stream"])
.fails(&[(404, "WORKER_NOT_FOUND"), (429, "TOO_MANY_FOLLOWERS")])];

/// A line of a worker.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "stands for the shape of what serializes itself")]
struct WorkerLogLine {
    /// For `Last-Event-ID`.
    id: String,
    /// UTC, RFC 3339.
    time: String,
    version: String,
    /// `stdout`, `stderr`, `error`, `install` or `server`.
    stream: String,
    /// The process.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    message: String,
}

/// Lines without `?lines=`.
const LINES: usize = 100;
/// Between two signs of life while nothing else is sent: proxies end what is silent.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a key that was revoked may go on following.
const CHECK: Duration = Duration::from_secs(1);
/// About so many bytes go out at once.
const BATCH: usize = 16 * 1024;
/// How long a client waits before it comes back.
const HELLO: &[u8] = b"retry: 2000\n\n";

/// What is asked for.
struct Wanted {
    lines: usize,
    version: Option<Version>,
    follow: bool,
    after: Option<Cursor>,
}

async fn logs(
    api: Arc<Api>,
    call: Call,
    permit: Permit,
    name: PackageName,
) -> Result<Response, Answer> {
    permit.covers(Permission::WorkersRead, &name)?;
    let wanted = Wanted::of(&call)?;
    let snapshot = api.catalog.snapshot().clone();
    let known = snapshot.versions(name.as_str());
    known.ok_or(WORKER_NOT_FOUND)?;
    if !wanted.follow {
        let version = wanted.version.as_ref().map(Version::as_str);
        let batch = api.worker_logs.tail(name.as_str(), version, wanted.lines);
        return Ok(reply(200, &batch.lines));
    }
    let place = api.worker_logs.admit(&permit.principal().id);
    let place = place.ok_or(TOO_MANY_FOLLOWERS)?;
    Ok(follow(api, call, &permit, name, wanted, place))
}

const TOO_MANY_FOLLOWERS: Failure = Failure::new(
    429,
    "TOO_MANY_FOLLOWERS",
    "Too many logs are followed at the moment.",
)
.retry_after(Duration::from_secs(10));

impl Wanted {
    fn of(call: &Call) -> Result<Self, Failure> {
        let query = call.query()?;
        let lines = match query.get("lines")? {
            None => LINES,
            Some(text) => text
                .parse()
                .ok()
                .filter(|count| *count <= LINES_MAX && text.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| invalid(format!("lines: write a number up to {LINES_MAX}.")))?,
        };
        let version = query.get("version")?.map(Version::try_from).transpose();
        let version = version
            .map_err(|_| invalid("version: write a full version, or `latest`.".to_owned()))?;
        let headers = &call.request.headers;
        let after = headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(b"last-event-id"))
            .and_then(|header| std::str::from_utf8(header.value).ok())
            .and_then(|text| text.parse().ok());
        Ok(Self {
            lines,
            version,
            follow: flag(&query, "follow")?,
            after,
        })
    }
}

fn flag(query: &Query, name: &str) -> Result<bool, Failure> {
    match query.get(name)? {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(invalid(format!("{name}: write 1 or 0."))),
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(400, "VALIDATION_ERROR", "").saying(message)
}

fn follow(
    api: Arc<Api>,
    call: Call,
    permit: &Permit,
    name: PackageName,
    wanted: Wanted,
    place: Place,
) -> Response {
    let logs = &api.worker_logs;
    let follower = logs.follow(name.as_str(), wanted.after, wanted.lines);
    let (sender, body) = ByteSender::body(1);
    let feed = Feed {
        follower,
        version: wanted.version,
        reader: Reader {
            key: permit.principal().id.clone(),
            scheme: call.request.peer.scheme_of(&call.request.headers),
            address: call.address,
            headers: call.request.headers,
            checked: Some(Instant::now()),
            name,
            api,
        },
        _place: place,
    };
    // HEAD asks what GET would say, and nobody would read what is said.
    if call.request.method != Method::Head {
        tokio::spawn(feed.run(sender));
    }
    let mut response = Response {
        length: BodyLength::Unknown,
        body,
        ..Response::empty(200)
    };
    response.set(b"content-type", b"text/event-stream");
    response.set(b"cache-control", b"no-store");
    // nginx keeps back what it proxies unless it is told not to.
    response.set(b"x-accel-buffering", b"no");
    response
}

/// Sends lines to one client, as fast as it takes them.
struct Feed {
    follower: Follower,
    version: Option<Version>,
    reader: Reader,
    _place: Place,
}

impl Feed {
    async fn run(mut self, sender: ByteSender) {
        if self.send_all(&sender).await.is_ok() {
            sender.finish();
        }
    }

    /// Until the client is gone, or may not or need not follow any longer.
    async fn send_all(&mut self, sender: &ByteSender) -> Result<(), ReaderGone> {
        sender.send(Bytes::from_static(HELLO)).await?;
        let mut changes = self.reader.api.catalog.subscribe();
        loop {
            let version = self.version.as_ref().map(Version::as_str);
            let batch = self.follower.take(version, BATCH);
            let mut events = events(&batch);
            if events.is_empty() {
                tokio::select! {
                    () = self.follower.changed() => continue,
                    // It may be this worker that went.
                    Ok(()) = changes.changed() => self.reader.checked = None,
                    () = sender.reader_gone() => return Err(ReaderGone),
                    () = sleep(HEARTBEAT) => events.extend_from_slice(b":\n\n"),
                }
            }
            if !self.reader.may_go_on() {
                return Ok(());
            }
            if events.is_empty() {
                continue;
            }
            sender.send(events.into()).await?;
        }
    }
}

/// Who follows.
struct Reader {
    api: Arc<Api>,
    key: KeyId,
    /// With the credential: it may be revoked meanwhile.
    headers: HeaderList,
    scheme: Scheme,
    address: IpAddr,
    checked: Option<Instant>,
    name: PackageName,
}

impl Reader {
    /// Whether the key is still good for it and the worker is still there.
    fn may_go_on(&mut self) -> bool {
        if self.checked.is_some_and(|at| at.elapsed() < CHECK) {
            return true;
        }
        self.checked = Some(Instant::now());
        let snapshot = self.api.catalog.snapshot();
        let is_there = snapshot.versions(self.name.as_str()).is_some();
        let access = &self.api.access;
        let principal = access.authenticate_headers(&self.headers, self.scheme, self.address);
        let principal = principal.filter(|principal| principal.id == self.key);
        let grant = principal.and_then(|it| it.grant(Permission::WorkersRead).ok());
        is_there && grant.is_some_and(|grant| grant.sees(self.name.scope()))
    }
}

/// Lines as server-sent events (HTML standard, section 9.2).
fn events(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    if batch.missed > 0 {
        let lost = json!({ "lines": batch.missed });
        out.extend_from_slice(format!("event: lost\ndata: {lost}\n\n").as_bytes());
    }
    for entry in &batch.lines {
        // JSON has no line ends, so it is one line of data whatever the app wrote.
        let line = serde_json::to_string(entry).unwrap_or_default();
        out.extend_from_slice(format!("id: {}\ndata: {line}\n\n", entry.id).as_bytes());
    }
    out
}
