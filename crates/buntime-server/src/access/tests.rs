//! Keys and sessions over time, with a clock that the tests turn.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use buntime_core::access::{Denied, Escalation, Grant, Namespaces, Permission, Permissions, Role};
use proptest::prelude::*;

use super::*;

const ROOT: &str = "the root key of these tests";
const HOUR: Duration = Duration::from_secs(60 * 60);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn access() -> Access {
    Access::for_tests(ROOT)
}

fn viewer(namespaces: &[&str], expires_at: Option<SystemTime>) -> NewKey {
    new_key(Role::Viewer, Permissions::NONE, namespaces, expires_at)
}

fn new_key(
    role: Role,
    listed: Permissions,
    namespaces: &[&str],
    expires_at: Option<SystemTime>,
) -> NewKey {
    NewKey {
        name: "a key".into(),
        role,
        permissions: role.permissions().unwrap_or(listed),
        namespaces: Namespaces::parse(namespaces.iter().copied()).unwrap(),
        expires_at,
    }
}

fn root(access: &Access, permission: Permission) -> Grant {
    access.0.root.principal.grant(permission).unwrap()
}

fn grant(access: &Access, key: &Created, permission: Permission) -> Grant {
    let secret = key.secret.expose().as_bytes();
    let key = access.0.by_secret(secret, SystemTime::now()).unwrap();
    key.principal.grant(permission).unwrap()
}

async fn made(access: &Access, new: NewKey) -> Created {
    let grant = root(access, Permission::KeysCreate);
    access.create(&grant, new, SystemTime::now()).await.unwrap()
}

fn opens(access: &Access, key: &Created, at: SystemTime) -> bool {
    let secret = key.secret.expose().as_bytes();
    access.0.by_secret(secret, at).is_some()
}

#[tokio::test]
async fn d16_a_key_expires_by_the_wall_clock() {
    let access = access();
    let now = SystemTime::now();
    let key = made(&access, viewer(&["*"], Some(now + HOUR))).await;
    assert!(opens(&access, &key, now));
    assert!(opens(&access, &key, now + HOUR - Duration::from_secs(1)));
    assert!(!opens(&access, &key, now + HOUR));
    // A clock that jumps back a day is believed: expiry is by what it says.
    assert!(opens(&access, &key, now - 24 * HOUR));
    assert!(!opens(&access, &key, now + 24 * HOUR));
}

#[tokio::test]
async fn k9_a_session_ends_by_time_whatever_the_clock_does() {
    let access = access();
    let now = Now::read();
    let later = |wall: Duration, steady: Duration| Now {
        wall: now.wall + wall,
        steady: now.steady + steady,
    };
    let login = access
        .log_in(ROOT.as_bytes(), &HERE.into(), now)
        .await
        .unwrap();
    let alive = |at: Now| access.0.by_token(login.token.as_bytes(), at).is_some();
    assert!(alive(now));
    for hours in 1..24 {
        assert!(alive(later(HOUR * hours, HOUR * hours)), "{hours}");
    }
    assert!(!alive(later(24 * HOUR, 24 * HOUR)));
    // By one of the two clocks is enough.
    assert!(!alive(later(24 * HOUR, 23 * HOUR)));
    assert!(!alive(later(Duration::ZERO, 24 * HOUR)));

    let login = access
        .log_in(ROOT.as_bytes(), &HERE.into(), now)
        .await
        .unwrap();
    let alive = |at: Now| access.0.by_token(login.token.as_bytes(), at).is_some();
    assert!(!alive(later(sessions::IDLE, sessions::IDLE)), "it was idle");
    assert!(alive(later(sessions::IDLE / 2, sessions::IDLE / 2)));
    assert!(alive(later(sessions::IDLE, sessions::IDLE)), "it was used");
}

#[tokio::test]
async fn k9_a_session_ends_with_its_key() {
    let access = access();
    let now = Now::read();
    let key = made(&access, viewer(&["*"], Some(now.wall + HOUR))).await;
    let secret = key.secret.expose().as_bytes();
    let login = access.log_in(secret, &HERE.into(), now).await.unwrap();
    assert!(login.lasts <= HOUR);
    let token = login.token.as_bytes();
    assert!(access.0.by_token(token, now).is_some());
    let grant = root(&access, Permission::KeysRevoke);
    access
        .revoke(&grant, &key.principal.id, now.wall)
        .await
        .unwrap();
    assert!(access.0.by_token(token, now).is_none());
    assert!(!opens(&access, &key, now.wall));
    let again = access.log_in(secret, &HERE.into(), now).await;
    assert!(matches!(again, Err(LoginError::WrongKey)));
}

