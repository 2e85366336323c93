use proptest::prelude::*;

use super::*;

fn version(text: &str) -> Version {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn picked<'a>(range: Option<&str>, versions: &'a [Version]) -> Option<&'a str> {
    let range = range.map(|text| VersionRange::try_from(text).unwrap());
    pick(range.as_ref(), versions.iter()).map(Version::as_str)
}

#[test]
fn takes_strict_versions_only() {
    for text in [
        "0.0.0",
        "1.2.3",
        "1.0.0-0",
        "1.0.0-alpha.1",
        "1.0.0--",
        "1.0.0-a-b.0a",
        "1.0.0+b.01",
        "1.0.0-rc+b",
        "9007199254740991.0.0",
        "latest",
    ] {
        assert_eq!(version(text).to_string(), text);
    }
    for text in [
        "../../@b/secret/1.0.0",
        "../..",
        ".",
        "..",
        "",
        "/",
        "1",
        "1.2",
        "1.2.3.4",
        "v1.2.3",
        "01.2.3",
        "1.02.3",
        "1.2.03",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "1.2.3+",
        "1.2.3+a+b",
        "1.2.3-é",
        "1.2.3 ",
        " 1.2.3",
        "1.2.x",
        "-1.0.0",
        "+1.0.0",
        "1.2.3/",
        "1.2.3-a/b",
        "1.2.3\0",
        "Latest",
        "LATEST",
        "next",
        "9007199254740992.0.0",
        "99999999999999999999.0.0",
        "1.0.0-9007199254740992",
        "1.2.3-a_b",
        "=1.2.3",
    ] {
        assert_eq!(
            Version::try_from(text),
            Err(VersionError::Malformed),
            "{text}"
        );
    }
    assert_eq!(
        Version::try_from("1".repeat(300).as_str()),
        Err(VersionError::TooLong)
    );
}

#[test]
fn orders_as_semver_says() {
    let ordered = [
        "1.0.0-0",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.0+a",
        "1.0.0+b",
        "1.0.1",
        "1.10.0",
        "2.0.0-a",
        "2.0.0",
        "10.0.0",
        "latest",
    ]
    .map(version);
    assert!(ordered.is_sorted_by(|a, b| a < b));
}

#[test]
fn ranges_agree_with_npm() {
    let table = include_str!("ranges.txt");
    let (header, rows) = table.split_once('\n').unwrap();
    let (_, versions) = header.split_once("of: ").unwrap();
    let versions: Vec<_> = versions.split(' ').map(version).collect();
    for row in rows.lines().filter(|row| !row.starts_with('#')) {
        let (text, expected) = row.split_once(" -> ").unwrap();
        let actual = match VersionRange::try_from(text) {
            Err(_) => "invalid".to_owned(),
            Ok(range) => {
                assert_eq!(range.to_string(), text);
                let fit: Vec<_> = versions.iter().filter(|one| range.matches(one)).collect();
                match fit.len() {
                    0 => "none".to_owned(),
                    all if all == versions.len() => "all".to_owned(),
                    _ => fit
                        .iter()
                        .map(|one| one.as_str())
                        .collect::<Vec<_>>()
                        .join(" "),
                }
            }
        };
        assert_eq!(actual, expected, "{text}");
    }
}

#[test]
fn picks_by_the_contract() {
    let numbered = ["1.0.0", "1.2.0", "2.0.0-beta.1", "1.10.0"].map(version);
    assert_eq!(picked(None, &numbered), Some("2.0.0-beta.1"));
    assert_eq!(picked(Some("1"), &numbered), Some("1.10.0"));
    assert_eq!(picked(Some("1.2"), &numbered), Some("1.2.0"));
    assert_eq!(picked(Some("2"), &numbered), Some("2.0.0-beta.1"));
    assert_eq!(picked(Some("~1.0"), &numbered), Some("1.0.0"));
    assert_eq!(picked(Some("^1.0.0"), &numbered), Some("1.10.0"));
    assert_eq!(picked(Some(">=0.0.1"), &numbered), Some("2.0.0-beta.1"));
    assert_eq!(picked(Some("latest"), &numbered), None);
    assert_eq!(picked(Some("3"), &numbered), None);
    assert_eq!(picked(None, &[]), None);

    let with_latest = ["9.0.0", "latest", "1.0.0"].map(version);
    assert_eq!(picked(None, &with_latest), Some("latest"));
    assert_eq!(picked(Some("latest"), &with_latest), Some("latest"));
    assert_eq!(picked(Some("*"), &with_latest), Some("9.0.0"));

    let builds = ["1.0.0+a", "1.0.0+b"].map(version);
    assert_eq!(picked(Some("1.0.0+a"), &builds), Some("1.0.0+a"));
    assert_eq!(picked(Some("1.0.0"), &builds), Some("1.0.0+b"));
}

#[test]
fn refuses_long_and_empty_ranges() {
    assert_eq!(
        VersionRange::try_from("1".repeat(65).as_str()).unwrap_err(),
        RangeError::TooLong
    );
    assert_eq!(
        VersionRange::try_from(">".repeat(10_000).as_str()).unwrap_err(),
        RangeError::TooLong
    );
    for text in ["", " ", "\t"] {
        assert_eq!(
            VersionRange::try_from(text).unwrap_err(),
            RangeError::Malformed
        );
    }
}

fn any_version() -> impl Strategy<Value = String> {
    let numbers = (0_u64..4, 0_u64..4, 0_u64..4);
    let tail = prop_oneof![Just(String::new()), "-(0|alpha|beta\\.[0-9]|rc\\.1[0-9])"];
    (numbers, tail).prop_map(|((a, b, c), tail)| format!("{a}.{b}.{c}{tail}"))
}

proptest! {
    #[test]
    fn never_panics(text in "[-0-9a-zx*.^~<>=|+v ]{0,80}", other in "\\PC{0,80}") {
        for text in [text, other] {
            if let Ok(range) = VersionRange::try_from(text.as_str()) {
                let _ = range.matches(&version("1.2.3-beta"));
            }
            if let Ok(parsed) = Version::try_from(text.as_str()) {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }

    #[test]
    fn picks_the_highest_that_fits(texts in prop::collection::vec(any_version(), 0..20), major in 0_u64..5) {
        let mut versions: Vec<_> = texts.iter().map(|text| version(text)).collect();
        let text = major.to_string();
        let got = picked(Some(&text), &versions).map(str::to_owned);
        // Model: sort, then the last one with this first number.
        versions.sort();
        let prefix = format!("{major}.");
        let expected = versions.iter().rfind(|one| one.as_str().starts_with(&prefix));
        prop_assert_eq!(got, expected.map(ToString::to_string));
    }

    #[test]
    fn caret_and_tilde_hold_their_version(text in any_version()) {
        for range in [format!("^{text}"), format!("~{text}"), format!(">={text}"), text.clone()] {
            prop_assert!(VersionRange::try_from(range.as_str()).unwrap().matches(&version(&text)));
        }
    }

    #[test]
    fn order_agrees_with_equality(a in any_version(), b in any_version()) {
        let (a, b) = (version(&a), version(&b));
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    }
}
