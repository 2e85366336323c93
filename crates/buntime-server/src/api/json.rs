//! JSON in and out.

use std::fmt;

use buntime_http::{HeaderId, HeaderList};
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
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

/// Reads a body as the fields of an object.
///
/// # Errors
/// 400 `INVALID_JSON` for what is none, 400 `VALIDATION_ERROR` for a field that stands
/// twice.
pub(super) fn parse(bytes: &[u8]) -> Result<Fields, Failure> {
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

/// A body that is read field by field, so that every refusal names its field and says
/// what to write.
pub(crate) trait Body: Sized {
    /// Takes the fields that it has.
    ///
    /// # Errors
    /// 400 `VALIDATION_ERROR`
    fn read(fields: &mut Fields) -> Result<Self, Failure>;
}

/// The fields of a JSON object, taken one by one, so that each refusal can have a code
/// and a sentence of its own.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    #[cfg(test)]
    pub(super) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// 400 `VALIDATION_ERROR`, as for the others.
    pub(super) fn text(&mut self, name: &'static str) -> Result<String, Failure> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            value => Err(unfit(name, value.as_ref(), "a text")),
        }
    }

    /// A text, or `null`, that may be left out.
    pub(super) fn text_if_any(&mut self, name: &'static str) -> Result<Option<String>, Failure> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            value => Err(unfit(name, value.as_ref(), "a text")),
        }
    }

    /// A list of texts that must be there.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Failure> {
        let value = self.take(name);
        let Some(Value::Array(items)) = value else {
            return Err(unfit(name, value.as_ref(), "a list of texts"));
        };
        let texts = items.into_iter().map(|item| match item {
            Value::String(text) => Ok(text),
            other => Err(unfit(name, Some(&other), "a list of texts")),
        });
        texts.collect()
    }

    /// A whole number that must be there.
    pub(super) fn number(&mut self, name: &'static str) -> Result<u64, Failure> {
        let value = self.take(name);
        let number = value.as_ref().and_then(Value::as_u64);
        number.ok_or_else(|| unfit(name, value.as_ref(), "a whole number"))
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

fn unfit(name: &str, value: Option<&Value>, wanted: &str) -> Failure {
    let message = match value {
        None => format!("{name}: is missing; write {wanted}."),
        Some(_) => format!("{name}: write {wanted}."),
    };
    Failure::new(400, "VALIDATION_ERROR", "").saying(message)
}

impl<'de> Deserialize<'de> for Fields {
    /// A field that stands twice would count once, and nobody could say which.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneByOne;
        impl<'de> Visitor<'de> for OneByOne {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Map::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.contains_key(&name) {
                        let shown: String = name.chars().take(FIELD_MAX).collect();
                        let message = format!("the field {shown:?} stands twice");
                        return Err(serde::de::Error::custom(message));
                    }
                    fields.insert(name, map.next_value()?);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(OneByOne)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str, read: impl Fn(&mut Fields) -> Option<Failure>) -> String {
        let failure = match parse(body.as_bytes()) {
            Ok(mut fields) => read(&mut fields).or_else(|| fields.nothing_else().err()),
            Err(failure) => Some(failure),
        };
        failure.map_or_else(String::new, |failure| failure.message.into_owned())
    }

    #[test]
    fn every_refusal_names_its_field_in_plain_words() {
        let number = |fields: &mut Fields| fields.number("release").err();
        for (body, expected) in [
            (r#"{"release": 3}"#, ""),
            (r#"{"release": "3"}"#, "release: write a whole number."),
            (r#"{"release": 1.5}"#, "release: write a whole number."),
            (r#"{"release": -1}"#, "release: write a whole number."),
            (r#"{"release": null}"#, "release: write a whole number."),
            ("{}", "release: is missing; write a whole number."),
            (r#"{"release": 3, "x": 1}"#, "x: there is no such field."),
        ] {
            assert_eq!(message(body, number), expected, "{body}");
        }
        let text = |fields: &mut Fields| fields.text("path").err();
        assert_eq!(message(r#"{"path": 5}"#, text), "path: write a text.");
        let texts = |fields: &mut Fields| fields.texts("paths").err();
        for body in [r#"{"paths": "a"}"#, r#"{"paths": ["a", 5]}"#] {
            assert_eq!(
                message(body, texts),
                "paths: write a list of texts.",
                "{body}"
            );
        }
        let any = |fields: &mut Fields| fields.text_if_any("message").err();
        assert_eq!(message(r#"{"message": null}"#, any), "");
        assert_eq!(message(r#"{"message": []}"#, any), "message: write a text.");
    }

    #[test]
    fn b5_a_field_that_stands_twice_is_refused() {
        let twice = message(r#"{"path": "a", "p\u0061th": "b"}"#, |_| None);
        assert!(twice.contains("the field \"path\" stands twice"), "{twice}");
    }
}
