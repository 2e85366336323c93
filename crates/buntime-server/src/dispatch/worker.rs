//! Requests to an app that runs code: what the worker is told, what of its
//! answer passes.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use buntime_core::Manifest;
use buntime_http::{
    BadHandshake, BodyError, BodySource, Header, HeaderId, HeaderList, HopByHop, Method, RequestId,
    ResponseFraming, Target, apply_response_limits, check_handshake, is_valid_authority,
};
use buntime_pool::{ExchangeError, ShardConnections, WorkerRequest, WorkerResponse};

use super::{Answers, Base, Served, page};
use crate::catalog::{Deployment, Unit};
use crate::failure::Failure;
use crate::forwarded;
use crate::gate::{StateChange, host_by_proxy, session};
use crate::message::{Body, BodyLength, Peer, Request, Response};
use crate::service::{Answer, Service};

/// How often a request follows its app from one deployment to the next.
const REPLACED_TRIES: u32 = 3;

/// Lets the app's worker answer.
pub(crate) async fn serve(
    service: &Service,
    workers: &ShardConnections,
    deployment: Arc<Deployment<Served>>,
    request: Request,
    base: &Base,
    change: Option<StateChange>,
) -> Result<Response, Answer> {
    let Request {
        id,
        method,
        target,
        mut headers,
        websocket,
        peer,
        body,
        ..
    } = request;
    if websocket {
        check_handshake(&headers).map_err(refused_websocket)?;
    }
    // Bun gives an app no body of these, yet leaves it the Content-Length.
    let bodiless = matches!(method, Method::Get | Method::Head);
    if bodiless && !body.is_end() && body.content_length() != Some(0) {
        return Err(BODY_REFUSED.into());
    }
    let prefix = target.path().as_str().get(..base.end).unwrap_or_default();
    let proxy_prefix = page::forwarded_prefix(&headers, &peer);
    service.api.access.withhold(&mut headers);
    prepare_headers(&mut headers, &peer, prefix);
    page::ask_for_whole(deployment.unit(), method, &mut headers);
    let below = target_below(&target, base);
    let mut body = Some(body);
    let mut deployment = deployment;
    let mut tries = REPLACED_TRIES;
    loop {
        let unit = deployment.unit();
        let (Answers::App(app), Some(ready)) = (&deployment.slot().answers, unit.ready()) else {
            return Err(Failure::NOT_FOUND.into());
        };
        limit_body(service, &ready.manifest, body.as_mut())?;
        let asked = WorkerRequest {
            method,
            target: &below,
            headers: &headers,
            request_id: &id,
            websocket,
        };
        let error = match app.exchange(workers, asked, &mut body).await {
            Ok(response) => {
                let response = answer(service, unit, prefix, method, &id, response)?;
                return Ok(page::of_worker(
                    response,
                    ready,
                    method,
                    &proxy_prefix,
                    prefix,
                ));
            }
            Err(error) => error,
        };
        // The unit was replaced after this request had found it: what serves now
        // is what the request is for.
        let replaced = matches!(error, ExchangeError::Retired) && body.is_some() && tries > 0;
        let successor = replaced.then(|| service.find(&target)).flatten();
        match successor {
            Some((successor, _)) if !Arc::ptr_eq(&successor, &deployment) => {
                tries -= 1;
                // It may ask for more than the one before.
                if let (Some(change), Some(ready)) = (&change, successor.unit().ready()) {
                    let app = &successor.unit().id;
                    let checked = change.check_app(&ready.manifest.csrf, app, &service.log);
                    checked.inspect_err(|_| successor.slot().counters.csrf_refused())?;
                }
                deployment = successor;
            }
            _ => return Err(failure(service, unit, &id, error)),
        }
    }
}

/// Holds the body to what the app accepts: at once where its length is known,
/// else while it flows.
fn limit_body(
    service: &Service,
    manifest: &Manifest,
    body: Option<&mut Box<dyn BodySource>>,
) -> Result<(), Failure> {
    let Some(body) = body else {
        return Ok(());
    };
    let limit = manifest
        .body_limit(service.bodies.default, service.bodies.max)
        .bytes
        .bytes();
    if body.content_length().is_some_and(|length| length > limit) {
        return Err(Failure::PAYLOAD_TOO_LARGE);
    }
    body.set_limit(limit);
    Ok(())
}

