//! A request with what the edge has proved about it, and the response to it.
//!
//! Both are the same for HTTP/1.1 and HTTP/2: the edge makes one and writes the
//! other, everything between sees only these types.

mod stream;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use buntime_fs::archive::ZipStream;
use buntime_fs::static_files::FileBody;
use buntime_http::{BodySource, Frame, HeaderId, HeaderList, Method, RequestId, Target};
use buntime_pool::WorkerBody;
use bytes::Bytes;

use crate::forwarded;
use crate::html::PageBody;

pub use self::stream::ByteStream;
pub(crate) use self::stream::{ByteSender, ReaderGone};

/// Which of the server's listeners a connection came in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The address that the operator configured.
    Public,
    /// The gateway of a worker of the app of this name, behind `RUNTIME_API_URL`.
    Worker(Arc<str>),
    /// `RUNTIME_ADMIN_PORT`, for the API and the panel alone.
    Admin,
}

impl Listener {
    /// Whether clients from outside connect to it, and proxies before them.
    pub(crate) fn is_for_clients(&self) -> bool {
        match self {
            Self::Public | Self::Admin => true,
            Self::Worker(_) => false,
        }
    }
}

/// Who asks, as it is told in logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A client, by its address.
    Address(IpAddr),
    /// A worker of the app of this name.
    Worker(Arc<str>),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Worker(name) => write!(f, "worker:{name}"),
        }
    }
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP inside TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the socket.
    pub address: IpAddr,
    /// The listener it connected to.
    pub listener: Listener,
    /// Whether this connection is encrypted. A proxy in front may have been asked
    /// otherwise: [`Peer::scheme_of`] knows.
    pub scheme: Scheme,
    /// Whether its forwarding headers count (`RUNTIME_TRUSTED_PROXIES`).
    pub trusted_proxy: bool,
}

impl Peer {
    /// Who asks, where `client` is whom the proxies before this peer tell of.
    #[must_use]
    pub fn caller(&self, client: IpAddr) -> Caller {
        match &self.listener {
            Listener::Worker(name) => Caller::Worker(Arc::clone(name)),
            Listener::Public | Listener::Admin => Caller::Address(client),
        }
    }

    /// How the client asked for what has these headers: as a trusted proxy says,
    /// else as this connection is. Decides `X-Forwarded-Proto`, HSTS and Secure.
    #[must_use]
    pub fn scheme_of(&self, headers: &HeaderList) -> Scheme {
        let instead = || forwarded::said(headers, b"proto").filter(|_| self.trusted_proxy);
        match self.said(headers, b"x-forwarded-proto").or_else(instead) {
            Some(b"https") => Scheme::Https,
            Some(b"http") => Scheme::Http,
            _ => self.scheme,
        }
    }

    /// What a trusted proxy says in the header `name`, one of `X-Forwarded-*`; nothing
    /// if it says nothing or nobody trusts it.
    ///
    /// A proxy may put its word behind what came to it, on a line of its own or after
    /// a comma. The last word is the one that the trusted proxy itself has spoken.
    pub(crate) fn said<'a>(&self, headers: &'a HeaderList, name: &[u8]) -> Option<&'a [u8]> {
        if !self.trusted_proxy || !headers.contains(HeaderId::XForwarded) {
            return None;
        }
        headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .flat_map(|header| header.value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|word| !word.is_empty())
            .last()
    }
}

/// The protocol version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// A request as the edge hands it on.
pub struct Request {
    /// The client's id where it was acceptable, else a fresh one.
    pub id: RequestId,
    /// The method; never TRACE or CONNECT.
    pub method: Method,
    /// The canonical path and the query.
    pub target: Target,
    /// The protocol version.
    pub protocol: Protocol,
    /// The fields as sent.
    pub headers: HeaderList,
    /// Whether it asks to change to the WebSocket protocol.
    pub websocket: bool,
    /// Who asks.
    pub peer: Peer,
    /// The body; pulled by whoever handles the request.
    pub body: Box<dyn BodySource>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// How long a response's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes.
    Exact(u64),
    /// Known only once it has ended.
    Unknown,
}

