//! npm ranges, with pre-releases included.
//!
//! By hand, and compared with npm's own `semver` (its option `includePrerelease`)
//! over hundreds of thousands of pairs: libraries take `1` not to include `1.0.0-beta`,
//! as npm does when told to include them, and accept garbage after a valid start.
//! Parsing is one pass over at most 64 bytes.

use std::fmt;
use std::str::FromStr;

use super::precedence::{Precedence, is_identifier, number, split_tail};
use super::{SemVersion, Version};

/// Longest range, in bytes: a range is a part of a URL.
const RANGE_MAX_BYTES: usize = 64;

/// Why a text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Longer than 64 bytes.
    #[error("a range has at most {RANGE_MAX_BYTES} characters")]
    TooLong,
    /// npm would not take it either.
    #[error("a range is an npm range, as in `1`, `1.2`, `^1.0.0` or `>=1 <3`, or `latest`")]
    Malformed,
}

/// What stands after the `@` of a request path: an npm range, pre-releases
/// included, or `latest`. Equal if written the same.
#[derive(Clone, Debug)]
pub struct VersionRange {
    text: Box<str>,
    selector: Selector,
}

#[derive(Clone, Debug)]
enum Selector {
    Latest,
    /// A whole version as text, which may name a build.
    Exact(SemVersion),
    /// A version fits if all comparators of one alternative do.
    AnyOf(Vec<Vec<Comparator>>),
}

#[derive(Clone, Debug)]
enum Comparator {
    Below(Precedence),
    UpTo(Precedence),
    Exactly(Precedence),
    AtLeast(Precedence),
    Above(Precedence),
}

impl Comparator {
    fn matches(&self, version: &Precedence) -> bool {
        match self {
            Self::Below(limit) => version < limit,
            Self::UpTo(limit) => version <= limit,
            Self::Exactly(wanted) => version == wanted,
            Self::AtLeast(limit) => version >= limit,
            Self::Above(limit) => version > limit,
        }
    }
}

impl TryFrom<&str> for VersionRange {
    type Error = RangeError;

    fn try_from(text: &str) -> Result<Self, RangeError> {
        if text.len() > RANGE_MAX_BYTES {
            return Err(RangeError::TooLong);
        }
        // npm reads nothing as "any version"; in a path it is a slip.
        if text.trim().is_empty() {
            return Err(RangeError::Malformed);
        }
        let selector = match Version::try_from(text) {
            Ok(Version::Latest) => Some(Selector::Latest),
            Ok(Version::Semver(version)) => Some(Selector::Exact(version)),
            Err(_) => text
                .split("||")
                .map(alternative)
                .collect::<Option<_>>()
                .map(Selector::AnyOf),
        };
        Ok(Self {
            text: text.into(),
            selector: selector.ok_or(RangeError::Malformed)?,
        })
    }
}

impl FromStr for VersionRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        Self::try_from(text)
    }
}

impl PartialEq for VersionRange {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VersionRange {}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl VersionRange {
    /// The range as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `version` fits, pre-releases included. `latest` fits only itself,
    /// because a folder without a number has no place in a range of numbers.
    #[must_use]
    pub fn matches(&self, version: &Version) -> bool {
        let Version::Semver(version) = version else {
            return matches!(self.selector, Selector::Latest);
        };
        let precedence = &version.0.precedence;
        match &self.selector {
            Selector::Latest => false,
            Selector::Exact(wanted) => wanted.0.precedence == *precedence,
            Selector::AnyOf(alternatives) => alternatives
                .iter()
                .any(|all| all.iter().all(|one| one.matches(precedence))),
        }
    }

    /// Whether the range is this version's whole text. Versions that differ only
    /// in their build are one version to npm; the one asked for by name goes first.
    pub(super) fn names(&self, version: &Version) -> bool {
        match (&self.selector, version) {
            (Selector::Exact(wanted), Version::Semver(version)) => wanted == version,
            _ => false,
        }
    }
}

/// What stands between two `||`; nothing is any version.
fn alternative(text: &str) -> Option<Vec<Comparator>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let mut comparators = Vec::new();
    if let [from, "-", to] = words[..] {
        hyphen(Partial::parse(from)?, Partial::parse(to)?, &mut comparators);
        return Some(comparators);
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let (operator, rest) = Operator::split(word);
        // `> 1` is `>1`.
        let rest = match rest {
            "" => words.next()?,
            rest => rest,
        };
        operator.apply(Partial::parse(rest)?, &mut comparators);
    }
    Some(comparators)
}

#[derive(Clone, Copy)]
enum Operator {
    None,
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Tilde,
    Caret,
}

impl Operator {
    fn split(word: &str) -> (Self, &str) {
        const OPERATORS: [(&str, Operator); 8] = [
            ("<=", Operator::LessEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterEqual),
            (">", Operator::Greater),
            ("=", Operator::Equal),
            ("~>", Operator::Tilde),
            ("~", Operator::Tilde),
            ("^", Operator::Caret),
        ];
        OPERATORS
            .into_iter()
            .find_map(|(sign, operator)| Some((operator, word.strip_prefix(sign)?)))
            .unwrap_or((Self::None, word))
    }

