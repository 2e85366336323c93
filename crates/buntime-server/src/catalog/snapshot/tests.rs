use std::path::{Path, PathBuf};

use buntime_core::{Version, pick};
use proptest::prelude::*;

use super::*;
use crate::catalog::unit::{Broken, Source, Unit};

fn unit(name: &str, version: &str, disabled: bool) -> Unit {
    Unit {
        id: format!("{name}@{version}").into(),
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        root: Path::new("/apps").into(),
        dir: PathBuf::from(format!("/apps/{name}/{version}")),
        source: Source::Uploaded,
        state: match disabled {
            true => State::Disabled,
            false => State::Broken(Broken::EntrypointEscapes),
        },
    }
}

fn snapshot(units: impl IntoIterator<Item = Unit>) -> Snapshot<()> {
    let deployments = units
        .into_iter()
        .map(|unit| Arc::new(Deployment::new(unit, 1, ())));
    Snapshot::build(1, deployments.collect(), None)
}

fn resolved<'a>(snapshot: &'a Snapshot<()>, name: &str, range: Option<&str>) -> Option<&'a str> {
    snapshot
        .resolve(name, range)
        .map(|deployment| &*deployment.unit().id)
}

#[test]
fn picks_by_the_rules_of_the_contract() {
    let snapshot = snapshot([
        unit("shop", "1.0.0", false),
        unit("shop", "1.2.3", false),
        unit("shop", "2.0.0-beta.1", false),
        unit("shop", "3.0.0", true),
        unit("page", "1.0.0", false),
        unit("page", "latest", false),
        unit("@a/x", "0.1.0", false),
        unit("off", "1.0.0", true),
    ]);
    for (name, range, expected) in [
        ("shop", None, Some("shop@2.0.0-beta.1")),
        ("shop", Some("1"), Some("shop@1.2.3")),
        ("shop", Some("^1.0.0"), Some("shop@1.2.3")),
        ("shop", Some("~1.0"), Some("shop@1.0.0")),
        ("shop", Some("1.0.0"), Some("shop@1.0.0")),
        ("shop", Some(">=0.0.1"), Some("shop@2.0.0-beta.1")),
        ("shop", Some("3"), None),
        ("shop", Some("3.0.0"), None),
        ("shop", Some("latest"), None),
        ("shop", Some(""), None),
        ("shop", Some("../"), None),
        ("page", None, Some("page@latest")),
        ("page", Some("1"), Some("page@1.0.0")),
        ("page", Some("latest"), Some("page@latest")),
        ("@a/x", None, Some("@a/x@0.1.0")),
        ("x", None, None),
        ("off", None, None),
        ("", None, None),
    ] {
        assert_eq!(
            resolved(&snapshot, name, range),
            expected,
            "{name} {range:?}"
        );
        // The second time from what is remembered.
        assert_eq!(
            resolved(&snapshot, name, range),
            expected,
            "{name} {range:?}"
        );
    }
    let long = format!("^1.0.0{}", " ".repeat(10_000));
    assert_eq!(resolved(&snapshot, "shop", Some(&long)), None);
    assert_eq!(snapshot.versions("shop").unwrap().disabled().len(), 1);
    assert_eq!(snapshot.workers().count(), 4);
}

/// The work of a request does not grow with the number of versions: nothing is
/// compared for a default, an exact version, a missing one, or a known range.
#[test]
fn ten_thousand_versions_are_compared_once_per_range() {
    let versions = (0..10_000).map(|number| unit("shop", &format!("1.{number}.0"), false));
    let snapshot = snapshot(versions);
    let shop = snapshot.versions("shop").unwrap();
    assert_eq!(resolved(&snapshot, "shop", None), Some("shop@1.9999.0"));
    assert_eq!(
        resolved(&snapshot, "shop", Some("1.5000.0")),
        Some("shop@1.5000.0")
    );
    assert_eq!(shop.comparisons(), 0);
    for _ in 0..1_000 {
        assert_eq!(
            resolved(&snapshot, "shop", Some("~1.0")),
            Some("shop@1.0.0")
        );
        assert_eq!(resolved(&snapshot, "shop", Some("7")), None);
        assert_eq!(resolved(&snapshot, "shop", Some("no range")), None);
        assert_eq!(
            resolved(&snapshot, "shop", Some("1.5000.0")),
            Some("shop@1.5000.0")
        );
    }
    let once_each = shop.comparisons();
    assert!(once_each <= 2 * 10_000, "{once_each}");
    // Made-up ranges push each other out, and keep no memory.
    for number in 0..1_000 {
        resolved(&snapshot, "shop", Some(&format!("^1.{number}")));
    }
    assert!(shop.ranges.get().unwrap().len() <= REMEMBERED_RANGES);
}