#[tokio::test]
async fn a_rotated_key_keeps_its_old_secret_for_the_grace_alone() {
    let access = access();
    let now = SystemTime::now();
    let old = made(&access, viewer(&["@a"], None)).await;
    let create = root(&access, Permission::KeysCreate);
    let id = old.principal.id.clone();
    let login = access
        .log_in(old.secret.expose().as_bytes(), &HERE.into(), Now::read())
        .await
        .unwrap();
    let new = access.rotate(&create, &id, HOUR, now).await.unwrap();
    assert_eq!(new.old_until, Some(now + HOUR));
    assert_eq!(new.principal.rights, old.principal.rights);
    assert!(opens(&access, &new, now) && opens(&access, &old, now));
    assert!(
        access
            .0
            .by_token(login.token.as_bytes(), Now::read())
            .is_none()
    );
    assert!(opens(&access, &new, now + HOUR) && !opens(&access, &old, now + HOUR));
    // A second rotation ends the first secret, grace or not.
    let newest = access
        .rotate(&create, &id, Duration::ZERO, now)
        .await
        .unwrap();
    assert!(!opens(&access, &old, now) && !opens(&access, &new, now));
    assert!(opens(&access, &newest, now));
    let revoke = root(&access, Permission::KeysRevoke);
    access.revoke(&revoke, &id, now).await.unwrap();
    assert!(!opens(&access, &newest, now));
}

#[tokio::test]
async fn many_sessions_of_one_key_end_its_oldest() {
    let access = access();
    let start = Now::read();
    let mut tokens = Vec::new();
    for second in 0..=sessions::MOST_OF_A_KEY as u64 {
        let now = Now {
            wall: start.wall + Duration::from_secs(second),
            steady: start.steady + Duration::from_secs(second),
        };
        let login = access
            .log_in(ROOT.as_bytes(), &HERE.into(), now)
            .await
            .unwrap();
        tokens.push(login.token);
    }
    let later = Now {
        wall: start.wall + Duration::from_secs(60),
        steady: start.steady + Duration::from_secs(60),
    };
    let alive = |token: &[u8]| access.0.by_token(token, later).is_some();
    assert!(!alive(tokens[0].as_bytes()));
    assert!(tokens[1..].iter().all(|token| alive(token.as_bytes())));
}

/// T8: keys that make keys, and keys that are gone, do not get round it.
#[tokio::test]
async fn a_key_of_some_namespaces_cannot_use_up_the_keys_of_the_server() {
    let access = access();
    let (now, most) = (SystemTime::now(), keys::MOST_IN_NAMESPACES);
    let maker = |namespaces: &[&str]| new_key(Role::Admin, Permissions::NONE, namespaces, None);
    let first = made(&access, maker(&["@a", "@b"])).await;
    let by_first = grant(&access, &first, Permission::KeysCreate);
    let second = access.create(&by_first, maker(&["@a"]), now).await.unwrap();
    let by_second = grant(&access, &second, Permission::KeysCreate);
    for made in 2..most {
        let by = if made % 2 == 0 { &by_first } else { &by_second };
        let new = access.create(by, viewer(&["@a"], None), now).await;
        new.unwrap_or_else(|error| panic!("{made}: {error}"));
    }
    for by in [&by_first, &by_second] {
        let refused = access.create(by, viewer(&["@a"], None), now).await;
        assert!(matches!(refused, Err(KeyError::TooManyInNamespaces)));
    }
    // A maker that is gone frees its own place only.
    let revoking = grant(&access, &first, Permission::KeysRevoke);
    access
        .revoke(&revoking, &second.principal.id, now)
        .await
        .unwrap();
    let third = access.create(&by_first, maker(&["@a"]), now).await.unwrap();
    let by_third = grant(&access, &third, Permission::KeysCreate);
    let refused = access.create(&by_third, viewer(&["@a"], None), now).await;
    assert!(matches!(refused, Err(KeyError::TooManyInNamespaces)));
    // Others make theirs, and whoever reaches everything makes any.
    let other = made(&access, maker(&["@c"])).await;
    let by_other = grant(&access, &other, Permission::KeysCreate);
    access
        .create(&by_other, viewer(&["@c"], None), now)
        .await
        .unwrap();
    made(&access, viewer(&["@a"], None)).await;
}

