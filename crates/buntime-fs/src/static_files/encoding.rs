//! Which precompressed sibling a client takes.

/// Content codings that a sibling file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub(super) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    fn matches(self, token: &[u8]) -> bool {
        token.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Self::Gzip && token.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// How much a client wants a coding, in thousandths; 0 is a refusal. A coding
/// that is not named counts as `*` says, else as refused.
pub(super) fn weight(accept_encoding: &[u8], coding: Coding) -> u16 {
    let mut any = 0;
    for item in accept_encoding.split(|&byte| byte == b',') {
        let mut parts = item.split(|&byte| byte == b';');
        let token = parts.next().unwrap_or(item).trim_ascii();
        if coding.matches(token) {
            return quality(parts);
        }
        if token == b"*" {
            any = quality(parts);
        }
    }
    any
}

/// The `q` parameter in thousandths; 1000 without one, 0 if it is garbled.
fn quality<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    for parameter in parameters {
        let parameter = parameter.trim_ascii();
        if let [b'q' | b'Q', b'=', value @ ..] = parameter {
            return parse_quality(value.trim_ascii()).unwrap_or(0);
        }
    }
    1000
}

fn parse_quality(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::from(digit.is_ascii_digit().then_some(digit - b'0')?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_weights() {
        for (header, br, gzip) in [
            ("gzip, deflate, br, zstd", 1000, 1000),
            ("br;q=0.5, gzip;q=0.8", 500, 800),
            ("gzip", 0, 1000),
            ("*", 1000, 1000),
            ("*;q=0.1, gzip;q=0", 100, 0),
            ("gzip;q=0, *", 1000, 0),
            ("BR ; Q=0.125", 125, 0),
            ("x-gzip", 0, 1000),
            ("identity", 0, 0),
            ("", 0, 0),
            ("br;q=2, gzip;q=1.001", 0, 0),
            ("br;q=, gzip;q=0.1234", 0, 0),
            ("br;q=1., gzip;q=0.", 1000, 0),
        ] {
            assert_eq!(weight(header.as_bytes(), Coding::Brotli), br, "{header}");
            assert_eq!(weight(header.as_bytes(), Coding::Gzip), gzip, "{header}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_in_bounds(header in proptest::collection::vec(any::<u8>(), 0..100)) {
            for coding in Coding::ALL {
                prop_assert!(weight(&header, coding) <= 1000);
            }
        }
    }
}
