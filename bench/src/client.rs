//! A small HTTP client for what wrk cannot do: an open loop, and the first answers of a server
//! that is just starting. One request at a time on one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::figures::Latencies;

const DEADLINE: Duration = Duration::from_secs(15);
/// No answer of a benchmark is longer.
const MAX_BODY: u64 = 4 << 20;

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection<S: Read + Write> {
    stream: BufReader<S>,
}

/// What of an answer's head tells where its body ends.
struct Head {
    status: u16,
    length: u64,
    chunked: bool,
}

impl Connection<TcpStream> {
    pub(crate) fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&loopback(port), DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Waits so long for an answer.
    pub(crate) fn set_patience(&self, patience: Duration) -> std::io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))?;
        self.stream.get_ref().set_write_timeout(Some(patience))
    }
}

impl Connection<UnixStream> {
    pub(crate) fn open_unix(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends a request and reads the answer to its end. Gives the status.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<u16> {
        self.ask(method, path, "", body, &mut std::io::sink())
    }

    /// The same with further header lines, each with its end, and with the answer's body
    /// copied to `into`.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
        into: &mut impl Write,
    ) -> std::io::Result<u16> {
        let mut message = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        message.extend_from_slice(body);
        self.stream.get_mut().write_all(&message)?;
        self.response(method == "HEAD", into)
    }

    /// Asks for what may have no end and reads up to the first byte of the body, of a 200.
    pub(crate) fn first_byte(&mut self, path: &str) -> std::io::Result<()> {
        let message = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        self.stream.get_mut().write_all(message.as_bytes())?;
        let head = self.head()?;
        if head.status != 200 {
            return Err(bad("status"));
        }
        if head.chunked {
            self.line()?;
        }
        self.stream.read_exact(&mut [0])
    }

    fn head(&mut self) -> std::io::Result<Head> {
        let status = self
            .line()?
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| bad("status"))?;
        let mut length = 0;
        let mut chunked = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header"))?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| bad("content-length"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = true;
            }
        }
        Ok(Head {
            status,
            length,
            chunked,
        })
    }

    fn response(&mut self, head_only: bool, into: &mut impl Write) -> std::io::Result<u16> {
        let Head {
            status,
            length,
            chunked,
        } = self.head()?;
        if head_only || status == 204 || status == 304 {
            return Ok(status);
        }
        if !chunked {
            self.copy(length, into)?;
            return Ok(status);
        }
        loop {
            let size = u64::from_str_radix(self.line()?.trim(), 16).map_err(|_| bad("chunk"))?;
            self.copy(size, into)?;
            self.line()?;
            if size == 0 {
                return Ok(status);
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.by_ref().take(64 << 10).read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn copy(&mut self, length: u64, into: &mut impl Write) -> std::io::Result<()> {
        if length > MAX_BODY {
            return Err(bad("length"));
        }
        let copied = std::io::copy(&mut self.stream.by_ref().take(length), into)?;
        if copied < length {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        format!("bad {what} in the answer"),
    )
}

/// One request on a connection of its own.
pub(crate) fn once(port: u16, method: &str, path: &str, body: &[u8]) -> std::io::Result<u16> {
    Connection::open(port)?.request(method, path, body)
}

/// Runs `one` at fixed times whether or not earlier calls have returned, as clients do who
/// know nothing of each other. `one` says when the answer was there, `None` if it was no good one.
pub(crate) fn open_loop(
    rate: u32,
    duration: Duration,
    one: impl Fn() -> Option<Instant> + Sync,
) -> Latencies {
    /// Enough that one is always free while answers take under a second.
    const CALLERS: usize = 24;
    let total = (f64::from(rate) * duration.as_secs_f64()) as u64;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let parts: Vec<Latencies> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut latencies = Latencies::default();
                    loop {
                        let ticket = next.fetch_add(1, Ordering::Relaxed);
                        if ticket >= total || crate::process::stopping() {
                            return latencies;
                        }
                        let due = start + Duration::from_secs_f64(ticket as f64 / f64::from(rate));
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        // A caller that comes late counts its delay; the timer's own slack does not count.
                        let now = Instant::now();
                        let from = if now - due > Duration::from_millis(1) {
                            due
                        } else {
                            now
                        };
                        latencies.add(one().map(|answered| answered - from));
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .filter_map(|caller| caller.join().ok())
            .collect()
    });
    Latencies::merge(parts)
}

/// `callers` threads that call `one` again as soon as it returns.
pub(crate) fn closed_loop(
    callers: usize,
    duration: Duration,
    one: impl Fn() -> Option<Instant> + Sync,
) -> Latencies {
    let end = Instant::now() + duration;
    let one = &one;
    let parts: Vec<Latencies> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(move || {
                    let mut latencies = Latencies::default();
                    while Instant::now() < end && !crate::process::stopping() {
                        let from = Instant::now();
                        latencies.add(one().map(|answered| answered - from));
                    }
                    latencies
                })
            })
            .collect();
        callers
            .into_iter()
            .filter_map(|caller| caller.join().ok())
            .collect()
    });
    Latencies::merge(parts)
}
