//! The header before each entry, which must say what the directory says.

use super::super::error::ArchiveError;
use super::super::source::{ReadAt, read_exact_at};
use super::directory::{Entry, Method};
use super::fields::{Extra, Fields};
use super::wrong;

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const LOCAL_LENGTH: u64 = 30;
/// Checksum and sizes follow the content.
const LATER: u16 = 1 << 3;
/// How hard the packer tried: no matter here.
const EFFORT: u16 = 0b110;

/// Where the content of an entry begins. `next` is where the next entry does: the content
/// and its descriptor must end there.
pub(super) fn start<A: ReadAt + ?Sized>(
    archive: &A,
    entry: &Entry,
    next: u64,
) -> Result<u64, ArchiveError> {
    let cut = |error| match error {
        error @ std::io::Error { .. } if error.raw_os_error().is_some() => ArchiveError::Io(error),
        _ => wrong(entry, "lies outside of the archive"),
    };
    let mut head = [0; LOCAL_LENGTH as usize];
    read_exact_at(archive, &mut head, entry.offset).map_err(cut)?;
    let mut fields = Fields(&head);
    if fields.u32() != Some(LOCAL) {
        return Err(wrong(entry, "has no header"));
    }
    let mut u16 = || fields.u16().unwrap_or(0);
    let [_needed, flags, method, _time, _date] = std::array::from_fn(|_| u16());
    let mut u32 = || fields.u32().unwrap_or(0);
    let [crc, packed, size] = std::array::from_fn(|_| u32());
    let mut u16 = || fields.u16().unwrap_or(0);
    let [name, extra] = std::array::from_fn(|_| usize::from(u16()));

    let mut variable = vec![0; name + extra];
    read_exact_at(archive, &mut variable, entry.offset + LOCAL_LENGTH).map_err(cut)?;
    let (name, extra) = variable.split_at(name);
    if *name != *entry.raw_name {
        return Err(wrong(entry, "has another name in its header"));
    }
    let known = match entry.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    if method != known || (flags ^ entry.flags) & !EFFORT != 0 {
        return Err(wrong(entry, "has other flags in its header"));
    }
    let extra = Extra::parse(extra)?;
    if extra.unicode_name.is_some_and(|second| second != name) {
        return Err(wrong(entry, "has two names"));
    }
    let (mut size, mut packed) = (u64::from(size), u64::from(packed));
    extra.widen(&mut [&mut size, &mut packed])?;
    // What was not known yet is 0; Info-ZIP knew the size and not the packed size.
    let agrees = |told: u64, known: u64| told == known || flags & LATER != 0 && told == 0;
    if !agrees(crc.into(), entry.crc.into())
        || !agrees(packed, entry.packed)
        || !agrees(size, entry.size)
    {
        return Err(wrong(entry, "has other sizes in its header"));
    }
    let content = entry.offset + LOCAL_LENGTH + variable.len() as u64;
    let end = content.checked_add(entry.packed).filter(|end| *end <= next);
    let Some(end) = end else {
        return Err(wrong(entry, "overlaps another"));
    };
    let fits = match flags & LATER {
        0 => end == next,
        _ => is_descriptor(archive, entry, end, next, extra.has_zip64()).map_err(cut)?,
    };
    if !fits {
        return Err(wrong(entry, "overlaps another, or leaves a gap"));
    }
    Ok(content)
}

/// Whether what stands between the content and the next entry is the entry's descriptor:
/// with or without signature, with narrow or wide sizes.
fn is_descriptor<A: ReadAt + ?Sized>(
    archive: &A,
    entry: &Entry,
    at: u64,
    next: u64,
    wide: bool,
) -> std::io::Result<bool> {
    let length = match next - at {
        length @ (12 | 16 | 20 | 24) => length as usize,
        _ => return Ok(false),
    };
    let mut bytes = [0; 24];
    let bytes = &mut bytes[..length];
    read_exact_at(archive, bytes, at)?;
    let mut fields = Fields(bytes);
    if matches!(length, 16 | 24) && fields.u32() != Some(DESCRIPTOR) {
        return Ok(false);
    }
    let crc = fields.u32();
    let mut number = || match length {
        12 | 16 => fields.u32().map(u64::from),
        _ if wide => fields.u64(),
        _ => None,
    };
    let told = (crc, number(), number());
    Ok(told == (Some(entry.crc), Some(entry.packed), Some(entry.size)))
}
