//! What an operator does to units: enable, disable, change their folders.

use super::*;

fn ids(deployments: &[Arc<Deployment<Slot>>]) -> Vec<&str> {
    let ids = deployments.iter().map(|deployment| &*deployment.unit().id);
    ids.collect()
}

#[test]
fn a_disabled_unit_is_gone_when_the_call_returns_and_comes_back_as_it_was() {
    let fixture = Fixture::new(|place| {
        place.app("apps/app/1.0.0");
        place.app("apps/app/2.0.0");
        place.app("apps/neighbour");
    });
    let before = fixture.catalog.snapshot().generation();
    let neighbour = fixture.find("neighbour");
    assert!(fixture.catalog.set_enabled("app@2.0.0", Some(false)));
    assert_eq!(&*fixture.find("app").unit().id, "app@1.0.0");
    let snapshot = fixture.catalog.snapshot().clone();
    assert_eq!(snapshot.generation(), before + 1);
    let versions = snapshot.versions("app").unwrap();
    assert_eq!(ids(versions.disabled()), ["app@2.0.0"]);
    assert_eq!(fixture.retired(), ["app@2.0.0"]);
    assert_eq!(fixture.recorder.0.lock().next, [Some(State::Disabled)]);
    // A pass over the files changes nothing in it.
    fixture.catalog.rescan();
    assert_eq!(&*fixture.find("app").unit().id, "app@1.0.0");
    assert!(fixture.catalog.set_enabled("app@2.0.0", Some(true)));
    assert!(fixture.find("app").unit().ready().is_some());
    assert_eq!(&*fixture.find("app").unit().id, "app@2.0.0");
    assert!(Arc::ptr_eq(&neighbour, &fixture.find("neighbour")));
}

#[test]
fn the_operator_wins_over_the_manifest_also_when_its_files_change() {
    let fixture = Fixture::new(|place| {
        place.app("apps/app");
        place.write("apps/app/manifest.yaml", "enabled: false");
    });
    assert_eq!(fixture.enabled(), [""; 0]);
    assert!(fixture.catalog.set_enabled("app@latest", Some(true)));
    assert!(fixture.find("app").unit().ready().is_some());
    let changed = "enabled: false\nttl: 60\ntimeout: 5\n";
    fixture.place().write("apps/app/manifest.yaml", changed);
    fixture.catalog.rescan();
    assert!(fixture.find("app").unit().ready().is_some());
    // Forgotten: the manifest counts again.
    assert!(fixture.catalog.set_enabled("app@latest", None));
    assert_eq!(fixture.enabled(), [""; 0]);
}

#[test]
fn what_was_said_before_a_start_holds_from_the_first_snapshot_on() {
    let said = [("off@latest", false), ("on@latest", true)];
    let said = said.map(|(id, enabled)| (id.to_owned(), enabled));
    let fixture = Fixture::with(&["apps"], Overrides::from(said), |place| {
        place.app("apps/off");
        place.app("apps/on");
        place.write("apps/on/manifest.yaml", "enabled: false");
    });
    assert_eq!(fixture.enabled(), ["on@latest"]);
    assert_eq!(fixture.catalog.snapshot().generation(), 1);
}

#[test]
fn a_broken_unit_can_be_disabled_and_a_missing_one_cannot() {
    let fixture = Fixture::new(|place| {
        place.app("apps/app/1.0.0");
        place.write("apps/app/2.0.0/manifest.yaml", "ttl: [");
    });
    assert!(fixture.catalog.set_enabled("app@2.0.0", Some(false)));
    assert_eq!(&*fixture.find("app").unit().id, "app@1.0.0");
    assert!(fixture.catalog.set_enabled("app@2.0.0", Some(true)));
    assert!(matches!(fixture.broken("app"), Broken::Manifest(_)));
    assert!(!fixture.catalog.set_enabled("app@3.0.0", Some(false)));
    assert!(!fixture.catalog.set_enabled("none@1.0.0", Some(true)));
}

#[test]
fn a_change_of_folders_is_published_in_one_step() {
    let fixture = Fixture::with_roots(&["apps", "more"], |place| {
        place.app("apps/app/1.0.0");
        place.app("apps/app@2.0.0");
        place.app("more/app/1.0.0");
        place.app("apps/other");
    });
    let before = fixture.catalog.snapshot().generation();
    let name = PackageName::try_from("app").unwrap();
    let removed = fixture.catalog.change(|installed| {
        let dirs: Vec<_> = installed
            .units(&name)
            .map(|unit| unit.dir.clone())
            .collect();
        for dir in &dirs {
            fs::remove_dir_all(dir).unwrap();
        }
        dirs.len()
    });
    assert_eq!(removed, 3);
    assert_eq!(fixture.enabled(), ["other@latest"]);
    assert_eq!(fixture.catalog.snapshot().generation(), before + 1);
    assert_eq!(fixture.recorder.0.lock().next, [None, None]);
}
