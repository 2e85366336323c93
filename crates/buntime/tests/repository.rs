//! What must hold for the repository itself: where `unsafe` is, and that the pages on
//! security name tests that there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

const ASVS: &str = "docs/security/asvs.yaml";
const ASVS_PAGE: &str = "docs/security/asvs.md";
const SECURITY_PAGE: &str = "docs/security.md";
/// No part of the product. As a worker it knows its control channel by number alone,
/// and no safe function takes a number for a descriptor.
const FAKE_BUN: &str = "crates/fake-bun/src/main.rs";
const UPDATE: &str = "UPDATE_DOCS=1 cargo test -p buntime --test repository";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files of the packages, below the root.
fn rust_files() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["crates", "bench", "fuzz"].map(PathBuf::from).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if name != "node_modules" && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

/// Whether a line of code, comments and texts aside, holds this word.
fn has_word(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    outside.into_iter().any(|code| {
        code.split(|character: char| !character.is_alphanumeric() && character != '_')
            .any(|found| found == word)
    })
}

#[test]
fn unsafe_is_in_the_sandbox_alone_and_says_why() {
    let mut found = 0;
    for path in rust_files() {
        let text = read(path.to_str().unwrap());
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let place = format!("{}:{}", path.display(), at + 1);
            if !has_word(line, "unsafe") {
                continue;
            }
            found += 1;
            assert!(
                path.starts_with("crates/buntime-sandbox") || path == Path::new(FAKE_BUN),
                "{place}: only the sandbox may hold unsafe code"
            );
            // A function says it in its docs, a block right above.
            let above = &lines[at.saturating_sub(12)..at];
            let says_why = |line: &&str| line.contains("SAFETY:") || line.contains("# Safety");
            assert!(above.iter().any(says_why), "{place}: no reason is given");
        }
    }
    assert!(
        found > 0,
        "the sandbox has no unsafe code: is it looked for at all?"
    );
}

#[test]
fn every_package_is_under_the_lints_of_the_workspace() {
    let workspace = read("Cargo.toml");
    assert!(workspace.contains("unsafe_code = \"deny\""));
    let (_, members) = workspace.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{member}");
    }
}

/// Whether a test is there: `suite::module::name` in the program's tests, or
/// `buntime_crate::module::name` in the sources of a crate.
fn exists(test: &str) -> bool {
    let mut parts: Vec<&str> = test.split("::").collect();
    let Some(name) = parts.pop() else {
        return false;
    };
    let mut files = Vec::new();
    let (first, modules) = parts.split_first().unwrap_or((&"", &[]));
    let path = modules.join("/");
    if first.starts_with("buntime_") {
        let source = format!("crates/{}/src", first.replace('_', "-"));
        files.push(format!("{source}/{path}.rs"));
        if let Some(parent) = path.strip_suffix("/tests") {
            files.push(format!("{source}/{parent}.rs"));
        }
    } else if modules.is_empty() {
        files.push(format!("crates/buntime/tests/{first}.rs"));
    } else {
        // Test programs have names of their own: the pool's is `pool`.
        for package in ["buntime", "buntime-pool"] {
            files.push(format!("crates/{package}/tests/{first}/{path}.rs"));
        }
    }
    let function = format!("fn {name}(");
    files.iter().any(|file| {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        // The attribute may not be far: a helper of the same name is no test.
        text.match_indices(&function).any(|(at, _)| {
            let above = text[..at].rsplit("\n\n").next().unwrap_or_default();
            above.contains("test]")
                || above.contains("#[tokio::test")
                || above.contains("proptest!")
        })
    })
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let page = read(SECURITY_PAGE);
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("::"))
        .collect();
    assert!(named.len() > 60, "only {} tests are named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|test| !exists(test)).collect();
    assert!(missing.is_empty(), "named, and not there: {missing:#?}");
    assert!(!exists("security_page::csrf::no_such_test"));
}