/// A response's body.
pub enum Body {
    /// No bytes.
    Empty,
    /// All of it at once.
    Bytes(Bytes),
    /// A part of a file.
    File(FileStream),
    /// Files and folders, packed as they are sent.
    Zip(Box<ZipStream>),
    /// What a worker answers, as it comes.
    Worker(Box<WorkerBody>),
    /// One of the others, with what the server puts into pages.
    Page(Box<PageBody>),
    /// What the server makes while it is sent.
    Stream(ByteStream),
}

/// Why a response's body ended before its end. The client can only be told by
/// cutting the connection or resetting the stream.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// The file could not be read on.
    #[error("reading the file failed")]
    File(#[from] io::Error),
    /// The worker broke off.
    #[error("the worker broke off its response")]
    Worker(#[from] buntime_pool::WorkerBodyError),
    /// What the server itself was making came to no end.
    #[error("the response could not be finished")]
    Own(#[source] io::Error),
}

impl Body {
    /// The next frame; `None` at the end. An error is final.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyFault>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
            }
            Self::File(file) => file.poll_frame(cx),
            Self::Zip(zip) => zip
                .poll_next(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::Data).map_err(BodyFault::from))),
            Self::Worker(worker) => worker
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyFault::from))),
            Self::Page(page) => page.poll_frame(cx),
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<Result<Frame, BodyFault>> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Bytes(_) => "Bytes",
            Self::File(_) => "File",
            Self::Zip(_) => "Zip",
            Self::Worker(_) => "Worker",
            Self::Page(_) => "Page",
            Self::Stream(_) => "Stream",
        })
    }
}

type FileRead = Pin<Box<dyn Future<Output = (FileBody, Option<io::Result<Bytes>>)> + Send>>;

/// A file's body behind the polling interface that HTTP/2 needs.
pub struct FileStream {
    state: FileState,
}

impl std::fmt::Debug for FileStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileStream")
    }
}

enum FileState {
    Idle(FileBody),
    Reading(FileRead),
    Done,
}

