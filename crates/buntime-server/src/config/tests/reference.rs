//! The declarations, and the page that is made of them.

use std::path::Path;

use super::*;

#[test]
fn the_declarations_are_sound() {
    let mut flags: Vec<&str> = VARIABLES.iter().map(|variable| variable.flag).collect();
    flags.sort_unstable();
    flags.dedup();
    assert_eq!(flags.len(), VARIABLES.len());
    for variable in VARIABLES {
        let expected = variable
            .name
            .trim_start_matches("RUNTIME_")
            .to_ascii_lowercase()
            .replace('_', "-");
        assert_eq!(variable.flag, expected);
        assert!(!variable.meaning.is_empty() && !variable.accepted.is_empty());
        assert!(!variable.meaning.contains('|'), "it stands in a table");
    }
}

/// With `UPDATE_DOCS=1` it writes the part of the page that is generated.
#[test]
fn the_reference_in_the_docs_is_up_to_date() {
    const START: &str = "<!-- reference: generated from the declarations, see crates/buntime-server/src/config -->\n";
    const END: &str = "<!-- end of reference -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(START).expect("the start of the reference");
    let (table, after) = rest.split_once(END).expect("the end of the reference");
    let wanted = format!("\n{}", reference_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{START}{wanted}{END}{after}")).unwrap();
    } else {
        assert!(
            table == wanted,
            "run `UPDATE_DOCS=1 cargo test -p buntime-server reference`"
        );
    }
}
