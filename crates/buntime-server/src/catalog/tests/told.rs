//! Changes of which the kernel tells: no pass runs here that nothing asked for, so what is
//! noticed is noticed at once. And those of which it does not tell, which must be looked for.

use std::time::Duration;

use tokio::time::Instant;

use super::super::watch::{Sweeps, Watcher};
use super::*;

/// Long enough for any machine; reached only by a failure.
const LONG: Duration = Duration::from_secs(20);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(1_000_000);
/// Where the kernel tells of all there is no sweep, where it does not there is always one.
const ONLY_IF_NEEDED: Sweeps = Sweeps {
    watched: NEVER,
    unwatched: Duration::ZERO,
};

/// A catalog that is watched, and at rest.
struct Told<'a> {
    fixture: &'a Fixture,
    watcher: Watcher<'a, Slot>,
}

impl<'a> Told<'a> {
    async fn of(fixture: &'a Fixture) -> Self {
        let mut watcher = Watcher::open(&fixture.catalog, ONLY_IF_NEEDED);
        assert!(watcher.look().await);
        let told = Self { fixture, watcher };
        assert!(!told.sweeps());
        told
    }

    /// Makes a change and looks once there is a reason to.
    async fn after(&mut self, what: &str, change: impl FnOnce(&Place)) {
        change(&self.fixture.place());
        let changed = tokio::time::timeout(LONG, self.watcher.changed()).await;
        assert!(changed.is_ok(), "{what}: nobody said so");
        assert!(self.watcher.look().await);
    }

    /// Whether it is looked for what is not told.
    fn sweeps(&self) -> bool {
        self.watcher.next_sweep() < Instant::now() + LONG
    }

    /// The same; what is installed afterwards must be this.
    async fn leaves(&mut self, what: &str, change: impl FnOnce(&Place), enabled: &[&str]) {
        self.after(what, change).await;
        assert_eq!(self.fixture.enabled(), enabled, "{what}");
    }

    /// The same; the unit must be deployed anew.
    async fn redeploys(&mut self, what: &str, name: &str, change: impl FnOnce(&Place)) {
        let before = self.fixture.find(name).revision();
        self.after(what, change).await;
        assert_ne!(self.fixture.find(name).revision(), before, "{what}");
    }
}

fn make_dir(place: &Place, name: &str) {
    fs::create_dir(place.path(name)).unwrap();
}

/// `ln -sfn`: the new link takes the place of the old one.
fn link(place: &Place, target: &str, name: &str) {
    let beside = place.path("link");
    symlink(target, &beside).unwrap();
    fs::rename(beside, place.path(name)).unwrap();
}

#[tokio::test]
async fn units_come_and_go_in_every_layout() {
    let fixture = Fixture::new(|place| place.app("apps/a@1.0.0"));
    let told = &mut Told::of(&fixture).await;
    told.leaves(
        "a version",
        |place| place.app("apps/a@2.0.0"),
        &["a@1.0.0", "a@2.0.0"],
    )
    .await;
    let moved_in = |place: &Place| {
        place.app("staged");
        fs::rename(place.path("staged"), place.path("apps/b")).unwrap();
    };
    let all = ["a@1.0.0", "a@2.0.0", "b@latest"];
    told.leaves("a folder that is moved in", moved_in, &all)
        .await;
    let removed = |place: &Place| fs::remove_dir_all(place.path("apps/a@1.0.0")).unwrap();
    told.leaves("a folder that is removed", removed, &all[1..])
        .await;
    let moved_out = |place: &Place| fs::rename(place.path("apps/b"), place.path("gone")).unwrap();
    told.leaves("a folder that is moved out", moved_out, &all[1..2])
        .await;
    let renamed = |place: &Place| {
        fs::rename(place.path("apps/a@2.0.0"), place.path("apps/c@2.0.0")).unwrap();
    };
    told.leaves("a folder that is renamed", renamed, &["c@2.0.0"])
        .await;
    told.leaves(
        "a nested one",
        |place| place.app("apps/n/1.0.0"),
        &["c@2.0.0", "n@1.0.0"],
    )
    .await;
    told.leaves(
        "one beside it",
        |place| place.app("apps/n/2.0.0"),
        &["c@2.0.0", "n@1.0.0", "n@2.0.0"],
    )
    .await;
    let removed = |place: &Place| fs::remove_dir_all(place.path("apps/n/1.0.0")).unwrap();
    told.leaves(
        "a nested one that is removed",
        removed,
        &["c@2.0.0", "n@2.0.0"],
    )
    .await;
    told.leaves(
        "a scope",
        |place| place.app("apps/@team/s/1.0.0"),
        &["@team/s@1.0.0", "c@2.0.0", "n@2.0.0"],
    )
    .await;
    let removed = |place: &Place| fs::remove_dir_all(place.path("apps/@team")).unwrap();
    told.leaves("a scope that is removed", removed, &["c@2.0.0", "n@2.0.0"])
        .await;
}

