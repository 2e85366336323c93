//! Words for the person at the terminal. A closed pipe is no reason to fail.

use std::fmt::Display;
use std::io::Write as _;

/// One line of a command's result.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What went wrong.
pub(super) fn complain(problem: impl Display) {
    let _ = writeln!(std::io::stderr(), "error: {problem}");
}

/// What went wrong, in words of its own.
pub(super) fn complain_verbatim(problem: impl Display) {
    let _ = writeln!(std::io::stderr(), "{problem}");
}

/// Several things that went wrong, under one heading.
pub(super) fn complain_all<T: Display>(heading: &str, problems: impl IntoIterator<Item = T>) {
    let mut text = format!("error: {heading}:\n");
    for problem in problems {
        text.push_str(&format!("  {problem}\n"));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
