//! The decision, in two halves, and the proofs that it gives.

use std::sync::Arc;

use super::permission::Permission;
use super::principal::Principal;
use crate::{Namespace, PackageName};

/// Why a principal may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It lacks the permission (403 `PERMISSION_DENIED`).
    #[error("the permission {0} is needed")]
    Permission(Permission),
    /// The unit is in no namespace of the key, or in none at all, or the action is
    /// on all of the server (403 `NAMESPACE_DENIED`).
    #[error("this is outside the namespaces of the key")]
    Namespace,
}

/// Proof that a principal holds a permission. It opens nothing yet: where the
/// permission counts is decided by [`Grant::over`].
#[derive(Clone, Debug)]
pub struct Grant {
    principal: Arc<Principal>,
    permission: Permission,
}

/// Proof that a principal may do something to the units of one namespace, or to all
/// of the server. What changes state takes one.
#[derive(Clone, Debug)]
pub struct Permit {
    principal: Arc<Principal>,
    permission: Permission,
    reach: Reach,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    /// Units of this scope, or those without any.
    Units(Option<Namespace>),
    /// The server as a whole.
    Everything,
}

impl Principal {
    /// The first half of the decision: may the principal do this anywhere?
    ///
    /// # Errors
    /// [`Denied::Permission`]
    pub fn grant(self: &Arc<Self>, permission: Permission) -> Result<Grant, Denied> {
        if !self.has(permission) {
            return Err(Denied::Permission(permission));
        }
        Ok(Grant {
            principal: Arc::clone(self),
            permission,
        })
    }
}

impl Grant {
    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What he may do.
    #[must_use]
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// Whether units of `scope` are within reach: how lists are filtered.
    #[must_use]
    pub fn sees(&self, scope: Option<&Namespace>) -> bool {
        self.principal.sees(scope)
    }

    /// The second half: may he do it to the units of `scope`? `None`: to those
    /// without one. Whether there is such a unit has no part in it, so that the
    /// answer tells nothing of what others have.
    ///
    /// # Errors
    /// [`Denied::Namespace`]
    pub fn over(&self, scope: Option<&Namespace>) -> Result<Permit, Denied> {
        if !self.sees(scope) {
            return Err(Denied::Namespace);
        }
        Ok(self.permit(Reach::Units(scope.cloned())))
    }

    /// The second half for what concerns all of the server: needs `*`.
    ///
    /// # Errors
    /// [`Denied::Namespace`]
    pub fn everywhere(&self) -> Result<Permit, Denied> {
        // Who reaches units without a namespace reaches all there are.
        if !self.sees(None) {
            return Err(Denied::Namespace);
        }
        Ok(self.permit(Reach::Everything))
    }

    fn permit(&self, reach: Reach) -> Permit {
        Permit {
            principal: Arc::clone(&self.principal),
            permission: self.permission,
            reach,
        }
    }
}

impl Permit {
    /// Who may.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What.
    #[must_use]
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// Holds the permit against what is about to be done, at the place where it is
    /// done: a permit for one unit is none for another.
    ///
    /// # Errors
    /// It is for another permission, or for units of another namespace.
    pub fn covers(&self, permission: Permission, unit: &PackageName) -> Result<(), Denied> {
        if self.permission != permission {
            return Err(Denied::Permission(permission));
        }
        match &self.reach {
            Reach::Everything => Ok(()),
            Reach::Units(scope) if scope.as_ref() == unit.scope() => Ok(()),
            Reach::Units(_) => Err(Denied::Namespace),
        }
    }
}
