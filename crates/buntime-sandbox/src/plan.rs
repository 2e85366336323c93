//! A launch in the form that the kernel takes.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use crate::launch::{Launch, ProcessLimits};

/// Most bytes of one launch. The kernel takes less for arguments and environment
/// together.
const LARGEST: usize = 4 << 20;

/// What a child does to become the program. All of it exists before the child.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The server, which must still be there.
    pub(crate) parent: u32,
    pub(crate) limits: ProcessLimits,
    pub(crate) nice: i32,
    pub(crate) cwd: CString,
    pub(crate) program: CString,
    /// From argv0 on.
    pub(crate) args: Vec<CString>,
    /// `NAME=value`.
    pub(crate) env: Vec<CString>,
}

impl Plan {
    /// The plan of `launch` for a child of process `parent`, or why there is none.
    pub(crate) fn of(launch: &Launch, parent: u32) -> Result<Self, &'static str> {
        if !launch.program.is_absolute() {
            return Err("the program's path is not absolute");
        }
        let mut room = LARGEST;
        let mut text = |parts: &[&OsStr]| {
            let bytes: Vec<u8> = parts.iter().flat_map(|p| p.as_bytes()).copied().collect();
            let left = room.checked_sub(bytes.len() + 1);
            room = left.ok_or("arguments and environment are too large")?;
            CString::new(bytes).map_err(|_| "a path, an argument or a variable contains a NUL byte")
        };
        let program = text(&[launch.program.as_os_str()])?;
        let cwd = text(&[launch.cwd.as_os_str()])?;
        let mut args = vec![program.clone()];
        for arg in &launch.args {
            args.push(text(&[arg])?);
        }
        let mut env = Vec::with_capacity(launch.env.len());
        for (name, value) in &launch.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err("a variable's name is empty or contains `=`");
            }
            env.push(text(&[name, OsStr::new("="), value])?);
        }
        Ok(Self {
            parent,
            limits: launch.limits,
            nice: launch.nice,
            cwd,
            program,
            args,
            env,
        })
    }
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
            limits: ProcessLimits::default(),
            nice: 3,
        }
    }

    #[test]
    fn a_plan_holds_what_was_asked_for() {
        let plan = Plan::of(&launch(), 42).unwrap();
        assert_eq!((plan.parent, plan.nice), (42, 3));
        assert_eq!(plan.limits, launch().limits);
        assert_eq!(
            plan.args,
            [c"/bin/echo", c"", c"--env", c"a\nb"].map(CString::from)
        );
        assert_eq!(plan.env, [c"A=1=2", c"B="].map(CString::from));
        assert_eq!(
            (plan.cwd, plan.program),
            (c"/tmp".into(), c"/bin/echo".into())
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let refused = |change: fn(&mut Launch)| {
            let mut launch = launch();
            change(&mut launch);
            Plan::of(&launch, 42).is_err()
        };
        assert!(refused(|l| l.program = "bin/echo".into()));
        assert!(refused(|l| l.args.push("a\0b".into())));
        assert!(refused(|l| l.env.push(("A=B".into(), "".into()))));
        assert!(refused(|l| l.env.push(("".into(), "".into()))));
        assert!(refused(|l| l.args.push("x".repeat(LARGEST).into())));
    }
}