    /// Turns `^1.2` and the like into comparators, as npm does with pre-releases
    /// included: a part that is left out begins at its lowest pre-release.
    fn apply(self, partial: Partial, out: &mut Vec<Comparator>) {
        use Comparator::{Above, AtLeast, Below, Exactly, UpTo};
        let Some(next) = partial.next() else {
            // `*` is any version, but nothing is above or below all of them.
            if matches!(self, Self::Less | Self::Greater) {
                out.push(Below(Precedence::lowest([0, 0, 0])));
            }
            return;
        };
        let next = Precedence::lowest(next);
        let caret_end = Precedence::lowest(partial.caret_end());
        let tilde_end = Precedence::lowest(partial.tilde_end());
        let whole = matches!(partial, Partial::Full(_));
        let start = partial.start();
        match self {
            Self::None | Self::Equal if whole => out.push(Exactly(start)),
            Self::None | Self::Equal => out.extend([AtLeast(start), Below(next)]),
            Self::Less => out.push(Below(start)),
            Self::LessEqual if whole => out.push(UpTo(start)),
            // npm ends `<=1.2` at 1.3.0-0, so that all of 1.2 fits.
            Self::LessEqual => out.push(Below(next)),
            Self::Greater if whole => out.push(Above(start)),
            Self::Greater => out.push(AtLeast(next)),
            Self::GreaterEqual => out.push(AtLeast(start)),
            Self::Tilde => out.extend([AtLeast(start), Below(tilde_end)]),
            Self::Caret => out.extend([AtLeast(start), Below(caret_end)]),
        }
    }
}

/// `from - to`, both included.
fn hyphen(from: Partial, to: Partial, out: &mut Vec<Comparator>) {
    match from {
        Partial::Any => {}
        // Pre-releases are included, so a release brings its own along.
        Partial::Full(version) if !version.is_prerelease() => {
            out.push(Comparator::AtLeast(version.to_lowest()));
        }
        from => out.push(Comparator::AtLeast(from.start())),
    }
    match to {
        Partial::Full(version) if version.is_prerelease() => out.push(Comparator::UpTo(version)),
        to => out.extend(
            to.next()
                .map(|next| Comparator::Below(Precedence::lowest(next))),
        ),
    }
}

/// A version of which the end may be missing.
enum Partial {
    Any,
    Major(u64),
    Minor(u64, u64),
    Full(Precedence),
}

impl Partial {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches(['v', '=']);
        let (rest, build) = split_tail(text, '+');
        let (core, pre_release) = split_tail(rest, '-');
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let mut parts = [None; 3];
        let mut count = 0;
        for part in core.split('.') {
            let slot = parts.get_mut(count)?;
            count += 1;
            if !matches!(part, "x" | "X" | "*") {
                *slot = Some(number(part)?);
            }
        }
        if count < 3 && (pre_release.is_some() || build.is_some()) {
            return None;
        }
        match parts {
            [None, None, None] => Some(Self::Any),
            [Some(major), None, None] => Some(Self::Major(major)),
            [Some(major), Some(minor), None] => Some(Self::Minor(major, minor)),
            [Some(major), Some(minor), Some(patch)] => {
                let numbers = [major, minor, patch];
                let version = match pre_release {
                    Some(tail) => Precedence::pre_release(numbers, tail)?,
                    None => Precedence::release(numbers),
                };
                Some(Self::Full(version))
            }
            // A number after an `x`.
            _ => None,
        }
    }

    /// The numbers, zeros for what is left out.
    fn numbers(&self) -> [u64; 3] {
        match *self {
            Self::Any => [0, 0, 0],
            Self::Major(major) => [major, 0, 0],
            Self::Minor(major, minor) => [major, minor, 0],
            Self::Full(ref version) => version.numbers(),
        }
    }

    /// The lowest version that the text stands for.
    fn start(self) -> Precedence {
        match self {
            Self::Full(version) => version,
            partial => Precedence::lowest(partial.numbers()),
        }
    }

    /// The numbers after all that the text stands for; none after any version.
    /// The largest part is 2^53 - 1, so adding one cannot overflow.
    fn next(&self) -> Option<[u64; 3]> {
        let [major, minor, patch] = self.numbers();
        match self {
            Self::Any => None,
            Self::Major(_) => Some([major + 1, 0, 0]),
            Self::Minor(..) => Some([major, minor + 1, 0]),
            Self::Full(_) => Some([major, minor, patch + 1]),
        }
    }

    /// Where `~` ends: the first number is fixed, and the second if it is there.
    fn tilde_end(&self) -> [u64; 3] {
        let [major, minor, _] = self.numbers();
        match self {
            Self::Any | Self::Major(_) => [major + 1, 0, 0],
            Self::Minor(..) | Self::Full(_) => [major, minor + 1, 0],
        }
    }

    /// Where `^` ends: the first number that is not zero is fixed.
    fn caret_end(&self) -> [u64; 3] {
        match (self.numbers(), self) {
            ([0, 0, patch], Self::Full(_)) => [0, 0, patch + 1],
            ([0, minor, _], Self::Minor(..) | Self::Full(_)) => [0, minor + 1, 0],
            ([major, ..], _) => [major + 1, 0, 0],
        }
    }
}
