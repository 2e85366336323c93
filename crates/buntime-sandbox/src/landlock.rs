//! Landlock: which files, which TCP, whose signals.
//!
//! A kernel that knows less than is asked for is asked for less. What is enforced
//! is then what [`Rules::of`] says, no more.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::path::Path;

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

const READ: u64 = READ_FILE | READ_DIR;
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

/// What such a kernel is told to judge for `policy`, and how much of that it knows, in bytes.
fn handled(policy: &Policy, version: Landlock) -> (RulesetAttr, usize) {
    let attr = RulesetAttr {
        fs: file_rights(version),
        net: match policy.net {
            _ if version < Landlock(4) => 0,
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
    (attr, size)
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
        let (attr, size) = handled(policy, version);
        let mut rules = Self {
            attr,
            size,
            paths: Vec::new(),
            held: Vec::new(),
            ports: match &policy.net {
                Net::Ports(ports) if attr.net & CONNECT_TCP != 0 => ports.clone(),
                Net::Loopback { port } if attr.net & CONNECT_TCP != 0 => vec![*port],
                _ => Vec::new(),
            },
        };
        rules.read(policy)?;
        let writable = attr.fs & !NEVER_IN_OWN;
        for path in &policy.write {
            rules.allow(path, writable)?;
        }
        for held in &policy.held {
            rules.hold(policy, held)?;
        }
        for path in &policy.write_later {
            // A folder of the private root: outside there may be none yet.
            rules.paths.push((c_string(path)?, writable));
        }
        for device in view::DEVICES {
            let access = (READ_FILE | WRITE_FILE) & attr.fs;
            rules.paths.push((c_string(device.as_ref())?, access));
        }
        for program in programs {
            let access = (READ_FILE | EXECUTE) & attr.fs;
            rules.paths.push((program.clone(), access));
        }
        Ok(rules)
    }

    /// What may be read, and what may be executed of it.
    fn read(&mut self, policy: &Policy) -> io::Result<()> {
        if policy.layers.namespaces.is_some() {
            // Nothing is there that may not be read, now or later.
            let access = if policy.spawn { READ | EXECUTE } else { READ };
            return self.allow("/".as_ref(), access);
        }
        let files = view::library_folders()
            .chain(view::COMMON_FILES.map(Into::into))
            .chain(view::own_process())
            .chain(policy.read.iter().cloned());
        let files: BTreeSet<_> = files.collect();
        for path in &files {
            self.allow(path, READ)?;
        }
        if policy.spawn {
            let programs = view::PROGRAMS.map(Into::into).into_iter();
            for path in programs
                .chain(view::library_folders())
                .chain(policy.read.clone())
            {
                self.allow(&path, READ | EXECUTE)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, path: &Path, access: u64) -> io::Result<()> {
        let of_kind = if path.is_dir() {
            access
        } else {
            access & OF_FILES
        };
        self.paths.push((c_string(path)?, of_kind & self.attr.fs));
        Ok(())
    }

    fn hold(&mut self, policy: &Policy, held: &Held) -> io::Result<()> {
        let access = match (held.is_writable(), policy.spawn) {
            (true, _) => !NEVER_IN_OWN,
            (false, true) => READ | EXECUTE,
            (false, false) => READ,
        };
        let of_kind = if held.is_folder() {
            access
        } else {
            access & OF_FILES
        };
        // In the private root it is where it is seen, and nowhere else.
        let place = match policy.layers.namespaces {
            Some(_) => held.path(),
            None => held.real(),
        };
        let rule = (c_string(place)?, held.identity(), of_kind & self.attr.fs);
        self.held.push(rule);
        Ok(())
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