/// Whichever they are and however they are hashed.
#[test]
fn ranges_in_constant_use_do_not_push_each_other_out() {
    for _ in 0..100 {
        let snapshot = snapshot((0..10).map(|n| unit("shop", &format!("1.{n}.0"), false)));
        let ranges = ["~1.0", "^1.5", "1", ">=1.2"];
        for range in ranges.iter().cycle().take(40) {
            assert!(resolved(&snapshot, "shop", Some(range)).is_some());
        }
        let compared = snapshot.versions("shop").unwrap().comparisons();
        assert!(compared <= 10 * ranges.len() as u64, "{compared}");
    }
}

#[test]
fn ten_thousand_workers_are_one_lookup() {
    let snapshot = snapshot((0..10_000).map(|n| unit(&format!("app-{n}"), "1.0.0", false)));
    assert_eq!(
        resolved(&snapshot, "app-7777", None),
        Some("app-7777@1.0.0")
    );
    assert_eq!(resolved(&snapshot, "app-10000", None), None);
}

#[test]
fn unchanged_workers_are_taken_over() {
    let kept = Arc::new(Deployment::new(unit("a", "1.0.0", false), 1, ()));
    let first = Snapshot::build(1, vec![Arc::clone(&kept)], None);
    let new = Arc::new(Deployment::new(unit("b", "1.0.0", false), 2, ()));
    let second = Snapshot::build(2, vec![kept, new], Some(&first));
    assert!(Arc::ptr_eq(
        first.versions("a").unwrap(),
        second.versions("a").unwrap()
    ));
    assert_eq!((second.generation(), second.workers().count()), (2, 2));
}

fn version() -> impl Strategy<Value = String> {
    let number = 0..4_u8;
    let plain = (number.clone(), number.clone(), number);
    prop_oneof![
        1 => Just("latest".to_owned()),
        6 => plain.clone().prop_map(|(a, b, c)| format!("{a}.{b}.{c}")),
        2 => (plain, 0..3_u8).prop_map(|((a, b, c), d)| format!("{a}.{b}.{c}-rc.{d}")),
    ]
}

fn range() -> impl Strategy<Value = String> {
    prop_oneof![
        version(),
        (0..4_u8).prop_map(|a| a.to_string()),
        (0..4_u8, 0..4_u8).prop_map(|(a, b)| format!("{a}.{b}")),
        version().prop_map(|version| format!("^{version}")),
        version().prop_map(|version| format!("~{version}")),
        version().prop_map(|version| format!(">={version}")),
        (version(), version()).prop_map(|(a, b)| format!("{a} - {b}")),
        (version(), version()).prop_map(|(a, b)| format!("<{a} || >{b}")),
        ".{0,12}",
    ]
}

proptest! {
    /// Against the rule as `buntime-core` states it: filter, then pick.
    #[test]
    fn agrees_with_the_plain_rule(
        versions in proptest::collection::btree_map(version(), any::<bool>(), 0..12),
        ranges in proptest::collection::vec(proptest::option::of(range()), 1..12),
    ) {
        let snapshot = snapshot(
            versions.iter().map(|(version, disabled)| unit("shop", version, *disabled)),
        );
        let enabled: Vec<Version> = versions
            .iter()
            .filter(|(_, disabled)| !**disabled)
            .map(|(version, _)| version.parse().unwrap())
            .collect();
        for range in ranges.iter().chain(&ranges) {
            let found = snapshot.resolve("shop", range.as_deref()).map(|found| &found.unit().version);
            let expected = match range {
                None => pick(None, enabled.iter()),
                Some(range) => VersionRange::try_from(range.as_str())
                    .ok()
                    .and_then(|range| pick(Some(&range), enabled.iter())),
            };
            prop_assert_eq!(found, expected, "{:?}", range);
        }
    }
}