/// As somebody types it: with any time between one step and the next.
#[tokio::test]
async fn a_unit_that_is_made_step_by_step_is_served_after_the_last() {
    let fixture = Fixture::new(|_| {});
    let told = &mut Told::of(&fixture).await;
    for (folders, dir, id) in [
        (&["apps/a"][..], "apps/a", "a@latest"),
        (&["apps/b@1.0.0"], "apps/b@1.0.0", "b@1.0.0"),
        (&["apps/c", "apps/c/1.0.0"], "apps/c/1.0.0", "c@1.0.0"),
        (&["apps/@s", "apps/@s/d"], "apps/@s/d", "@s/d@latest"),
        (
            &["apps/@s/e", "apps/@s/e/2.0.0"],
            "apps/@s/e/2.0.0",
            "@s/e@2.0.0",
        ),
    ] {
        for folder in folders {
            told.after(folder, |place| make_dir(place, folder)).await;
        }
        let entry = |place: &Place| place.write(&format!("{dir}/index.ts"), "1");
        told.after("the entry", entry).await;
        assert!(!fixture.enabled().contains(&id.to_owned()), "{id}");
        let manifest = |place: &Place| place.write(&format!("{dir}/manifest.yaml"), "ttl: 60\n");
        told.after("the manifest", manifest).await;
        assert!(fixture.enabled().contains(&id.to_owned()), "{id}");
    }
}

#[tokio::test]
async fn files_of_a_unit_change() {
    let fixture = Fixture::new(|place| {
        place.app("apps/a");
        place.write("apps/a/lib/deep/er.ts", "1");
        for number in 0..100 {
            place.write(&format!("apps/a/many/{number}/x.ts"), "1");
        }
    });
    let told = &mut Told::of(&fixture).await;
    for (file, text) in [
        ("manifest.yaml", "ttl: 1h\n"),
        ("package.json", "{}"),
        (".env", "A=1\n"),
        ("index.ts", "1"),
        ("new.mjs", "1"),
        ("lib/deep/er.ts", "2"),
        ("lib/deep/new.ts", "2"),
        ("many/0/x.ts", "2"),
        ("many/99/x.ts", "2"),
    ] {
        let written = |place: &Place| place.write(&format!("apps/a/{file}"), text);
        told.redeploys(file, "a", written).await;
        let in_place = |place: &Place| {
            place.write("beside", &format!("{text} "));
            fs::rename(place.path("beside"), place.path(&format!("apps/a/{file}"))).unwrap();
        };
        told.redeploys(file, "a", in_place).await;
    }
    let removed = |place: &Place| fs::remove_file(place.path("apps/a/new.mjs")).unwrap();
    told.redeploys("removed", "a", removed).await;
    let renamed = |place: &Place| {
        fs::rename(place.path("apps/a/lib"), place.path("apps/a/library")).unwrap();
    };
    told.redeploys("a folder that is renamed", "a", renamed)
        .await;
    let below = |place: &Place| place.write("apps/a/library/deep/er.ts", "after");
    told.redeploys("below a folder that was renamed", "a", below)
        .await;
    told.after("a new folder", |place| make_dir(place, "apps/a/fresh"))
        .await;
    let below = |place: &Place| place.write("apps/a/fresh/new.ts", "1");
    told.redeploys("in a new folder", "a", below).await;
    let broken = |place: &Place| place.write("apps/a/manifest.yaml", "ttl: [");
    told.after("a mistake", broken).await;
    assert!(matches!(fixture.broken("a"), Broken::Manifest(_)));
}

