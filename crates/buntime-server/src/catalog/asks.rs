//! What a unit asks for, and what becomes of it.

use buntime_core::{Ask, Grants, Limits, NotGranted, PackageName, Permissions, Verdict};

/// What a unit asks for, and what becomes of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Asks {
    /// Whose grants count; none: those for all units.
    pub name: Option<PackageName>,
    /// Each thing that its manifest asks for.
    pub judged: Vec<(Ask, Verdict)>,
    /// Those that it may not have.
    pub refused: Vec<NotGranted>,
}

impl Asks {
    pub(crate) fn of(
        grants: &Grants,
        name: Option<PackageName>,
        permissions: &Permissions,
        limits: &Limits,
    ) -> Self {
        let judged = grants.judge(name.as_ref(), permissions, limits);
        let decided = grants.decide(name.as_ref(), permissions, limits);
        Self {
            name,
            judged,
            refused: decided.err().unwrap_or_default(),
        }
    }
}
