//! API keys as text (contract section 7): `btk_`, 256 random bits, a checksum.
//!
//! All of a key is letters, digits and one `_`, so that a double click selects it
//! whole. The checksum lets anybody tell a key from a typing error, or from chance
//! in a repository, without asking a server.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

/// What a scanner for secrets looks for. A text that matches and whose checksum is
/// right, see [`ApiKey::is_well_formed`], is a key.
pub const API_KEY_PATTERN: &str = r"\bbtk_[0-9A-Za-z]{49}\b";

const MARK: &str = "btk_";
/// Digits of 256 bits in base 62: `62^43 > 2^256`.
const RANDOM: usize = 43;
/// Digits of 32 bits in base 62: `62^6 > 2^32`.
const CHECKSUM: usize = 6;
const LENGTH: usize = MARK.len() + RANDOM + CHECKSUM;
/// How much of a key is shown, so that people know which one it is: 48 of its bits.
const PREFIX: usize = 12;

/// From so many digits on, a text is treated as a key, whatever its checksum: a typing
/// error leaves nearly all of a secret.
const HIDDEN: usize = 16;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The secret of a key. It is overwritten when it is dropped, and has neither
/// `Display` nor `Serialize`. Two are compared by their hashes, never as texts.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// The key of these random bits.
    #[must_use]
    pub fn from_random(bits: &[u8; 32]) -> Self {
        // With its full length from the start, the text is never moved and so never
        // left behind.
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(MARK);
        text.push_str(&Zeroizing::new(base62::<32, RANDOM>(bits)));
        let sum = checksum(text.as_bytes());
        text.push_str(&sum);
        Self(text)
    }

    /// Whether `text` has the form of a key and its checksum is right. Whether such a
    /// key was ever made is for a server to say.
    #[must_use]
    pub fn is_well_formed(text: &[u8]) -> bool {
        if text.len() != LENGTH || !text.starts_with(MARK.as_bytes()) {
            return false;
        }
        let (body, sum) = text.split_at(MARK.len() + RANDOM);
        body.iter().skip(MARK.len()).all(u8::is_ascii_alphanumeric)
            && sum == checksum(body).as_bytes()
    }

    /// The text without the keys that stand in it, nor what was meant to be one: of each
    /// only what may be shown is left. For texts that come from outside and are kept.
    #[must_use]
    pub fn hide_in(text: &str) -> Cow<'_, str> {
        let mut hidden = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(MARK) {
            let behind = rest.get(at + MARK.len()..).unwrap_or_default();
            let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let digits = behind.bytes().take_while(is_digit).count();
            let is_secret = digits >= HIDDEN;
            let shown = if is_secret {
                PREFIX
            } else {
                MARK.len() + digits
            };
            hidden.push_str(rest.get(..at + shown).unwrap_or_default());
            if is_secret {
                hidden.push('…');
            }
            rest = behind.get(digits..).unwrap_or_default();
        }
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.push_str(rest);
        Cow::Owned(hidden)
    }

    /// The secret itself. Each caller is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of it: its first 12 characters.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..PREFIX).unwrap_or_default()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// CRC-32 (ISO 3309) of `body`, in base 62.
fn checksum(body: &[u8]) -> String {
    base62::<4, CHECKSUM>(&crc32fast::hash(body).to_be_bytes())
}

/// A number, most significant byte first, as `DIGITS_OUT` digits.
fn base62<const BYTES: usize, const DIGITS_OUT: usize>(number: &[u8; BYTES]) -> String {
    let mut rest = Zeroizing::new(*number);
    let mut digits = Zeroizing::new([0_u8; DIGITS_OUT]);
    for digit in digits.iter_mut().rev() {
        let mut carry = 0_u32;
        for byte in rest.iter_mut() {
            let value = (carry << 8) | u32::from(*byte);
            // Below 62 * 256 / 62, so it fits.
            *byte = u8::try_from(value / 62).unwrap_or_default();
            carry = value % 62;
        }
        *digit = DIGITS
            .get(usize::try_from(carry).unwrap_or_default())
            .copied()
            .unwrap_or_default();
    }
    digits.iter().map(|&digit| char::from(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_kept_of_a_text_holds_no_key() {
        let key = ApiKey::from_random(&[7; 32]);
        let (secret, prefix) = (key.expose(), key.prefix());
        for (text, expected) in [
            (secret.to_owned(), format!("{prefix}…")),
            (
                format!("/api/keys/{secret}/x"),
                format!("/api/keys/{prefix}…/x"),
            ),
            (
                format!("a{secret}, {secret}é"),
                format!("a{prefix}…, {prefix}…é"),
            ),
            (format!("{secret}x"), format!("{prefix}…")),
            (secret[..30].to_owned(), format!("{prefix}…")),
            (format!("btk_{secret}"), format!("btk_{}…", &prefix[..8])),
        ] {
            assert_eq!(ApiKey::hide_in(&text), expected);
        }
        for text in ["", "btk_", "a btk_short b", prefix, "é btk_é"] {
            assert_eq!(ApiKey::hide_in(text), text);
        }
    }

    #[test]
    fn a_key_has_its_published_form() {
        // Worked out apart from this code.
        let counted: Vec<u8> = (0..32).collect();
        for (bits, text) in [
            (
                [0; 32],
                "btk_00000000000000000000000000000000000000000003RETTU",
            ),
            (
                [0xff; 32],
                "btk_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10IScB6",
            ),
            (
                counted.try_into().unwrap(),
                "btk_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2lCCUq",
            ),
        ] {
            let key = ApiKey::from_random(&bits);
            assert_eq!(key.expose(), text);
            assert_eq!(key.prefix(), &text[..12]);
            assert!(ApiKey::is_well_formed(text.as_bytes()));
        }
    }

    #[test]
    fn nothing_prints_a_key() {
        let key = ApiKey::from_random(&[7; 32]);
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }

    /// What [`API_KEY_PATTERN`] says, without a library for it.
    fn matches_the_pattern(text: &str) -> bool {
        text.strip_prefix("btk_")
            .is_some_and(|rest| rest.len() == 49 && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
    }

    proptest! {
        #[test]
        fn different_bits_make_different_keys_of_the_pattern(a: [u8; 32], b: [u8; 32]) {
            let (first, second) = (ApiKey::from_random(&a), ApiKey::from_random(&b));
            prop_assert_eq!(a == b, first.expose() == second.expose());
            prop_assert!(matches_the_pattern(first.expose()));
            prop_assert!(ApiKey::is_well_formed(first.expose().as_bytes()));
        }

        #[test]
        fn k12_a_changed_character_breaks_the_checksum(bits: [u8; 32], at in 0..53_usize, to in "[ -~]") {
            let key = ApiKey::from_random(&bits);
            let mut text = key.expose().as_bytes().to_vec();
            prop_assume!(text[at] != to.as_bytes()[0]);
            text[at] = to.as_bytes()[0];
            prop_assert!(!ApiKey::is_well_formed(&text));
        }

        #[test]
        fn other_bytes_are_no_key(bytes: Vec<u8>) {
            prop_assert!(!ApiKey::is_well_formed(&bytes));
        }
    }
}
