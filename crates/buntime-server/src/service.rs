//! What happens to a request between the edge that read it and the edge that
//! answers it: the routing order of contract section 4, on one screen.

mod panics;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use buntime_http::{CanonicalPath, Method, RequestId, Target};
use buntime_pool::ShardConnections;

use crate::api::{Api as Management, Asked};
use crate::catalog::{Broken, Catalog, Deployment, Snapshot, State};
use crate::config::{ApiPrefix, BodyLimits, Homepage, TrustedProxies};
use crate::dispatch::{self, Answers, Base, Served};
use crate::edge::Aborted;
use crate::failure::{Failure, Form};
use crate::forwarded;
use crate::gate::{Gate, Reach, StateChange};
use crate::health::Readiness;
use crate::logging::{Level, Logger};
use crate::message::{Caller, Listener, Peer, Request, Response, Scheme};
use crate::own;

/// Segments of the path that belong to the server, whatever is installed.
const HEALTH: &str = "health";
const WELL_KNOWN: &str = ".well-known";
const API: &str = "api";

/// Everything a request may need. One for the whole server.
#[derive(Debug)]
pub struct Service {
    pub(crate) catalog: Catalog<Served>,
    pub(crate) readiness: Readiness,
    pub(crate) proxies: TrustedProxies,
    pub(crate) gate: Gate,
    pub(crate) bodies: BodyLimits,
    pub(crate) api: Arc<Management>,
    pub(crate) api_prefix: ApiPrefix,
    pub(crate) homepage: Option<Homepage>,
    pub(crate) log: Logger,
}

impl Service {
    /// What is known of a peer before it has said anything.
    #[must_use]
    pub(crate) fn peer(&self, address: IpAddr, listener: Listener) -> Peer {
        Peer {
            address,
            scheme: Scheme::Http,
            // Workers are not proxies: what they claim about others is nothing.
            trusted_proxy: listener.is_for_clients() && self.proxies.trusts(address),
            listener,
        }
    }

    /// Notes a request that was refused before it could be read.
    pub fn refused(&self, failure: &Failure, id: &RequestId, peer: &Peer) {
        self.count(failure.status);
        self.log.debug("http", &failure.message, |fields| {
            fields.request_id(id.as_str());
            fields.text("code", failure.code);
            fields.text("peer", peer.caller(peer.address));
        });
    }

    /// Notes a response that broke off before any of it was sent, and what was sent instead.
    pub(crate) fn broke_off(&self, failure: &Failure, id: &RequestId) {
        self.log.warn("http", "Response broke off", |fields| {
            fields.request_id(id.as_str());
            fields.text("code", failure.code);
        });
    }

    /// Notes a TLS handshake that came to nothing: a scanner, mostly.
    pub(crate) fn handshake_failed(&self, peer: &Peer, error: &std::io::Error) {
        self.log.debug("tls", "Handshake failed", |fields| {
            fields.text("peer", peer.address);
            fields.text("reason", error);
        });
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`Aborted`] when the client went away and there is nobody to answer.
    pub async fn handle(
        &self,
        workers: &ShardConnections,
        request: Request,
    ) -> Result<Response, Aborted> {
        let seen = self.log.is_on(Level::Debug).then(|| Seen::of(&request));
        let response = self.answer(workers, request).await;
        if let Some(seen) = seen {
            seen.tell(&self.log, response.as_ref().ok());
        }
        response
    }

    async fn answer(
        &self,
        workers: &ShardConnections,
        request: Request,
    ) -> Result<Response, Aborted> {
        let id = request.id.clone();
        let form = Form::for_request(&request);
        let scheme = request.peer.scheme_of(&request.headers);
        let routed = pin!(self.route(workers, request));
        let routed = match panics::caught(routed).await {
            Some(routed) => routed,
            None => {
                self.log
                    .error("panic", "A request came to nothing by it", |fields| {
                        fields.text("requestId", &id);
                    });
                Err(Failure::INTERNAL.into())
            }
        };
        let mut response = match routed {
            Ok(Routed::App(response)) => return Ok(response),
            Ok(Routed::NoApp(failure)) => failure.respond(&id, form),
            Ok(Routed::Own(mut response)) => {
                own::protect(&mut response);
                self.count(response.status);
                response
            }
            Err(Answer::Failure(failure)) => {
                self.count(failure.status);
                failure.respond(&id, form)
            }
            Err(Answer::Aborted) => return Err(Aborted),
        };
        own::ask_for_https(&mut response, scheme);
        Ok(response)
    }

