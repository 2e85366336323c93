//! Byte sizes as people write them (contract §2), and the number grammar that
//! sizes share with durations.

use std::fmt;
use std::str::FromStr;

/// Digits on each side of the point. Enough for every value in range, and it
/// keeps the arithmetic in `u128`.
const DIGITS_MAX: usize = 18;

/// Each unit and its size in bytes, largest first.
const UNITS: [(&str, u64); 4] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("b", 1)];

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// No number, or a unit that there is not.
    #[error("a size is a number of bytes, or a number with `b`, `kb`, `mb` or `gb`, as in `10mb`")]
    Malformed,
    /// More bytes than JavaScript counts exactly.
    #[error("a size is at most {}", ByteSize::MAX)]
    TooLarge,
}

/// A number of bytes. Units are 1024-based: `1kb` is 1024 bytes.
///
/// Invariant: at most [`ByteSize::MAX`], so that it survives a trip through JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The largest whole number that JavaScript counts exactly, 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// A number of bytes, [`ByteSize::MAX`] if it is more than that.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        if bytes > Self::MAX.0 {
            Self::MAX
        } else {
            Self(bytes)
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    /// Reads `10485760`, `10mb`, `1.5 GB`. Units in any letter case; a part of a
    /// byte is dropped.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let number = split_number(text).ok_or(SizeError::Malformed)?;
        let unit = match number.unit {
            "" => 1,
            name => UNITS
                .iter()
                .find(|(unit, _)| unit.eq_ignore_ascii_case(name))
                .map(|&(_, bytes)| bytes)
                .ok_or(SizeError::Malformed)?,
        };
        let bytes = number.times(unit.into()).ok_or(SizeError::TooLarge)?;
        match u64::try_from(bytes) {
            Ok(bytes) if bytes <= Self::MAX.0 => Ok(Self(bytes)),
            _ => Err(SizeError::TooLarge),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u64| self.0 != 0 && self.0.is_multiple_of(unit);
        match UNITS.iter().find(|(_, unit)| whole(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}b", self.0),
        }
    }
}

/// A decimal number and the word after it.
pub(crate) struct Number<'a> {
    whole: u128,
    fraction: u128,
    fraction_scale: u128,
    pub(crate) unit: &'a str,
}

impl Number<'_> {
    /// The number times `unit`, what is left below one dropped. Exact: no floats.
    /// `None` on overflow.
    pub(crate) fn times(&self, unit: u128) -> Option<u128> {
        let fraction = self.fraction.checked_mul(unit)? / self.fraction_scale;
        self.whole.checked_mul(unit)?.checked_add(fraction)
    }
}

/// Splits `1.5 mb` into the number and `mb`. Digits, with at most one point
/// between digits: no sign, no exponent, no separators, no `NaN`.
pub(crate) fn split_number(text: &str) -> Option<Number<'_>> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let digits = |part: &str| -> Option<u128> {
        let fits = !part.is_empty() && part.len() <= DIGITS_MAX;
        fits.then(|| part.parse().ok()).flatten()
    };
    let scale = u32::try_from(fraction.map_or(0, str::len)).ok()?;
    Some(Number {
        whole: digits(whole)?,
        fraction: fraction.map_or(Some(0), digits)?,
        fraction_scale: 10_u128.checked_pow(scale)?,
        unit: unit.trim_start(),
    })
}

#[cfg(test)]
mod tests;