#[tokio::test]
async fn sessions_of_some_namespaces_end_before_those_of_others() {
    let access = access();
    let start = Now::read();
    let at = |second: u64| Now {
        wall: start.wall + Duration::from_secs(second),
        steady: start.steady + Duration::from_secs(second),
    };
    let mine = access
        .log_in(ROOT.as_bytes(), &HERE.into(), at(0))
        .await
        .unwrap();
    let other = made(&access, viewer(&["@b"], None)).await;
    let secret = other.secret.expose().as_bytes();
    let others = access.log_in(secret, &HERE.into(), at(0)).await.unwrap();
    let most = sessions::MOST_IN_NAMESPACES;
    let mut tokens = Vec::new();
    for number in 0..most / sessions::MOST_OF_A_KEY + 1 {
        let key = made(&access, viewer(&["@a"], None)).await;
        for _ in 0..sessions::MOST_OF_A_KEY {
            let second = 1 + u64::try_from(tokens.len()).unwrap();
            let secret = key.secret.expose().as_bytes();
            let login = access.log_in(secret, &HERE.into(), at(second)).await;
            tokens.push(
                login
                    .unwrap_or_else(|error| panic!("{number}: {error}"))
                    .token,
            );
        }
    }
    let later = at(3600);
    let alive = |token: &[u8]| access.0.by_token(token, later).is_some();
    let left = tokens
        .iter()
        .filter(|token| alive(token.as_bytes()))
        .count();
    assert_eq!(left, most);
    assert!(!alive(tokens[0].as_bytes()));
    assert!(alive(mine.token.as_bytes()) && alive(others.token.as_bytes()));
}

#[tokio::test]
async fn k6_who_may_revoke_and_rotate_what() {
    let access = access();
    let now = SystemTime::now();
    let keys = [
        Permission::KeysRead,
        Permission::KeysCreate,
        Permission::KeysRevoke,
        Permission::WorkersRead,
    ]
    .into_iter()
    .collect();
    let of_a = made(&access, new_key(Role::Custom, keys, &["@a"], None)).await;
    let root_made = made(&access, viewer(&["@a"], None)).await;
    let of_b = made(&access, viewer(&["@b"], None)).await;
    let of_all = made(&access, viewer(&["*"], None)).await;
    let reads = [Permission::WorkersRead].into_iter().collect();
    let child = access
        .create(
            &grant(&access, &of_a, Permission::KeysCreate),
            new_key(Role::Custom, reads, &["@a"], None),
            now,
        )
        .await
        .unwrap();

    let revoke = grant(&access, &of_a, Permission::KeysRevoke);
    let nobody: KeyId = "nobody".parse().unwrap();
    for id in [&of_b.principal.id, &of_all.principal.id, &nobody] {
        let refused = access.revoke(&revoke, id, now).await;
        // A key of others and one that is not there are told apart by nothing.
        assert!(matches!(refused, Err(KeyError::Denied(Denied::Namespace))));
    }
    let refused = access.revoke(&revoke, &root_made.principal.id, now).await;
    assert!(matches!(refused, Err(KeyError::IsAbove)));
    let refused = access.revoke(&revoke, &of_a.principal.id, now).await;
    assert!(matches!(refused, Err(KeyError::IsSelf)));
    // Another permission's grant is none for this.
    let read = grant(&access, &of_a, Permission::KeysRead);
    let refused = access.revoke(&read, &child.principal.id, now).await;
    assert!(matches!(
        refused,
        Err(KeyError::Denied(Denied::Permission(_)))
    ));

    let create = grant(&access, &of_a, Permission::KeysCreate);
    let rotated = access.rotate(&create, &child.principal.id, HOUR, now).await;
    assert!(rotated.is_ok());
    let refused = access
        .rotate(&create, &root_made.principal.id, HOUR, now)
        .await;
    assert!(matches!(refused, Err(KeyError::IsAbove)));

    let seen: Vec<KeyId> = access
        .keys(&read)
        .into_iter()
        .map(|key| key.principal.id.clone())
        .collect();
    assert_eq!(seen.len(), 3);
    assert!(!seen.contains(&of_b.principal.id) && !seen.contains(&of_all.principal.id));
    access
        .revoke(&revoke, &child.principal.id, now)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_that_was_revoked_while_it_waited_makes_none() {
    let access = access();
    let now = SystemTime::now();
    let maker = made(
        &access,
        new_key(Role::Admin, Permissions::NONE, &["*"], None),
    )
    .await;
    let create = grant(&access, &maker, Permission::KeysCreate);
    let revoke = root(&access, Permission::KeysRevoke);
    access
        .revoke(&revoke, &maker.principal.id, now)
        .await
        .unwrap();
    let refused = access.create(&create, viewer(&["*"], None), now).await;
    assert!(matches!(refused, Err(KeyError::Gone)));
    assert_eq!(access.keys(&root(&access, Permission::KeysRead)).len(), 0);
}

#[tokio::test]
async fn the_last_use_is_noted_and_written_once() {
    let access = access();
    let key = made(&access, viewer(&["*"], None)).await;
    let now = Now::read();
    access
        .log_in(key.secret.expose().as_bytes(), &HERE.into(), now)
        .await
        .unwrap();
    let used = access.last_use(&key.principal).unwrap();
    assert_eq!((used.at, used.from), (now.wall, HERE));
    access.write_uses(now).await.unwrap();
    let stored = access
        .0
        .store
        .run(|database| database.keys())
        .await
        .unwrap();
    let written = stored.rows[0].last_use.unwrap();
    assert_eq!(written.from, HERE);
    assert!(written.at <= used.at && used.at < written.at + Duration::from_millis(1));
    assert!(
        access
            .0
            .keys
            .load()
            .iter()
            .all(|key| key.usage.take_news().is_none())
    );
}

/// A small list of namespaces, so that subsets are met often.
fn some_namespaces() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["*", "@a", "@b", "@c"], 1..=3)
}

