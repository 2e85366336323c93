//! What a line says beside its message.

use std::error::Error;
use std::fmt::{self, Display, Write as _};
use std::io;

use serde::Serialize;

use super::escape::{self, SafeFormatter};

/// Most bytes of one field's value, as JSON.
const VALUE_MAX: usize = 8 * 1024;

/// Most fields of a line.
const MOST_FIELDS: usize = 64;

/// Most links of a chain of errors.
const MOST_CAUSES: usize = 10;

/// The keys that a line has of itself.
const RESERVED: [&str; 4] = ["level", "message", "time", "context"];

/// The fields of a line, in the order added. Names are those of the code, values may come from anywhere.
#[derive(Debug, Default)]
pub struct Fields {
    /// `"name":value` and so on, with commas between.
    json: String,
    count: usize,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// `"name":value` pairs with commas between; empty without fields.
    pub(super) fn as_json(&self) -> &str {
        &self.json
    }

    /// A value of any type that serializes. One that is too long becomes a text that is cut.
    pub fn add(&mut self, name: &'static str, value: impl Serialize) -> &mut Self {
        let mut bytes = Bounded {
            bytes: Vec::new(),
            is_full: false,
        };
        let outcome = value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes,
            SafeFormatter,
        ));
        let text = String::from_utf8_lossy(&bytes.bytes);
        match outcome {
            Ok(()) => self.push(name, |out| out.push_str(&text)),
            Err(_) if bytes.is_full => {
                self.push(name, |out| escape::json_string(out, &text, VALUE_MAX))
            }
            // A map whose keys are no texts, or a path that is no UTF-8: the line matters more than the value.
            Err(error) => self.push(name, |out| {
                escape::json_string(out, &format!("(unloggable: {error})"), VALUE_MAX)
            }),
        }
    }

    /// A value as it displays itself.
    pub fn text(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        let text = display(&value);
        self.push(name, |out| escape::json_string(out, &text, VALUE_MAX))
    }

    /// Bytes that may not be UTF-8, such as a path or a header; what is not becomes U+FFFD.
    pub fn bytes(&mut self, name: &'static str, value: &[u8]) -> &mut Self {
        let text = String::from_utf8_lossy(&value[..value.len().min(VALUE_MAX)]);
        self.push(name, |out| escape::json_string(out, &text, VALUE_MAX))
    }

    /// An error and its causes, as `error`.
    pub fn error(&mut self, error: &dyn Error) -> &mut Self {
        let mut text = display(error);
        let mut source = error.source();
        for _ in 0..MOST_CAUSES {
            let Some(cause) = source else { break };
            text.push_str(": ");
            text.push_str(&display(cause));
            source = cause.source();
        }
        self.push("error", |out| escape::json_string(out, &text, VALUE_MAX))
    }

    /// The id of the request that the line is about.
    pub fn request_id(&mut self, id: impl Display) -> &mut Self {
        self.text("requestId", id)
    }

    fn push(&mut self, name: &'static str, value: impl FnOnce(&mut String)) -> &mut Self {
        self.count += 1;
        if self.count > MOST_FIELDS {
            return self;
        }
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push('"');
        escape::json_fragment(&mut self.json, name, 64);
        // A field must not pass for the line's own.
        if RESERVED.contains(&name) {
            self.json.push('_');
        }
        self.json.push_str("\":");
        value(&mut self.json);
        self
    }
}

/// A `Display` as text of bounded length.
pub(super) fn display(value: &(impl Display + ?Sized)) -> String {
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = super::line::LINE_MAX.saturating_sub(self.0.len());
            let end = text.floor_char_boundary(room);
            self.0.push_str(&text[..end]);
            // Stops a long `Display` early; what is there is used.
            if end < text.len() {
                Err(fmt::Error)
            } else {
                Ok(())
            }
        }
    }
    let mut text = Cut(String::new());
    let _ = write!(text, "{value}");
    text.0
}

/// Takes bytes up to the limit, then refuses.
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = VALUE_MAX - self.bytes.len();
        let taken = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        if taken < bytes.len() {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
