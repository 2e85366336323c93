//! The database as a file: what is refused, what is read around, what stays.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use buntime_core::access::{Namespaces, Permission, Permissions, Principal, Rights, Role};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

/// A state directory with a database.
struct State(TempDir);

impl State {
    fn new() -> Self {
        let state = Self(tempfile::tempdir().unwrap());
        drop(state.open().unwrap());
        state
    }

    fn open(&self) -> Result<Box<dyn Database>, OpenError> {
        open::open(self.0.path()).map(|database| Box::new(database) as Box<dyn Database>)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(DATABASE_FILE)
    }

    /// Writes to the database as a stranger would.
    fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.file()).unwrap();
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

fn key(id: &str, role: Role) -> StoredKey {
    let listed: Permissions = [Permission::WorkersRead].into_iter().collect();
    StoredKey {
        principal: Principal {
            id: id.parse().unwrap(),
            name: "a name".into(),
            key_prefix: "btk_12345678".into(),
            role,
            rights: Rights {
                permissions: role.permissions().unwrap_or(listed),
                namespaces: Namespaces::parse(["@a", "@b"]).unwrap(),
                expires_at: Some(UNIX_EPOCH + Duration::from_millis(1_900_000_000_123)),
            },
            created_at: UNIX_EPOCH + Duration::from_millis(1_800_000_000_456),
            is_root: false,
        },
        secret: Digest::of(id.as_bytes()),
        old: None,
        made_by: KeyId::root(),
        last_use: None,
    }
}

fn release(name: &str, version: &str) -> NewRelease {
    let mut release = NewRelease::for_tests();
    release.name = PackageName::try_from(name).unwrap();
    release.version = Version::try_from(version).unwrap();
    release
}

#[test]
fn what_is_stored_is_read_again() {
    let state = State::new();
    let mut database = state.open().unwrap();
    let mut keys = [
        key("custom", Role::Custom),
        key("admin", Role::Admin),
        key("viewer", Role::Viewer),
    ];
    keys[2].principal.rights.expires_at = None;
    for key in &keys {
        database.insert_key(key).unwrap();
    }
    keys[0].old = Some(OldSecret {
        digest: keys[0].secret,
        until: UNIX_EPOCH + Duration::from_secs(2_000_000_000),
    });
    keys[0].secret = Digest::of(b"another");
    database.rotate_key(&keys[0]).unwrap();
    keys[1].last_use = Some(LastUse {
        at: UNIX_EPOCH + Duration::from_secs(1_850_000_000),
        from: "2001:db8::1".parse().unwrap(),
    });
    let used = (keys[1].principal.id.clone(), keys[1].last_use.unwrap());
    database.note_uses(&[used], &[]).unwrap();
    drop(database);
    let mut found = state.open().unwrap().keys().unwrap();
    assert!(found.corrupt.is_empty(), "{:?}", found.corrupt);
    found.rows.sort_by_key(|key| key.principal.id.clone());
    keys.sort_by_key(|key| key.principal.id.clone());
    assert_eq!(found.rows, keys);
}

#[test]
fn t32_a_damaged_row_is_a_key_that_opens_nothing() {
    let state = State::new();
    let mut database = state.open().unwrap();
    for id in [
        "good", "role", "names", "time", "used", "perms", "old", "maker",
    ] {
        database.insert_key(&key(id, Role::Custom)).unwrap();
    }
    drop(database);
    state.tamper(
        "UPDATE api_keys SET role = 'god' WHERE id = 'role';
         UPDATE api_keys SET namespaces = '' WHERE id = 'names';
         UPDATE api_keys SET expires_at = -1 WHERE id = 'time';
         UPDATE api_keys SET used_at = 5, used_from = 'x' WHERE id = 'used';
         UPDATE api_keys SET permissions = 'workers:read root' WHERE id = 'perms';
         UPDATE api_keys SET old_until = 5 WHERE id = 'old';
         UPDATE api_keys SET made_by = 'a b' WHERE id = 'maker';
         INSERT INTO api_keys SELECT 'root', name, randomblob(32), prefix, 'admin', '', '*',
           made_by, created_at, NULL, NULL, NULL, NULL, NULL FROM api_keys WHERE id = 'good';
         INSERT INTO unit_states VALUES ('no name', '', 0), ('@a/x', 'no version', 0);",
    );
    let mut database = state.open().unwrap();
    let found = database.keys().unwrap();
    let ids: Vec<&str> = found
        .rows
        .iter()
        .map(|key| key.principal.id.as_str())
        .collect();
    assert_eq!(ids, ["good"]);
    assert_eq!(found.corrupt.len(), 8);
    assert!(
        found
            .corrupt
            .contains(&"the key role is damaged: its role cannot be read".to_owned())
    );
    let states = database.unit_states().unwrap();
    assert_eq!((states.rows.len(), states.corrupt.len()), (0, 2));
    // All of it is told by the check, and none of it is a secret.
    assert_eq!(database.check().unwrap().len(), 10);
}

