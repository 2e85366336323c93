//! What changes while the server runs.

use std::time::Duration;

use super::*;

/// Long enough for any machine; reached only by a failure.
const LONG: Duration = Duration::from_secs(20);

#[test]
fn only_what_changed_is_deployed_again() {
    let fixture = Fixture::new(|place| {
        for dir in ["script", "other", "site"] {
            place.app(&format!("apps/{dir}"));
        }
        place.write("apps/site/index.html", "");
        place.write("apps/script/src/deep/lib.ts", "1");
    });
    let place = fixture.place();
    let (script, other, site) = (
        fixture.find("script"),
        fixture.find("other"),
        fixture.find("site"),
    );
    let redeployed = |changes: &dyn Fn()| {
        changes();
        fixture.catalog.rescan();
        assert!(Arc::ptr_eq(&fixture.find("other"), &other));
        fixture.retired()
    };
    assert_eq!(redeployed(&|| {}), [""; 0]);
    for file in [
        "script/src/deep/lib.ts",
        "script/index.ts",
        "script/.env",
        "script/new.mjs",
    ] {
        let changes = || place.write(&format!("apps/{file}"), "A=changed");
        assert_eq!(redeployed(&changes), ["script@latest"], "{file}");
    }
    // Data of an app, its dependencies, and the files of a site are not code.
    for file in [
        "script/data.db",
        "script/node_modules/x/index.js",
        "site/assets/app.js",
    ] {
        let changes = || place.write(&format!("apps/{file}"), "changed");
        assert_eq!(redeployed(&changes), [""; 0], "{file}");
    }
    assert!(!Arc::ptr_eq(&fixture.find("script"), &script));
    assert!(Arc::ptr_eq(&fixture.find("site"), &site));
    let replaced = || {
        fs::rename(place.path("apps/site"), place.path("old")).unwrap();
        place.app("apps/site");
        place.write("apps/site/index.html", "");
    };
    assert_eq!(redeployed(&replaced), ["site@latest"]);
}

#[test]
fn slots_live_as_long_as_their_files() {
    let fixture = Fixture::new(|place| {
        place.app("apps/a");
        place.app("apps/b");
    });
    let slot = |name: &str| *fixture.find(name).slot();
    let (a, b) = (slot("a"), slot("b"));
    fixture.place().write("apps/a/manifest.yaml", "ttl: 120\n");
    fixture.catalog.rescan();
    assert_ne!(slot("a"), a);
    assert_eq!(slot("b"), b);
    assert_eq!(fixture.recorder.0.lock().deployed.len(), 3);
}

#[test]
fn a_manifest_broken_while_running_disables_one_unit() {
    let fixture = Fixture::new(|place| {
        place.app("apps/a");
        place.app("apps/b");
    });
    let place = fixture.place();
    place.write("apps/a/manifest.yaml", "ttl: [");
    fixture.catalog.rescan();
    assert!(matches!(fixture.broken("a"), Broken::Manifest(_)));
    assert!(fixture.find("b").unit().ready().is_some());
    assert_eq!(fixture.problems().len(), 1);
    fixture.catalog.rescan();
    assert_eq!(fixture.problems().len(), 0);
    place.app("apps/a");
    fixture.catalog.rescan();
    assert!(fixture.find("a").unit().ready().is_some());
    // Broken again is said again.
    place.write("apps/a/manifest.yaml", "ttl: [");
    fixture.catalog.rescan();
    assert_eq!(fixture.problems().len(), 1);
}

#[test]
fn ten_thousand_units_are_read_once() {
    let fixture = Fixture::new(|place| {
        place.write("apps/app-0@1.0.0/package.json", "{}");
        let original = place.path("apps/app-0@1.0.0/package.json");
        // One file with many names: ten thousand files are slow to make.
        for number in 1..10_000 {
            let dir = place.path(&format!("apps/app-{number}@1.0.0"));
            fs::create_dir(&dir).unwrap();
            fs::hard_link(&original, dir.join("package.json")).unwrap();
        }
    });
    assert_eq!(fixture.enabled().len(), 10_000);
    let before = fixture.catalog.snapshot().generation();
    fixture.place().app("apps/app-7@1.0.0");
    fixture.catalog.pass(&Dirty::default());
    assert_eq!(fixture.catalog.snapshot().generation(), before + 1);
    assert_eq!(fixture.recorder.0.lock().deployed.len(), 10_001);
    assert_eq!(fixture.retired(), ["app-7@1.0.0"]);
}

