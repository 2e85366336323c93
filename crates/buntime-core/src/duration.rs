//! Durations as people write them (contract §2).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::size::split_number;

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const SECONDS_PER_DAY: u128 = 86_400;

/// Longest duration. Far below where adding one to a clock could overflow.
const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Each unit and its length in nanoseconds, longest first. A year has 365 days.
const UNITS: [(&str, u128); 7] = [
    ("y", 365 * SECONDS_PER_DAY * NANOS_PER_SECOND),
    ("w", 7 * SECONDS_PER_DAY * NANOS_PER_SECOND),
    ("d", SECONDS_PER_DAY * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", NANOS_PER_SECOND / 1_000),
];

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// No number, or a unit that there is not.
    #[error(
        "a duration is a number of seconds, or a number with `ms`, `s`, `m`, `h`, `d`, `w` or `y`, as in `30s`"
    )]
    Malformed,
    /// Longer than a hundred years.
    #[error("a duration is at most 100y")]
    TooLong,
}

/// Reads `30` (seconds), `1.5s`, `500ms`, `2 h`. Units in any letter case.
///
/// # Errors
/// For anything else: signs, exponents, `NaN`, unknown units, more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let number = split_number(text).ok_or(DurationError::Malformed)?;
    let unit = match number.unit {
        "" => NANOS_PER_SECOND,
        name => UNITS
            .iter()
            .find(|(unit, _)| unit.eq_ignore_ascii_case(name))
            .map(|&(_, nanos)| nanos)
            .ok_or(DurationError::Malformed)?,
    };
    let nanos = number.times(unit).ok_or(DurationError::TooLong)?;
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).map_err(|_| DurationError::TooLong)?;
    let rest = u32::try_from(nanos % NANOS_PER_SECOND).map_err(|_| DurationError::TooLong)?;
    let duration = Duration::new(seconds, rest);
    if duration > MAX {
        return Err(DurationError::TooLong);
    }
    Ok(duration)
}

/// A duration that reads and prints as people write it: `90s` is `90s`, not
/// `1m 30s`. Printing and parsing agree to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// The duration itself.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl FromStr for HumanDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_duration(text).map(Self)
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        match UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", nanos / unit),
            None => {
                let fraction = format!("{:09}", self.0.subsec_nanos());
                write!(
                    f,
                    "{}.{}s",
                    self.0.as_secs(),
                    fraction.trim_end_matches('0')
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
