//! The head of a request, as text.

use buntime_http::{HeaderId, HopByHop};

use super::WorkerRequest;

/// How the body of a request is delimited on the way to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    None,
    Length(u64),
    Chunked,
}

/// Appends the whole head. All fields about this connection and about framing are
/// ours, so whatever the client sent cannot desynchronise it.
pub(crate) fn write_head(out: &mut Vec<u8>, request: &WorkerRequest<'_>, framing: RequestFraming) {
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let hop_by_hop = HopByHop::of(request.headers);
    let mut has_host = false;
    request.headers.write_to(out, |header| {
        has_host |= header.id == HeaderId::Host;
        !hop_by_hop.drops(&header)
            && !matches!(
                header.id,
                HeaderId::ContentLength
                    | HeaderId::TransferEncoding
                    | HeaderId::Expect
                    | HeaderId::XBuntime
                    | HeaderId::XRequestId
            )
    });
    if !has_host {
        out.extend_from_slice(b"host: localhost\r\n");
    }
    out.extend_from_slice(b"x-request-id: ");
    out.extend_from_slice(request.request_id.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
    if request.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    match framing {
        RequestFraming::None => {}
        RequestFraming::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        RequestFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use buntime_http::{HeaderList, Method, RequestId};

    use super::*;

    #[test]
    fn what_the_client_says_of_its_connection_stays_behind() {
        let mut headers = HeaderList::new();
        for (name, value) in [
            ("Host", "a.example"),
            ("Connection", "keep-alive, x-mine"),
            ("X-Mine", "1"),
            ("Content-Length", "99"),
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("Upgrade", "h2c"),
            ("X-Buntime-Internal", "true"),
            ("X-Request-Id", "theirs"),
            ("Accept", "*/*"),
        ] {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let id = RequestId::parse(b"ours").unwrap();
        let request = WorkerRequest {
            method: Method::Post,
            target: b"/a?b",
            headers: &headers,
            request_id: &id,
            websocket: false,
        };
        let mut out = Vec::new();
        write_head(&mut out, &request, RequestFraming::Length(3));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\
             x-request-id: ours\r\ncontent-length: 3\r\n\r\n"
        );
    }
}
