//! What the operator said of units, and releases, as rows.

use buntime_core::access::KeyId;
use buntime_core::{PackageName, Version};
use rusqlite::{Connection, Row, Transaction, named_params, params};

use super::convert::{
    Wrong, column, count, named, parsed, read_all, time, to_column, to_ms, wrong,
};
use crate::store::records::{NewRelease, Release, Rows, Stand, UnitState};

pub(super) fn states(connection: &Connection) -> rusqlite::Result<Rows<UnitState>> {
    let mut statement = connection.prepare("SELECT * FROM unit_states")?;
    read_all(
        statement.query([])?,
        "state of",
        |row| named(row, "name").to_string(),
        state,
    )
}

fn state(row: &Row<'_>) -> Result<UnitState, Wrong> {
    Ok(UnitState {
        name: parsed(row, "name", |text| PackageName::try_from(text).ok())?,
        version: parsed(row, "version", |text| match text {
            "" => Some(None),
            text => Version::try_from(text).ok().map(Some),
        })?,
        enabled: column(row, "enabled")?,
    })
}

pub(super) fn set_state(transaction: &Transaction<'_>, state: &UnitState) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO unit_states (name, version, enabled) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET enabled = excluded.enabled",
        params![
            state.name.as_str(),
            state.version.as_ref().map_or("", Version::as_str),
            state.enabled
        ],
    )?;
    Ok(())
}

pub(super) fn forget_plugin_state(
    transaction: &Transaction<'_>,
    name: &PackageName,
) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM unit_states WHERE name = ?1 AND version = ''",
        [name.as_str()],
    )?;
    Ok(())
}

pub(super) fn forget_states(
    transaction: &Transaction<'_>,
    name: &PackageName,
    version: Option<&Version>,
) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM unit_states WHERE name = ?1 AND version <> '' AND (?2 IS NULL OR version = ?2)",
        params![name.as_str(), version.map(Version::as_str)],
    )?;
    Ok(())
}

pub(super) fn releases(
    connection: &Connection,
    name: Option<&PackageName>,
) -> rusqlite::Result<Rows<Release>> {
    let mut statement = connection.prepare(
        "SELECT * FROM releases WHERE ?1 IS NULL OR name = ?1 ORDER BY name, number DESC",
    )?;
    read_all(
        statement.query([name.map(PackageName::as_str)])?,
        "release of",
        |row| named(row, "name").to_string(),
        release,
    )
}

fn release(row: &Row<'_>) -> Result<Release, Wrong> {
    let rollback_of: Option<i64> = column(row, "rollback_of")?;
    let rollback_of = rollback_of.map(u64::try_from);
    Ok(Release {
        number: count(row, "number")?,
        what: NewRelease {
            name: parsed(row, "name", |text| PackageName::try_from(text).ok())?,
            version: parsed(row, "version", |text| Version::try_from(text).ok())?,
            created_at: time(row, "created_at")?,
            key: parsed(row, "key_id", |text| text.parse::<KeyId>().ok())?,
            key_name: column::<String>(row, "key_name")?.into(),
            message: column::<Option<String>>(row, "message")?.map(Box::from),
            sha256: column(row, "sha256")?,
            size: count(row, "size")?,
            kind: column::<String>(row, "kind")?.into(),
            rollback_of: rollback_of.transpose().map_err(|_| wrong("rollback_of"))?,
            beside: parsed(row, "beside", stand)?,
        },
    })
}

fn stand(text: &str) -> Option<Stand> {
    let pair = |pair: &str| {
        let (version, number) = pair.rsplit_once('=')?;
        Some((Version::try_from(version).ok()?, number.parse().ok()?))
    };
    text.split_whitespace().map(pair).collect()
}

fn stand_text(stand: &Stand) -> String {
    let pairs = stand.iter();
    let pairs: Vec<_> = pairs
        .map(|(version, number)| format!("{version}={number}"))
        .collect();
    pairs.join(" ")
}

pub(super) fn insert_release(
    transaction: &Transaction<'_>,
    release: &NewRelease,
) -> rusqlite::Result<Release> {
    let number: i64 = transaction.query_row(
        "INSERT INTO releases (name, number, version, created_at, key_id, key_name, message, \
         sha256, size, kind, rollback_of, beside) \
         VALUES (:name, (SELECT coalesce(max(number), 0) + 1 FROM releases WHERE name = :name), \
         :version, :created_at, :key_id, :key_name, :message, :sha256, :size, :kind, \
         :rollback_of, :beside) RETURNING number",
        named_params! {
            ":name": release.name.as_str(),
            ":version": release.version.as_str(),
            ":created_at": to_ms(release.created_at),
            ":key_id": release.key.as_str(),
            ":key_name": &*release.key_name,
            ":message": release.message.as_deref(),
            ":sha256": release.sha256,
            ":size": to_column(release.size),
            ":kind": &*release.kind,
            ":rollback_of": release.rollback_of.map(to_column),
            ":beside": stand_text(&release.beside),
        },
        |row| row.get(0),
    )?;
    Ok(Release {
        number: number.unsigned_abs(),
        what: release.clone(),
    })
}

pub(super) fn delete_releases(
    transaction: &Transaction<'_>,
    name: &PackageName,
    numbers: &[u64],
) -> rusqlite::Result<()> {
    let mut statement =
        transaction.prepare("DELETE FROM releases WHERE name = ? AND number = ?")?;
    for number in numbers {
        statement.execute(params![name.as_str(), to_column(*number)])?;
    }
    Ok(())
}