#[tokio::test]
async fn links_within_a_unit_lead_elsewhere() {
    let fixture = Fixture::new(|place| {
        place.app("apps/a");
        for version in ["one", "two"] {
            place.write(&format!("apps/a/{version}/lib.ts"), version);
            place.write(&format!("apps/a/{version}/index.ts"), version);
        }
        link(place, "one", "apps/a/current");
        link(place, "one/lib.ts", "apps/a/lib.ts");
        link(place, "one/index.ts", "apps/a/index.ts");
    });
    let told = &mut Told::of(&fixture).await;
    for (name, target) in [
        ("current", "two"),
        ("lib.ts", "two/lib.ts"),
        ("index.ts", "two/index.ts"),
        ("more", "one"),
    ] {
        let led = |place: &Place| link(place, target, &format!("apps/a/{name}"));
        told.redeploys(name, "a", led).await;
    }
    let written = |place: &Place| place.write("apps/a/two/lib.ts", "three");
    told.redeploys("what a link leads to", "a", written).await;
}

#[tokio::test]
async fn a_root_is_replaced_as_a_whole() {
    let fixture = Fixture::new(|place| place.app("apps/a"));
    let told = &mut Told::of(&fixture).await;
    let replaced = |place: &Place| {
        fs::rename(place.path("apps"), place.path("old")).unwrap();
        place.app("apps/b");
    };
    told.leaves("replaced", replaced, &["b@latest"]).await;
    told.leaves(
        "in the new one",
        |place| place.app("apps/c"),
        &["b@latest", "c@latest"],
    )
    .await;
}

/// Nobody tells of these, so they are looked for as often as where nothing is watched.
#[tokio::test]
async fn roots_that_are_made_later_or_are_links_are_looked_for() {
    assert!(Sweeps::default().unwatched < Duration::from_secs(1));
    let fixture = Fixture::new(|_| {});
    let place = fixture.place();
    let told = &mut Told::of(&fixture).await;
    told.after("removed", |place| {
        fs::remove_dir(place.path("apps")).unwrap()
    })
    .await;
    assert!(told.sweeps());
    told.after("made later", |place| place.app("apps/a")).await;
    assert_eq!(fixture.enabled(), ["a@latest"]);
    assert!(!told.sweeps(), "from here on the kernel tells");
    told.after("in it", |place| place.app("apps/b")).await;
    assert_eq!(fixture.enabled(), ["a@latest", "b@latest"]);

    place.app("one/x");
    place.app("two/y");
    let linked = |place: &Place| {
        fs::rename(place.path("apps"), place.path("old")).unwrap();
        link(place, "one", "apps");
    };
    told.after("a link", linked).await;
    assert_eq!(fixture.enabled(), ["x@latest"]);
    assert!(told.sweeps());
    told.after("another link", |place| link(place, "two", "apps"))
        .await;
    assert_eq!(fixture.enabled(), ["y@latest"]);
}

#[tokio::test]
async fn below_a_root_that_is_a_link_the_kernel_tells() {
    let fixture = Fixture::new(|place| {
        fs::remove_dir(place.path("apps")).unwrap();
        place.app("real/a");
        link(place, "real", "apps");
    });
    let never = Sweeps {
        unwatched: NEVER,
        ..ONLY_IF_NEEDED
    };
    let mut watcher = Watcher::open(&fixture.catalog, never);
    assert!(watcher.look().await);
    let told = &mut Told {
        fixture: &fixture,
        watcher,
    };
    told.leaves(
        "a unit",
        |place| place.app("apps/b"),
        &["a@latest", "b@latest"],
    )
    .await;
    let written = |place: &Place| place.write("real/b/index.ts", "changed");
    told.redeploys("its code", "b", written).await;
}