    /// Counts what the server answers by itself.
    fn count(&self, status: u16) {
        self.api.metrics.own().answered(status, Duration::ZERO);
    }

    async fn route(&self, workers: &ShardConnections, request: Request) -> Result<Routed, Answer> {
        panics::panic_if_told(&request);
        if request.target.is_asterisk() {
            return Ok(Routed::Own(options_of_the_server()));
        }
        if request.target.has_empty_segments() && !self.is_api(request.target.path()) {
            return collapse(&request).map(Routed::Own);
        }
        let area = self.area(&request)?;
        let reach = self.gate.reach(&request);
        match area {
            Area::Root if self.homepage.is_none() || reach == Reach::Admin => {
                self.root(&request, reach).map(Routed::Own)
            }
            Area::Favicon if self.homepage.is_none() || reach == Reach::Admin => {
                Ok(Routed::Own(Response::empty(204)))
            }
            Area::Api(asked) => self.api(request, reach, asked).await.map(Routed::Own),
            Area::Health(name) => self
                .readiness
                .answer(&request, name.as_deref(), None)
                .map(Routed::Own),
            Area::WellKnown(name) => self.well_known(&request, name.as_deref()).map(Routed::Own),
            Area::Root | Area::Favicon | Area::Workers if reach.has_apps() => {
                self.worker(workers, request).await
            }
            Area::Root | Area::Favicon | Area::Workers => Err(Failure::NOT_FOUND.into()),
        }
    }

    /// Whose address this is, by the first segments of the path.
    fn area(&self, request: &Request) -> Result<Area, Failure> {
        let path = request.target.path();
        let (first, second) = path.first_segments();
        if path.as_bytes() == b"/" {
            return Ok(Area::Root);
        }
        // An encoded slash in the first segment is data: no name of ours holds one.
        let Some(name) = first.as_str() else {
            return Ok(Area::Workers);
        };
        if self.is_api(path) {
            let base = self.api_prefix.as_str().split('/').skip(1).count() + 1;
            let base = path.segments().take(base).last();
            let base = base.map_or(0, |segment| segment.end);
            return Management::find(request, base).map(Area::Api);
        }
        let second = || {
            let second = second.as_ref()?;
            let last = second.end == path.as_bytes().len();
            Some(second.as_str().filter(|_| last).unwrap_or("?").to_owned())
        };
        Ok(match name {
            "favicon.ico" if first.end == path.as_bytes().len() => Area::Favicon,
            HEALTH => Area::Health(second()),
            WELL_KNOWN => Area::WellKnown(second()),
            _ => Area::Workers,
        })
    }

    /// Whether the first segments are those of the API, in any spelling.
    fn is_api(&self, path: &CanonicalPath) -> bool {
        let prefix = self.api_prefix.as_str().split('/').skip(1);
        let mut segments = path.segments();
        prefix.chain([API]).all(|name| {
            segments
                .next()
                .is_some_and(|found| found.as_str() == Some(name))
        })
    }

    async fn api(&self, request: Request, reach: Reach, asked: Asked) -> Result<Response, Answer> {
        let login = asked.is_login();
        let client = forwarded::client(&self.proxies, &request.peer, &request.headers);
        if let Err(failure) = self.gate.check_api(&request, reach, login, &self.log) {
            if failure.status != Failure::NOT_FOUND.status {
                let caller = request.peer.caller(client);
                self.api.audit.refuse_stranger(&caller, failure.code);
            }
            return Err(failure.into());
        }
        self.api.answer(asked, request, client).await
    }

    fn well_known(&self, request: &Request, name: Option<&str>) -> Result<Response, Answer> {
        if name != Some("buntime") {
            return Err(Failure::NOT_FOUND.into());
        }
        only_reads(request)?;
        let body = serde_json::json!({
            "api": format!("{}/api", self.api_prefix.as_str()),
            "version": env!("CARGO_PKG_VERSION"),
        });
        Ok(Response::with_bytes(
            200,
            "application/json; charset=utf-8",
            body.to_string(),
        ))
    }

