//! HTTP/1.1 byte by byte, over blocking sockets with deadlines.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};

use crate::PATIENCE;

/// Sends `bytes`, and reads until the server closes. For requests after which it does.
///
/// # Panics
/// If the server has not closed within [`PATIENCE`].
#[must_use]
pub fn raw(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::open(addr);
    connection.send(bytes);
    connection.read_to_end()
}

/// A response as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// What followed the last chunk.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// How the body's end was marked.
    pub framing: Framing,
}

/// How a body's end is marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There can be none.
    #[default]
    None,
    /// By Content-Length.
    Length(usize),
    /// By the chunked coding.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Response {
    /// All values of a header, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The only value of a header.
    ///
    /// # Panics
    /// If it stands there more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(
            values.len() < 2,
            "{name} stands there {} times",
            values.len()
        );
        values.pop()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is no JSON: {error}\n{self:?}"))
    }

    /// `error.code` of a JSON error body; empty if it is none.
    #[must_use]
    pub fn error_code(&self) -> String {
        serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|body| Some(body["error"]["code"].as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// The id of the request.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.header("x-request-id")
            .unwrap_or_else(|| panic!("no X-Request-Id: {self:?}"))
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Where the bytes are encrypted.
    tls: Option<Box<ClientConnection>>,
    buf: Vec<u8>,
    patience: Duration,
    /// An encrypted connection ended without saying so.
    cut: bool,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn open(addr: SocketAddr) -> Self {
        Self::try_open(addr).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))
    }

    /// Connects, if somebody listens.
    ///
    /// # Errors
    /// Those of connecting.
    pub fn try_open(addr: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            tls: None,
            buf: Vec::new(),
            patience: PATIENCE,
            cut: false,
        })
    }

    /// Connects and shakes hands as `localhost`'s client.
    ///
    /// # Errors
    /// Those of connecting and of the handshake.
    ///
    /// # Panics
    /// If the client's configuration is no good.
    pub fn open_tls(addr: SocketAddr, client: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let mut connection = Self::try_open(addr)?;
        connection.stream.set_read_timeout(Some(PATIENCE))?;
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(Arc::clone(client), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut connection.stream)?;
        }
        connection.tls = Some(Box::new(tls));
        Ok(connection)
    }

    /// The state of the encryption.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn tls(&self) -> &ClientConnection {
        self.tls.as_deref().unwrap()
    }

    /// Whether an encrypted connection ended without saying that it does.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    /// From now on waits so long for what it reads.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Keeps what has come and is not read yet small, so that the server soon notices who
    /// does not read. A kernel may hold many megabytes else.
    ///
    /// # Panics
    /// If the socket refuses.
    pub fn hold_little(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, 64 * 1024).unwrap();
    }

    /// Sends bytes. That the server no longer takes them shows in what it answers.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the server no longer takes them.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).write_all(bytes),
            None => self.stream.write_all(bytes),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and reads its response. The head gets a Host, and a
    /// Content-Length if there is a body; `headers` are added as they stand.
    ///
    /// # Panics
    /// If no response comes, or a malformed one.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str("Host: test.example\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes);
        self.response_to(method)
    }

    /// [`Connection::request`] with GET and nothing else.
    ///
    /// # Panics
    /// If no response comes, or a malformed one.
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"")
    }

    /// Reads the final response to a request of this method; 1xx are skipped, but for 101.
    ///
    /// # Panics
    /// If the connection ends without one, it is malformed, or it takes too long.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.next_response(method)
            .unwrap_or_else(|| panic!("the connection was closed without a response to {method}"))
    }

    /// The same; `None` if the connection ends before the response begins.
    ///
    /// # Panics
    /// If it is malformed or takes too long.
    pub fn next_response(&mut self, method: &str) -> Option<Response> {
        loop {
            let response = self.head(method)?;
            if response.status >= 200 || response.status == 101 {
                return Some(self.body(response));
            }
        }
    }

    /// Reads a head, 1xx ones too; the response has no body yet.
    ///
    /// # Panics
    /// If it is malformed or takes too long.
    pub fn head(&mut self, method: &str) -> Option<Response> {
        let end = loop {
            if let Some(at) = find(&self.buf, b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.buf.len() < 1 << 20, "a response's head does not end");
            if !self.fill() {
                assert!(
                    self.buf.is_empty(),
                    "the connection ended within a head: {:?}",
                    String::from_utf8_lossy(&self.buf)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.buf.drain(..end).collect();
        Some(parse_head(&head[..end - 2], method))
    }

    /// Reads the body that follows a head.
    ///
    /// # Panics
    /// If it is malformed or takes too long.
    #[must_use]
    pub fn body(&mut self, mut response: Response) -> Response {
        match response.framing {
            Framing::None => {}
            Framing::Length(length) => response.body = self.exactly(length),
            Framing::Chunked => {
                while let Some(chunk) = self.chunk(&mut response.trailers) {
                    response.body.extend_from_slice(&chunk);
                }
            }
            Framing::Close => response.body = self.read_to_end(),
        }
        response
    }

    /// Reads one chunk of a body; `None` after the last one, whose trailers it keeps.
    ///
    /// # Panics
    /// If it is malformed or takes too long.
    pub fn chunk(&mut self, trailers: &mut Vec<(String, Vec<u8>)>) -> Option<Vec<u8>> {
        let line = self.line();
        let digits = std::str::from_utf8(&line).unwrap();
        assert!(
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "a malformed chunk size: {digits:?}"
        );
        let size = usize::from_str_radix(digits, 16).unwrap();
        if size > 0 {
            let chunk = self.exactly(size);
            assert_eq!(self.exactly(2), b"\r\n", "a chunk has no CRLF after it");
            return Some(chunk);
        }
        loop {
            let line = self.line();
            if line.is_empty() {
                return None;
            }
            trailers.push(parse_field(&line));
        }
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// If they do not come.
    #[must_use]
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buf.len() < length {
            assert!(
                self.fill(),
                "the connection ended {} bytes short of {length}",
                length - self.buf.len()
            );
        }
        self.buf.drain(..length).collect()
    }

    /// Reads whatever comes next; empty at the end of the connection.
    #[must_use]
    pub fn some(&mut self) -> Vec<u8> {
        if self.buf.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.buf)
    }

    /// Reads until the server closes.
    ///
    /// # Panics
    /// If it has not closed in time.
    #[must_use]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        while self.fill() {
            assert!(Instant::now() < deadline, "the server sends without end");
        }
        std::mem::take(&mut self.buf)
    }

    /// Asserts that the server closes, and sends nothing more.
    ///
    /// # Panics
    /// If it does something else.
    pub fn assert_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(
            rest.is_empty(),
            "more was sent before the connection closed: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buf, b"\r\n") {
                let line = self.buf.drain(..at).collect();
                self.buf.drain(..2);
                return line;
            }
            assert!(self.fill(), "the connection ended within a line");
        }
    }

    /// Reads more; false at the end of the connection, however it ended.
    fn fill(&mut self) -> bool {
        let mut block = [0; 64 * 1024];
        self.stream.set_read_timeout(Some(self.patience)).unwrap();
        let read = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.stream).read(&mut block),
            None => self.stream.read(&mut block),
        };
        match read {
            Ok(0) => false,
            Ok(read) => {
                self.buf.extend_from_slice(&block[..read]);
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => false,
                ErrorKind::UnexpectedEof => {
                    self.cut = true;
                    false
                }
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    panic!("nothing came for {:?}", self.patience)
                }
                ErrorKind::Interrupted => true,
                _ => panic!("reading failed: {error}"),
            },
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Parses a head with the CRLF of each of its lines, without the empty one.
fn parse_head(head: &[u8], method: &str) -> Response {
    let text = String::from_utf8_lossy(head);
    let shown = || text.clone().into_owned();
    let mut lines = head[..head.len()].split(|&byte| byte == b'\n').map(|line| {
        line.strip_suffix(b"\r")
            .or(line.is_empty().then_some(line))
            .unwrap_or_else(|| panic!("a line ends in LF alone: {}", shown()))
    });
    let status_line = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    let (version, rest) = status_line
        .split_once(' ')
        .unwrap_or_else(|| panic!("{}", shown()));
    assert_eq!(version, "HTTP/1.1", "{}", shown());
    let (code, _) = rest
        .split_once(' ')
        .unwrap_or_else(|| panic!("no reason phrase: {}", shown()));
    assert!(
        code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()),
        "{}",
        shown()
    );
    let headers: Vec<_> = lines
        .filter(|line| !line.is_empty())
        .map(parse_field)
        .collect();
    let mut response = Response {
        version: version.to_owned(),
        status: code.parse().unwrap(),
        headers,
        ..Response::default()
    };
    response.framing = framing(&response, method);
    response
}

