use proptest::prelude::*;

use super::*;

/// Name, file name and content of each part.
type Part = (String, Option<String>, Vec<u8>);

/// Reads a form that comes in pieces of `step` bytes.
fn read(content_type: &str, body: &[u8], step: usize) -> Result<Vec<Part>, FormError> {
    let mut parser = FormParser::new(content_type.as_bytes(), 10)?;
    let mut parts: Vec<Part> = Vec::new();
    let mut is_open = false;
    for piece in body.chunks(step) {
        parser.feed(piece);
        while let Some(event) = parser.event()? {
            match event {
                FormEvent::Part(head) => {
                    assert!(!is_open);
                    is_open = true;
                    parts.push((head.name, head.file_name, Vec::new()));
                }
                FormEvent::Data(data) => {
                    assert!(is_open && !data.is_empty());
                    parts.last_mut().unwrap().2.extend_from_slice(&data);
                }
                FormEvent::PartEnd => {
                    assert!(is_open);
                    is_open = false;
                }
                FormEvent::End => break,
            }
        }
        // Whatever comes, only a piece of a boundary or of a head is kept.
        assert!(
            parser.buffer.len() <= MAX_PART_HEAD + step,
            "{}",
            parser.buffer.len()
        );
    }
    parser.finish()?;
    assert!(!is_open);
    Ok(parts)
}

const TYPE: &str = "multipart/form-data; boundary=xYz";

fn read_one(head: &str) -> Result<Part, FormError> {
    let body = format!("--xYz\r\n{head}\r\n\r\ncontent\r\n--xYz--\r\n");
    read(TYPE, body.as_bytes(), 7).map(|mut parts| parts.remove(0))
}

#[test]
fn reads_fields_and_files_whatever_the_pieces() {
    let body = b"--xYz\r\n\
        Content-Disposition: form-data; name=\"path\"\r\n\r\n\
        workers/a\r\n\
        --xYz\r\n\
        content-disposition: form-data; name=files; filename=\"a.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n\
        \r\n--xY\r\n\r\n--\r\n\
        --xYz\r\n\
        Content-Disposition: form-data; name=\"files\"; filename=\"\"\r\n\r\n\
        \r\n\
        --xYz--\r\nwhatever follows";
    let expected = vec![
        ("path".to_owned(), None, b"workers/a".to_vec()),
        (
            "files".to_owned(),
            Some("a.bin".to_owned()),
            b"\r\n--xY\r\n\r\n--".to_vec(),
        ),
        ("files".to_owned(), Some(String::new()), Vec::new()),
    ];
    for step in 1..body.len() {
        assert_eq!(read(TYPE, body, step).as_ref(), Ok(&expected), "{step}");
    }
}

#[test]
fn takes_content_types_with_a_boundary_only() {
    let form = |boundary: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--{boundary}--")
    };
    for (content_type, boundary) in [
        ("multipart/form-data; boundary=xYz", "xYz"),
        (
            "Multipart/Form-Data;charset=utf-8;BOUNDARY=\"a b:c\"",
            "a b:c",
        ),
        (
            "multipart/form-data; boundary=----WebKitFormBoundary7MA4;",
            "----WebKitFormBoundary7MA4",
        ),
    ] {
        let read = read(content_type, form(boundary).as_bytes(), 5);
        assert_eq!(read.unwrap().len(), 1, "{content_type}");
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for content_type in [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"x",
        "multipart/form-data; boundary=\"x \"",
        "multipart/form-data; boundary=\"x\\\"\"",
        "multipart/form-data; boundary=x; boundary=y",
        "multipart/form-data; boundary=x y",
        "multipart/form-data; boundary=\"x\" y",
        "multipart/form-data, multipart/form-data; boundary=x",
        "multipart/form-data boundary=x",
        &long,
    ] {
        let refused = FormParser::new(content_type.as_bytes(), 10);
        assert_eq!(
            refused.err(),
            Some(FormError::ContentType),
            "{content_type}"
        );
    }
}

