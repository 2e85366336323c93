//! Text that stays on its line, cannot steer a terminal and holds no key of the API: who
//! writes one where it does not belong, in a path say, must not find it in a log.

use std::io;

use buntime_core::ApiKey;

/// A JSON string, quotes included, of at most `most` bytes. What is cut ends in `…`.
pub(super) fn json_string(out: &mut String, text: &str, most: usize) {
    out.push('"');
    json_fragment(out, text, most.saturating_sub(2));
    out.push('"');
}

/// The inside of a JSON string, of at most `most` bytes.
pub(super) fn json_fragment(out: &mut String, text: &str, most: usize) {
    const CUT: char = '…';
    let start = out.len();
    // Room for the next character must leave room for the mark of the cut, as it is not known whether more follows.
    let room = most.saturating_sub(CUT.len_utf8());
    for c in ApiKey::hide_in(text).chars() {
        let before = out.len();
        push_escaped(out, c);
        if out.len() - start > room {
            out.truncate(before);
            out.push(CUT);
            return;
        }
    }
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ if is_steering(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
        _ => out.push(c),
    }
}

/// Controls of both sets (0x9b starts an escape sequence too), line separators, and marks that change the reading
/// direction and so hide text from a reader.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Plain text for pretty lines: like the inside of a JSON string, but quotes and backslashes stay as they are.
pub(super) fn plain(out: &mut String, text: &str, most: usize) {
    let start = out.len();
    for c in ApiKey::hide_in(text).chars() {
        let before = out.len();
        match c {
            '"' | '\\' => out.push(c),
            _ => push_escaped(out, c),
        }
        if out.len() - start > most.saturating_sub('…'.len_utf8()) {
            out.truncate(before);
            out.push('…');
            return;
        }
    }
}

/// Makes serde_json escape as [`json_string`] does.
pub(crate) struct SafeFormatter;

impl serde_json::ser::Formatter for SafeFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let fragment = ApiKey::hide_in(fragment);
        let mut rest = &*fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_steering(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut escaped = String::new();
            push_escaped(&mut escaped, c);
            writer.write_all(escaped.as_bytes())?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}
