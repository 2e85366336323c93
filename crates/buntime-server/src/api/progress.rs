//! An upload that tells how far it is: one JSON object a line, the last of which says how
//! it ended.
//!
//! What can be refused by the head of the request alone is refused by a status. After
//! that the answer has begun, and everything else stands in the last line. A client that
//! goes away before what it sent is being put in its place gives the upload up; after that
//! it is brought to its end.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use buntime_core::access::Grant;
use buntime_http::{BodyError, BodySource, Frame, HeaderId, HeaderList, RequestId};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::Api;
use super::call::Call;
use super::multipart::Form;
use super::note::Later;
use super::upload::{Become, LIMITS};
use crate::deploy::{Progress, Stage};
use crate::failure::Failure;
use crate::message::{BodyLength, ByteSender, Response};
use crate::service::Answer;

/// The type of such an answer.
pub(super) const TYPE: &str = "application/x-ndjson";

/// Between two lines of one stage.
const BETWEEN: Duration = Duration::from_millis(250);
/// Lines that wait for a client; what does not fit is left out, but never the last.
const AHEAD: usize = 8;

/// A line.
#[derive(Serialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
enum Line<'a, D> {
    /// So many bytes of the archive have come. `total` is the length of the whole form.
    Receiving {
        bytes: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    Unpacking {
        files: u64,
        bytes: u64,
    },
    Checking,
    Installing,
    Done {
        data: D,
    },
    Failed {
        status: u16,
        error: Refusal<'a>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal<'a> {
    code: &'static str,
    message: &'a str,
    request_id: &'a str,
}

impl<D: Serialize> Line<'_, D> {
    fn of_end<'a>(result: &'a Result<D, Failure>, id: &'a RequestId) -> Line<'a, &'a D> {
        match result {
            Ok(data) => Line::Done { data },
            Err(failure) => Line::Failed {
                status: failure.status,
                error: Refusal {
                    code: failure.code,
                    message: &failure.message,
                    request_id: id.as_str(),
                },
            },
        }
    }

    fn bytes(&self) -> bytes::Bytes {
        // Our own types have no keys that are no text, and nothing else can fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

/// Whether the client asks for such an answer.
pub(super) fn is_wanted(headers: &HeaderList) -> bool {
    let mut types = headers
        .get_all(HeaderId::Accept)
        .flat_map(|value| value.split(|&byte| byte == b','));
    types.any(|one| {
        let end = one.iter().position(|&byte| byte == b';');
        let media_type = one.get(..end.unwrap_or(one.len())).unwrap_or_default();
        media_type
            .trim_ascii()
            .eq_ignore_ascii_case(TYPE.as_bytes())
    })
}

/// The upload, with such an answer.
pub(super) async fn upload<B: Become>(
    api: Arc<Api>,
    mut call: Call,
    grant: Grant,
) -> Result<Response, Answer> {
    // What the head alone refuses.
    Form::of(&mut call.request, &LIMITS)?;
    let total = call.request.body.content_length();
    if call.request.headers.contains(HeaderId::Expect) {
        // Such a client is told to send its body before anything else: after the
        // beginning of an answer nobody can tell it any more.
        call.request.body = Peeked::of(call.request.body).await;
    }
    let (sender, body) = ByteSender::body(AHEAD);
    let later = call.note.later();
    tokio::spawn(run::<B>(api, call, grant, sender, total, later));
    let mut response = Response {
        length: BodyLength::Unknown,
        body,
        ..Response::empty(200)
    };
    response.set(b"content-type", TYPE.as_bytes());
    response.set(b"cache-control", b"no-store");
    // nginx keeps back what it proxies unless it is told not to.
    response.set(b"x-accel-buffering", b"no");
    Ok(response)
}

/// Does the work and says how it ended, once that stands in the audit log.
async fn run<B: Become>(
    api: Arc<Api>,
    call: Call,
    grant: Grant,
    sender: ByteSender,
    total: Option<u64>,
    later: Later,
) {
    let id = call.request.id.clone();
    let result = work::<B>(&api, call, &grant, &sender, total).await;
    let result = match later.end(&api, result).await {
        Ok(done) => Ok(done),
        Err(Answer::Failure(failure)) => Err(failure),
        Err(Answer::Aborted) => return,
    };
    let last = Line::of_end(&result, &id).bytes();
    // The connection has a deadline for a client that does not read.
    if sender.send(last).await.is_ok() {
        sender.finish();
    }
}

async fn work<B: Become>(
    api: &Api,
    call: Call,
    grant: &Grant,
    sender: &ByteSender,
    total: Option<u64>,
) -> Result<B::Done, Answer> {
    let id = call.request.id.clone();
    let lines = Lines::new(sender.clone(), total);
    lines.tell(Stage::Receiving(0));
    let progress = Progress::to(move |stage| lines.tell(stage));
    let ready = tokio::select! {
        ready = B::prepare(api, call, grant, &progress) => ready?,
        () = sender.reader_gone() => return Err(Answer::Aborted),
    };
    B::install(api, &id, ready, &progress).await
}

/// The lines that are not the last.
struct Lines {
    sender: ByteSender,
    total: Option<u64>,
    /// Of which stage the latest was, and when it was told.
    latest: Mutex<Option<(Discriminant<Stage>, Instant)>>,
}

impl Lines {
    fn new(sender: ByteSender, total: Option<u64>) -> Self {
        Self {
            sender,
            total,
            latest: Mutex::new(None),
        }
    }

    /// Tells of a stage when it begins, and then a few times a second.
    fn tell(&self, stage: Stage) {
        let mut latest = self.latest.lock();
        let (kind, now) = (discriminant(&stage), Instant::now());
        if latest.is_some_and(|(known, at)| known == kind && now - at < BETWEEN) {
            return;
        }
        *latest = Some((kind, now));
        let line: Line<'_, ()> = match stage {
            Stage::Receiving(bytes) => Line::Receiving {
                bytes,
                total: self.total,
            },
            Stage::Unpacking(at) => Line::Unpacking {
                files: at.files,
                bytes: at.bytes,
            },
            Stage::Checking => Line::Checking,
            Stage::Installing => Line::Installing,
        };
        self.sender.offer(line.bytes());
    }
}

/// A body of which the first frame was pulled already.
struct Peeked {
    first: Option<Result<Frame, BodyError>>,
    rest: Box<dyn BodySource>,
}

impl Peeked {
    async fn of(mut body: Box<dyn BodySource>) -> Box<dyn BodySource> {
        Box::new(Self {
            first: body.frame().await,
            rest: body,
        })
    }
}

impl BodySource for Peeked {
    fn content_length(&self) -> Option<u64> {
        self.rest.content_length()
    }

    fn is_end(&self) -> bool {
        self.first.is_none() && self.rest.is_end()
    }

    fn set_limit(&mut self, bytes: u64) {
        let pulled = match &self.first {
            Some(Ok(Frame::Data(data))) => data.len() as u64,
            _ => 0,
        };
        self.rest.set_limit(bytes.saturating_sub(pulled));
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.poll_frame(cx),
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.rest.poll_gone(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;

    async fn text(body: &mut Body) -> String {
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Frame::Data(data) = frame.unwrap() {
                text.extend_from_slice(&data);
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_is_told_when_it_begins_and_then_a_few_times_a_second() {
        let (sender, mut body) = ByteSender::body(AHEAD);
        let lines = Lines::new(sender.clone(), Some(9));
        for bytes in 0..10 {
            lines.tell(Stage::Receiving(bytes));
        }
        tokio::time::advance(BETWEEN).await;
        lines.tell(Stage::Receiving(10));
        lines.tell(Stage::Checking);
        lines.tell(Stage::Installing);
        drop(lines);
        sender.finish();
        let expected = "{\"stage\":\"receiving\",\"bytes\":0,\"total\":9}\n\
             {\"stage\":\"receiving\",\"bytes\":10,\"total\":9}\n\
             {\"stage\":\"checking\"}\n{\"stage\":\"installing\"}\n";
        assert_eq!(text(&mut body).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_holds_nothing_up_and_gets_the_last_line() {
        let (sender, mut body) = ByteSender::body(AHEAD);
        let lines = Lines::new(sender.clone(), None);
        for bytes in 0..1000 {
            lines.tell(Stage::Receiving(bytes));
            tokio::time::advance(BETWEEN).await;
        }
        drop(lines);
        let last = async {
            sender.send("last\n".into()).await.unwrap();
            sender.finish();
        };
        let (text, ()) = tokio::join!(text(&mut body), last);
        assert_eq!(text.lines().count(), AHEAD + 1, "{text}");
        assert!(text.ends_with("last\n"), "{text}");
    }

    #[test]
    fn the_type_is_found_among_others() {
        for (accept, wanted) in [
            ("application/x-ndjson", true),
            ("application/json, Application/X-NDJSON;q=0.9", true),
            ("application/json", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderList::new();
            headers.push(b"accept", accept.as_bytes()).unwrap();
            assert_eq!(is_wanted(&headers), wanted, "{accept}");
        }
    }
}
