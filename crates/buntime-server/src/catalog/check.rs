//! All problems of some folders at once, without serving them.

use std::path::{Path, PathBuf};

use buntime_fs::Root;

use super::Registry;
use super::load;
use super::problem::{Problem, Severity, Topic};
use super::scan::{Dirty, Scanner};
use super::unit::State;

/// Checks manifests, entrypoints, lockfiles and collisions. Each folder is a
/// worker root, or a unit itself. Blocks.
#[must_use]
pub fn check(dirs: &[PathBuf]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut roots = Vec::new();
    for dir in dirs {
        match check_unit(dir) {
            Some(found) => problems.extend(found),
            None => roots.push(dir.clone()),
        }
    }
    let mut scanner = Scanner::new(roots.iter().map(Into::into).collect());
    scanner.pass(&Dirty::default());
    problems.extend(scanner.problems());
    problems.extend(Registry::<()>::default().choose(&scanner).collisions);
    problems.sort_by(|a, b| (a.severity, &a.path).cmp(&(b.severity, &b.path)));
    problems
}

/// The problems of a folder that is a unit itself; `None` if it is none.
fn check_unit(dir: &Path) -> Option<Vec<Problem>> {
    let dir = std::path::absolute(dir).ok()?;
    let folder = Root::open(&dir).ok()?;
    load::Sight::take(&folder, None).ok()??;
    match load::load(&folder, &dir, None) {
        Ok(loaded) => {
            let mut problems = loaded.problems;
            if let State::Broken(broken) = &loaded.state {
                problems.push(super::scan::broken_problem(&dir, broken));
            }
            Some(problems)
        }
        Err(error) => Some(vec![Problem {
            message: format!("{}: {error}", dir.display()),
            path: dir,
            severity: Severity::Error,
            topic: Topic::Disk,
        }]),
    }
}