#[test]
fn d13_a_newer_schema_and_other_programs_files_are_refused_unchanged() {
    let newer = State::new();
    newer.tamper("PRAGMA user_version = 99");
    let error = newer.open().err().unwrap();
    assert!(
        matches!(error, OpenError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("buntime state restore"));

    let foreign = State(tempfile::tempdir().unwrap());
    foreign.tamper("CREATE TABLE theirs (x)");
    let before = fs::read(foreign.file()).unwrap();
    let error = foreign.open().err().unwrap();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(fs::read(foreign.file()).unwrap(), before);

    let older = State::new();
    older.tamper("PRAGMA user_version = 0");
    assert!(matches!(
        older.open().err().unwrap(),
        OpenError::Damaged { .. }
    ));
}

#[test]
fn d13_a_start_without_the_log_finds_all_that_was_answered() {
    let state = State::new();
    let mut database = state.open().unwrap();
    database.insert_key(&key("kept", Role::Viewer)).unwrap();
    // As after kill -9: the files as they are while it is open, without the log.
    let copy = State(tempfile::tempdir().unwrap());
    fs::copy(state.file(), copy.file()).unwrap();
    assert_eq!(copy.open().unwrap().keys().unwrap().rows.len(), 1);
}

#[test]
fn a_link_is_not_followed_to_a_database_elsewhere() {
    let (state, other) = (State(tempfile::tempdir().unwrap()), State::new());
    std::os::unix::fs::symlink(other.file(), state.file()).unwrap();
    assert!(matches!(
        state.open().err().unwrap(),
        OpenError::Unusable { .. }
    ));
}

#[test]
fn releases_count_up_for_each_worker() {
    let mut database = State::new().open().unwrap();
    let numbers: Vec<u64> = ["@a/x", "@a/x", "y", "@a/x"]
        .map(|name| {
            let release = database.insert_release(&release(name, "1.0.0"));
            release.unwrap().number
        })
        .into();
    assert_eq!(numbers, [1, 2, 1, 3]);
    let x = PackageName::try_from("@a/x").unwrap();
    database.delete_releases(&x, &[1, 2]).unwrap();
    let next = database.insert_release(&release("@a/x", "2.0.0")).unwrap();
    assert_eq!(next.number, 4);
    let found = database.releases(Some(&x)).unwrap().rows;
    assert_eq!(
        found
            .iter()
            .map(|release| release.number)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    assert_eq!(found[0], next);
    assert_eq!(database.releases(None).unwrap().rows.len(), 3);
}

#[test]
fn the_operators_word_is_kept_replaced_and_forgotten() {
    let mut database = State::new().open().unwrap();
    let state = |name, version: &str, enabled| UnitState {
        name: PackageName::try_from(name).unwrap(),
        version: (!version.is_empty()).then(|| Version::try_from(version).unwrap()),
        enabled,
    };
    for state in [
        state("x", "1.0.0", false),
        state("x", "1.0.0", true),
        state("x", "latest", false),
        state("x", "", false),
        state("@a/x", "1.0.0", false),
    ] {
        database.set_unit_state(&state).unwrap();
    }
    assert_eq!(database.unit_states().unwrap().rows.len(), 4);
    let x = PackageName::try_from("x").unwrap();
    let one = Version::try_from("1.0.0").unwrap();
    database.forget_unit_states(&x, Some(&one)).unwrap();
    assert_eq!(database.unit_states().unwrap().rows.len(), 3);
    database.forget_unit_states(&x, None).unwrap();
    let left = database.unit_states().unwrap().rows;
    // The word on a plugin of that name stays.
    assert_eq!(left, [state("@a/x", "1.0.0", false), state("x", "", false)]);
}

#[tokio::test]
async fn a_job_is_carried_out_though_nobody_waits_for_it() {
    let store = Store::in_memory();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    // The thread is held while the next job's client goes away.
    let held = store.clone();
    let held = tokio::spawn(async move { held.run(move |_| Ok(begun.recv())).await });
    tokio::task::yield_now().await;
    let mut insert =
        Box::pin(store.run(|database| database.insert_key(&key("left", Role::Viewer))));
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(insert.as_mut().poll(&mut context).is_pending());
    drop(insert);
    begin.send(()).unwrap();
    assert!(held.await.unwrap().unwrap().is_ok());
    let keys = store.run(|database| database.keys()).await.unwrap();
    assert_eq!(keys.rows.len(), 1);
}
