//! Landlock: which files, which TCP, whose signals.
//!
//! A kernel that knows less than is asked for is asked for less. What is enforced
//! is then what [`Rules::of`] says, no more.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;

use rustix::fs::{CWD, Mode, OFlags};

use crate::held::{self, Held, Identity};
use crate::policy::{Landlock, Net, Policy};
use crate::system::{self, RulesetAttr};
use crate::view::{self, c_string};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;

/// What may be done with files in a folder that may be written: all but to execute them
/// and to make devices.
const NEVER_IN_OWN: u64 = EXECUTE | MAKE_CHAR | MAKE_BLOCK;
/// What applies to files that are no folders.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

const ABSTRACT_UNIX_SOCKET: u64 = 1;
const SIGNAL: u64 = 1 << 1;

/// Rights on files that each version of the interface knows.
fn file_rights(version: Landlock) -> u64 {
    match version.0 {
        0 => 0,
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// What is to be enforced, made before the child.
#[derive(Debug)]
pub(crate) struct Rules {
    attr: RulesetAttr,
    size: usize,
    /// Each path, which may be missing, and what is allowed beneath it.
    paths: Vec<(CString, u64)>,
    /// The same of what must be there, and be what it says.
    held: Vec<(CString, Identity, u64)>,
    /// TCP ports to which connections may be made, if that is limited.
    ports: Vec<u16>,
}

impl Rules {
    /// The rules of `policy` for a process that executes one of `programs`.
    pub(crate) fn of(policy: &Policy, version: Landlock, programs: &[CString]) -> io::Result<Self> {
        let all = file_rights(version);
        let handles_net = version >= Landlock(4);
        let attr = RulesetAttr {
            fs: all,
            net: match policy.net {
                _ if !handles_net => 0,
                Net::Host | Net::Gateway { .. } => BIND_TCP,
                Net::Ports(_) | Net::Loopback { .. } | Net::Private => BIND_TCP | CONNECT_TCP,
            },
            scoped: if version >= Landlock(6) {
                ABSTRACT_UNIX_SOCKET | SIGNAL
            } else {
                0
            },
        };
        let size = match version.0 {
            0..4 => 8,
            4 | 5 => 16,
            _ => 24,
        };
        let mut paths = Vec::new();
        let mut allow = |path: &std::path::Path, access: u64| -> io::Result<()> {
            let is_folder = path.is_dir();
            let access = if is_folder { access } else { access & OF_FILES };
            paths.push((c_string(path)?, access & all));
            Ok(())
        };
        let read = READ_FILE | READ_DIR;
        if policy.layers.namespaces.is_some() {
            // Nothing is there that may not be read, now or later.
            allow(
                "/".as_ref(),
                if policy.spawn { read | EXECUTE } else { read },
            )?;
        } else {
            let own = view::own_process();
            let files = view::library_folders()
                .chain(view::COMMON_FILES.map(Into::into))
                .chain(own)
                .chain(policy.read.iter().cloned());
            let files: BTreeSet<_> = files.collect();
            for path in &files {
                allow(path, read)?;
            }
            if policy.spawn {
                let programs = view::PROGRAMS.map(Into::into).into_iter();
                for path in programs
                    .chain(view::library_folders())
                    .chain(policy.read.clone())
                {
                    allow(&path, read | EXECUTE)?;
                }
            }
        }
        for path in &policy.write {
            allow(path, all & !NEVER_IN_OWN)?;
        }
        let allow_held = |held: &Held| {
            let access = match (held.is_writable(), policy.spawn) {
                (true, _) => all & !NEVER_IN_OWN,
                (false, true) => read | EXECUTE,
                (false, false) => read,
            };
            let of_kind = if held.is_folder() { all } else { OF_FILES };
            // In the private root it is where it is seen, and nowhere else.
            let place = match policy.layers.namespaces {
                Some(_) => held.path(),
                None => held.real(),
            };
            Ok((c_string(place)?, held.identity(), access & of_kind & all))
        };
        let held = policy.held.iter().map(allow_held);
        let held = held.collect::<io::Result<Vec<_>>>()?;
        for path in &policy.write_later {
            // A folder of the private root: outside there may be none yet.
            paths.push((c_string(path)?, all & !NEVER_IN_OWN));
        }
        for device in view::DEVICES {
            paths.push((c_string(device.as_ref())?, (READ_FILE | WRITE_FILE) & all));
        }
        for program in programs {
            paths.push((program.clone(), (READ_FILE | EXECUTE) & all));
        }
        let ports = match &policy.net {
            Net::Ports(ports) if handles_net => ports.clone(),
            Net::Loopback { port } if handles_net => vec![*port],
            _ => Vec::new(),
        };
        Ok(Self {
            attr,
            size,
            paths,
            held,
            ports,
        })
    }

    /// Puts this process under the rules. Only system calls.
    pub(crate) fn enforce(&self) -> io::Result<()> {
        let ruleset = system::landlock_ruleset(&self.attr, self.size)?;
        for (path, access) in &self.paths {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty()) {
                Ok(place) => system::landlock_allow(&ruleset, place, *access)?,
                // What is not there needs no rule, and what cannot be reached none either.
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (path, identity, access) in &self.held {
            let place = held::open_again(path, *identity)?;
            system::landlock_allow(&ruleset, place, *access)?;
        }
        for &port in &self.ports {
            system::landlock_allow_port(&ruleset, port, CONNECT_TCP)?;
        }
        system::landlock_enforce(ruleset)
    }
}
