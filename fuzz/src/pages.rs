//! What the server does to pages and cookies of apps.

use buntime_server::fuzzing;

/// A page keeps its bytes whatever they are, gets at most one insertion, the same
/// however it came, and not a second base.
pub(crate) fn html_insertion(data: &[u8]) {
    let [step, length, rest @ ..] = data else {
        return;
    };
    let (text, page) = rest.split_at(usize::from(*length).min(rest.len()));
    let text = String::from_utf8_lossy(text);
    let base = if text.starts_with('/') {
        &*text
    } else {
        "/app"
    };
    let whole = fuzzing::page(page, usize::MAX, base, &text);
    let pieces = fuzzing::page(page, usize::from(*step), base, &text);
    assert_eq!(whole, pieces, "in pieces of {step}");
    one_tag(&whole.base);
    one_script(&whole.script);

    let added = whole
        .sent
        .len()
        .checked_sub(page.len())
        .expect("bytes are lost");
    let both = [&whole.base[..], &whole.script].concat();
    let inserted = match added {
        0 => &[][..],
        _ if added == both.len() => &both,
        _ if added == whole.script.len() => &whole.script,
        _ => panic!("{added} bytes were added"),
    };
    let is_at = |at: usize| {
        whole.sent[..at] == page[..at]
            && whole.sent[at..].starts_with(inserted)
            && whole.sent[at + inserted.len()..] == page[at..]
    };
    assert!(
        (0..=page.len()).any(is_at),
        "the page's own bytes have changed"
    );

    if added == both.len() && !whole.base.is_empty() {
        // The page has a base of its own now: at most another script is put in.
        let again = fuzzing::page(&whole.sent, usize::MAX, base, &text);
        let added = again.sent.len() - whole.sent.len();
        assert!(added == 0 || added == whole.script.len(), "a second base");
    }
}

/// A tag whose one value cannot be left.
fn one_tag(tag: &[u8]) {
    if tag.is_empty() {
        return;
    }
    let text = std::str::from_utf8(tag).expect("ASCII");
    let value = text
        .strip_prefix("<base href=\"/")
        .expect("a base below the root");
    let value = value.strip_suffix("\">").expect("an end");
    assert!(!value.contains(['"', '\'', '<', '>']), "{text}");
    assert!(!value.starts_with(['/', '\\']), "another host: {text}");
}

/// A script that ends where it should.
fn one_script(script: &[u8]) {
    let text = std::str::from_utf8(script).expect("ASCII");
    let inner = text
        .strip_prefix("<script>")
        .and_then(|text| text.strip_suffix("</script>"))
        .expect("one script");
    assert!(
        !inner.contains(['<', '>', '\n', '\r', '\u{2028}', '\u{2029}']),
        "{text}"
    );
}

/// No session of the server is left in what an app gets, nothing is made up, and
/// taking it out again changes nothing.
pub(crate) fn cookie_header(data: &[u8]) {
    let Some((left, has_session)) = fuzzing::cookie_for_app(data) else {
        return;
    };
    assert!(!has_session, "a session is left");
    assert!(left.len() <= data.len(), "something was added");
    for pair in left
        .split(|&byte| byte == b';')
        .filter(|pair| !pair.trim_ascii().is_empty())
    {
        let pair = pair.trim_ascii();
        assert!(
            data.split(|&byte| byte == b';')
                .any(|sent| sent.trim_ascii() == pair),
            "a pair was made up"
        );
    }
    if !left.is_empty() {
        let again = fuzzing::cookie_for_app(&left).expect("what was sent on is a header");
        assert_eq!(again, (left, false));
    }
}
