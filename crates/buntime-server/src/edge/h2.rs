//! One HTTP/2 connection. The protocol is hyper's; here its requests become ours
//! and our responses its.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use buntime_http::{BodyError, BodySource, Frame, HeaderId, HeaderList, Method, RequestError};
use buntime_http::{RequestId, Target};
use buntime_pool::Alarm;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use crate::edge::Timeouts;
use crate::edge::pace::Pace;
use crate::edge::shard::Shard;
use crate::failure::{Form, refused_head};
use crate::message::{Body, BodyFault, BodyLength, Peer, Protocol, Request, Response};

/// Streams a client may have open at once.
const MAX_STREAMS: u32 = 128;
/// Streams a client may reset before it is sent away (rapid reset).
const MAX_RESETS: usize = 32;
/// What one stream and the whole connection may have in flight towards us.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What one stream may have waiting towards the client.
const SEND_BUFFER: usize = 128 * 1024;
/// How long a client that was told to leave may take to say that it has heard.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often stalled and idle connections are looked for.
const PATROL: Duration = Duration::from_secs(1);

/// Serves a connection until it ends. `buf` holds the preface, already read.
pub(super) async fn serve<R, W>(shard: Arc<Shard>, read: R, write: W, buf: BytesMut, peer: Peer)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let timeouts = shard.settings().timeouts;
    let head = shard.settings().head;
    let io = TokioIo::new(tokio::io::join(
        std::io::Cursor::new(buf.freeze()).chain(read),
        write,
    ));
    let activity = Arc::new(Activity::default());
    let service = {
        let shard = Arc::clone(&shard);
        let activity = Arc::clone(&activity);
        hyper::service::service_fn(move |request| {
            let shard = Arc::clone(&shard);
            let stream = activity.begin();
            async move { answer(shard, request, peer, stream).await }
        })
    };
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(head.total).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut drained = pin!(shard.drain().cancelled());
    let mut patrol = tokio::time::interval(PATROL);
    let mut closing = None;
    loop {
        tokio::select! {
            // Its errors are the client's: nobody is left to tell.
            _ = connection.as_mut() => return,
            () = &mut drained, if closing.is_none() => {
                closing = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            _ = patrol.tick() => {
                if activity.is_stalled(timeouts.write) {
                    return;
                }
                match closing {
                    // It ends by itself if the client answers; this one does not.
                    Some(since) if since.elapsed() > FAREWELL && activity.is_idle(FAREWELL) => return,
                    None if activity.is_idle(timeouts.idle) => {
                        closing = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(_) | None => {}
                }
            }
        }
    }
}

/// What goes on on a connection, for telling a slow client from a slow worker.
struct Activity {
    started: Instant,
    streams: AtomicUsize,
    /// When the last stream ended, in milliseconds after `started`.
    idle_since: AtomicU64,
    /// Since when each stream with unsent data waits for the client.
    waiting: Mutex<Vec<std::sync::Weak<AtomicU64>>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            streams: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
        }
    }
}

/// The value of a stream's clock while it does not wait for the client.
const NOT_WAITING: u64 = u64::MAX;

impl Activity {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(NOT_WAITING - 1)
    }

    fn begin(self: &Arc<Self>) -> StreamActivity {
        self.streams.fetch_add(1, Ordering::Relaxed);
        let waiting_since = Arc::new(AtomicU64::new(NOT_WAITING));
        let mut waiting = self.waiting.lock();
        if waiting.len() >= 2 * MAX_STREAMS as usize {
            waiting.retain(|clock| clock.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(&waiting_since));
        StreamActivity {
            connection: Arc::clone(self),
            waiting_since,
        }
    }

    fn is_stalled(&self, limit: Duration) -> bool {
        let now = self.now();
        self.waiting.lock().iter().any(|clock| {
            clock.upgrade().is_some_and(|since| {
                let since = since.load(Ordering::Relaxed);
                since != NOT_WAITING && u128::from(now - since.min(now)) > limit.as_millis()
            })
        })
    }

    fn is_idle(&self, limit: Duration) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
            && u128::from(self.now() - self.idle_since.load(Ordering::Relaxed)) > limit.as_millis()
    }
}

/// One stream's part of its connection's [`Activity`].
struct StreamActivity {
    connection: Arc<Activity>,
    waiting_since: Arc<AtomicU64>,
}

impl StreamActivity {
    /// Data was handed to the connection and waits for the client to take it.
    fn wait_for_client(&self) {
        self.waiting_since
            .store(self.connection.now(), Ordering::Relaxed);
    }

    fn wait_for_worker(&self) {
        self.waiting_since.store(NOT_WAITING, Ordering::Relaxed);
    }
}

