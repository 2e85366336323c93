//! Who may do what (contract section 7): permissions, roles, namespaces, principals,
//! and the one decision function between a principal and what it changes.
//!
//! A [`Principal`] is who asks. [`Principal::grant`] is the first half of the
//! decision, over the permission, and gives a [`Grant`]; [`Grant::over`] is the
//! second, over the namespace, and gives a [`Permit`]. What changes state takes a
//! `&Permit`, and there is no other way to get one.

mod namespaces;
mod permission;
mod permit;
mod principal;

pub use namespaces::{Namespaces, NamespacesError};
pub use permission::{Permission, PermissionError, Permissions, Role, RoleError};
pub use permit::{Denied, Grant, Permit};
pub use principal::{Escalation, KeyId, KeyIdError, Principal, Rights};

#[cfg(test)]
mod tests;
