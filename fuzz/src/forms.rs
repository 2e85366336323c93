//! Forms with files.

use buntime_http::{FormError, FormEvent, FormParser};

type Part = (String, Option<String>, Vec<u8>);

/// The first line is the content type, the rest the body. In pieces of whatever size
/// a form reads like the whole, and no content comes from anywhere but the body.
pub(crate) fn form(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (content_type, body) = data.split_at(end);
    let whole = read(content_type, body, body.len().max(1));
    for step in [1, 7] {
        assert_eq!(read(content_type, body, step), whole, "in pieces of {step}");
    }
    let Ok(parts) = whole else { return };
    assert!(parts.len() <= PARTS);
    let length: usize = parts.iter().map(|(_, _, content)| content.len()).sum();
    assert!(length <= body.len());
    for (name, file_name, content) in &parts {
        for text in [Some(name), file_name.as_ref()].into_iter().flatten() {
            assert!(!text.contains(['\r', '\n', '\0']));
        }
        let found = body
            .windows(content.len().max(1))
            .any(|window| window == content);
        assert!(found || content.is_empty());
    }
}

const PARTS: usize = 8;

fn read(content_type: &[u8], body: &[u8], step: usize) -> Result<Vec<Part>, FormError> {
    let mut parser = FormParser::new(content_type, PARTS)?;
    let mut parts: Vec<Part> = Vec::new();
    for piece in body.chunks(step) {
        parser.feed(piece);
        while let Some(event) = parser.event()? {
            match event {
                FormEvent::Part(head) => parts.push((head.name, head.file_name, Vec::new())),
                FormEvent::Data(data) => {
                    let (_, _, content) = parts.last_mut().expect("content is of a part");
                    content.extend_from_slice(&data);
                }
                FormEvent::PartEnd => {}
                FormEvent::End => break,
            }
        }
    }
    parser.finish()?;
    Ok(parts)
}