#[test]
fn the_security_page_names_every_test_of_its_suite() {
    // Each is a line of the page, so a test that is not named is a promise not written.
    let page = read(SECURITY_PAGE);
    let mut unnamed = Vec::new();
    for entry in fs::read_dir(root().join("crates/buntime/tests/security_page")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for after in text.split("#[test]\nfn ").skip(1) {
            let test = format!(
                "security_page::{module}::{}",
                after.split('(').next().unwrap()
            );
            if !page.contains(&format!("`{test}`")) {
                unnamed.push(test);
            }
        }
    }
    unnamed.sort();
    assert!(unnamed.is_empty(), "not in {SECURITY_PAGE}: {unnamed:#?}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chapter {
    chapter: String,
    requirements: BTreeMap<String, Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    means: String,
    state: State,
    #[serde(default)]
    why: String,
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    page: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum State {
    Met,
    Part,
    Later,
    Other,
}

fn asvs() -> Vec<Chapter> {
    serde_saphyr::from_str(&read(ASVS)).unwrap()
}

/// `3.10.1` after `3.9.2`.
fn order(id: &str) -> Vec<u32> {
    id.split('.').map(|part| part.parse().unwrap()).collect()
}

#[test]
fn each_requirement_of_asvs_has_an_answer_and_each_test_is_there() {
    let mut count = 0;
    for chapter in asvs() {
        let number = chapter
            .chapter
            .trim_start_matches('V')
            .split(' ')
            .next()
            .unwrap();
        for (id, requirement) in &chapter.requirements {
            count += 1;
            let place = format!("{ASVS}: {id}");
            assert_eq!(order(id).len(), 3, "{place}");
            assert!(
                id.starts_with(&format!("{number}.")),
                "{place} is of another chapter"
            );
            assert!(!requirement.means.is_empty(), "{place} says nothing");
            let shown = !requirement.tests.is_empty() || !requirement.page.is_empty();
            match requirement.state {
                State::Met => assert!(shown, "{place} is met and nothing shows it"),
                State::Part => {
                    assert!(
                        shown && !requirement.why.is_empty(),
                        "{place}: what is left?"
                    );
                }
                State::Later | State::Other => {
                    assert!(!requirement.why.is_empty(), "{place}: why?");
                }
            }
            for test in &requirement.tests {
                assert!(
                    exists(test),
                    "{place} names a test that is not there: {test}"
                );
            }
            if !requirement.page.is_empty() {
                read(&requirement.page);
            }
        }
    }
    // V3, V4, V5, V7, V8, V13 and V16 of ASVS 5.0.0.
    assert_eq!(
        count, 130,
        "a requirement is missing, or there is one too many"
    );
}

#[test]
fn the_table_of_asvs_is_up_to_date() {
    let mut text = String::from(
        "# OWASP ASVS 5.0\n\n\
         <!-- generated from asvs.yaml: UPDATE_DOCS=1 cargo test -p buntime --test repository -->\n\n\
         Which test shows which requirement of the Application Security Verification Standard 5.0.0,\n\
         chapters V3, V4, V5, V7, V8, V13 and V16. The wording is ours and short; the standard has the full\n\
         text. This is our own reading, and nobody has certified it.\n\n\
         met: the tests show it · part: they show some of it · later: it comes with something that is not\n\
         there yet · other: not ours, or it does not apply\n",
    );
    for chapter in asvs() {
        let mut requirements: Vec<_> = chapter.requirements.into_iter().collect();
        requirements.sort_by_key(|(id, _)| order(id));
        let count = |state| {
            requirements
                .iter()
                .filter(|(_, r)| r.state == state)
                .count()
        };
        text.push_str(&format!(
            "\n## {}\n\n{} met, {} in part, {} later, {} other.\n\n| | means | | shown by |\n| --- | --- | --- | --- |\n",
            chapter.chapter,
            count(State::Met),
            count(State::Part),
            count(State::Later),
            count(State::Other)
        ));
        for (id, requirement) in &requirements {
            let mut shown: Vec<String> = Vec::new();
            if !requirement.why.is_empty() {
                shown.push(requirement.why.clone());
            }
            if !requirement.page.is_empty() {
                shown.push(requirement.page.clone());
            }
            shown.extend(requirement.tests.iter().map(|test| format!("`{test}`")));
            text.push_str(&format!(
                "| {id} | {} | {} | {} |\n",
                requirement.means,
                format!("{:?}", requirement.state).to_lowercase(),
                shown.join("; ")
            ));
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(root().join(ASVS_PAGE), text).unwrap();
        return;
    }
    let there = fs::read_to_string(root().join(ASVS_PAGE)).unwrap_or_default();
    assert!(there == text, "{ASVS_PAGE} is not up to date: {UPDATE}");
}
