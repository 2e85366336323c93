//! JSON in and out.

use buntime_http::{HeaderId, HeaderList};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::message::Response;

/// Longest part of a parser's message that is passed on: it may quote the input.
const MESSAGE_MAX: usize = 200;

/// Refuses the content types that a form of another site can send without asking.
///
/// # Errors
/// 415 `UNSUPPORTED_MEDIA_TYPE`
pub(super) fn check_type(headers: &HeaderList) -> Result<(), Failure> {
    let mut types = headers.get_all(HeaderId::ContentType);
    let is_json = |value: &[u8]| {
        let end = value.iter().position(|&byte| byte == b';');
        let media_type = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        media_type
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    };
    match (types.next(), types.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if is_json(one) => Ok(()),
        _ => Err(Failure::new(
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "This route takes JSON: send Content-Type: application/json.",
        )),
    }
}

/// Reads a body as `T`.
///
/// # Errors
/// 400 `INVALID_JSON` for what is none, 400 `VALIDATION_ERROR` for JSON of another
/// shape, naming the field.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // serde takes a list for a record, field by field; no caller means that.
    let first = bytes.trim_ascii_start().first();
    if first != Some(&b'{') {
        return Err(Failure::new(
            400,
            "INVALID_JSON",
            "The body must be a JSON object.",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let (code, what) = match error.classify() {
            Category::Data => ("VALIDATION_ERROR", "The body does not fit"),
            Category::Io | Category::Syntax | Category::Eof => {
                ("INVALID_JSON", "The body is not valid JSON")
            }
        };
        let mut message = format!("{what}: {error}");
        if message.len() > MESSAGE_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
            message.push('…');
        }
        Failure::new(400, code, "").saying(message)
    })
}

/// The fields of a JSON object, taken one by one, so that each refusal can have a code
/// and a sentence of its own.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The value of a field, if it is there; `null` is a value.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// # Errors
    /// 400 if a field is left that nobody took: it would seem to count.
    pub(super) fn nothing_else(self) -> Result<(), Failure> {
        let Some(name) = self.0.keys().next() else {
            return Ok(());
        };
        let shown: String = name.chars().take(FIELD_MAX).collect();
        Err(Failure::new(400, "VALIDATION_ERROR", "")
            .saying(format!("{shown}: there is no such field.")))
    }
}

/// Longest field name that is repeated, in characters.
const FIELD_MAX: usize = 64;

/// An answer in JSON, which no cache keeps.
pub(crate) fn reply(status: u16, value: &impl Serialize) -> Response {
    // Our own types have no keys that are no text, and nothing else can fail.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::with_bytes(status, "application/json; charset=utf-8", body);
    response.set(b"cache-control", b"no-store");
    response
}

/// `{"success":true,"data":…}`, which most routes answer with.
pub(crate) fn success(status: u16, data: impl Serialize) -> Response {
    reply(
        status,
        &Success {
            success: true,
            data,
        },
    )
}

/// `{"success":true}`
pub(crate) fn done() -> Response {
    reply(200, &Done { success: true })
}

/// What is answered where there is nothing to tell.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Done {
    success: bool,
}

/// What most routes answer with.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Success<T> {
    success: bool,
    data: T,
}
