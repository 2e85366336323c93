//! Between values and columns. A column is read as if a stranger had written it.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::FromSql;
use rusqlite::{Row, Rows as Cursor};

use crate::store::records::{Digest, Rows};

/// What is wrong with a column, in words that do not repeat its value.
pub(super) type Wrong = String;

pub(super) fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn from_ms(ms: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(ms).ok()?))
}

/// The column `name` as the database has it.
pub(super) fn column<T: FromSql>(row: &Row<'_>, name: &str) -> Result<T, Wrong> {
    row.get(name).map_err(|_| wrong(name))
}

/// The column `name`, read by `parse`.
pub(super) fn parsed<T>(
    row: &Row<'_>,
    name: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Wrong> {
    parse(&column::<String>(row, name)?).ok_or_else(|| wrong(name))
}

pub(super) fn time(row: &Row<'_>, name: &str) -> Result<SystemTime, Wrong> {
    from_ms(column(row, name)?).ok_or_else(|| wrong(name))
}

pub(super) fn time_if_any(row: &Row<'_>, name: &str) -> Result<Option<SystemTime>, Wrong> {
    match column::<Option<i64>>(row, name)? {
        Some(ms) => from_ms(ms).map(Some).ok_or_else(|| wrong(name)),
        None => Ok(None),
    }
}

pub(super) fn digest(row: &Row<'_>, name: &str) -> Result<Digest, Wrong> {
    column(row, name).map(Digest::from_bytes)
}

pub(super) fn count(row: &Row<'_>, name: &str) -> Result<u64, Wrong> {
    u64::try_from(column::<i64>(row, name)?).map_err(|_| wrong(name))
}

/// A number of ours in a column. None of them comes near the limit.
pub(super) fn to_column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn wrong(name: &str) -> Wrong {
    format!("its {name} cannot be read")
}

/// Reads all rows; those that cannot be read are told of by `what` and `name`.
pub(super) fn read_all<T>(
    mut cursor: Cursor<'_>,
    what: &str,
    name: impl Fn(&Row<'_>) -> String,
    read: impl Fn(&Row<'_>) -> Result<T, Wrong>,
) -> rusqlite::Result<Rows<T>> {
    let mut found = Rows {
        rows: Vec::new(),
        corrupt: Vec::new(),
    };
    while let Some(row) = cursor.next()? {
        match read(row) {
            Ok(value) => found.rows.push(value),
            Err(wrong) => found
                .corrupt
                .push(format!("the {what} {} is damaged: {wrong}", name(row))),
        }
    }
    Ok(found)
}

/// A column as it names its row; a question mark if not even that can be read.
pub(super) fn named(row: &Row<'_>, column: &str) -> impl Display + use<> {
    let text: Result<String, _> = row.get(column);
    let text = text.unwrap_or_else(|_| "?".to_owned());
    text.chars().take(80).collect::<String>()
}
