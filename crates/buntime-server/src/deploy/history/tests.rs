use std::collections::BTreeMap;
use std::time::SystemTime;

use buntime_core::access::KeyId;
use proptest::prelude::*;

use super::*;
use crate::store::NewRelease;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The worker as somebody would write it down beside the releases: which content
/// each version serves.
type Model = BTreeMap<Version, u8>;

#[derive(Debug, Default)]
struct Worker {
    releases: Vec<Release>,
    model: Model,
    /// After each release.
    models: Vec<Model>,
    put_aside: BTreeSet<Version>,
}

impl Worker {
    fn history(&self) -> History {
        History::new(self.releases.clone())
    }

    fn add(&mut self, version: Version, content: u8, beside: Stand, rollback_of: Option<u64>) {
        let number = self.models.len() as u64 + 1;
        let what = NewRelease {
            name: "a".parse().unwrap(),
            version,
            created_at: SystemTime::UNIX_EPOCH,
            key: KeyId::root(),
            key_name: "root".into(),
            message: None,
            sha256: [content; 32],
            size: 1,
            kind: ".tgz".into(),
            rollback_of,
            beside,
        };
        self.releases.push(Release { number, what });
        self.models.push(self.model.clone());
    }

    fn deploy(&mut self, at: &str, content: u8) {
        let at = version(at);
        let beside = self.history().beside(&at);
        self.model.insert(at.clone(), content);
        self.put_aside.remove(&at);
        self.add(at, content, beside, None);
    }

    /// What the way says, done to the model.
    fn roll_back(&mut self, number: u64) -> Result<(), NoWay> {
        let history = self.history();
        let way = history.back_to(number)?;
        for (version, release) in &way.install {
            self.model.insert(version.clone(), release.what.sha256[0]);
        }
        self.put_aside.extend(way.later.iter().cloned());
        self.model.retain(|version, _| !way.later.contains(version));
        for again in &way.again {
            assert!(self.model.contains_key(again));
            self.put_aside.remove(again);
        }
        let (to, beside) = (way.to.clone(), way.beside.clone());
        self.add(to.what.version, to.what.sha256[0], beside, Some(number));
        Ok(())
    }

    fn prune(&mut self, kept: usize) {
        let gone = self.history().to_prune(kept);
        self.releases
            .retain(|release| !gone.contains(&release.number));
    }
}

#[test]
fn a_rollback_goes_back_to_how_the_worker_stood() {
    let mut worker = Worker::default();
    worker.deploy("1.0.0", 1);
    worker.deploy("1.1.0", 2);
    worker.deploy("1.1.0", 3);
    worker.roll_back(2).unwrap();
    assert_eq!(worker.model, worker.models[1]);
    worker.roll_back(1).unwrap();
    assert_eq!(worker.model, worker.models[0]);
    assert!(worker.history().has_put_aside(&version("1.1.0")));
    // And forth again.
    worker.roll_back(3).unwrap();
    assert_eq!(worker.model, worker.models[2]);
    assert!(!worker.history().has_put_aside(&version("1.1.0")));
}

#[test]
fn one_release_of_each_version_is_live() {
    let mut worker = Worker::default();
    worker.deploy("1.0.0", 1);
    worker.deploy("1.0.0", 2);
    worker.roll_back(1).unwrap();
    let stand = worker.history().stand();
    assert_eq!(stand, Stand::from([(version("1.0.0"), 3)]));
}

#[test]
fn what_is_unknown_or_no_longer_kept_is_refused() {
    let mut worker = Worker::default();
    worker.deploy("1.0.0", 1);
    worker.deploy("2.0.0", 2);
    assert_eq!(worker.history().back_to(3), Err(NoWay::Unknown));
    worker.deploy("1.0.0", 3);
    worker.prune(1);
    // The second is live, but what stood beside it is gone.
    assert_eq!(worker.history().back_to(1), Err(NoWay::Unknown));
    assert_eq!(worker.history().back_to(2), Err(NoWay::Pruned));
}

proptest! {
    /// Whatever was deployed, rolled back and pruned: each of the kept releases can be
    /// gone back to, and then all is as it was.
    #[test]
    fn every_kept_release_can_be_gone_back_to(
        steps in prop::collection::vec((0u8..4, 0usize..3, 0u8..5), 1..25),
        kept in 1usize..6,
    ) {
        let versions = ["1.0.0", "2.0.0", "latest"];
        let mut worker = Worker::default();
        for (kind, at, content) in steps {
            let kept_now = worker.history().releases().len().min(kept);
            if kind == 0 && kept_now > 0 {
                let number = worker.history().releases()[usize::from(content) % kept_now].number;
                prop_assert_eq!(worker.roll_back(number), Ok(()));
                let index = usize::try_from(number).unwrap() - 1;
                prop_assert_eq!(&worker.model, &worker.models[index]);
            } else {
                worker.deploy(versions[at], content);
            }
            worker.prune(kept);
            let history = worker.history();
            // What is live is kept, and is what is served.
            let live: Model = history
                .stand()
                .into_iter()
                .map(|(version, number)| (version, history.get(number).unwrap().what.sha256[0]))
                .collect();
            prop_assert_eq!(&live, &worker.model);
            prop_assert!(history.releases().len() <= kept * versions.len() + kept);
        }
    }
}
