//! The `Range` header.

/// What a `Range` header asks for of a file of known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole: no bytes range, several ranges, or nonsense, all of which a
    /// server may ignore.
    Whole,
    /// `length` bytes from `start`; `length` is at least one.
    Part {
        /// First byte.
        start: u64,
        /// How many.
        length: u64,
    },
    /// A range that lies outside.
    Unsatisfiable,
}

/// Reads a `Range` header against a file of `size` bytes (RFC 9110 section 14.2).
#[must_use]
pub fn byte_range(header: &[u8], size: u64) -> ByteRange {
    let Some((unit, ranges)) = split_once(header, b'=') else {
        return ByteRange::Whole;
    };
    if !unit.trim_ascii().eq_ignore_ascii_case(b"bytes") || ranges.contains(&b',') {
        return ByteRange::Whole;
    }
    let Some((first, last)) = split_once(ranges.trim_ascii(), b'-') else {
        return ByteRange::Whole;
    };
    match (number(first), number(last)) {
        (Number::Absent, Number::Is(suffix)) => {
            let length = suffix.min(size);
            if length == 0 {
                return ByteRange::Unsatisfiable;
            }
            ByteRange::Part {
                start: size - length,
                length,
            }
        }
        (Number::Is(start), Number::Absent) => part(start, u64::MAX, size),
        (Number::Is(start), Number::Is(last)) if last >= start => part(start, last, size),
        _ => ByteRange::Whole,
    }
}

fn part(start: u64, last: u64, size: u64) -> ByteRange {
    if start >= size {
        return ByteRange::Unsatisfiable;
    }
    ByteRange::Part {
        start,
        length: last.min(size - 1) - start + 1,
    }
}

enum Number {
    Absent,
    Is(u64),
    Nonsense,
}

/// Decimal digits; what does not fit is as good as the largest number.
fn number(text: &[u8]) -> Number {
    if text.is_empty() {
        return Number::Absent;
    }
    if !text.iter().all(u8::is_ascii_digit) {
        return Number::Nonsense;
    }
    Number::Is(text.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_single_ranges() {
        let part = |start, length| ByteRange::Part { start, length };
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=10-", part(10, 90)),
            ("bytes=-10", part(90, 10)),
            ("bytes=-1000", part(0, 100)),
            ("bytes=50-1000", part(50, 50)),
            ("BYTES=1-2", part(1, 2)),
            ("bytes=100-", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=99999999999999999999999-", ByteRange::Unsatisfiable),
            ("bytes=0-99999999999999999999999", part(0, 100)),
            ("bytes=5-2", ByteRange::Whole),
            ("bytes=0-1,5-6", ByteRange::Whole),
            ("bytes=-", ByteRange::Whole),
            ("bytes=a-b", ByteRange::Whole),
            ("bytes=+1-2", ByteRange::Whole),
            ("items=0-1", ByteRange::Whole),
            ("bytes", ByteRange::Whole),
            ("", ByteRange::Whole),
        ] {
            assert_eq!(byte_range(header.as_bytes(), 100), expected, "{header}");
        }
        assert_eq!(byte_range(b"bytes=0-", 0), ByteRange::Unsatisfiable);
        assert_eq!(byte_range(b"bytes=-5", 0), ByteRange::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_lie_inside(header in "bytes=[0-9]{0,22}-[0-9]{0,22}", size in any::<u64>()) {
            if let ByteRange::Part { start, length } = byte_range(header.as_bytes(), size) {
                prop_assert!(length >= 1);
                prop_assert!(start.checked_add(length).is_some_and(|end| end <= size));
            }
        }
    }
}