impl Drop for StreamActivity {
    fn drop(&mut self) {
        self.connection
            .idle_since
            .store(self.connection.now(), Ordering::Relaxed);
        self.connection.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer(
    shard: Arc<Shard>,
    request: hyper::Request<Incoming>,
    peer: Peer,
    stream: StreamActivity,
) -> Result<hyper::Response<H2Body>, ResetStream> {
    let (parts, incoming) = request.into_parts();
    let head = match read_head(&shard, &parts) {
        Ok(head) => head,
        Err(error) => {
            let failure = refused_head(&error);
            let id = RequestId::fresh();
            shard.refused(&failure, &id, peer);
            return respond(
                &shard,
                failure.respond(&id, Form::Json),
                &id,
                Method::Get,
                stream,
            );
        }
    };
    let (method, target, headers) = head;
    let id = RequestId::of(&headers);
    let body = Box::new(H2Source::new(incoming, shard.settings().timeouts));
    let response = shard
        .handle(Request {
            id: id.clone(),
            method,
            target,
            protocol: Protocol::Http2,
            headers,
            websocket: false,
            peer,
            body,
        })
        .await
        .map_err(|_| ResetStream)?;
    respond(&shard, response, &id, method, stream)
}

/// Ends a stream without an answer: there is nobody to give one to.
#[derive(Debug, thiserror::Error)]
#[error("the request was abandoned")]
struct ResetStream;

type Head = (Method, Target, HeaderList);

/// Checks what hyper has read as strictly as the HTTP/1.1 parser does.
fn read_head(shard: &Shard, parts: &http::request::Parts) -> Result<Head, RequestError> {
    let limits = shard.settings().head;
    let method =
        Method::parse(parts.method.as_str().as_bytes()).ok_or(RequestError::UnknownMethod)?;
    if matches!(method, Method::Trace | Method::Connect) {
        return Err(RequestError::MethodNotAllowed);
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    if path.len() > limits.target {
        return Err(RequestError::TargetTooLong);
    }
    if parts.headers.len() > limits.count {
        return Err(RequestError::TooManyHeaders);
    }
    let target = Target::parse(path.as_bytes()).map_err(|_| RequestError::BadPath)?;
    let mut headers = HeaderList::new();
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = parts
        .headers
        .get(http::header::HOST)
        .map(|host| host.as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if authority.as_bytes() != host => {
            return Err(RequestError::BadHost);
        }
        (Some(authority), None) => headers
            .push(b"host", authority.as_bytes())
            .map_err(|_| RequestError::BadHost)?,
        (None, None) => return Err(RequestError::BadHost),
        _ => {}
    }
    let host = headers.get(HeaderId::Host).or(host).unwrap_or_default();
    if !buntime_http::is_valid_authority(host) || parts.headers.get_all("host").iter().count() > 1 {
        return Err(RequestError::BadHost);
    }
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        if value.len() > limits.value {
            return Err(RequestError::ValueTooLong);
        }
        if name == http::header::COOKIE {
            // HTTP/2 may split the cookie; nobody behind us need know (RFC 9113
            // section 8.2.3).
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value.as_bytes());
            continue;
        }
        headers
            .push(name.as_str().as_bytes(), value.as_bytes())
            .map_err(|_| RequestError::Syntax)?;
    }
    if !cookies.is_empty() {
        headers
            .push(b"cookie", &cookies)
            .map_err(|_| RequestError::Syntax)?;
    }
    Ok((method, target, headers))
}

fn respond(
    shard: &Shard,
    response: Response,
    id: &RequestId,
    method: Method,
    stream: StreamActivity,
) -> Result<hyper::Response<H2Body>, ResetStream> {
    let mut builder = hyper::Response::builder().status(response.status);
    let mut dated = false;
    for header in response.headers.iter() {
        if matches!(
            header.id,
            HeaderId::Connection
                | HeaderId::ContentLength
                | HeaderId::KeepAlive
                | HeaderId::TransferEncoding
                | HeaderId::Upgrade
                | HeaderId::XRequestId
        ) {
            continue;
        }
        dated |= header.id == HeaderId::Date;
        builder = builder.header(header.name, header.value);
    }
    if !dated {
        builder = builder.header("date", shard.date().now().as_slice());
    }
    builder = builder.header("x-request-id", id.as_str());
    let bodiless = matches!(response.status, 204 | 304) || method == Method::Head;
    if let (BodyLength::Exact(length), false) =
        (response.length, matches!(response.status, 204 | 304))
    {
        builder = builder.header("content-length", length);
    }
    let endless = response.is_event_stream();
    builder
        .body(H2Body {
            body: if bodiless { Body::Empty } else { response.body },
            left: match response.length {
                BodyLength::Exact(length) if !bodiless => Some(length),
                _ => None,
            },
            stream,
            drain: endless.then(|| Box::pin(shard.drain().clone().cancelled_owned())),
        })
        .map_err(|_| ResetStream)
}

/// A response's body as hyper pulls it.
struct H2Body {
    body: Body,
    /// What is still to come, where the length was announced.
    left: Option<u64>,
    stream: StreamActivity,
    drain: Option<Pin<Box<tokio_util::sync::WaitForCancellationFutureOwned>>>,
}

impl http_body::Body for H2Body {
    type Data = Bytes;
    type Error = H2BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, H2BodyError>>> {
        self.stream.wait_for_worker();
        let frame = match self.body.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let drain = self.drain.as_mut();
                if drain.is_some_and(|drain| drain.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(None);
                }
                return Poll::Pending;
            }
        };
        Poll::Ready(match frame {
            Some(Ok(Frame::Data(data))) => {
                if let Some(left) = &mut self.left {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(H2BodyError::Length)));
                    };
                    *left = rest;
                }
                self.stream.wait_for_client();
                Some(Ok(http_body::Frame::data(data)))
            }
            Some(Ok(Frame::Trailers(trailers))) => {
                let mut map = http::HeaderMap::new();
                for header in trailers.iter() {
                    if let (Ok(name), Ok(value)) = (
                        http::HeaderName::from_bytes(header.name),
                        http::HeaderValue::from_bytes(header.value),
                    ) {
                        map.append(name, value);
                    }
                }
                Some(Ok(http_body::Frame::trailers(map)))
            }
            Some(Err(fault)) => Some(Err(H2BodyError::Fault(fault))),
            None if self.left.is_some_and(|left| left > 0) => Some(Err(H2BodyError::Length)),
            None => None,
        })
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match (&self.body, self.left) {
            (Body::Empty, _) => http_body::SizeHint::with_exact(0),
            (_, Some(left)) => http_body::SizeHint::with_exact(left),
            _ => http_body::SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.body, Body::Empty)
    }
}

