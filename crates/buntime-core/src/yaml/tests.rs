use std::fmt::Write;

use super::*;

/// The tree on one line: scalars in quotes if they were quoted, each value with
/// its place.
fn show(node: &Node) -> String {
    let Position { line, column } = node.at;
    let mut out = format!("{line}:{column}");
    match &node.value {
        Value::Scalar(scalar) if scalar.plain => out += &scalar.text,
        Value::Scalar(scalar) => write!(out, "{:?}", scalar.text).unwrap(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(show).collect();
            write!(out, "[{}]", items.join(", ")).unwrap();
        }
        Value::Mapping(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, node)| {
                    format!(
                        "{}:{}{}: {}",
                        key.at.line,
                        key.at.column,
                        key.text,
                        show(node)
                    )
                })
                .collect();
            write!(out, "{{{}}}", entries.join(", ")).unwrap();
        }
    }
    out
}

fn tree(text: &str) -> String {
    let mut report = Report::new("f");
    let node = read(text, &mut report);
    assert!(report.finish(()).is_ok(), "{text}");
    node.map_or_else(|| "nothing".to_owned(), |node| show(&node))
}

fn errors(text: &str) -> Vec<String> {
    let mut report = Report::new("f");
    read(text, &mut report);
    let errors = report.finish(()).unwrap_err().errors;
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn keeps_places_and_spelling() {
    assert_eq!(
        tree("a: 1.10\nb:\n  - 'x'\n  - {c: \"\"}\n"),
        "1:1{1:1a: 1:41.10, 2:1b: 3:3[3:5\"x\", 4:5{4:6c: 4:9\"\"}]}"
    );
    assert_eq!(tree("# nothing\n"), "nothing");
    assert_eq!(tree("é: é\nb: 1"), "1:1{1:1é: 1:4é, 2:1b: 2:41}");
}

#[test]
fn refuses_what_a_manifest_does_not_need() {
    for (text, start) in [
        ("a: &x 1\nb: *x", "f:2:4: aliases are not accepted"),
        ("a: *x", "f:1:4: aliases are not accepted"),
        ("a: !!js/function 'x'", "f:1:"),
        ("a: !!str 5", "f:1:"),
        ("a: !x [1]", "f:1:"),
        ("a: 1\n---\nb: 2", "f:2:1: a second document begins"),
        ("%YAML 1.2\n---\na: 1", "f:1:1: no YAML"),
        ("{[a]: 1}", "f:1:2: a list or mapping as a key"),
        ("a: 1\na: 2", "f:2:1: `a` is written twice"),
        ("a: [a", "f:"),
        ("a: @b", "f:1:4: no YAML"),
    ] {
        let errors = errors(text);
        assert!(errors[0].starts_with(start), "{text:?}: {errors:?}");
    }
}

#[test]
fn tells_what_to_do_about_a_scope_without_quotes() {
    assert!(errors("name: @acme/shop")[0].contains("quote a text that begins with `@`"));
}

#[test]
fn knows_which_scalars_are_texts() {
    let scalar = |text: &str, plain| Scalar {
        text: text.to_owned(),
        plain,
    };
    for text in [
        "1", "-1", "1.5", "1e99", ".5", "0x1f", "0o7", ".inf", "-.inf", ".nan", "+1", "true",
        "FALSE", "null", "~", "",
    ] {
        assert!(!scalar(text, true).is_text(), "{text}");
        assert!(scalar(text, false).is_text(), "{text}");
    }
    for text in [
        "1.0.0", "1..4", "yes", "off", "0x", "0xg", "inf", "nan", "infinity", "1m", "-", "..", ".",
    ] {
        assert!(scalar(text, true).is_text(), "{text}");
    }
}
