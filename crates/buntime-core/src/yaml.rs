//! YAML as a small tree with positions.
//!
//! Read event by event instead of through serde, for three reasons: every key and
//! value keeps its line and column; scalars keep their spelling, so that `1.10` is
//! not `1.1`; and the reader stops at the first event over a limit, so no file is
//! expensive. Aliases and tags are refused: a manifest needs neither, and both are
//! ways to make a small file mean something large or strange.

use std::collections::HashSet;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};

use crate::diagnostic::{DiagnosticKind, Position, Report, excerpt};

/// Most values of one file, keys not counted.
const NODES_MAX: usize = 10_000;

/// Deepest nesting.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the file, no key twice.
    Mapping(Vec<(Key, Node)>),
}

impl Node {
    /// Whether this is the absence of a value.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The value as JSON. A number that JSON has not is a text.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.clone(), node.to_json()))
                .collect(),
        }
    }
}

/// A scalar as written.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Not quoted, so `true`, `5` and `null` are not texts.
    pub(crate) plain: bool,
}

/// A key of a mapping and where it stands.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) at: Position,
    pub(crate) text: String,
}

impl Scalar {
    pub(crate) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    fn to_json(&self) -> serde_json::Value {
        if self.is_null() {
            return serde_json::Value::Null;
        }
        if let Some(value) = self.boolean() {
            return value.into();
        }
        let number = if self.is_text() {
            None
        } else {
            number(&self.text)
        };
        number.map_or_else(|| self.text.as_str().into(), serde_json::Value::Number)
    }

    /// Whether YAML takes the scalar for text.
    pub(crate) fn is_text(&self) -> bool {
        !self.plain || !(self.is_null() || self.boolean().is_some() || is_number(&self.text))
    }
}

/// The numbers of YAML's core schema.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let all = |digits: &str, radix| {
        !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, 8);
    }
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts && unsigned.parse::<f64>().is_ok()
}

/// What a text that [`is_number`] stands for; `None` for infinities and the like.
fn number(text: &str) -> Option<serde_json::Number> {
    let radix = |prefix, radix| {
        text.strip_prefix(prefix)
            .map(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return number.map(Into::into);
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    text.parse().ok().and_then(serde_json::Number::from_f64)
}

/// Reads one document. `None` if there is none, or if it cannot be read, which is
/// then in the report.
pub(crate) fn read(text: &str, report: &mut Report<'_>) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        // Unknown aliases are refused with all others, in one place.
        emit_unresolved_aliases: true,
    };
    let mut tree = Tree::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let problem = match event {
            Ok((event, span)) => match tree.take(event, span, report) {
                Ok(()) => continue,
                Err(problem) => problem,
            },
            Err(error) => Problem {
                at: position(*error.marker()),
                message: format!("no YAML: {}", error.info()),
                hint: syntax_hint(text, error.marker().byte_offset()),
            },
        };
        let Problem { at, message, hint } = problem;
        report.error(DiagnosticKind::Syntax, at, "", message, hint);
        return None;
    }
    tree.root
}

struct Problem {
    at: Position,
    message: String,
    hint: &'static str,
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

/// A list or mapping whose end is yet to come.
enum Open {
    List(Position, Vec<Node>),
    Mapping {
        at: Position,
        entries: Vec<(Key, Node)>,
        seen: HashSet<String>,
        key: Option<Key>,
    },
}

impl Tree {
    fn take(
        &mut self,
        event: Event<'_>,
        span: Span,
        report: &mut Report<'_>,
    ) -> Result<(), Problem> {
        let at = position(span.start);
        let refuse = |message: &str, hint| {
            let message = message.to_owned();
            Err(Problem { at, message, hint })
        };
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse("a second document begins", "one file holds one document");
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return refuse(
                    "aliases are not accepted",
                    "write the value out, and quote a text that begins with `*`",
                );
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => {
                return refuse("tags are not accepted", "quote a text that begins with `!`");
            }
            Event::Scalar(text, style, ..) => {
                let text = text.into_owned();
                let plain = style == ScalarStyle::Plain;
                return self.add_scalar(at, Scalar { text, plain }, report);
            }
            Event::SequenceStart(..) => return self.open(Open::List(at, Vec::new())),
            Event::MappingStart(..) => {
                return self.open(Open::Mapping {
                    at,
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), Problem> {
        let at = match &open {
            Open::List(at, _) | Open::Mapping { at, .. } => *at,
        };
        if let Some(Open::Mapping { key: None, .. }) = self.open.last() {
            return Err(Problem {
                at,
                message: "a list or mapping as a key".to_owned(),
                hint: "keys are texts; quote one that begins with `{` or `[`",
            });
        }
        if self.open.len() == DEPTH_MAX {
            return Err(Problem {
                at,
                message: format!("nested deeper than {DEPTH_MAX} levels"),
                hint: "",
            });
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let node = match self.open.pop() {
            Some(Open::List(at, items)) => Node {
                at,
                value: Value::List(items),
            },
            Some(Open::Mapping { at, entries, .. }) => Node {
                at,
                value: Value::Mapping(entries),
            },
            None => return Ok(()),
        };
        self.add(node)
    }

    fn add_scalar(
        &mut self,
        at: Position,
        scalar: Scalar,
        report: &mut Report<'_>,
    ) -> Result<(), Problem> {
        if let Some(Open::Mapping { seen, key, .. }) = self.open.last_mut()
            && key.is_none()
        {
            let text = scalar.text;
            if !seen.insert(text.clone()) {
                let message = format!("{} is written twice", excerpt(&text));
                report.error(DiagnosticKind::Syntax, at, "", message, "keep one of them");
            }
            *key = Some(Key { at, text });
            return Ok(());
        }
        let value = Value::Scalar(scalar);
        self.add(Node { at, value })
    }

    fn add(&mut self, node: Node) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Problem {
                at: node.at,
                message: format!("over {NODES_MAX} values"),
                hint: "",
            });
        }
        match self.open.last_mut() {
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                }
            }
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn position(marker: granit_parser::Marker) -> Position {
    Position {
        line: marker.line().max(1),
        column: marker.col() + 1,
    }
}

/// What to do about an error, told from the character that it points to.
fn syntax_hint(text: &str, offset: Option<usize>) -> &'static str {
    let rest = offset.and_then(|offset| text.get(offset..)).unwrap_or("");
    match rest.chars().next() {
        Some('@') => "quote a text that begins with `@`, as in \"@acme/shop\"",
        Some('`') => "quote a text that begins with a backquote",
        Some('%') => "quote a text that begins with `%`",
        Some('\t') => "indent with spaces, not tabs",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