impl FileStream {
    /// Streams what is left of `body`.
    #[must_use]
    pub fn new(body: FileBody) -> Self {
        Self {
            state: FileState::Idle(body),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyFault>>> {
        loop {
            match std::mem::replace(&mut self.state, FileState::Done) {
                FileState::Done => return Poll::Ready(None),
                FileState::Idle(mut body) => {
                    self.state = FileState::Reading(Box::pin(async move {
                        let block = body.next().await;
                        (body, block)
                    }));
                }
                FileState::Reading(mut read) => match read.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = FileState::Reading(read);
                        return Poll::Pending;
                    }
                    Poll::Ready((body, Some(Ok(block)))) => {
                        self.state = FileState::Idle(body);
                        return Poll::Ready(Some(Ok(Frame::Data(block))));
                    }
                    Poll::Ready((_, Some(Err(error)))) => {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    Poll::Ready((_, None)) => return Poll::Ready(None),
                },
            }
        }
    }
}

/// A response as the edge writes it.
///
/// The edge adds `X-Request-Id`, `Date` and the framing headers; none of them
/// stand in `headers`.
#[derive(Debug)]
pub struct Response {
    /// The fields of 103 responses that go before this one (RFC 8297).
    pub early_hints: Vec<HeaderList>,
    /// The status code, 200 to 599, or 101 for an upgraded connection.
    pub status: u16,
    /// The fields, without framing and hop-by-hop ones.
    pub headers: HeaderList,
    /// The body's length, also where the request was HEAD and no body is sent.
    pub length: BodyLength,
    /// The body.
    pub body: Body,
    /// Whether the connection may not be used again (HTTP/1.1).
    pub close: bool,
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            early_hints: Vec::new(),
            status,
            headers: HeaderList::new(),
            length: BodyLength::Exact(0),
            body: Body::Empty,
            close: false,
        }
    }

    /// A response with all of its body.
    #[must_use]
    pub fn with_bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut response = Self {
            length: BodyLength::Exact(body.len() as u64),
            body: Body::Bytes(body),
            ..Self::empty(status)
        };
        response.set(b"content-type", content_type.as_bytes());
        response
    }

    /// Appends a header. One that cannot be sent is left out: callers pass
    /// constants or values of their own making.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let pushed = self.headers.push(name, value);
        debug_assert!(pushed.is_ok(), "own header is not sendable");
    }

    /// Whether this is an event stream, which has no end of its own.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.headers
            .get(HeaderId::ContentType)
            .is_some_and(|value| {
                let end = value.iter().position(|&byte| byte == b';');
                let media_type = value.get(..end.unwrap_or(value.len()));
                media_type.is_some_and(|media_type| {
                    media_type
                        .trim_ascii()
                        .eq_ignore_ascii_case(b"text/event-stream")
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_is_known_by_its_media_type() {
        for (content_type, is_one) in [
            ("text/event-stream", true),
            ("Text/Event-Stream;charset=UTF-8", true),
            ("text/event-stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/plain; like=text/event-stream", false),
        ] {
            let response = Response::with_bytes(200, content_type, "");
            assert_eq!(response.is_event_stream(), is_one, "{content_type}");
        }
        assert!(!Response::empty(200).is_event_stream());
    }

    #[test]
    fn only_a_trusted_proxy_says_how_it_was_asked() {
        let peer = |scheme, trusted_proxy| Peer {
            address: [9, 9, 9, 9].into(),
            listener: Listener::Public,
            scheme,
            trusted_proxy,
        };
        for (said, by_trusted) in [
            (&[][..], None),
            (&["https"], Some(Scheme::Https)),
            (&["http"], Some(Scheme::Http)),
            (&["http", "https"], Some(Scheme::Https)),
            (&["https", ""], Some(Scheme::Https)),
            (&["HTTPS"], None),
            (&["https, http"], Some(Scheme::Http)),
            (&["http,https ,"], Some(Scheme::Https)),
            (&["https http"], None),
        ] {
            let mut headers = HeaderList::new();
            for value in said {
                headers
                    .push(b"X-Forwarded-Proto", value.as_bytes())
                    .unwrap();
            }
            for own in [Scheme::Http, Scheme::Https] {
                assert_eq!(peer(own, false).scheme_of(&headers), own);
                let trusted = peer(own, true).scheme_of(&headers);
                assert_eq!(trusted, by_trusted.unwrap_or(own), "{said:?}");
            }
        }
    }

    #[test]
    fn the_last_word_of_a_trusted_proxy_counts_and_nobody_elses() {
        for (trusted, lines, said) in [
            (true, &["a.example"][..], "a.example"),
            (true, &["evil", "a.example"], "a.example"),
            (true, &["evil, a.example"], "a.example"),
            (true, &["evil,a.example ,"], "a.example"),
            (true, &["a.example", ""], "a.example"),
            (true, &[""], "-"),
            (true, &[","], "-"),
            (true, &[], "-"),
            (false, &["a.example"], "-"),
        ] {
            let peer = Peer {
                address: [127, 0, 0, 1].into(),
                listener: Listener::Public,
                scheme: Scheme::Http,
                trusted_proxy: trusted,
            };
            let mut headers = HeaderList::new();
            headers.push(b"x-forwarded-for", b"6.6.6.6").unwrap();
            for line in lines {
                headers.push(b"X-Forwarded-Host", line.as_bytes()).unwrap();
            }
            let found = peer.said(&headers, b"x-forwarded-host").unwrap_or(b"-");
            assert_eq!(found, said.as_bytes(), "{lines:?}");
        }
    }
}