/// How the body is framed; refuses what a strict client may not trust.
fn framing(response: &Response, method: &str) -> Framing {
    let length = response.header("content-length");
    let coding = response.header("transfer-encoding");
    assert!(
        length.is_none() || coding.is_none(),
        "both Content-Length and Transfer-Encoding: {response:?}"
    );
    let length = length.map(|length| {
        assert!(
            length.bytes().all(|byte| byte.is_ascii_digit()),
            "{response:?}"
        );
        length.parse::<usize>().unwrap()
    });
    match response.status {
        100..=199 | 204 => {
            assert!(
                length.is_none() && coding.is_none(),
                "{} says how long its body is: {response:?}",
                response.status
            );
            return Framing::None;
        }
        304 => return Framing::None,
        _ if method == "HEAD" => return Framing::None,
        _ => {}
    }
    match (length, coding.as_deref()) {
        (Some(length), _) => Framing::Length(length),
        (None, Some("chunked")) => Framing::Chunked,
        (None, Some(other)) => panic!("unknown transfer coding {other}: {response:?}"),
        (None, None) => {
            assert_eq!(
                response.header("connection").as_deref(),
                Some("close"),
                "a body that ends with the connection, which does not say so: {response:?}"
            );
            Framing::Close
        }
    }
}

fn parse_field(line: &[u8]) -> (String, Vec<u8>) {
    let shown = String::from_utf8_lossy(line);
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .unwrap_or_else(|| panic!("a header without colon: {shown:?}"));
    let name = std::str::from_utf8(&line[..colon]).unwrap();
    assert!(
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)),
        "a malformed header name: {shown:?}"
    );
    let value = line[colon + 1..].trim_ascii();
    assert!(
        value
            .iter()
            .all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7F),
        "a malformed header value: {shown:?}"
    );
    (name.to_ascii_lowercase(), value.to_vec())
}