/// The path below the base with the query, as sent.
fn target_below<'a>(target: &'a Target, base: &Base) -> Cow<'a, [u8]> {
    let below = target.path().rest(base.end).as_bytes();
    let Some(query) = target.query() else {
        return Cow::Borrowed(below);
    };
    let mut target = Vec::with_capacity(below.len() + 1 + query.len());
    target.extend_from_slice(below);
    target.push(b'?');
    target.extend_from_slice(query);
    Cow::Owned(target)
}

/// Takes out what the client may not say to a worker and adds what the server
/// does (contract section 4).
fn prepare_headers(headers: &mut HeaderList, peer: &Peer, base: &str) {
    let forwarded = Forwarded::of(headers, peer);
    session::remove_from(headers);
    let hop_by_hop = HopByHop::of(headers);
    headers.retain(|header| {
        !hop_by_hop.drops(&header)
            && !matches!(
                header.id,
                HeaderId::Expect
                    | HeaderId::Forwarded
                    | HeaderId::XBase
                    | HeaderId::XBuntime
                    | HeaderId::XForwarded
                    | HeaderId::XNotFound
                    | HeaderId::XRealIp
                    | HeaderId::XRequestId
            )
    });
    // All of these are made of checked parts, so none is refused.
    for (name, value) in [
        ("x-base", base.as_bytes()),
        ("x-forwarded-for", &forwarded.client),
        ("x-forwarded-proto", forwarded.proto.as_bytes()),
    ] {
        let pushed = headers.push(name.as_bytes(), value);
        debug_assert!(pushed.is_ok(), "{name} is not sendable");
    }
    let pushed = match &forwarded.host {
        Some(host) => headers.push(FORWARDED_HOST, host),
        None if headers.get(HeaderId::Host).is_none_or(<[u8]>::is_empty) => Ok(()),
        None => headers
            .push_value_of(HeaderId::Host, FORWARDED_HOST)
            .map(drop),
    };
    debug_assert!(pushed.is_ok(), "x-forwarded-host is not sendable");
}

const FORWARDED_HOST: &[u8] = b"x-forwarded-host";

/// What the worker is told of the way the request came.
struct Forwarded {
    client: Vec<u8>,
    proto: &'static str,
    /// If another than the request's own.
    host: Option<Vec<u8>>,
}

impl Forwarded {
    fn of(headers: &HeaderList, peer: &Peer) -> Self {
        // All lines tell the way.
        let trusted = peer.trusted_proxy && headers.contains(HeaderId::XForwarded);
        let way = headers
            .iter()
            .filter(|header| trusted && header.name.eq_ignore_ascii_case(b"x-forwarded-for"))
            .map(|header| header.value)
            .filter(|value| !value.is_empty());
        let mut client = Vec::with_capacity(48);
        for before in way {
            client.extend_from_slice(before);
            client.extend_from_slice(b", ");
        }
        for before in forwarded::way(headers).filter(|_| peer.trusted_proxy) {
            // Writing to a Vec cannot fail.
            let _ = write!(client, "{before}, ");
        }
        push_address(&mut client, peer.address);
        Self {
            client,
            proto: peer.scheme_of(headers).as_str(),
            host: host_by_proxy(peer, headers)
                // Apps make links of it.
                .filter(|host| is_valid_authority(host))
                .map(<[u8]>::to_vec),
        }
    }
}

/// Appends what `{address}` says. For IPv4 without the machinery of formatting,
/// which would be one of the dearer things that a request needs.
fn push_address(text: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{address}");
        return;
    };
    let mut digits = itoa::Buffer::new();
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        text.extend_from_slice(digits.format(octet).as_bytes());
    }
}

