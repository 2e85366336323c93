//! The tables, and how older ones become newer ones.

use rusqlite::{Connection, TransactionBehavior};

use super::{Fault, fault};

/// `BUNT`: what tells our files from other SQLite databases.
const APPLICATION: i64 = 0x4255_4e54;

/// Each step brings the schema from its index to the next number. Steps that were
/// released are never changed.
const STEPS: [&str; 1] = [include_str!("schema/1.sql")];

fn known() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Refuses what is no database of ours, or one of a later version.
pub(super) fn look_at(connection: &Connection) -> Result<(), Fault> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (
        number("application_id").map_err(fault)?,
        number("user_version").map_err(fault)?,
    );
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fault)?;
    if application != APPLICATION && (application != 0 || tables != 0) {
        return Err(Fault::Damaged(
            "it is a database of another program".to_owned(),
        ));
    }
    if version > known() {
        return Err(Fault::Newer {
            found: version,
            known: known(),
        });
    }
    if application == APPLICATION && !(1..=known()).contains(&version) {
        return Err(Fault::Damaged(format!("there is no schema {version}")));
    }
    Ok(())
}

/// Takes the steps that are missing, all or none.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(fault)?;
    if version == known() {
        return Ok(());
    }
    let missing = STEPS.iter().skip(usize::try_from(version).unwrap_or(0));
    let run = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in missing {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known())?;
        transaction.commit()
    };
    run().map_err(fault)
}
