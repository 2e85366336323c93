//! What is wrong in a file, and where.

use std::fmt;

/// Longest piece of a file that is repeated in a message, in characters.
const EXCERPT_MAX_CHARS: usize = 60;

/// What kind of problem a diagnostic tells of, for programs that answer with an
/// error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiagnosticKind {
    /// The file cannot be read as what it should be.
    Syntax,
    /// A value is not accepted.
    Value,
    /// The name is no package name.
    PackageName,
    /// The name is reserved and no package name.
    ReservedName,
    /// The version is neither semver nor `latest`.
    PackageVersion,
    /// The entrypoint lies outside of the app's folder.
    EntrypointEscapes,
    /// The base of a plugin is reserved or not of one plain segment.
    PluginBase,
    /// Nothing is refused; somebody should look at it.
    Warning,
}

/// One problem of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The path of the key, as in `limits.memory`; empty if it is about the file.
    pub key: String,
    /// What is wrong, with the value where that is no secret.
    pub message: String,
    /// What is accepted, or what to do; may be empty.
    pub hint: String,
    /// What kind of problem it is.
    pub kind: DiagnosticKind,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// A value and what its author should know about how it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// The value.
    pub value: T,
    /// One diagnostic of kind [`DiagnosticKind::Warning`] each.
    pub warnings: Vec<Diagnostic>,
}

/// All that is wrong in one file. One line per problem when printed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestErrors {
    /// Why the file is refused; never empty.
    pub errors: Vec<Diagnostic>,
    /// What would have been said had it not been refused.
    pub warnings: Vec<Diagnostic>,
}

impl ManifestErrors {
    /// Whether one of the errors is of this kind.
    #[must_use]
    pub fn has(&self, kind: DiagnosticKind) -> bool {
        self.errors.iter().any(|error| error.kind == kind)
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ManifestErrors {}

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Collects the problems of one file.
pub(crate) struct Report<'a> {
    file: &'a str,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    /// Most problems kept, of each sort: a hostile file could have thousands.
    const MAX: usize = 100;

    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn error(
        &mut self,
        kind: DiagnosticKind,
        at: Position,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let diagnostic = self.diagnostic(kind, at, key, message.into(), hint.into());
        if self.errors.len() < Self::MAX {
            self.errors.push(diagnostic);
        }
    }

    pub(crate) fn warn(
        &mut self,
        at: Position,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let kind = DiagnosticKind::Warning;
        let diagnostic = self.diagnostic(kind, at, key, message.into(), hint.into());
        if self.warnings.len() < Self::MAX {
            self.warnings.push(diagnostic);
        }
    }

    pub(crate) fn is_full_of_warnings(&self) -> bool {
        self.warnings.len() >= Self::MAX
    }

    pub(crate) fn finish<T>(self, value: T) -> Result<Parsed<T>, ManifestErrors> {
        self.finish_with(Some(value))
    }

    /// As [`Self::finish`], for a value that is absent only if there was an error.
    pub(crate) fn finish_with<T>(self, value: Option<T>) -> Result<Parsed<T>, ManifestErrors> {
        let Self {
            errors, warnings, ..
        } = self;
        match value {
            Some(value) if errors.is_empty() => Ok(Parsed { value, warnings }),
            _ => Err(ManifestErrors { errors, warnings }),
        }
    }

    fn diagnostic(
        &self,
        kind: DiagnosticKind,
        at: Position,
        key: &str,
        message: String,
        hint: String,
    ) -> Diagnostic {
        Diagnostic {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            key: key.to_owned(),
            message,
            hint,
            kind,
        }
    }
}

/// A piece of a file for a message: in backquotes, on one line, cut, without
/// control characters.
pub(crate) fn excerpt(text: &str) -> String {
    format!("`{}`", one_line(text, '`'))
}

/// A text for a message, on one line, cut, without control characters. The quotation
/// mark that it will stand in is escaped.
pub(crate) fn one_line(text: &str, quote: char) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == EXCERPT_MAX_CHARS {
            shown.push('…');
            break;
        }
        if character.is_control() || character == quote {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}
