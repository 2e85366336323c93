//! The first connection to a worker: over it a blank is given its app
//! (docs/decisions/0003-worker-control-channel.md).
//!
//! The app is loaded before it answers, so nothing that is read here is trusted: it
//! is bounded, and whoever calls has a deadline.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as StdUnixStream;

use buntime_http::{HeadLimits, Method, ResponseFraming, parse_response};
use bytes::{Buf as _, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::wrapper::REHEARSAL_NAME;

const LIMITS: HeadLimits = HeadLimits {
    total: 8 * 1024,
    count: 50,
    value: 4 * 1024,
    target: 0,
};
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// An assignment up to this size goes as a header, which a worker reads faster than a
/// body. Bun takes 128 KB of headers (see `boot.rs`).
const LONGEST_HEADER: usize = 64 * 1024;

/// The headers that hold what a blank is to become, or to rehearse with.
const ASSIGN: &str = "x-buntime-assign";
const REHEARSE: &str = "x-buntime-rehearse";

/// What a blank is to become.
#[derive(Debug, Serialize)]
pub(super) struct Become<'a> {
    pub(super) dir: &'a str,
    pub(super) entry: &'a str,
    pub(super) env: &'a BTreeMap<String, String>,
    /// Whether the worker does not see its app yet.
    pub(super) wait: bool,
}

/// The body of an assignment that waits: what stands there means nothing.
const GO: &[u8] = b"1";

/// An assignment whose body is still to be sent.
#[derive(Debug)]
pub(super) struct Announced {
    rest: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Outcome {
    /// The app serves.
    Ready {
        #[serde(default)]
        hooks: Vec<String>,
    },
    /// The app cannot be loaded.
    Failed {
        message: String,
        #[serde(default)]
        stack: String,
    },
}

/// A kept connection to the wrapper.
#[derive(Debug)]
pub(super) struct Door {
    stream: UnixStream,
    input: BytesMut,
}

impl Door {
    /// Connects.
    pub(super) async fn open(path: &str) -> io::Result<Self> {
        Ok(Self {
            stream: UnixStream::connect(path).await?,
            input: BytesMut::with_capacity(1024),
        })
    }

    /// Has a blank do for an app of ours what it will do for the one that it is given. What Bun
    /// does for the first time, a request among it, takes it up to a millisecond longer: for a
    /// blank that nobody waits for yet.
    pub(super) async fn rehearse(&mut self) -> io::Result<()> {
        let what = Become {
            dir: ".",
            entry: REHEARSAL_NAME,
            env: &BTreeMap::new(),
            wait: true,
        };
        let announced = self.send(REHEARSE, &what).await?;
        match self.assign(announced).await? {
            Outcome::Ready { .. } => Ok(()),
            Outcome::Failed { message, .. } => Err(io::Error::other(message)),
        }
    }

    /// Tells the worker what it is to become, of which it does all that needs nothing of the
    /// app's files.
    pub(super) async fn announce(&mut self, what: &Become<'_>) -> io::Result<Announced> {
        self.send(ASSIGN, what).await
    }

    async fn send(&mut self, header: &str, what: &Become<'_>) -> io::Result<Announced> {
        let text = ascii_json(what)?;
        let mut request = Vec::with_capacity(text.len() + 128);
        write!(request, "POST / HTTP/1.1\r\nhost: localhost\r\n{header}: ")?;
        let rest = if text.len() <= LONGEST_HEADER {
            request.extend_from_slice(&text);
            if what.wait { GO.to_vec() } else { Vec::new() }
        } else {
            text
        };
        write!(request, "\r\ncontent-length: {}\r\n\r\n", rest.len())?;
        self.stream.write_all(&request).await?;
        Ok(Announced { rest })
    }

    /// Has the app loaded; returns when it is, or cannot be.
    pub(super) async fn assign(&mut self, announced: Announced) -> io::Result<Outcome> {
        self.stream.write_all(&announced.rest).await?;
        let answer = self.answer().await?;
        serde_json::from_slice(&answer).map_err(|_| bad("its answer is none"))
    }

    /// The connection, for the first request.
    pub(super) fn into_std(self) -> io::Result<StdUnixStream> {
        self.stream.into_std()
    }

    /// The body of the next response.
    async fn answer(&mut self) -> io::Result<BytesMut> {
        let length = loop {
            let parsed = parse_response(&self.input, &LIMITS, Method::Get)
                .map_err(|_| bad("its answer is no HTTP"))?;
            if let Some((head, end)) = parsed {
                self.input.advance(end);
                break match head.framing {
                    ResponseFraming::None => 0,
                    ResponseFraming::Length(length) => usize::try_from(length)
                        .ok()
                        .filter(|length| *length <= LONGEST_ANSWER)
                        .ok_or_else(|| bad("its answer is too long"))?,
                    _ => return Err(bad("its answer is of unknown length")),
                };
            }
            self.fill().await?;
        };
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(self.input.split_to(length))
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// JSON that may stand in a header: what is not ASCII is escaped.
fn ascii_json(what: &Become<'_>) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(what)?;
    if json.is_ascii() {
        return Ok(json.into_bytes());
    }
    let mut out = Vec::with_capacity(json.len() * 2);
    for character in json.chars() {
        if character.is_ascii() {
            // One byte, as just seen.
            out.push(character as u8);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(out)
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_ascii_and_says_the_same() {
        let env = [("K", "é\u{1f600}\n\"\u{7f}\r")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let what = Become {
            dir: "/ä",
            entry: "/ä/index.ts",
            env: &env,
            wait: false,
        };
        let text = ascii_json(&what).unwrap();
        assert!(text.iter().all(|byte| (b' '..=0x7f).contains(byte)));
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read["dir"], "/ä");
        assert_eq!(read["env"]["K"], env["K"]);
    }

    #[tokio::test]
    async fn a_rehearsal_that_fails_says_why() {
        for (answer, why) in [
            (r#"{"t":"ready","hooks":[]}"#, None),
            (
                r#"{"t":"failed","message":"no such module"}"#,
                Some("no such module"),
            ),
            ("", Some("its answer is none")),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            theirs.write_all((head + answer).as_bytes()).await.unwrap();
            let mut door = Door {
                stream: ours,
                input: BytesMut::new(),
            };
            let told = door.rehearse().await.map_err(|error| error.to_string());
            assert_eq!(told.err().as_deref(), why, "{answer}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_must_be_one() {
        for (answer, outcome) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"t\":\"ready\"}",
                true,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", false),
            ("no HTTP\r\n\r\n", false),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(answer.as_bytes()).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut door = Door {
                stream: ours,
                input: BytesMut::new(),
            };
            let what = Become {
                dir: "/",
                entry: "/",
                env: &BTreeMap::new(),
                wait: true,
            };
            let announced = door.announce(&what).await.unwrap();
            let came = door.assign(announced).await;
            assert_eq!(came.is_ok(), outcome, "{answer}");
        }
    }
}
