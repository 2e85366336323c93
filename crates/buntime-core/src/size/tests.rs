use proptest::prelude::*;

use super::*;

#[test]
fn reads_numbers_and_units() {
    for (text, bytes) in [
        ("0", 0),
        ("10485760", 10 << 20),
        ("10mb", 10 << 20),
        ("10MB", 10 << 20),
        ("1 kb", 1024),
        ("1.5gb", 3 << 29),
        ("7b", 7),
        ("0.5b", 0),
        ("1.1kb", 1126),
        ("9007199254740991", (1 << 53) - 1),
    ] {
        assert_eq!(text.parse().map(ByteSize::bytes), Ok(bytes), "{text}");
    }
}

#[test]
fn refuses_everything_else() {
    for text in [
        "",
        "mb",
        "-1",
        "+1mb",
        "1e99",
        "NaN",
        "inf",
        "0x10",
        "1tb",
        "1k",
        "1kib",
        "1m",
        "1g",
        "ten mb",
        "1.2.3mb",
        "1,5mb",
        "1_000",
        "1mbmb",
        "9999999999999999999",
        ".5mb",
        "5.mb",
    ] {
        assert_eq!(
            text.parse::<ByteSize>(),
            Err(SizeError::Malformed),
            "{text}"
        );
    }
    for text in ["9007199254740992", "999999999999999999gb", "8388608gb"] {
        assert_eq!(text.parse::<ByteSize>(), Err(SizeError::TooLarge), "{text}");
    }
}

#[test]
fn prints_with_the_largest_whole_unit() {
    for (bytes, printed) in [
        (0, "0b"),
        (1, "1b"),
        (1023, "1023b"),
        (1024, "1kb"),
        (1536, "1536b"),
        (10 << 20, "10mb"),
        (1 << 30, "1gb"),
    ] {
        assert_eq!(ByteSize::from_bytes(bytes).to_string(), printed);
    }
    assert_eq!(ByteSize::from_bytes(u64::MAX), ByteSize::MAX);
}

proptest! {
    #[test]
    fn never_panics(text in "[-+0-9.eEkKmMgGbBNa _]{0,50}", other in "\\PC{0,50}") {
        let _ = (text.parse::<ByteSize>(), other.parse::<ByteSize>());
    }

    #[test]
    fn round_trips(bytes in 0..=ByteSize::MAX.bytes(), shift in 0_u32..40) {
        let size = ByteSize::from_bytes(bytes >> shift << shift);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }
}