fn some_permissions() -> impl Strategy<Value = Vec<Permission>> {
    proptest::sample::subsequence(Permission::ALL.to_vec(), 1..=Permission::ALL.len())
}

fn some_expiry() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(1..4_u64)
}

proptest! {
    /// K5: what a key makes can do nothing that the key itself cannot, by a model that
    /// asks for each single permission, namespace and hour.
    #[test]
    fn k5_a_key_makes_none_that_is_wider(
        maker in (some_permissions(), some_namespaces(), some_expiry()),
        child in (some_permissions(), some_namespaces(), some_expiry()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let access = access();
            let now = SystemTime::now();
            let spec = |(permissions, namespaces, hours): &(Vec<_>, Vec<_>, Option<u64>)| {
                let expires = hours.map(|hours| now + HOUR * u32::try_from(hours).unwrap());
                let permissions = permissions.iter().copied().collect();
                new_key(Role::Custom, permissions, namespaces, expires)
            };
            let made = made(&access, spec(&maker)).await;
            let Ok(grant) = made.principal.grant(Permission::KeysCreate) else {
                return Ok(());
            };
            let result = access.create(&grant, spec(&child), now).await;

            let can = |key: &(Vec<Permission>, Vec<&str>, Option<u64>), permission, scope: &str, hour| {
                let there = key.1.contains(&"*") || (!scope.is_empty() && key.1.contains(&scope));
                key.0.contains(&permission) && there && key.2.is_none_or(|hours| hour < hours)
            };
            let mut wider = false;
            for permission in Permission::ALL {
                for scope in ["", "@a", "@b", "@c", "@d"] {
                    for hour in 0..5 {
                        wider |= can(&child, permission, scope, hour)
                            && !can(&maker, permission, scope, hour);
                    }
                }
            }
            match result {
                Ok(_) => prop_assert!(!wider),
                Err(KeyError::Escalation(
                    Escalation::Permissions | Escalation::Namespaces | Escalation::Expiry,
                )) => prop_assert!(wider),
                Err(error) => prop_assert!(false, "{error}"),
            }
            Ok(())
        })?;
    }
}
