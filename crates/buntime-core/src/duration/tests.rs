use proptest::prelude::*;

use super::*;

#[test]
fn reads_numbers_and_units() {
    for (text, nanos) in [
        ("0", 0),
        ("30", 30_000_000_000_u128),
        ("1.5", 1_500_000_000),
        ("500ms", 500_000_000),
        ("0.5ms", 500_000),
        ("30s", 30_000_000_000),
        ("2m", 120_000_000_000),
        ("2 h", 7_200_000_000_000),
        ("1d", 86_400_000_000_000),
        ("1W", 604_800_000_000_000),
        ("1y", 31_536_000_000_000_000),
        (" 1S ", 1_000_000_000),
        ("100y", 3_153_600_000_000_000_000),
        ("0.000000001", 1),
        ("1.1s", 1_100_000_000),
    ] {
        assert_eq!(
            parse_duration(text).map(|d| d.as_nanos()),
            Ok(nanos),
            "{text}"
        );
    }
}

#[test]
fn refuses_everything_else() {
    for text in [
        "",
        " ",
        "s",
        "-1",
        "+1",
        "1e99",
        "1e3",
        "NaN",
        "inf",
        ".inf",
        "Infinity",
        "0x10",
        "1_000",
        "1,5s",
        ".5",
        "5.",
        "1.2.3",
        "5 parsecs",
        "5 minutes",
        "1h30m",
        "1h 30m",
        "1s1",
        "٣s",
        "1 s s",
        "1us",
        "1M!",
        "1\0",
        "5µs",
        "9999999999999999999",
        "99999999999999999999999999999999999999",
        "0.0000000000000000000001",
    ] {
        assert_eq!(
            parse_duration(text),
            Err(DurationError::Malformed),
            "{text}"
        );
    }
    for text in [
        "101y",
        "999999999999999999",
        "999999999999999999y",
        "100.1y",
    ] {
        assert_eq!(parse_duration(text), Err(DurationError::TooLong), "{text}");
    }
}

#[test]
fn prints_as_people_write() {
    for (text, printed) in [
        ("90s", "90s"),
        ("60s", "1m"),
        ("86400", "1d"),
        ("7d", "1w"),
        ("365d", "1y"),
        ("0", "0s"),
        ("1500ms", "1500ms"),
        ("1.5", "1500ms"),
        ("0.0015", "0.0015s"),
        ("25h", "25h"),
    ] {
        assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), printed);
    }
}

proptest! {
    #[test]
    fn never_panics(text in "[-+0-9.eEsmhdwyNa _]{0,50}", other in "\\PC{0,50}") {
        let _ = (parse_duration(&text), parse_duration(&other));
    }

    #[test]
    fn round_trips(nanos in 0..=MAX.as_nanos()) {
        let seconds = u64::try_from(nanos / NANOS_PER_SECOND).unwrap();
        let rest = u32::try_from(nanos % NANOS_PER_SECOND).unwrap();
        let duration = HumanDuration::from(Duration::new(seconds, rest));
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn round_trips_whole_seconds(seconds in 0..=MAX.as_secs()) {
        let duration = HumanDuration::from(Duration::from_secs(seconds));
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }
}
