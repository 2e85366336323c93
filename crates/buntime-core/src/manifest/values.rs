//! One value of a manifest: what it may be, and how its refusal reads.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::ByteSize;
use crate::diagnostic::{DiagnosticKind, Position, Report, excerpt};
use crate::duration::parse_duration;
use crate::yaml::{Key, Node, Value};

/// Longest key for which a similar known one is sought.
const HINT_MAX_BYTES: usize = 64;

/// A value, the path of its key, and where its problems go.
pub(super) struct Field<'a, 'file> {
    pub(super) key: String,
    pub(super) node: &'a Node,
    pub(super) report: &'a mut Report<'file>,
    /// Whether messages must not repeat the value.
    pub(super) secret: bool,
}

impl<'file> Field<'_, 'file> {
    /// A value inside of this one.
    pub(super) fn child<'b>(&'b mut self, name: &str, node: &'b Node) -> Field<'b, 'file> {
        let key = match name.strip_prefix('[') {
            Some(_) => format!("{}{name}", self.key),
            None => format!("{}.{name}", self.key),
        };
        Field {
            key,
            node,
            report: self.report,
            secret: self.secret,
        }
    }

    /// An item of this list.
    pub(super) fn item<'b>(&'b mut self, index: usize, node: &'b Node) -> Field<'b, 'file> {
        self.child(&format!("[{index}]"), node)
    }

    /// Reports that the value is not accepted, and what would be.
    pub(super) fn refuse<T>(&mut self, accepted: impl std::fmt::Display) -> Option<T> {
        self.refuse_as(DiagnosticKind::Value, accepted)
    }

    pub(super) fn refuse_as<T>(
        &mut self,
        kind: DiagnosticKind,
        accepted: impl std::fmt::Display,
    ) -> Option<T> {
        let message = format!("{} is not accepted", self.shown());
        self.error(kind, message, accepted)
    }

    /// Reports an error of the value's own words.
    pub(super) fn error<T>(
        &mut self,
        kind: DiagnosticKind,
        message: impl Into<String>,
        hint: impl std::fmt::Display,
    ) -> Option<T> {
        let at = self.node.at;
        self.report
            .error(kind, at, &self.key, message, hint.to_string());
        None
    }

    /// The value for a message.
    pub(super) fn shown(&self) -> String {
        match &self.node.value {
            Value::Scalar(_) if self.secret => "this value".to_owned(),
            Value::Scalar(scalar) if scalar.is_null() => "no value".to_owned(),
            Value::Scalar(scalar) if scalar.text.is_empty() => "an empty text".to_owned(),
            Value::Scalar(scalar) => excerpt(&scalar.text),
            Value::List(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The spelling of a scalar, whatever its type.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    /// A text: quoted, or what YAML takes for one.
    pub(super) fn text(&mut self, accepted: &str) -> Option<String> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_text() => Some(scalar.text.clone()),
            _ => self.refuse(accepted),
        }
    }

    pub(super) fn boolean(&mut self) -> Option<bool> {
        let value = match &self.node.value {
            Value::Scalar(scalar) => scalar.boolean(),
            _ => None,
        };
        value.or_else(|| self.refuse("true or false, without quotes"))
    }

    pub(super) fn duration(&mut self) -> Option<Duration> {
        match parse_duration(self.scalar().unwrap_or_default()) {
            Ok(duration) => Some(duration),
            Err(error) => self.refuse(error),
        }
    }

    pub(super) fn size(&mut self) -> Option<ByteSize> {
        match self.scalar().unwrap_or_default().parse() {
            Ok(size) => Some(size),
            Err(error) => self.refuse(error),
        }
    }

    pub(super) fn whole_number(&mut self, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.scalar().unwrap_or_default();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && range.contains(&number) => Some(number),
            _ => {
                let (min, max) = range.into_inner();
                self.refuse(format_args!("a whole number from {min} to {max}"))
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(&mut self, words: &[(&str, T)]) -> Option<T> {
        let text = self.scalar().unwrap_or_default();
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(value.clone()),
            None => self.refuse(one_of(words.iter().map(|(word, _)| *word))),
        }
    }
}

/// `a`, `b` or `c`, in backquotes.
pub(super) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.pop() {
        Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// Warns of a key that there is not, with the nearest one that there is.
pub(super) fn warn_unknown(report: &mut Report<'_>, prefix: &str, key: &Key, known: &[&str]) {
    if report.is_full_of_warnings() {
        return;
    }
    let hint = match nearest(&key.text, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => "it has no effect".to_owned(),
    };
    let shown = excerpt(&key.text);
    report.warn(key.at, prefix, format!("unknown key {shown}"), hint);
}

/// Warns of a key without a value.
pub(super) fn warn_empty(report: &mut Report<'_>, at: Position, key: &str) {
    report.warn(at, key, "no value", "the default applies");
}

/// The known key of which this one differs in letter case, dashes and the like only.
pub(super) fn spelled_otherwise<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.len() > HINT_MAX_BYTES {
        return None;
    }
    let key = plain(key);
    known.iter().copied().find(|known| plain(known) == key)
}

/// A key without what people vary.
fn plain(text: &str) -> String {
    text.to_lowercase().replace(['-', '_', ' '], "")
}

/// The known key that somebody most likely meant, if any is near.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.len() > HINT_MAX_BYTES {
        return None;
    }
    let key = plain(key);
    let far = (key.chars().count() / 3).max(1);
    let distance = |known: &str| {
        // `environment` is meant for `env`, far apart as they are.
        let begins = known.len() >= 3 && key.len() >= 3;
        if begins && (key.starts_with(known) || known.starts_with(&key)) {
            1
        } else {
            strsim::damerau_levenshtein(&key, known)
        }
    };
    known
        .iter()
        .map(|known| (distance(&plain(known)), *known))
        .filter(|&(distance, _)| distance <= far)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}