    async fn worker(&self, workers: &ShardConnections, request: Request) -> Result<Routed, Answer> {
        let Some((deployment, base)) = self.find(&request.target) else {
            return self.fallback(workers, request).await;
        };
        if base.end == request.target.path().as_bytes().len() {
            return to_folder(&request, &base).map(Routed::Own);
        }
        self.serve(workers, request, deployment, &base).await
    }

    /// The worker that the first segments name, and where its base ends.
    pub(crate) fn find(&self, target: &Target) -> Option<(Arc<Deployment<Served>>, Base)> {
        let snapshot = self.catalog.snapshot();
        find(&snapshot, target.path()).map(|(deployment, base)| (Arc::clone(deployment), base))
    }

    /// `/` itself, where no homepage is.
    fn root(&self, request: &Request, reach: Reach) -> Result<Response, Answer> {
        if reach == Reach::Apps {
            return Err(Failure::NOT_FOUND.into());
        }
        only_reads(request)?;
        Ok(redirect(302, "/cpanel/"))
    }

    /// The homepage, which answers what nothing else does.
    async fn fallback(
        &self,
        workers: &ShardConnections,
        request: Request,
    ) -> Result<Routed, Answer> {
        let Some(homepage) = &self.homepage else {
            return Err(Failure::NOT_FOUND.into());
        };
        let deployment = {
            let snapshot = self.catalog.snapshot();
            let range = homepage
                .range
                .as_ref()
                .map(buntime_core::VersionRange::as_str);
            snapshot
                .resolve(homepage.name.as_str(), range)
                .map(Arc::clone)
        };
        let deployment = deployment.ok_or(Failure::NOT_FOUND)?;
        self.serve(workers, request, deployment, &Base { end: 0 })
            .await
    }

    async fn serve(
        &self,
        workers: &ShardConnections,
        request: Request,
        deployment: Arc<Deployment<Served>>,
        base: &Base,
    ) -> Result<Routed, Answer> {
        let counters = Arc::clone(&deployment.slot().counters);
        let begun = Instant::now();
        let response = self.ask(workers, request, deployment, base).await;
        let took = begun.elapsed();
        match response {
            Ok(response) => {
                counters.answered(response.status, took);
                Ok(Routed::App(response))
            }
            Err(Answer::Failure(failure)) => {
                counters.answered(failure.status, took);
                Ok(Routed::NoApp(failure))
            }
            Err(Answer::Aborted) => {
                counters.aborted();
                Err(Answer::Aborted)
            }
        }
    }

    async fn ask(
        &self,
        workers: &ShardConnections,
        request: Request,
        deployment: Arc<Deployment<Served>>,
        base: &Base,
    ) -> Result<Response, Answer> {
        let unit = deployment.unit();
        let change = StateChange::of(&request);
        if let (Some(change), Some(ready)) = (&change, unit.ready()) {
            let checked = change.check_app(&ready.manifest.csrf, &unit.id, &self.log);
            checked.inspect_err(|_| deployment.slot().counters.csrf_refused())?;
        }
        match &deployment.slot().answers {
            Answers::Site(site) => {
                let pages = deployment
                    .unit()
                    .ready()
                    .and_then(|ready| ready.pages.as_ref());
                dispatch::site::serve(site, pages, request, base).await
            }
            Answers::App(_) => {
                let deployment = Arc::clone(&deployment);
                dispatch::worker::serve(self, workers, deployment, request, base, change).await
            }
            Answers::Nothing => Err(broken(&unit.state).into()),
        }
    }
}

/// A request as the log tells of it at level `debug`: a line for each would cost
/// more than most requests do.
struct Seen {
    begun: Instant,
    id: RequestId,
    method: Method,
    path: Box<str>,
    from: Caller,
}

impl Seen {
    fn of(request: &Request) -> Self {
        Self {
            begun: Instant::now(),
            id: request.id.clone(),
            method: request.method,
            path: request.target.path().as_str().into(),
            from: request.peer.caller(request.peer.address),
        }
    }

    /// `None` if the client went away.
    fn tell(&self, log: &Logger, response: Option<&Response>) {
        log.debug("http", "Request", |fields| {
            fields.request_id(&self.id);
            fields.text("method", self.method);
            fields.text("path", &self.path);
            match response {
                Some(response) => fields.add("status", response.status),
                None => fields.add("aborted", true),
            };
            fields.add("ms", self.begun.elapsed().as_millis());
            fields.text("from", &self.from);
        });
    }
}