#[test]
fn reads_names_as_clients_write_them() {
    let named = |text: &str| {
        let head = format!("Content-Disposition: form-data; {text}");
        read_one(&head).map(|(name, file, _)| (name, file))
    };
    for (text, name, file) in [
        ("name=\"a\"; filename=\"b c\"", "a", Some("b c")),
        ("name = \"a\"", "?", None),
        ("filename=x;name=a", "a", Some("x")),
        ("name=\"a\"; filename=\"\\\"q\\\\\"", "a", Some("\"q\\")),
        (
            "name=\"a\"; filename=\"C:\\dir\\f\"",
            "a",
            Some("C:\\dir\\f"),
        ),
        (
            "name=\"a\"; filename=\"caf\u{e9};x=y\"",
            "a",
            Some("caf\u{e9};x=y"),
        ),
        ("name=\"a\"; filename*=UTF-8''x", "a", None),
    ] {
        match named(text) {
            Ok(found) => assert_eq!(found, (name.to_owned(), file.map(str::to_owned)), "{text}"),
            Err(error) => assert_eq!((name, error), ("?", FormError::PartHead), "{text}"),
        }
    }
}

#[test]
fn refuses_heads_that_can_be_read_in_two_ways() {
    for head in [
        "",
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=\"a\"",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; filename=\"a\"",
        "Content-Disposition: form-data; name=\"a\"; name=\"b\"",
        "Content-Disposition: form-data; name=\"a\"; Filename=\"b\"; filename=\"c\"",
        "Content-Disposition: form-data; name=\"a\r\n\"",
        "Content-Disposition: form-data; name=\"a\nb\"",
        "Content-Disposition: form-data; name=\"a",
        "Content-Disposition: form-data; name=\"a\" junk",
        "Content-Disposition : form-data; name=\"a\"",
        " Content-Disposition: form-data; name=\"a\"",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
        "Content-Disposition: form-data; name=\"a\"\r\n folded",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
        "Content-Disposition: form-data; name=\"a\"\r\nno colon",
    ] {
        assert_eq!(read_one(head), Err(FormError::PartHead), "{head:?}");
    }
}

#[test]
fn refuses_what_is_no_form() {
    let part = "Content-Disposition: form-data; name=a\r\n\r\n";
    for (body, error) in [
        (String::new(), FormError::Incomplete),
        ("--xYz".to_owned(), FormError::Incomplete),
        (format!("--xYz\r\n{part}"), FormError::Incomplete),
        (format!("--xYz\r\n{part}1\r\n--xYz"), FormError::Incomplete),
        (format!("--xYz\r\n{part}1\r\n--xYz-"), FormError::Incomplete),
        (
            format!("--xYz\r\n{part}1\r\n--xYzz\r\n"),
            FormError::Boundary,
        ),
        (format!("--xYz\n{part}1"), FormError::Boundary),
        ("--xYz -- ".to_owned(), FormError::Boundary),
        ("x".repeat(2_000), FormError::Boundary),
        (
            format!("--xYz\r\nx: {}", "y".repeat(9_000)),
            FormError::PartHead,
        ),
        (
            format!("--xYz\r\n{part}1\r\n").repeat(11),
            FormError::TooManyParts { limit: 10 },
        ),
    ] {
        assert_eq!(read(TYPE, body.as_bytes(), 64), Err(error), "{:.80}", body);
    }
    assert_eq!(read(TYPE, b"--xYz--", 3), Ok(Vec::new()));
    assert_eq!(read(TYPE, b"hello\r\n--xYz--", 3), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        parts in prop::collection::vec(("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..300)), 0..5),
        step in 1_usize..64,
    ) {
        let mut body = Vec::new();
        for (name, content) in &parts {
            let head = format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--xYz--\r\n");
        let expected: Vec<Part> = parts
            .into_iter()
            .map(|(name, content)| (name, None, content))
            .collect();
        prop_assert_eq!(read(TYPE, &body, step), Ok(expected));
    }

    #[test]
    fn pieces_read_like_the_whole(body in "(--xYz|\r\n|\r|\n|-|a|Content-Disposition: form-data; name=a){0,30}") {
        let whole = read(TYPE, body.as_bytes(), body.len().max(1));
        for step in [1, 2, 3, 7] {
            prop_assert_eq!(&read(TYPE, body.as_bytes(), step), &whole);
        }
    }
}
