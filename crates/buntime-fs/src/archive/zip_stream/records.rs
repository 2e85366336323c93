//! The records of a zip file (APPNOTE.TXT 6.3.10) as they are written.

use std::io;

use crate::root::FileInfo;

/// Sizes and checksum follow the content; the name is UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
const DEFLATED: u16 = 8;
const STORED: u16 = 0;
/// What reads 64-bit sizes, and what reads the rest.
const VERSION_64: u16 = 45;
const VERSION: u16 = 20;
/// Made on Unix: the upper half of the attributes is a mode.
const UNIX: u16 = 3 << 8;
/// From this size on an entry is told with 64 bits: packed it may be somewhat larger than
/// it is.
const WIDE_FROM: u64 = 0xf000_0000;
const NARROW: u64 = 0xffff_ffff;

/// What the archive tells of an entry.
#[derive(Clone, Debug)]
pub(super) struct Line {
    name: String,
    kind: Kind,
    wide: bool,
    time: [u16; 2],
    offset: u64,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Program,
}

impl Line {
    pub(super) fn folder(name: &str, offset: u64, info: &FileInfo) -> Self {
        Self {
            kind: Kind::Folder,
            wide: false,
            ..Self::file(&format!("{name}/"), offset, info, false)
        }
    }

    pub(super) fn file(name: &str, offset: u64, info: &FileInfo, runs: bool) -> Self {
        Self {
            name: name.to_owned(),
            kind: if runs { Kind::Program } else { Kind::File },
            wide: info.size >= WIDE_FROM,
            time: dos_time(info.modified_ns.div_euclid(1_000_000_000)),
            offset,
            crc: 0,
            packed: 0,
            size: 0,
        }
    }

    fn flags(&self) -> u16 {
        match self.kind {
            Kind::Folder => FLAGS & !(1 << 3),
            Kind::File | Kind::Program => FLAGS,
        }
    }

    fn method(&self) -> u16 {
        match self.kind {
            Kind::Folder => STORED,
            Kind::File | Kind::Program => DEFLATED,
        }
    }

    fn name_length(&self) -> io::Result<u16> {
        u16::try_from(self.name.len()).map_err(io::Error::other)
    }

    /// Before the content. Nothing is known of it yet.
    pub(super) fn write_header(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let name = self.name_length()?;
        let (version, size, extra) = if self.wide {
            (VERSION_64, u32::MAX, 20)
        } else {
            (VERSION, 0, 0)
        };
        out.extend_from_slice(b"PK\x03\x04");
        let [time, date] = self.time;
        push16(out, &[version, self.flags(), self.method(), time, date]);
        push32(out, &[0, size, size]);
        push16(out, &[name, extra]);
        out.extend_from_slice(self.name.as_bytes());
        if self.wide {
            push16(out, &[1, 16]);
            push64(out, &[0, 0]);
        }
        Ok(())
    }

    /// Behind the content.
    pub(super) fn write_descriptor(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PK\x07\x08");
        push32(out, &[self.crc]);
        if self.wide {
            push64(out, &[self.packed, self.size]);
        } else {
            push32(out, &[narrow(self.packed), narrow(self.size)]);
        }
    }

    /// In the directory.
    fn write_line(&self, out: &mut Vec<u8>) {
        let mut extra = Vec::new();
        // In this order, each only if its field has no room for it.
        let all = [self.size, self.packed, self.offset];
        let wide: Vec<u64> = all.into_iter().filter(|number| *number >= NARROW).collect();
        if !wide.is_empty() {
            push16(&mut extra, &[1, 8 * wide.len() as u16]);
            push64(&mut extra, &wide);
        }
        let version = if self.wide || !wide.is_empty() {
            VERSION_64
        } else {
            VERSION
        };
        let mode: u32 = match self.kind {
            Kind::Folder => 0o040_755,
            Kind::File => 0o100_644,
            Kind::Program => 0o100_755,
        };
        // A folder, to DOS.
        let attributes = mode << 16 | u32::from(self.kind == Kind::Folder) << 4;
        let [time, date] = self.time;
        // `write_header` has seen that the name fits.
        let name = self.name_length().unwrap_or(u16::MAX);
        out.extend_from_slice(b"PK\x01\x02");
        push16(out, &[UNIX | version, version, self.flags()]);
        push16(out, &[self.method(), time, date]);
        push32(out, &[self.crc, narrow(self.packed), narrow(self.size)]);
        push16(out, &[name, extra.len() as u16, 0, 0, 0]);
        push32(out, &[attributes, narrow(self.offset)]);
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&extra);
    }
}

