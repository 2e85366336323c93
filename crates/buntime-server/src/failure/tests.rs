use sha2::{Digest as _, Sha256};

use super::*;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0, |word, at| {
            word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let digit = word >> (18 - 6 * at) & 63;
            text.push(if at <= chunk.len() {
                char::from(ALPHABET[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[test]
fn the_pages_style_is_the_one_that_its_policy_lets_through() {
    let hash = base64(&Sha256::digest(ERROR_PAGE_STYLE));
    assert!(
        ERROR_PAGE_POLICY.contains(&format!("style-src 'sha256-{hash}'")),
        "{hash}"
    );
    assert!(ERROR_PAGE_POLICY.starts_with(own::POLICY));
    let page = Failure::NOT_FOUND.page(&RequestId::fresh());
    assert_eq!(page.matches("<style>").count(), 1);
    assert!(!page.contains(" style=") && !page.contains("<script") && !page.contains("://"));
}

#[test]
fn text_is_text_whoever_asks() {
    let refused = Failure::new(403, "X", "Forbidden").as_text();
    for form in [Form::Json, Form::Page] {
        let response = refused.respond(&RequestId::fresh(), form);
        assert_eq!(
            response.headers.get(HeaderId::ContentType),
            Some(&b"text/plain"[..])
        );
        assert_eq!(response.length, crate::message::BodyLength::Exact(9));
    }
}

#[test]
fn a_message_that_quotes_what_was_sent_stays_text() {
    let message = "unknown field `<script>\"&\n`";
    let failure = Failure::new(400, "X", "").saying(message.to_owned());
    let json: serde_json::Value = serde_json::from_str(&failure.json(&RequestId::fresh())).unwrap();
    assert_eq!(json["error"]["message"], message);
    let page = failure.page(&RequestId::fresh());
    assert!(page.contains("&lt;script&gt;\"&amp;") && !page.contains("<script"));
}
