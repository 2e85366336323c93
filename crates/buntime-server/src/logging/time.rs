//! Times in lines, always UTC, so that lines of several machines compare.

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamp(pub(super) u64);

impl Timestamp {
    /// By the wall clock.
    pub(crate) fn now() -> Self {
        Self::of(SystemTime::now())
    }

    /// Of a time that is not before 1970.
    pub(crate) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH);
        Self::after_epoch(since.unwrap_or_default())
    }

    /// So long after 1970 began.
    pub(crate) fn after_epoch(since: Duration) -> Self {
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// `2026-11-22T12:34:56.789Z`.
    pub(crate) fn full(self) -> impl Display {
        fmt::from_fn(move |f| {
            let (year, month, day) = civil(self.0 / 86_400_000);
            write!(f, "{year:04}-{month:02}-{day:02}T{}Z", self.clock())
        })
    }

    /// `12:34:56.789`.
    pub(super) fn clock(self) -> impl Display {
        fmt::from_fn(move |f| {
            let ms = self.0 % 86_400_000;
            write!(
                f,
                "{:02}:{:02}:{:02}.{:03}",
                ms / 3_600_000,
                ms / 60_000 % 60,
                ms / 1000 % 60,
                ms % 1000
            )
        })
    }
}

/// Year, month and day of a number of days since 1970. Years are counted from March, so that the leap day is the last
/// day of its year, and in eras of 400 years, which all have the same length.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + 719_468; // From 1 March of year 0.
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let full = |ms| Timestamp(ms).full().to_string();
        assert_eq!(full(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(full(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(full(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(full(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(full(1_795_350_896_789), "2026-11-22T12:34:56.789Z");
        assert_eq!(
            Timestamp(1_795_350_896_789).clock().to_string(),
            "12:34:56.789"
        );
    }
}
