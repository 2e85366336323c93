//! Little-endian fields, and the extra fields that matter.

use super::super::error::ArchiveError;

/// A slice from which fields are taken one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }
}

/// Says "look into the zip64 field" in place of a number.
pub(super) const ELSEWHERE: u64 = 0xffff_ffff;

/// Extra fields of an entry.
#[derive(Debug, Default)]
pub(super) struct Extra<'a> {
    /// Sizes and offset of 64 bits.
    zip64: Option<&'a [u8]>,
    /// The name once more, for programs that do not take the first for UTF-8.
    pub(super) unicode_name: Option<&'a [u8]>,
}

impl<'a> Extra<'a> {
    /// Reads all of them. What is left when no field fits any more must be zeros: some
    /// programs align contents with them.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ArchiveError> {
        let twice = || ArchiveError::invalid("an extra field stands there twice");
        let mut extra = Self::default();
        let mut fields = Fields(bytes);
        loop {
            let rest = fields.0;
            let Some((kind, content)) = next(&mut fields) else {
                if rest.iter().any(|byte| *byte != 0) {
                    return Err(ArchiveError::invalid("an extra field is cut"));
                }
                return Ok(extra);
            };
            match kind {
                0x0001 if extra.zip64.replace(content).is_some() => return Err(twice()),
                // Version, checksum of the first name, the name.
                0x7075 => {
                    let name = content.get(5..).unwrap_or_default();
                    if extra.unicode_name.replace(name).is_some() {
                        return Err(twice());
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the numbers that stand elsewhere from the zip64 field, in its fixed order:
    /// size, packed size, offset.
    pub(super) fn widen(&self, numbers: &mut [&mut u64]) -> Result<(), ArchiveError> {
        let mut fields = Fields(self.zip64.unwrap_or_default());
        for number in numbers {
            if **number == ELSEWHERE {
                **number = fields
                    .u64()
                    .ok_or_else(|| ArchiveError::invalid("a zip64 number is missing"))?;
            }
        }
        Ok(())
    }

    pub(super) fn has_zip64(&self) -> bool {
        self.zip64.is_some()
    }
}

fn next<'a>(fields: &mut Fields<'a>) -> Option<(u16, &'a [u8])> {
    let kind = fields.u16()?;
    let length = fields.u16()?;
    Some((kind, fields.bytes(usize::from(length))?))
}
