//! Keys and sessions as rows.

use std::net::IpAddr;
use std::time::SystemTime;

use buntime_core::access::{KeyId, Namespaces, Permission, Permissions, Principal, Rights, Role};
use rusqlite::{Connection, Row, Transaction, named_params, params};

use super::convert::{
    Wrong, column, digest, named, parsed, read_all, time, time_if_any, to_ms, wrong,
};
use crate::store::records::{Digest, LastUse, OldSecret, Rows, StoredKey, StoredSession};

pub(super) fn keys(connection: &Connection) -> rusqlite::Result<Rows<StoredKey>> {
    let mut statement = connection.prepare("SELECT * FROM api_keys")?;
    read_all(
        statement.query([])?,
        "key",
        |row| named(row, "id").to_string(),
        key,
    )
}

fn key(row: &Row<'_>) -> Result<StoredKey, Wrong> {
    let role: Role = parsed(row, "role", |text| text.parse().ok())?;
    let listed = parsed(row, "permissions", permissions)?;
    let id: KeyId = parsed(row, "id", |text| text.parse().ok())?;
    // No row may pass for the key that is in no row.
    if id == KeyId::root() {
        return Err(wrong("id"));
    }
    Ok(StoredKey {
        principal: Principal {
            id,
            name: column::<String>(row, "name")?.into(),
            key_prefix: column::<String>(row, "prefix")?.into(),
            role,
            rights: Rights {
                permissions: role.permissions().unwrap_or(listed),
                namespaces: parsed(row, "namespaces", |text| {
                    Namespaces::parse(text.split(' ')).ok()
                })?,
                expires_at: time_if_any(row, "expires_at")?,
            },
            created_at: time(row, "created_at")?,
            is_root: false,
        },
        secret: digest(row, "secret")?,
        old: old_secret(row)?,
        made_by: parsed(row, "made_by", |text| text.parse().ok())?,
        last_use: last_use(row)?,
    })
}

fn permissions(text: &str) -> Option<Permissions> {
    let words = text.split(' ').filter(|word| !word.is_empty());
    words.map(|word| word.parse::<Permission>().ok()).collect()
}

fn old_secret(row: &Row<'_>) -> Result<Option<OldSecret>, Wrong> {
    let Some(until) = time_if_any(row, "old_until")? else {
        return Ok(None);
    };
    Ok(Some(OldSecret {
        digest: digest(row, "old_secret")?,
        until,
    }))
}

fn last_use(row: &Row<'_>) -> Result<Option<LastUse>, Wrong> {
    let Some(at) = time_if_any(row, "used_at")? else {
        return Ok(None);
    };
    let from: IpAddr = parsed(row, "used_from", |text| text.parse().ok())?;
    Ok(Some(LastUse { at, from }))
}

pub(super) fn insert_key(transaction: &Transaction<'_>, key: &StoredKey) -> rusqlite::Result<()> {
    let principal = &key.principal;
    let rights = &principal.rights;
    let listed: Vec<&str> = match principal.role {
        Role::Custom => rights.permissions.iter().map(Permission::as_str).collect(),
        Role::Admin | Role::Editor | Role::Viewer => Vec::new(),
    };
    let namespaces: Vec<&str> = rights.namespaces.iter().collect();
    transaction.execute(
        "INSERT INTO api_keys (id, name, secret, prefix, role, permissions, namespaces, made_by, \
         created_at, expires_at) VALUES (:id, :name, :secret, :prefix, :role, :permissions, \
         :namespaces, :made_by, :created_at, :expires_at)",
        named_params! {
            ":id": principal.id.as_str(),
            ":name": &*principal.name,
            ":secret": key.secret.as_bytes(),
            ":prefix": &*principal.key_prefix,
            ":role": principal.role.as_str(),
            ":permissions": listed.join(" "),
            ":namespaces": namespaces.join(" "),
            ":made_by": key.made_by.as_str(),
            ":created_at": to_ms(principal.created_at),
            ":expires_at": rights.expires_at.map(to_ms),
        },
    )?;
    Ok(())
}

pub(super) fn rotate_key(transaction: &Transaction<'_>, key: &StoredKey) -> rusqlite::Result<()> {
    let id = key.principal.id.as_str();
    transaction.execute(
        "UPDATE api_keys SET secret = :secret, prefix = :prefix, old_secret = :old_secret, \
         old_until = :old_until WHERE id = :id",
        named_params! {
            ":id": id,
            ":secret": key.secret.as_bytes(),
            ":prefix": &*key.principal.key_prefix,
            ":old_secret": key.old.as_ref().map(|old| old.digest.as_bytes()),
            ":old_until": key.old.map(|old| to_ms(old.until)),
        },
    )?;
    transaction.execute("DELETE FROM sessions WHERE key_id = ?", [id])?;
    Ok(())
}

pub(super) fn delete_key(transaction: &Transaction<'_>, id: &KeyId) -> rusqlite::Result<()> {
    // Its sessions go with it.
    transaction.execute("DELETE FROM api_keys WHERE id = ?", [id.as_str()])?;
    Ok(())
}

pub(super) fn note_uses(
    transaction: &Transaction<'_>,
    keys: &[(KeyId, LastUse)],
    sessions: &[(Digest, SystemTime)],
) -> rusqlite::Result<()> {
    let mut key =
        transaction.prepare("UPDATE api_keys SET used_at = ?, used_from = ? WHERE id = ?")?;
    for (id, used) in keys {
        key.execute(params![to_ms(used.at), used.from.to_string(), id.as_str()])?;
    }
    let mut session = transaction.prepare("UPDATE sessions SET seen_at = ? WHERE digest = ?")?;
    for (digest, at) in sessions {
        session.execute(params![to_ms(*at), digest.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn sessions(connection: &Connection) -> rusqlite::Result<Rows<StoredSession>> {
    let mut statement = connection.prepare("SELECT * FROM sessions")?;
    read_all(
        statement.query([])?,
        "session",
        |row| format!("of key {}", named(row, "key_id")),
        session,
    )
}

fn session(row: &Row<'_>) -> Result<StoredSession, Wrong> {
    let key: Option<String> = column(row, "key_id")?;
    let key = key.map(|id| id.parse().map_err(|_| wrong("key_id")));
    Ok(StoredSession {
        digest: digest(row, "digest")?,
        key: key.transpose()?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        seen_at: time(row, "seen_at")?,
    })
}

pub(super) fn insert_session(
    transaction: &Transaction<'_>,
    session: &StoredSession,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO sessions (digest, key_id, created_at, expires_at, seen_at) \
         VALUES (?, ?, ?, ?, ?)",
        params![
            session.digest.as_bytes(),
            session.key.as_ref().map(KeyId::as_str),
            to_ms(session.created_at),
            to_ms(session.expires_at),
            to_ms(session.seen_at),
        ],
    )?;
    Ok(())
}

pub(super) fn delete_sessions(
    transaction: &Transaction<'_>,
    sessions: &[Digest],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare("DELETE FROM sessions WHERE digest = ?")?;
    for digest in sessions {
        statement.execute([digest.as_bytes()])?;
    }
    Ok(())
}
