//! What is wrong with a configuration.

use std::fmt;

/// One thing that is wrong or odd: where, what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable or the flag, as the reader wrote it.
    pub setting: String,
    /// The value, cut and escaped. `None` for secrets and for what is unset.
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What is accepted, or what to do.
    pub accepted: String,
}

/// Longest value that a message repeats, in characters.
const SHOWN: usize = 80;

impl Problem {
    pub(super) fn new(
        setting: impl Into<String>,
        message: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        Self {
            setting: setting.into(),
            value: None,
            message: message.into(),
            accepted: accepted.into(),
        }
    }

    pub(super) fn with_value(mut self, value: &str) -> Self {
        let escaped: String = value.chars().flat_map(char::escape_debug).collect();
        let mut shown: String = escaped.chars().take(SHOWN).collect();
        if shown.len() < escaped.len() {
            shown.push('…');
        }
        self.value = Some(shown);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setting)?;
        if let Some(value) = &self.value {
            write!(f, "=\"{value}\"")?;
        }
        write!(f, ": {}", self.message)?;
        if !self.accepted.is_empty() {
            write!(f, "; {}", self.accepted)?;
        }
        Ok(())
    }
}

/// Every problem of a configuration. Never empty. `Display` gives one line for each.
#[derive(Debug, Clone, thiserror::Error)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems: those of single settings in the order of [`super::VARIABLES`], then those of several together.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