/// The central directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    lines: Vec<u8>,
    entries: u64,
}

impl Directory {
    pub(super) fn add(&mut self, line: &Line) {
        line.write_line(&mut self.lines);
        self.entries += 1;
    }

    /// The directory, which begins at `offset`, and the end record.
    pub(super) fn finish(self, offset: u64) -> Vec<u8> {
        let Self {
            lines: mut out,
            entries,
        } = self;
        let length = out.len() as u64;
        if entries >= 0xffff || length >= NARROW || offset >= NARROW {
            out.extend_from_slice(b"PK\x06\x06");
            push64(&mut out, &[44]);
            push16(&mut out, &[UNIX | VERSION_64, VERSION_64]);
            push32(&mut out, &[0, 0]);
            push64(&mut out, &[entries, entries, length, offset]);
            out.extend_from_slice(b"PK\x06\x07");
            push32(&mut out, &[0]);
            push64(&mut out, &[offset + length]);
            push32(&mut out, &[1]);
        }
        let entries = u16::try_from(entries).unwrap_or(u16::MAX);
        out.extend_from_slice(b"PK\x05\x06");
        push16(&mut out, &[0, 0, entries, entries]);
        push32(&mut out, &[narrow(length), narrow(offset)]);
        push16(&mut out, &[0]);
        out
    }
}

/// All ones where the number has no room, which says that it stands elsewhere.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn push16(out: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn push32(out: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn push64(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Seconds since 1970 as time and date of DOS, which knows the years 1980 to 2107, two
/// seconds at a time, and no zone: it is UTC here.
fn dos_time(seconds: i128) -> [u16; 2] {
    const DAY: i128 = 86_400;
    let first = 3_652 * DAY; // 1980-01-01
    let last = 50_403 * DAY - 1; // 2107-12-31
    let seconds = seconds.clamp(first, last);
    let (mut days, second) = (seconds / DAY - 3_652, seconds % DAY);
    let mut year = 0;
    loop {
        // 2100 alone, of those years, is divisible by four and no leap year.
        let length = 365 + i128::from(year % 4 == 0 && year != 120);
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + i128::from(year % 4 == 0 && year != 120);
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let time = (hour << 11) | (minute << 5) | (second / 2);
    let date = (year << 9) | (month << 5) | (days + 1);
    [time as u16, date as u16]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_dos() {
        let read = |seconds| {
            let [time, date] = dos_time(seconds);
            [
                1980 + (date >> 9),
                date >> 5 & 15,
                date & 31,
                time >> 11,
                time >> 5 & 63,
                2 * (time & 31),
            ]
        };
        for (seconds, expected) in [
            (0, [1980, 1, 1, 0, 0, 0]),
            (-5_000_000_000, [1980, 1, 1, 0, 0, 0]),
            (315_532_800, [1980, 1, 1, 0, 0, 0]),
            (951_782_399, [2000, 2, 28, 23, 59, 58]),
            (951_782_400, [2000, 2, 29, 0, 0, 0]),
            (951_868_800, [2000, 3, 1, 0, 0, 0]),
            (1_700_000_000, [2023, 11, 14, 22, 13, 20]),
            (4_107_542_400, [2100, 3, 1, 0, 0, 0]),
            (4_354_819_199, [2107, 12, 31, 23, 59, 58]),
            (9_000_000_000, [2107, 12, 31, 23, 59, 58]),
        ] {
            assert_eq!(read(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn large_numbers_stand_in_wide_fields() {
        let mut line = Line {
            name: "a".to_owned(),
            kind: Kind::File,
            wide: true,
            time: [0, 0x21],
            offset: 0x1_2345_6789,
            crc: 7,
            packed: 5,
            size: 0x1_0000_0000,
        };
        let mut out = Vec::new();
        line.write_line(&mut out);
        // Size and offset are wide, the packed size is not.
        let mut extra = vec![1, 0, 16, 0];
        push64(&mut extra, &[0x1_0000_0000, 0x1_2345_6789]);
        assert!(out.ends_with(&extra));
        line.wide = false;
        line.size = 1;
        line.offset = 1;
        out.clear();
        line.write_line(&mut out);
        assert_eq!(out.len(), 46 + 1);
    }
}