#[test]
fn a_dirty_unit_is_looked_at_alone() {
    let fixture = Fixture::new(|place| {
        for dir in ["a", "b", "gone"] {
            place.app(&format!("apps/{dir}"));
        }
    });
    let place = fixture.place();
    for dir in ["a", "b"] {
        place.write(&format!("apps/{dir}/lib.ts"), "new");
    }
    let dirty = |dir: &str| Dirty {
        units: [place.path(&format!("apps/{dir}"))].into(),
        ..Dirty::default()
    };
    fixture.catalog.pass(&dirty("a"));
    assert_eq!(fixture.retired(), ["a@latest"]);
    // One that is gone, or not known yet, is a reason to look at everything.
    fs::remove_dir_all(place.path("apps/gone")).unwrap();
    fixture.catalog.pass(&dirty("gone"));
    let mut retired = fixture.retired();
    retired.sort();
    assert_eq!(retired, ["b@latest", "gone@latest"]);
    place.app("apps/new");
    fixture.catalog.pass(&dirty("new"));
    assert_eq!(fixture.enabled(), ["a@latest", "b@latest", "new@latest"]);
}

/// Runs the watcher while `check` runs.
async fn watched<F: Future<Output = ()>>(fixture: &Fixture, check: impl FnOnce() -> F) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let catalog = fixture.catalog.clone();
    let watching = tokio::spawn(async move {
        catalog
            .watch(async {
                let _ = stopped.await;
            })
            .await;
    });
    check().await;
    drop(stop);
    tokio::time::timeout(LONG, watching).await.unwrap().unwrap();
}

/// Waits until what is published fulfils a condition.
async fn until(fixture: &Fixture, condition: impl Fn(&Snapshot<Slot>) -> bool) {
    let mut published = fixture.catalog.subscribe();
    let waiting = published.wait_for(|_| condition(&fixture.catalog.snapshot()));
    tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn changes_on_disk_are_noticed() {
    let fixture = Fixture::new(|place| {
        place.app("apps/warm");
        place.app("apps/@acme/kept/1.0.0");
    });
    let place = fixture.place();
    watched(&fixture, || async {
        // A new unit, in folders that nobody watched before.
        place.app("apps/@new/fresh/1.0.0");
        until(&fixture, |now| {
            now.resolve("@new/fresh", None)
                .is_some_and(|found| found.unit().ready().is_some())
        })
        .await;
        // A source deep in a folder that appeared with the unit.
        let before = fixture.find("@new/fresh").revision();
        place.write("apps/@new/fresh/1.0.0/src/lib.ts", "changed");
        until(&fixture, |now| {
            now.resolve("@new/fresh", None)
                .is_some_and(|found| found.revision() != before)
        })
        .await;
        // A manifest broken in place.
        place.write("apps/@acme/kept/1.0.0/manifest.yaml", "ttl: [");
        until(&fixture, |now| {
            now.resolve("@acme/kept", None)
                .is_some_and(|found| found.unit().ready().is_none())
        })
        .await;
        // A folder removed by hand while warm.
        fs::remove_dir_all(place.path("apps/warm")).unwrap();
        until(&fixture, |now| now.resolve("warm", None).is_none()).await;
    })
    .await;
    assert!(fixture.retired().contains(&"warm@latest".to_owned()));
}

#[tokio::test]
async fn a_replaced_folder_is_watched_anew() {
    let fixture = Fixture::new(|place| place.app("apps/app/1.0.0"));
    let place = fixture.place();
    watched(&fixture, || async {
        for round in 0..3 {
            let before = fixture.find("app").revision();
            fs::rename(
                place.path("apps/app/1.0.0"),
                place.path(&format!("old-{round}")),
            )
            .unwrap();
            place.app("apps/app/1.0.0");
            until(&fixture, |now| {
                now.resolve("app", None).is_some_and(|found| {
                    found.revision() > before && found.unit().ready().is_some()
                })
            })
            .await;
            let before = fixture.find("app").revision();
            place.write("apps/app/1.0.0/index.ts", &format!("round {round}"));
            until(&fixture, |now| {
                now.resolve("app", None)
                    .is_some_and(|found| found.revision() > before)
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_the_server_does_not_end_the_watching() {
    struct Failing(Recorder);

    impl CatalogEvents<Slot> for Failing {
        fn deploy(&self, unit: &Unit) -> Slot {
            assert_ne!(&*unit.id, "bad@latest");
            self.0.deploy(unit)
        }

        fn retire(&self, deployment: &Arc<Deployment<Slot>>, next: Option<&Arc<Deployment<Slot>>>) {
            self.0.retire(deployment, next);
        }

        fn problem(&self, problem: &Problem) {
            self.0.problem(problem);
        }
    }

    let temp = TempDir::new().unwrap();
    let place = Place(temp.path().to_path_buf());
    place.app("good");
    let recorder = Recorder::default();
    let catalog = Catalog::open(&[temp.path().to_path_buf()], Failing(recorder.clone()));
    let fixture = Fixture {
        temp,
        recorder,
        catalog,
    };
    watched(&fixture, || async {
        place.app("bad");
        while !fixture
            .messages()
            .iter()
            .any(|message| message.contains("starts anew"))
        {
            tokio::task::yield_now().await;
        }
        fs::remove_dir_all(place.path("bad")).unwrap();
        place.app("later");
        until(&fixture, |now| now.resolve("later", None).is_some()).await;
    })
    .await;
    assert_eq!(fixture.enabled(), ["good@latest", "later@latest"]);
}