fn answer(
    service: &Service,
    unit: &Unit,
    base: &str,
    method: Method,
    id: &RequestId,
    response: WorkerResponse,
) -> Result<Response, Answer> {
    let WorkerResponse {
        mut head,
        mut early_hints,
        body,
    } = response;
    for hints in &mut early_hints {
        // A hint has one use, links; nothing else of an app goes ahead of its checks.
        hints.retain(|header| header.name.eq_ignore_ascii_case(b"link"));
    }
    early_hints.retain(|hints| !hints.is_empty());
    let length = match head.framing {
        // The length that GET would have had is all that HEAD has to say of it.
        ResponseFraming::None if method == Method::Head => announced(&head.headers),
        ResponseFraming::None => BodyLength::Exact(0),
        ResponseFraming::Length(length) => BodyLength::Exact(length),
        ResponseFraming::Chunked | ResponseFraming::Close => BodyLength::Unknown,
    };
    let hop_by_hop = HopByHop::of(&head.headers);
    head.headers
        .retain(|header| !hop_by_hop.drops(&header) && passes(&header, base));
    match apply_response_limits(&mut head.headers) {
        Ok(trimmed) if !trimmed.any() => {}
        Ok(_) => service
            .log
            .warn("http", "Response headers trimmed", |fields| {
                fields.request_id(id.as_str());
                fields.text("app", &unit.id);
            }),
        Err(protected) => {
            service
                .log
                .warn("http", "Response headers too large", |fields| {
                    fields.request_id(id.as_str());
                    fields.text("app", &unit.id);
                    fields.text("reason", protected);
                });
            return Err(BAD_RESPONSE.into());
        }
    }
    Ok(Response {
        early_hints,
        status: head.status,
        length,
        headers: head.headers,
        body: Body::Worker(Box::new(body)),
        close: false,
    })
}

/// The length in a response's Content-Length, already checked by the parser.
fn announced(headers: &HeaderList) -> BodyLength {
    headers
        .get(HeaderId::ContentLength)
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .map_or(BodyLength::Unknown, BodyLength::Exact)
}

/// Whether a header of an app's response reaches the client.
fn passes(header: &Header<'_>, base: &str) -> bool {
    match header.id {
        HeaderId::AltSvc
        | HeaderId::ClearSiteData
        | HeaderId::ContentLength
        | HeaderId::XBuntime
        | HeaderId::XRequestId => false,
        HeaderId::ServiceWorkerAllowed => is_below(header.value, base.as_bytes()),
        HeaderId::SetCookie => !session::is_set_by(header.value),
        _ => true,
    }
}

/// Whether `scope` is the base's folder or lies in it. Relative scopes start at
/// the script, which the app serves itself, so a climbing one is refused.
fn is_below(scope: &[u8], base: &[u8]) -> bool {
    // A browser takes tabs out before it reads a URL: dots that they part may meet.
    let climbs = scope.windows(2).any(|pair| pair == b"..")
        || scope.iter().any(|byte| matches!(byte, b'%' | b'\t'));
    let inside = match scope.strip_prefix(base) {
        Some(rest) => rest.starts_with(b"/"),
        None => !scope.starts_with(b"/") && !scope.contains(&b':') && !scope.contains(&b'\\'),
    };
    inside && !climbs
}

const BODY_REFUSED: Failure = Failure::new(
    400,
    "BODY_NOT_ALLOWED",
    "A GET or HEAD request to an app cannot have a body.",
);

const BAD_RESPONSE: Failure = Failure::new(
    502,
    "WORKER_BAD_RESPONSE",
    "The app answered with something that is no valid response.",
);

fn refused_websocket(refusal: BadHandshake) -> Answer {
    Answer::Failure(match refusal {
        BadHandshake::Key => Failure::new(
            400,
            "BAD_WEBSOCKET_KEY",
            "The WebSocket handshake is malformed.",
        ),
        BadHandshake::Version => Failure::new(
            426,
            "UPGRADE_REQUIRED",
            "Only version 13 of the WebSocket protocol is spoken here.",
        ),
    })
}

