//! Failures as clients see them: a status, a stable code, a sentence that gives
//! nothing away (contract sections 4 and 7).

use std::borrow::Cow;
use std::time::Duration;

use buntime_http::{HeaderId, HeaderList, Method, RequestError, RequestId};

use crate::message::{Request, Response};
use crate::own;

/// What a client is told when a request cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// For programs. Never changes once released.
    pub code: &'static str,
    /// For people. Names no path of this machine, stack or internals.
    pub message: Cow<'static, str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The methods that the resource has, with 405.
    pub allow: Option<&'static str>,
    /// Whether the connection ends with this answer.
    pub close: bool,
    /// Whether everybody gets the message alone, as text.
    pub text: bool,
}

impl Failure {
    /// A failure without further headers.
    #[must_use]
    pub const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            retry_after: None,
            allow: None,
            close: false,
            text: false,
        }
    }

    /// The same, saying what is only known now.
    #[must_use]
    pub fn saying(mut self, message: String) -> Self {
        self.message = message.into();
        self
    }

    /// The same, telling the client when to come back.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The same, ending the connection.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The same, as text whoever asks.
    #[must_use]
    pub const fn as_text(mut self) -> Self {
        self.text = true;
        self
    }

    /// 404 for everything that nobody serves.
    pub const NOT_FOUND: Self = Self::new(404, "NOT_FOUND", "Nothing is served at this address.");
    /// 400 for paths that could be read in two ways (contract section 4).
    pub const BAD_PATH: Self = Self::new(400, "BAD_PATH", "The path is ambiguous or malformed.");
    /// 401 for every API route that is not public.
    pub const AUTH_REQUIRED: Self = Self::new(
        401,
        "AUTH_REQUIRED",
        "This route needs a valid API key, as X-API-Key or as Authorization: Bearer.",
    );
    /// 500 for what should not be possible.
    pub const INTERNAL: Self = Self::new(500, "INTERNAL_ERROR", "Something went wrong here.");
    /// 413, always as text (contract section 4).
    pub const PAYLOAD_TOO_LARGE: Self = Self::new(413, "PAYLOAD_TOO_LARGE", "Payload Too Large")
        .as_text()
        .closing();

    /// 405 with the methods that are allowed.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let mut failure = Self::new(405, "METHOD_NOT_ALLOWED", "");
        failure.allow = Some(allow);
        failure.saying(format!("This address answers {allow}."))
    }

    /// The response to a client: a page for a browser's navigation, JSON for
    /// everyone else, and text where the failure is one of those that ask for it.
    #[must_use]
    pub fn respond(&self, id: &RequestId, form: Form) -> Response {
        let (content_type, body) = match form {
            _ if self.text => ("text/plain", self.message.clone().into_owned()),
            Form::Json => ("application/json; charset=utf-8", self.json(id)),
            Form::Page => ("text/html; charset=utf-8", self.page(id)),
        };
        let mut response = Response::with_bytes(self.status, content_type, body);
        if content_type.starts_with("text/html") {
            response.set(b"content-security-policy", ERROR_PAGE_POLICY.as_bytes());
        }
        own::protect(&mut response);
        response.set(b"cache-control", b"no-store");
        if let Some(after) = self.retry_after {
            // Whole seconds, and never zero: "at once" would be an invitation.
            let seconds = after.as_secs_f64().ceil().max(1.0);
            response.set(b"retry-after", format!("{seconds:.0}").as_bytes());
        }
        if let Some(allow) = self.allow {
            response.set(b"allow", allow.as_bytes());
        }
        if self.status == 401 {
            // RFC 9110 section 15.5.2 asks for one. No browser opens a dialog for this scheme.
            response.set(b"www-authenticate", b"Bearer");
        }
        if self.status == 426 {
            response.set(b"sec-websocket-version", b"13");
        }
        response.close = self.close;
        response
    }

    fn json(&self, id: &RequestId) -> String {
        // A message may quote what was sent; the code is ours and the id's alphabet
        // needs no escape.
        let message = serde_json::Value::from(&*self.message);
        format!(
            r#"{{"error":{{"code":"{}","message":{message},"requestId":"{}"}}}}"#,
            self.code,
            id.as_str()
        )
    }

    fn page(&self, id: &RequestId) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{status} {code}</title><style>{ERROR_PAGE_STYLE}</style></head>\
             <body><main><h1>{status}</h1><p>{message}</p>\
             <p><small>{code} · request {id}</small></p></main></body></html>\n",
            status = self.status,
            code = self.code,
            message = escaped(&self.message),
            id = id.as_str(),
        )
    }
}

/// As text between tags.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return text.into();
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").into()
}

const ERROR_PAGE_STYLE: &str = ":root{color-scheme:light dark}\
    body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;\
    place-items:center;padding:1.5rem;box-sizing:border-box}\
    main{max-width:32rem}h1{font-size:3rem;line-height:1;margin:0 0 .75rem}\
    p{margin:.25rem 0}small{opacity:.75;overflow-wrap:anywhere}";

/// As [`own::POLICY`], with no scripts, no forms and the hash of the page's one style.
const ERROR_PAGE_POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; \
    frame-ancestors 'none'; script-src 'none'; form-action 'none'; \
    style-src 'sha256-raW54SL7nuPmPmEqnjrKFDm5ve+JVn+5btCQ/2xm7sU='";

/// The form in which a client wants its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A program asks.
    Json,
    /// A person's browser navigates.
    Page,
}

impl Form {
    /// A page for a browser's navigation, else JSON.
    #[must_use]
    pub fn of(method: Method, headers: &HeaderList) -> Self {
        if !matches!(method, Method::Get | Method::Head) {
            return Self::Json;
        }
        let navigates = match headers.get(HeaderId::SecFetchMode) {
            Some(mode) => mode == b"navigate",
            None => headers
                .get(HeaderId::Accept)
                .is_some_and(|accept| accept.starts_with(b"text/html")),
        };
        if navigates { Self::Page } else { Self::Json }
    }

    /// The form for `request`.
    #[must_use]
    pub fn for_request(request: &Request) -> Self {
        Self::of(request.method, &request.headers)
    }
}

/// What the edge answers to a head that it refuses. The connection ends with it.
#[must_use]
pub fn refused_head(error: &RequestError) -> Failure {
    let failure = match error {
        RequestError::TargetTooLong => {
            Failure::new(414, "URI_TOO_LONG", "The request target is too long.")
        }
        RequestError::HeadTooLarge | RequestError::TooManyHeaders | RequestError::ValueTooLong => {
            Failure::new(
                431,
                "HEADERS_TOO_LARGE",
                "The request's headers are too many or too large.",
            )
        }
        RequestError::BadPath => Failure::BAD_PATH,
        RequestError::UnknownMethod => {
            Failure::new(501, "UNKNOWN_METHOD", "The request method is not known.")
        }
        RequestError::MethodNotAllowed => {
            Failure::method_not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
        }
        RequestError::UnsupportedVersion => Failure::new(
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
            "The HTTP version is not supported.",
        ),
        RequestError::UnknownExpectation => Failure::new(
            417,
            "EXPECTATION_FAILED",
            "Only 100-continue can be expected.",
        ),
        RequestError::BadHost => {
            Failure::new(400, "BAD_HOST", "The Host header is missing or malformed.")
        }
        RequestError::Syntax | RequestError::BadFraming | RequestError::UnknownTransferCoding => {
            Failure::new(400, "BAD_REQUEST", "The request is malformed.")
        }
    };
    failure.closing()
}

#[cfg(test)]
mod tests;
