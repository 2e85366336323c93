use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::{Namespace, PackageName};

fn namespaces(list: &[&str]) -> Result<Namespaces, NamespacesError> {
    Namespaces::parse(list.iter().copied())
}

fn key(permissions: Permissions, list: &[&str]) -> Arc<Principal> {
    Arc::new(Principal {
        id: "k1".parse().unwrap(),
        name: "ci".into(),
        key_prefix: "btk_abcdefgh".into(),
        role: Role::Custom,
        rights: Rights {
            permissions,
            namespaces: namespaces(list).unwrap(),
            expires_at: None,
        },
        created_at: SystemTime::UNIX_EPOCH,
        is_root: false,
    })
}

#[test]
fn every_permission_is_written_and_read_alike() {
    for permission in Permission::ALL {
        assert_eq!(permission.as_str().parse(), Ok(permission));
        assert_eq!(
            permission.only_reads(),
            permission.as_str().ends_with(":read")
        );
    }
    for none in ["", "workers", "workers:*", "WORKERS:READ", "keys:read "] {
        assert_eq!(none.parse::<Permission>(), Err(PermissionError), "{none}");
    }
}

#[test]
fn roles_bring_what_the_contract_says() {
    let list = |role: Role| {
        let permissions = role.permissions().unwrap();
        permissions
            .iter()
            .map(Permission::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(Role::Admin).len(), Permission::ALL.len());
    assert_eq!(
        list(Role::Viewer),
        ["workers:read", "plugins:read", "keys:read"]
    );
    let editor = list(Role::Editor);
    assert_eq!(editor.len(), 8);
    assert!(editor.iter().all(|name| !name.starts_with("keys:")));
    assert_eq!(Role::Custom.permissions(), None);
    assert!("__proto__".parse::<Role>().is_err());
}

#[test]
fn n14_lists_of_namespaces() {
    assert_eq!(namespaces(&[]), Err(NamespacesError::Empty));
    for bad in ["", "@", "a", "@a/b", "@-a", "**", "@ä", "@a b"] {
        assert_eq!(namespaces(&[bad]), Err(NamespacesError::Malformed), "{bad}");
        assert!(namespaces(&["*", bad]).is_err(), "{bad}");
    }
    assert_eq!(namespaces(&["*", "@a"]), Ok(Namespaces::All));
    let some = namespaces(&[" @B ", "@a", "@b", "@A"]).unwrap();
    assert_eq!(some.iter().collect::<Vec<_>>(), ["@a", "@b"]);
    let many: Vec<String> = (0..257).map(|n| format!("@n{n}")).collect();
    let many = Namespaces::parse(many.iter().map(String::as_str));
    assert_eq!(many, Err(NamespacesError::TooMany));
}

#[test]
fn a_key_of_one_namespace_reaches_nothing_else() {
    let grant = key(Permissions::all(), &["@a"])
        .grant(Permission::WorkersRemove)
        .unwrap();
    let scope = |text: &str| text.parse::<Namespace>().unwrap();
    assert!(grant.over(Some(&scope("@a"))).is_ok());
    assert!(grant.over(Some(&scope("@A"))).is_ok());
    for other in ["@b", "@a.evil", "@aa"] {
        assert_eq!(
            grant.over(Some(&scope(other))).unwrap_err(),
            Denied::Namespace
        );
    }
    assert_eq!(grant.over(None).unwrap_err(), Denied::Namespace);
    assert_eq!(grant.everywhere().unwrap_err(), Denied::Namespace);
}

#[test]
fn a_permit_covers_what_it_was_made_for() {
    let key = key(Permissions::all(), &["*"]);
    let grant = key.grant(Permission::WorkersRemove).unwrap();
    let unit = |text: &str| text.parse::<PackageName>().unwrap();
    let permit = grant.over(unit("@a/x").scope()).unwrap();
    assert_eq!(
        permit.covers(Permission::WorkersRemove, &unit("@a/y")),
        Ok(())
    );
    assert_eq!(
        permit.covers(Permission::WorkersRemove, &unit("@b/x")),
        Err(Denied::Namespace)
    );
    assert_eq!(
        permit.covers(Permission::WorkersRemove, &unit("x")),
        Err(Denied::Namespace)
    );
    assert_eq!(
        permit.covers(Permission::WorkersInstall, &unit("@a/x")),
        Err(Denied::Permission(Permission::WorkersInstall))
    );
    let everywhere = grant.everywhere().unwrap();
    assert_eq!(
        everywhere.covers(Permission::WorkersRemove, &unit("x")),
        Ok(())
    );
}

#[test]
fn the_root_key_passes_always() {
    let root = Arc::new(Principal::root(SystemTime::UNIX_EPOCH));
    for permission in Permission::ALL {
        let grant = root.grant(permission).unwrap();
        assert!(grant.everywhere().is_ok() && grant.over(None).is_ok());
    }
}

fn any_permissions() -> impl Strategy<Value = Permissions> {
    proptest::sample::subsequence(Permission::ALL.to_vec(), 0..=Permission::ALL.len())
        .prop_map(|some| some.into_iter().collect())
}

fn any_namespaces() -> impl Strategy<Value = Namespaces> {
    proptest::sample::subsequence(vec!["*", "@a", "@b", "@c"], 1..=4)
        .prop_map(|list| Namespaces::parse(list).unwrap())
}

fn any_rights() -> impl Strategy<Value = Rights> {
    let expiry = proptest::option::of(0_u64..5)
        .prop_map(|day| day.map(|day| SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)));
    (any_permissions(), any_namespaces(), expiry).prop_map(
        |(permissions, namespaces, expires_at)| Rights {
            permissions,
            namespaces,
            expires_at,
        },
    )
}

proptest! {
    /// Whatever a narrower key may do, its maker may.
    #[test]
    fn rights_within_others_open_nothing_more(child in any_rights(), maker in any_rights()) {
        let scopes = ["@a", "@b", "@c", "@d"].map(|text| text.parse::<Namespace>().unwrap());
        let scopes = || scopes.iter().map(Some).chain([None]);
        let opens_more = Permission::ALL.into_iter().any(|permission| {
            child.permissions.contains(permission) && !maker.permissions.contains(permission)
        });
        let reaches_more = scopes()
            .any(|scope| child.namespaces.contain(scope) && !maker.namespaces.contain(scope));
        let lives_longer = match (child.expires_at, maker.expires_at) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(child), Some(maker)) => child > maker,
        };
        prop_assert_eq!(
            child.are_within(&maker).is_ok(),
            !opens_more && !reaches_more && !lives_longer
        );
    }

    #[test]
    fn parsing_namespaces_never_panics(list in proptest::collection::vec(".{0,12}", 0..6)) {
        if let Ok(parsed) = Namespaces::parse(list.iter().map(String::as_str)) {
            let again = Namespaces::parse(parsed.iter()).unwrap();
            prop_assert_eq!(again, parsed);
        }
    }
}