/// What the client is told when its app gave no answer, and what the log is.
fn failure(service: &Service, unit: &Unit, id: &RequestId, error: ExchangeError) -> Answer {
    let failure = match error {
        ExchangeError::ClientGone | ExchangeError::Body(BodyError::Gone) => return Answer::Aborted,
        ExchangeError::Body(BodyError::TooLarge) => Failure::PAYLOAD_TOO_LARGE,
        ExchangeError::Body(BodyError::TooSlow) => Failure::new(
            408,
            "REQUEST_TIMEOUT",
            "The request body arrived too slowly.",
        )
        .closing(),
        ExchangeError::Body(BodyError::Framing) => {
            Failure::new(400, "BAD_REQUEST", "The request body is malformed.").closing()
        }
        ExchangeError::StartFailed(_) => {
            Failure::new(502, "WORKER_START_FAILED", "This app could not be started.")
        }
        ExchangeError::CrashLoop { retry_after } => Failure::new(
            503,
            "WORKER_CRASH_LOOP",
            "This app failed to start several times and is left alone for a while.",
        )
        .retry_after(retry_after),
        ExchangeError::Crashed => Failure::new(
            502,
            "WORKER_CRASHED",
            "The app failed while it handled the request.",
        ),
        ExchangeError::Timeout => {
            Failure::new(504, "WORKER_TIMEOUT", "The app did not answer in time.")
        }
        // The handler gave no response at all, and its worker goes on.
        ExchangeError::BadResponse(_) | ExchangeError::Threw => BAD_RESPONSE,
        ExchangeError::QueueFull { retry_after } => Failure::new(
            503,
            "WORKER_QUEUE_FULL",
            "Too many requests wait for this app.",
        )
        .retry_after(retry_after),
        ExchangeError::QueueTimeout { retry_after } => Failure::new(
            503,
            "QUEUE_TIMEOUT",
            "The request waited too long for a free worker.",
        )
        .retry_after(retry_after),
        ExchangeError::Retired => Failure::NOT_FOUND,
        // The enum is open for the sandbox's own exit reasons.
        _ => Failure::new(
            502,
            "WORKER_CRASHED",
            "The app failed while it handled the request.",
        ),
    };
    service.log.warn("dispatch", "Request failed", |fields| {
        fields.request_id(id.as_str());
        fields.text("app", &unit.id);
        fields.text("code", failure.code);
        fields.text("reason", error.to_string());
    });
    Answer::Failure(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        for address in ["0.0.0.0", "9.10.255.1", "::1", "::ffff:1.2.3.4"] {
            let mut text = Vec::new();
            push_address(&mut text, address.parse().unwrap());
            assert_eq!(text, address.as_bytes());
        }
    }

    #[test]
    fn a_service_worker_stays_below_its_base() {
        for (scope, allowed) in [
            ("/shop/", true),
            ("/shop/admin/", true),
            ("./", true),
            ("/", false),
            ("/shopping/", false),
            ("/shop/../", false),
            ("/shop/%2e%2e/", false),
            ("/shop/.\t./", false),
            ("https://other.example/shop/", false),
            ("\\\\other", false),
        ] {
            assert_eq!(is_below(scope.as_bytes(), b"/shop"), allowed, "{scope}");
        }
    }

    #[test]
    fn headers_of_the_client_do_not_speak_for_the_server() {
        let mut headers = HeaderList::new();
        for (name, value) in [
            ("Host", "a.example"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Anything", "1"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Base", "/other"),
            ("X-Buntime-Internal", "true"),
            ("Connection", "x-drop, close"),
            ("X-Drop", "1"),
            ("Cookie", "a=1; buntime_session=secret; b=2"),
            ("Accept", "*/*"),
        ] {
            headers.push(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let peer = Peer {
            address: [9, 9, 9, 9].into(),
            listener: crate::message::Listener::Public,
            scheme: crate::message::Scheme::Http,
            trusted_proxy: false,
        };
        prepare_headers(&mut headers, &peer, "/app");
        let mut seen: Vec<String> = headers
            .iter()
            .map(|header| {
                format!(
                    "{}: {}",
                    String::from_utf8_lossy(header.name).to_lowercase(),
                    String::from_utf8_lossy(header.value)
                )
            })
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                "accept: */*",
                "cookie: a=1; b=2",
                "host: a.example",
                "x-base: /app",
                "x-forwarded-for: 9.9.9.9",
                "x-forwarded-host: a.example",
                "x-forwarded-proto: http",
            ]
        );
    }
}
