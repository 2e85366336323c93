//! The description of a launch as bytes, from the server to its launcher.
//!
//! Both ends are the same binary, so there is no version. Every field is a
//! number of 8 bytes or a length and that many bytes: nothing in a value can be
//! taken for something else.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use crate::launch::{Launch, ProcessLimits};

/// Most bytes of one description. The kernel takes less for arguments and
/// environment together.
pub(crate) const LARGEST: usize = 4 << 20;

/// No limit, where a limit is meant.
const UNLIMITED: u64 = u64::MAX;

/// What the launcher does, as it received it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) parent: u64,
    pub(crate) limits: ProcessLimits,
    pub(crate) nice: i32,
    pub(crate) cwd: CString,
    pub(crate) program: CString,
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
}

/// Writes the description of `launch` for a child of process `parent`, with
/// its length before it, or says why it has none.
pub(crate) fn encode(launch: &Launch, parent: u32) -> Result<Vec<u8>, &'static str> {
    if !launch.program.is_absolute() {
        return Err("the program's path is not absolute");
    }
    let mut out = vec![0; 4];
    put_number(&mut out, u64::from(parent));
    put_number(&mut out, launch.limits.open_files);
    put_number(&mut out, launch.limits.file_size.unwrap_or(UNLIMITED));
    put_number(&mut out, launch.limits.data.unwrap_or(UNLIMITED));
    put_number(&mut out, launch.nice.unsigned_abs().into());
    put_number(&mut out, u64::from(launch.nice < 0));
    put_bytes(&mut out, &[launch.cwd.as_os_str()])?;
    put_bytes(&mut out, &[launch.program.as_os_str()])?;
    put_number(&mut out, launch.args.len() as u64);
    for arg in &launch.args {
        put_bytes(&mut out, &[arg])?;
    }
    put_number(&mut out, launch.env.len() as u64);
    for (key, value) in &launch.env {
        if key.is_empty() || key.as_bytes().contains(&b'=') {
            return Err("a variable's name is empty or contains `=`");
        }
        put_bytes(&mut out, &[key, OsStr::new("="), value])?;
    }
    if out.len() > LARGEST {
        return Err("arguments and environment are too large");
    }
    let length = u32::try_from(out.len() - 4).map_err(|_| "too large")?;
    out[..4].copy_from_slice(&length.to_le_bytes());
    Ok(out)
}

/// Reads a description without its length. None if it is not exactly one.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Plan> {
    let input = &mut bytes;
    let parent = take_number(input)?;
    let limits = ProcessLimits {
        open_files: take_number(input)?,
        file_size: Some(take_number(input)?).filter(|n| *n != UNLIMITED),
        data: Some(take_number(input)?).filter(|n| *n != UNLIMITED),
    };
    let nice = i32::try_from(take_number(input)?).ok()?;
    let nice = if take_number(input)? == 1 {
        -nice
    } else {
        nice
    };
    let plan = Plan {
        parent,
        limits,
        nice,
        cwd: take_text(input)?,
        program: take_text(input)?,
        args: take_list(input)?,
        env: take_list(input)?,
    };
    input.is_empty().then_some(plan)
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, parts: &[&OsStr]) -> Result<(), &'static str> {
    put_number(out, parts.iter().map(|part| part.len() as u64).sum());
    for part in parts {
        if part.as_bytes().contains(&0) {
            return Err("a path, an argument or a variable contains a NUL byte");
        }
        out.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

fn take_number(input: &mut &[u8]) -> Option<u64> {
    let (number, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(u64::from_le_bytes(*number))
}

fn take_text(input: &mut &[u8]) -> Option<CString> {
    let length = usize::try_from(take_number(input)?).ok()?;
    let (text, rest) = input.split_at_checked(length)?;
    *input = rest;
    CString::new(text).ok()
}

fn take_list(input: &mut &[u8]) -> Option<Vec<CString>> {
    let count = take_number(input)?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(take_text(input)?);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn launch() -> Launch {
        Launch {
            program: PathBuf::from("/bin/echo"),
            args: vec!["".into(), "--env".into(), "a\nb".into()],
            env: vec![("A".into(), "1=2".into()), ("B".into(), "".into())],
            cwd: PathBuf::from("/tmp"),
            control: std::fs::File::open("/dev/null").unwrap().into(),
            limits: ProcessLimits {
                file_size: Some(7),
                ..ProcessLimits::default()
            },
            nice: -3,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let bytes = encode(&launch(), 42).unwrap();
        let plan = decode(&bytes[4..]).unwrap();
        assert_eq!(plan.parent, 42);
        assert_eq!(plan.nice, -3);
        assert_eq!(plan.limits, launch().limits);
        assert_eq!(plan.args, [c"", c"--env", c"a\nb"].map(CString::from));
        assert_eq!(plan.env, [c"A=1=2", c"B="].map(CString::from));
        assert_eq!(
            (plan.cwd, plan.program),
            (c"/tmp".into(), c"/bin/echo".into())
        );
    }

    #[test]
    fn a_cut_or_lengthened_description_is_none() {
        let bytes = encode(&launch(), 42).unwrap();
        for end in 4..bytes.len() {
            assert_eq!(decode(&bytes[4..end]), None, "{end}");
        }
        assert_eq!(decode(&[&bytes[4..], b"x"].concat()), None);
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let refused = |change: fn(&mut Launch)| {
            let mut launch = launch();
            change(&mut launch);
            encode(&launch, 42).is_err()
        };
        assert!(refused(|l| l.program = "bin/echo".into()));
        assert!(refused(|l| l.args.push("a\0b".into())));
        assert!(refused(|l| l.env.push(("A=B".into(), "".into()))));
        assert!(refused(|l| l.env.push(("".into(), "".into()))));
        assert!(refused(|l| l.args.push("x".repeat(LARGEST).into())));
    }
}
