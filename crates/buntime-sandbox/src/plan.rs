//! A launch in the form that the kernel takes.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::Allowed;
use crate::landlock::Rules;
use crate::launch::{Launch, ProcessLimits};
use crate::policy::{Landlock, Net, Policy};
use crate::root::{Root, namespaces};
use crate::seccomp::{Children, Connect, Filter, Rights};
use crate::view;

/// Most bytes of one launch. The kernel takes less for arguments and environment
/// together.
const LARGEST: usize = 4 << 20;

/// What a child does to become the program. All of it exists before the child.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) limits: ProcessLimits,
    pub(crate) nice: i32,
    pub(crate) cwd: CString,
    pub(crate) program: CString,
    /// From argv0 on.
    pub(crate) args: Vec<CString>,
    /// `NAME=value`.
    pub(crate) env: Vec<CString>,
    pub(crate) confinement: Confinement,
}

/// The stronger layers; nothing by default.
#[derive(Debug, Default)]
pub(crate) struct Confinement {
    /// Whether there is any: then capabilities go too.
    pub(crate) is_there: bool,
    /// Namespaces for the clone.
    pub(crate) namespaces: libc::c_int,
    /// The port of the gateway in a network of its own.
    pub(crate) gateway: Option<u16>,
    /// Whether it may find out about its network, which must not have been another's then.
    pub(crate) sees_network: bool,
    pub(crate) root: Option<Root>,
    pub(crate) rules: Option<Rules>,
    pub(crate) filter: Option<Arc<Filter>>,
    /// To where the server connects for the process, if it does.
    pub(crate) broker: Option<Allowed>,
}

impl Confinement {
    /// Makes all ready that `policy` wants for `program`.
    ///
    /// # Errors
    /// A path that cannot be told to the system, or a program that cannot be read.
    pub(crate) fn of(policy: &Policy, program: &Path) -> io::Result<Self> {
        let layers = policy.layers;
        let gateway = match policy.net {
            Net::Gateway { port } if layers.network && layers.namespaces.is_some() && port != 0 => {
                Some(port)
            }
            Net::Gateway { .. } => return Err(io::ErrorKind::Unsupported.into()),
            _ => None,
        };
        let broker = match policy.net {
            Net::Loopback { port } => Some(Allowed { port: Some(port) }),
            Net::Private if !layers.network => Some(Allowed { port: None }),
            _ => None,
        }
        .filter(|_| layers.broker && layers.calls);
        let root = layers
            .namespaces
            .map(|proc| Root::of(policy, proc, program))
            .transpose()?;
        let rules = match layers.landlock {
            Some(version) => {
                let mut programs = vec![view::c_string(program)?];
                if let Some(interpreter) = view::interpreter(program)? {
                    programs.push(view::c_string(&interpreter)?);
                }
                Some(Rules::of(policy, version, &programs)?)
            }
            None => None,
        };
        Ok(Self {
            is_there: root.is_some() || rules.is_some() || layers.calls,
            namespaces: root.as_ref().map_or(0, |_| namespaces(policy)),
            gateway,
            sees_network: policy.spawn,
            root,
            rules,
            filter: layers.calls.then(|| filter(policy, broker.is_some())),
            broker,
        })
    }
}

/// The filter of a process, for which the server connects or not.
fn filter(policy: &Policy, is_brokered: bool) -> Arc<Filter> {
    /// Each that was wanted so far.
    static MADE: Mutex<Vec<(Rights, Arc<Filter>)>> = Mutex::new(Vec::new());
    let layers = policy.layers;
    // Where others cannot be named, or not be reached, it may signal whom it likes.
    let is_alone = layers.namespaces.is_some() || layers.landlock >= Some(Landlock(6));
    let rights = Rights {
        connect: if is_brokered {
            Connect::Asked
        } else {
            Connect::Free
        },
        children: match (policy.spawn, is_alone) {
            (false, _) => Children::None,
            (true, false) => Children::Unsignalled,
            (true, true) => Children::Free,
        },
        serves: policy.serves,
        private_root: layers.namespaces.is_some(),
    };
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, filter)) = made.iter().find(|(those, _)| *those == rights) {
        return Arc::clone(filter);
    }
    let filter = Arc::new(Filter::new(rights));
    made.push((rights, Arc::clone(&filter)));
    filter
}

impl Plan {
    /// The plan of `launch` without what confines it, or why there is none.
    pub(crate) fn of(launch: &Launch) -> Result<Self, &'static str> {
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
            limits: launch.limits,
            nice: launch.nice,
            cwd,
            program,
            args,
            env,
            confinement: Confinement::default(),
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
            policy: None,
        }
    }

    #[test]
    fn a_plan_holds_what_was_asked_for() {
        let plan = Plan::of(&launch()).unwrap();
        assert_eq!(plan.nice, 3);
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
            Plan::of(&launch).is_err()
        };
        assert!(refused(|l| l.program = "bin/echo".into()));
        assert!(refused(|l| l.args.push("a\0b".into())));
        assert!(refused(|l| l.env.push(("A=B".into(), "".into()))));
        assert!(refused(|l| l.env.push(("".into(), "".into()))));
        assert!(refused(|l| l.args.push("x".repeat(LARGEST).into())));
    }
}
