//! Downloads: files of strangers, sent from the server's own origin.

use std::fmt::Write as _;
use std::sync::Arc;

use buntime_fs::OpenFile;
use buntime_fs::static_files::FileBody;

use crate::files::{Content, Download};
use crate::message::{Body, BodyLength, FileStream, Response};

/// Whatever a browser makes of it, it runs nothing and belongs to nobody.
const POLICY: &[u8] = b"sandbox; default-src 'none'; frame-ancestors 'none'";

/// A response that no browser shows in place of a page.
pub(super) fn respond(download: Download) -> Response {
    let mut response = Response::empty(200);
    let content_type = match download.content {
        Content::File(OpenFile { file, info }) => {
            response.length = BodyLength::Exact(info.size);
            let body = FileBody::new(Arc::new(file), 0, info.size);
            response.body = Body::File(FileStream::new(body));
            &b"application/octet-stream"[..]
        }
        Content::Zip(zip) => {
            response.length = BodyLength::Unknown;
            response.body = Body::Zip(zip);
            b"application/zip"
        }
    };
    response.set(b"content-type", content_type);
    response.set(
        b"content-disposition",
        disposition(&download.name).as_bytes(),
    );
    response.set(b"content-security-policy", POLICY);
    response.set(b"cache-control", b"no-store");
    response
}

/// `Content-Disposition` (RFC 6266): the name for all clients, with what cannot stand
/// in a quoted text replaced, and the real one in the form of RFC 8187.
fn disposition(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    // A percent sign would be taken for an escape by some.
    let is_safe = |letter: char| is_plain(letter) && !matches!(letter, '"' | '\\' | '%');
    let plain: String = name
        .chars()
        .map(|letter| if is_safe(letter) { letter } else { '_' })
        .collect();
    let mut header = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        header.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                header.push(char::from(byte));
            } else {
                // Writing to a text does not fail.
                let _ = write!(header, "%{byte:02X}");
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_said_in_two_forms() {
        for (name, header) in [
            ("index.ts", "attachment; filename=\"index.ts\""),
            ("a b;c.txt", "attachment; filename=\"a b;c.txt\""),
            (
                "a\"; filename=\"evil.exe",
                "attachment; filename=\"a_; filename=_evil.exe\"; \
                 filename*=UTF-8''a%22%3B%20filename%3D%22evil.exe",
            ),
            (
                "a\r\nSet-Cookie: b",
                "attachment; filename=\"a__Set-Cookie: b\"; \
                 filename*=UTF-8''a%0D%0ASet-Cookie%3A%20b",
            ),
            (
                "caf\u{e9}%41.js",
                "attachment; filename=\"caf__41.js\"; filename*=UTF-8''caf%C3%A9%2541.js",
            ),
        ] {
            assert_eq!(disposition(name), header);
        }
    }

    proptest! {
        #[test]
        fn no_name_ends_the_header_or_its_quotes(name in "\\PC{0,40}|.{0,40}|[\"\\\\\r\n;%=]{0,20}") {
            let header = disposition(&name);
            prop_assert!(header.bytes().all(|byte| (b' '..0x7F).contains(&byte)));
            prop_assert_eq!(header.matches('"').count(), 2);
            prop_assert!(!header.contains('\\'));
        }
    }
}