/// Why a response's stream was reset.
#[derive(Debug, thiserror::Error)]
enum H2BodyError {
    #[error(transparent)]
    Fault(BodyFault),
    #[error("the body is not as long as announced")]
    Length,
}

/// A request's body as hyper gives it.
struct H2Source {
    incoming: Incoming,
    length: Option<u64>,
    limit: u64,
    timeout: Duration,
    pace: Pace,
    alarm: Option<Alarm>,
    ended: bool,
}

impl H2Source {
    fn new(incoming: Incoming, timeouts: Timeouts) -> Self {
        let length = incoming.size_hint().exact();
        Self {
            ended: incoming.is_end_stream(),
            incoming,
            length,
            limit: u64::MAX,
            timeout: timeouts.body,
            pace: Pace::default(),
            alarm: None,
        }
    }

    fn take(&mut self, frame: http_body::Frame<Bytes>) -> Result<Option<Frame>, BodyError> {
        match frame.into_data() {
            Ok(data) => {
                self.limit = self
                    .limit
                    .checked_sub(data.len() as u64)
                    .ok_or(BodyError::TooLarge)?;
                Ok((!data.is_empty()).then_some(Frame::Data(data)))
            }
            Err(frame) => Ok(frame.into_trailers().ok().and_then(trailers)),
        }
    }
}

/// What may stand in a trailer section, by the same rule as in HTTP/1.1.
fn trailers(map: http::HeaderMap) -> Option<Frame> {
    let mut list = HeaderList::new();
    for (name, value) in &map {
        // What cannot be sent on as HTTP/1.1 is left out, as a trailer may be.
        let _ = list.push(name.as_str().as_bytes(), value.as_bytes());
    }
    list.retain(|header| buntime_http::may_trail(&header));
    (!list.is_empty()).then_some(Frame::Trailers(list))
}

impl BodySource for H2Source {
    fn content_length(&self) -> Option<u64> {
        self.length
    }

    fn is_end(&self) -> bool {
        self.ended
    }

    fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        while !self.ended {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // A frame may be empty, and is no progress then.
                    self.pace.progress(frame.data_ref().map_or(0, Bytes::len));
                    match self.take(frame) {
                        Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                        Ok(None) => {}
                        Err(error) => {
                            self.ended = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                Poll::Ready(Some(Err(_))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Gone)));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    let deadline = self.pace.wait(self.timeout);
                    let alarm = self.alarm.get_or_insert_with(|| Alarm::new(deadline));
                    ready!(alarm.poll(cx, deadline));
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // hyper drops the whole exchange when the client resets the stream.
        Poll::Pending
    }
}
