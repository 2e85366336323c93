use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Vec<(String, String)> {
    parse(text, ".env").unwrap().value.into_iter().collect()
}

fn errors(text: &str) -> Vec<String> {
    let errors = parse(text, ".env").unwrap_err().errors;
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn reads_values() {
    for (line, name, value) in [
        ("A=1", "A", "1"),
        ("A=", "A", ""),
        ("  A = b c  ", "A", "b c"),
        ("export A=1", "A", "1"),
        ("export=1", "export", "1"),
        ("exported=1", "exported", "1"),
        ("A=b # comment", "A", "b"),
        ("A=b#c", "A", "b#c"),
        ("A=#c", "A", ""),
        ("A='b # $X \\n'", "A", "b # $X \\n"),
        (
            "A=\"b # \\n\\t\\\\ \\\" \\$X \\q\"",
            "A",
            "b # \n\t\\ \" $X \\q",
        ),
        ("A=`it's \"x\"` # c", "A", "it's \"x\""),
        ("A=\"\"", "A", ""),
        ("A=$HOME/${X}", "A", "$HOME/${X}"),
        ("A=b=c", "A", "b=c"),
        ("A=it's", "A", "it's"),
        ("a.b-c=1", "a.b-c", "1"),
        ("A=é", "A", "é"),
    ] {
        assert_eq!(read(line), [(name.to_owned(), value.to_owned())], "{line}");
    }
}

#[test]
fn skips_comments_and_reads_all_line_ends() {
    let text = "\u{feff}# one\r\n\r\nA=1\r\n  # two\nB=2\n";
    assert_eq!(
        read(text),
        [("A".into(), "1".into()), ("B".into(), "2".into())]
    );
}

#[test]
fn the_last_of_two_wins() {
    let parsed = parse("A=1\nB=2\nA=3", ".env").unwrap();
    assert_eq!(parsed.value["A"], "3");
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [".env:3:1: A: written twice; the last one counts"]
    );
}

#[test]
fn reports_all_lines_without_values() {
    let text = "A=1\nhunter2\n  1A=hunter2\nB=\"hunter2\nC='hunter2' hunter2\nD=\0\n-----END";
    let errors = errors(text);
    assert_eq!(errors.len(), 6);
    for (error, start) in errors.iter().zip([
        ".env:2:1: no assignment;",
        ".env:3:3: `1A` is no name",
        ".env:4:3: B: the quote is not closed",
        ".env:5:3: C: text after the closing quote",
        ".env:6:3: D: the value holds a NUL",
        ".env:7:1: no assignment;",
    ]) {
        assert!(error.starts_with(start), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn is_bounded() {
    assert_eq!(
        errors(&"A=1\n".repeat(100_000)),
        [".env:1:1: the file is over 262144 bytes"]
    );
    assert_eq!(errors(&"x\n".repeat(100_000)).len(), 100);
    let many: String = (0..1001).map(|index| format!("A{index}=1\n")).collect();
    assert_eq!(errors(&many), [".env:1:1: over 1000 variables"]);
    let long = format!("A={}", "x".repeat(65_537));
    assert_eq!(
        errors(&long),
        [".env:1:3: A: the value is over 64 kb; keep it in a file"]
    );
}

proptest! {
    #[test]
    fn never_panics(text in "[A-Za-z0-9_= '\"`\\\\#$\n\r\té\u{0}]{0,80}", other in "(?s).{0,80}") {
        let _ = (parse(&text, ".env"), parse(&other, ".env"));
    }

    #[test]
    fn quoted_values_round_trip(value in "[^\u{0}]{0,40}") {
        let escaped = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        prop_assert_eq!(read(&format!("A=\"{escaped}\"")), [("A".to_owned(), value)]);
    }
}
