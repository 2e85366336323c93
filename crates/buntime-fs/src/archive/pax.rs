//! Extended headers of tape archives (POSIX.1-2024, pax, "pax Header Block").

use super::error::{ArchiveError, EntryLabel, Unsafe};

/// Longest extended header. Real ones are hundreds of bytes; macOS puts attributes of
/// files into them.
pub(super) const MAX_HEADER: u64 = 256 * 1024;

/// What an extended header says that matters here. Owners, times, attributes and
/// comments do not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// The name of the entry.
    pub(super) path: Option<Vec<u8>>,
    /// Its size.
    pub(super) size: Option<u64>,
}

const BROKEN: &str = "an extended header is malformed";

/// Reads the records: `LENGTH KEY=VALUE\n`, where the length counts all of it.
pub(super) fn parse(mut records: &[u8]) -> Result<Extended, ArchiveError> {
    let broken = || ArchiveError::invalid(BROKEN);
    let mut extended = Extended::default();
    while !records.is_empty() {
        let digits = records
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(broken)?;
        let length = number(&records[..digits]).ok_or_else(broken)?;
        let length = usize::try_from(length).map_err(|_| broken())?;
        if length > records.len() {
            return Err(broken());
        }
        let (record, rest) = records.split_at(length);
        records = rest;
        let record = record.get(digits + 1..).ok_or_else(broken)?;
        let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(broken)?;
        keep(&mut extended, &record[..equals], &record[equals + 1..])?;
    }
    Ok(extended)
}

fn keep(extended: &mut Extended, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
    let first = match key {
        b"path" => extended.path.replace(value.to_owned()).is_none(),
        b"size" => {
            let size = number(value).ok_or_else(|| ArchiveError::invalid(BROKEN))?;
            extended.size.replace(size).is_none()
        }
        // Both change what the content of the entry is.
        b"SCHILY.realsize" => return Err(sparse(extended)),
        key if key.starts_with(b"GNU.sparse.") => return Err(sparse(extended)),
        _ => true,
    };
    if !first {
        return Err(ArchiveError::invalid(
            "an extended header says a thing twice",
        ));
    }
    Ok(())
}

fn sparse(extended: &Extended) -> ArchiveError {
    ArchiveError::UnsafeEntry {
        entry: EntryLabel::new(extended.path.as_deref().unwrap_or(b"?")),
        problem: Unsafe::Sparse,
    }
}

/// A decimal number: digits only.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