/// Whose address a request names.
enum Area {
    Root,
    Favicon,
    /// The API, and what of it.
    Api(Asked),
    Health(Option<String>),
    WellKnown(Option<String>),
    /// An app, or the homepage where no app has this name.
    Workers,
}

/// Whose response it is.
enum Routed {
    /// The server's own.
    Own(Response),
    /// An app's, or a static site's.
    App(Response),
    /// The server's, for an app that did not answer.
    NoApp(Failure),
}

/// What a route gives instead of a response.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A failure to tell the client.
    Failure(Failure),
    /// Nobody is there to be told.
    Aborted,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Refuses everything but GET and HEAD.
pub(crate) fn only_reads(request: &Request) -> Result<(), Failure> {
    match request.method {
        Method::Get | Method::Head => Ok(()),
        _ => Err(Failure::method_not_allowed("GET, HEAD")),
    }
}

fn find<'a>(
    snapshot: &'a Snapshot<Served>,
    path: &CanonicalPath,
) -> Option<(&'a Arc<Deployment<Served>>, Base)> {
    let (first, second) = path.first_segments();
    let scope_or_name = first.as_str()?;
    if !scope_or_name.starts_with('@') {
        let (name, range) = split_range(scope_or_name);
        let deployment = snapshot.resolve(name, range)?;
        return Some((deployment, Base { end: first.end }));
    }
    let second = second?;
    let (base, range) = split_range(second.as_str()?);
    let mut name = String::with_capacity(scope_or_name.len() + base.len() + 1);
    name.push_str(scope_or_name);
    name.push('/');
    name.push_str(base);
    let deployment = snapshot.resolve(&name, range)?;
    Some((deployment, Base { end: second.end }))
}

fn split_range(segment: &str) -> (&str, Option<&str>) {
    match segment.split_once('@') {
        Some((name, range)) => (name, Some(range)),
        None => (segment, None),
    }
}

/// Why a unit without anything to serve does not serve.
fn broken(state: &State) -> Failure {
    match state {
        State::Broken(Broken::Manifest(_)) => Failure::new(
            503,
            "INVALID_MANIFEST",
            "This app's manifest is invalid. The server's log says where.",
        ),
        State::Broken(Broken::NotGranted(_)) => Failure::new(
            503,
            "PERMISSION_NOT_GRANTED",
            "This app asks for more than it is granted. The server's log says what.",
        ),
        State::Broken(Broken::Entrypoint(_) | Broken::EntrypointEscapes) | State::Ready(_) => {
            Failure::new(502, "WORKER_START_FAILED", "This app could not be started.")
        }
        State::Disabled => Failure::NOT_FOUND,
    }
}

/// `/app` → `/app/`, for requests that may be repeated at another address.
fn to_folder(request: &Request, base: &Base) -> Result<Response, Answer> {
    if !matches!(request.method, Method::Get | Method::Head) {
        return Err(Failure::NOT_FOUND.into());
    }
    let path = request.target.path().as_str();
    let mut location = String::with_capacity(path.len() + 1);
    location.push_str(path.get(..base.end).unwrap_or(path));
    location.push('/');
    if let Some(query) = request.target.query() {
        location.push('?');
        location.push_str(&String::from_utf8_lossy(query));
    }
    Ok(redirect(308, &location))
}

/// `//app///x` → `/app/x`, in one spelling for everyone behind us.
fn collapse(request: &Request) -> Result<Response, Answer> {
    match request.method {
        Method::Get | Method::Head => {
            let location = request
                .target
                .canonical_redirect()
                .ok_or(Failure::BAD_PATH)?;
            Ok(redirect(308, &location))
        }
        _ => Err(Failure::BAD_PATH.into()),
    }
}

/// What `OPTIONS *` asks for (RFC 9110 section 9.3.7).
fn options_of_the_server() -> Response {
    let mut response = Response::empty(204);
    response.set(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response
}

/// A redirect within this server: the location is a path, so that no Host
/// header can steer it elsewhere.
fn redirect(status: u16, location: &str) -> Response {
    let mut response = Response::empty(status);
    response.set(b"location", location.as_bytes());
    response
}

#[cfg(test)]
mod tests;
