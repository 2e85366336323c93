//! The part of a version that orders it: numbers and pre-release, without build.

use std::cmp::Ordering;

/// Largest number that a version may hold. npm's own limit: the largest whole
/// number that JavaScript counts exactly.
const NUMBER_MAX: u64 = 9_007_199_254_740_991;

/// Ordered as semver.org says: a pre-release comes before its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Precedence {
    numbers: [u64; 3],
    pre_release: Box<[Identifier]>,
}

/// Numbers come before texts, as in the order of the variants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(Box<str>),
}

impl Precedence {
    /// Strict semver, with or without a build part.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rest, build) = split_tail(text, '+');
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let (core, pre_release) = split_tail(rest, '-');
        let mut numbers = core.split('.').map(number);
        let core = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() {
            return None;
        }
        match pre_release {
            Some(tail) => Self::pre_release(core, tail),
            None => Some(Self::release(core)),
        }
    }

    /// The release itself.
    pub(super) fn release(numbers: [u64; 3]) -> Self {
        Self {
            numbers,
            pre_release: Box::default(),
        }
    }

    /// The lowest pre-release, `-0`: below all others of these numbers.
    pub(super) fn lowest(numbers: [u64; 3]) -> Self {
        Self {
            numbers,
            pre_release: Box::new([Identifier::Number(0)]),
        }
    }

    /// The pre-release with this tail, as in `beta.1`.
    pub(super) fn pre_release(numbers: [u64; 3], tail: &str) -> Option<Self> {
        let identifiers = tail.split('.').map(|text| match number(text) {
            Some(number) => Some(Identifier::Number(number)),
            None if is_digits(text) => None,
            None => is_identifier(text).then(|| Identifier::Text(text.into())),
        });
        Some(Self {
            numbers,
            pre_release: identifiers.collect::<Option<_>>()?,
        })
    }

    /// The lowest pre-release of these numbers.
    pub(super) fn to_lowest(&self) -> Self {
        Self::lowest(self.numbers)
    }

    pub(super) fn numbers(&self) -> [u64; 3] {
        self.numbers
    }

    pub(super) fn is_prerelease(&self) -> bool {
        !self.pre_release.is_empty()
    }
}

impl Ord for Precedence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| other.is_prerelease().cmp(&self.is_prerelease()))
            .then_with(|| self.pre_release.cmp(&other.pre_release))
    }
}

impl PartialOrd for Precedence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `1.0.0-beta` at `-` is `1.0.0` and `beta`.
pub(super) fn split_tail(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

/// A number without leading zeros, at most [`NUMBER_MAX`].
pub(super) fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    if !canonical || !is_digits(text) {
        return None;
    }
    text.parse().ok().filter(|&number| number <= NUMBER_MAX)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[0-9A-Za-z-]+`
pub(super) fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
