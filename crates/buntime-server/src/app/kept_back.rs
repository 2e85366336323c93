//! Which variables were kept back from which app, for the warning at each start
//! of one of its workers (contract section 6).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Names of variables by app id. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptBack(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    /// Deployments of this id that had something kept back and are not retired: a
    /// new one begins before the one that it replaces ends.
    deployments: usize,
    /// Of the latest one.
    names: Arc<[String]>,
}

impl KeptBack {
    /// A deployment begins. Mostly nothing was kept back from it.
    pub(super) fn begin(&self, app: &str, names: &[String]) {
        let mut apps = self.0.lock();
        if let Some(entry) = apps.get_mut(app) {
            entry.names = names.into();
            entry.deployments += usize::from(!names.is_empty());
        } else if !names.is_empty() {
            let entry = Entry {
                deployments: 1,
                names: names.into(),
            };
            apps.insert(app.to_owned(), entry);
        }
    }

    /// A deployment that began with these names ends.
    pub(super) fn end(&self, app: &str, names: &[String]) {
        let mut apps = self.0.lock();
        if names.is_empty() {
            return;
        }
        if let Some(entry) = apps.get_mut(app) {
            entry.deployments = entry.deployments.saturating_sub(1);
            if entry.deployments == 0 {
                apps.remove(app);
            }
        }
    }

    /// What is kept back from this app, if anything is.
    pub(super) fn of(&self, app: &str) -> Option<Arc<[String]>> {
        let apps = self.0.lock();
        let names = &apps.get(app)?.names;
        (!names.is_empty()).then(|| Arc::clone(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_last_as_long_as_the_deployments_that_have_some() {
        let kept_back = KeptBack::default();
        let (one, two) = (["A".to_owned()], ["B".to_owned()]);
        kept_back.begin("app@1", &one);
        kept_back.begin("app@1", &two);
        kept_back.end("app@1", &one);
        assert_eq!(kept_back.of("app@1").as_deref(), Some(&two[..]));
        kept_back.begin("app@1", &[]);
        assert_eq!(kept_back.of("app@1"), None);
        kept_back.end("app@1", &two);
        assert!(kept_back.0.lock().is_empty());
        kept_back.begin("app@1", &[]);
        kept_back.end("app@1", &[]);
        assert!(kept_back.0.lock().is_empty());
    }
}
