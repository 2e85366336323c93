//! `.env` files: one `NAME=value` a line.

use std::collections::BTreeMap;

use crate::diagnostic::{DiagnosticKind, ManifestErrors, Parsed, Position, Report, excerpt};
use crate::env::{VALUE_MAX_BYTES, VARIABLES_MAX};

const START: Position = Position { line: 1, column: 1 };

/// Largest `.env` file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// Reads a `.env` file. `file` is how it is called in messages.
///
/// `export` before a name is skipped. A value is bare (until ` #` or the end of
/// the line, trimmed), `'literal'`, `` `literal` `` or `"with \n \r \t \\ \" \$"`.
/// Values end on their line. Nothing is interpolated. The last of two lines for
/// one name wins, with a warning. Messages never repeat values.
///
/// # Errors
/// All lines that are neither blank, a comment, nor an assignment.
pub fn parse(text: &str, file: &str) -> Result<Parsed<BTreeMap<String, String>>, ManifestErrors> {
    let mut report = Report::new(file);
    let mut values = BTreeMap::new();
    if text.len() > MAX_BYTES {
        let message = format!("the file is over {MAX_BYTES} bytes");
        report.error(DiagnosticKind::Syntax, START, "", message, "");
        return report.finish(values);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if values.insert(name.to_owned(), value).is_some() {
                    let at = Position {
                        line: index + 1,
                        column: column(line, name),
                    };
                    report.warn(at, name, "written twice", "the last one counts");
                }
            }
            Err(problem) => {
                let at = Position {
                    line: index + 1,
                    column: column(line, problem.rest),
                };
                report.error(
                    DiagnosticKind::Syntax,
                    at,
                    problem.name,
                    problem.message,
                    problem.hint,
                );
            }
        }
    }
    if values.len() > VARIABLES_MAX {
        let message = format!("over {VARIABLES_MAX} variables");
        report.error(DiagnosticKind::Value, START, "", message, "");
    }
    report.finish(values)
}

struct Problem<'a> {
    /// The part of the line where it begins.
    rest: &'a str,
    name: &'a str,
    message: String,
    hint: &'static str,
}

fn assignment(line: &str) -> Result<Option<(&str, String)>, Problem<'_>> {
    let text = line.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => text,
    };
    let Some((name, rest)) = text.split_once('=') else {
        // Not repeated: the line may be a piece of a secret of several lines.
        return Err(Problem {
            rest: text,
            name: "",
            message: "no assignment".to_owned(),
            hint: "write NAME=value, or # before a comment; a value ends on its line, \\n in double quotes is a line break",
        });
    };
    let name = name.trim_end();
    if !is_variable_name(name) {
        return Err(Problem {
            rest: text,
            name: "",
            message: format!("{} is no name of a variable", excerpt(name)),
            hint: NAME_HINT,
        });
    }
    match value(rest.trim_start()) {
        Ok(value) => Ok(Some((name, value))),
        Err((message, hint)) => Err(Problem {
            rest,
            name,
            message: message.to_owned(),
            hint,
        }),
    }
}

type ValueProblem = (&'static str, &'static str);

fn value(text: &str) -> Result<String, ValueProblem> {
    if text.contains('\0') {
        return Err(("the value holds a NUL", "no process can be given one"));
    }
    if text.len() > VALUE_MAX_BYTES {
        return Err(("the value is over 64 kb", "keep it in a file"));
    }
    let Some(quote) = text
        .chars()
        .next()
        .filter(|c| matches!(c, '\'' | '"' | '`'))
    else {
        let end = comment_start(text).unwrap_or(text.len());
        return Ok(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut characters = text[1..].chars();
    loop {
        let Some(character) = characters.next() else {
            return Err((
                "the quote is not closed on its line",
                "close it; \\n in double quotes is a line break",
            ));
        };
        if character == quote {
            break;
        }
        if character == '\\' && quote == '"' {
            match characters.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(escaped @ ('\\' | '"' | '$')) => value.push(escaped),
                // As in other readers of such files, an unknown escape stays as it is.
                Some(other) => value.extend(['\\', other]),
                None => {}
            }
        } else {
            value.push(character);
        }
    }
    let rest = characters.as_str().trim();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err(("text after the closing quote", "quote the whole value"))
    }
}

/// Where an unquoted value ends: at a `#` at its begin or after a blank.
fn comment_start(text: &str) -> Option<usize> {
    text.match_indices('#')
        .map(|(index, _)| index)
        .find(|&index| index == 0 || text[..index].ends_with([' ', '\t']))
}

pub(crate) const NAME_HINT: &str =
    "a name is letters, digits, `_`, `.` and `-`, and begins with a letter or `_`";

/// `[A-Za-z_][A-Za-z0-9_.-]*`, at most 256 bytes.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= 256
        && name.bytes().next().is_some_and(first)
        && name
            .bytes()
            .all(|byte| first(byte) || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// The column, from 1 and in characters, where a part of a line begins.
fn column(line: &str, part: &str) -> usize {
    let bytes = part.as_ptr().addr().saturating_sub(line.as_ptr().addr());
    line.get(..bytes).map_or(0, |before| before.chars().count()) + 1
}

#[cfg(test)]
mod tests;
