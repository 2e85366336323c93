//! One line.

use std::fmt::{Display, Write as _};

use super::escape;
use super::fields::{Fields, display};
use super::time::Timestamp;
use super::{Format, Level};

/// Most bytes of a line, its end included.
pub const LINE_MAX: usize = 32 * 1024;

/// Most bytes of the message, and of the context, as they stand in the line. A
/// worker's line is a message, and its escapes count.
const MESSAGE_MAX: usize = buntime_pool::LONGEST_LINE;
const CONTEXT_MAX: usize = 256;

/// Most bytes that a line has beside context, message and fields.
const FRAME: usize = 256;

/// A line with its `\n`.
pub(super) fn render(
    format: Format,
    time: Timestamp,
    level: Level,
    context: &str,
    message: &impl Display,
    fields: &Fields,
) -> String {
    let message = display(message);
    let mut fields = fields.as_json();
    let mut line = String::with_capacity(96 + message.len() + fields.len());
    // Each field has its own bound; too many of them go together, as half a field is no JSON.
    if fields.len() > LINE_MAX - MESSAGE_MAX - CONTEXT_MAX - FRAME {
        fields = r#""fields":"(too long, left out)""#;
    }
    match format {
        Format::Json => {
            let _ = write!(line, r#"{{"level":"{}","message":"#, level.as_str());
            escape::json_string(&mut line, &message, MESSAGE_MAX);
            let _ = write!(line, r#","time":"{}","context":"#, time.full());
            escape::json_string(&mut line, context, CONTEXT_MAX);
            if !fields.is_empty() {
                line.push(',');
                line.push_str(fields);
            }
            line.push('}');
        }
        Format::Pretty => {
            let _ = write!(line, "{} {} [", time.clock(), level.short());
            escape::plain(&mut line, context, CONTEXT_MAX);
            line.push_str("] ");
            escape::plain(&mut line, &message, MESSAGE_MAX);
            if !fields.is_empty() {
                line.push_str(" {");
                line.push_str(fields);
                line.push('}');
            }
        }
    }
    line.push('\n');
    line
}
