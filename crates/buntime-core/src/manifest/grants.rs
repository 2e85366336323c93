//! What the operator grants to units beyond what is free (contract sections 2 and 3,
//! `RUNTIME_GRANTS`).
//!
//! ```yaml
//! "@acme/shop":
//!   permissions: {net: [db.internal:5432], read: [/srv/maps], write: [/srv/out], spawn: true}
//!   limits: {memory: 1gb, cpu: 4, disk: 20gb, instances: 32}
//! "@acme/*":
//!   limits: {memory: 1gb}
//! ```
//!
//! A key is a unit, `@scope/*`, or `*`. What several of them grant adds up.

mod ask;

use std::fmt;
use std::path::{Component, Path, PathBuf};

pub use self::ask::{Ask, NotGranted};
use self::ask::{Free, asks, kind};
use super::reader::entries;
use super::sections;
use super::values::{Field, warn_empty};
use super::{HostPort, Limits, NetPermission, Permissions};
use crate::diagnostic::{DiagnosticKind, ManifestErrors, Parsed, Report};
use crate::{AddressKind, ByteSize, Namespace, PackageName};

/// What the operator grants to whom. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants(Vec<Entry>);

/// One key of the file.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    to: Who,
    line: usize,
    permissions: Permissions,
    limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    All,
    Scope(Namespace),
    Unit(PackageName),
}

/// Limits as they hold for a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// Memory of one worker process.
    pub memory: ByteSize,
    /// Processors.
    pub cpu: f64,
    /// What its data directory may hold.
    pub disk: ByteSize,
    /// Standard output and errors that are kept, each second.
    pub output: ByteSize,
    /// Worker processes at once.
    pub instances: u32,
}

impl Caps {
    /// The server's defaults: what a unit may have without a grant, and has if it asks for
    /// nothing.
    pub const FREE: Self = Self {
        memory: ByteSize::from_bytes(512 << 20),
        cpu: 1.0,
        disk: ByteSize::from_bytes(1 << 30),
        output: ByteSize::from_bytes(1 << 20),
        instances: 8,
    };
}

/// What a unit may do: what is free, and what it asks for and was granted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Granted {
    /// Paths to read besides its own folder.
    pub read: Vec<CoveredPath>,
    /// Paths to write, and so to read, besides its data folder.
    pub write: Vec<CoveredPath>,
    /// Whether it may start programs.
    pub spawn: bool,
    /// Which addresses it may reach.
    pub net: NetPermission,
    /// Of the hosts that `net` lists, those that may have a private address.
    pub private: Vec<HostPort>,
    /// Its limits.
    pub limits: Caps,
}

/// A path that was asked for, and the one in the operator's file from which it is reached.
/// Both are absolute and without `..`.
///
/// That the one holds the other is known by their text alone. Apps can make links beneath
/// `root`, so whoever opens `path` follows none there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoveredPath {
    /// As the operator wrote it: links in it are the operator's.
    pub root: PathBuf,
    /// `root`, or beneath it.
    pub path: PathBuf,
}

impl Default for Granted {
    /// What a unit has that asks for nothing.
    fn default() -> Self {
        Self {
            read: Vec::new(),
            write: Vec::new(),
            spawn: false,
            net: NetPermission::Public,
            private: Vec::new(),
            limits: Caps {
                instances: 1,
                ..Caps::FREE
            },
        }
    }
}

/// What becomes of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Every unit may have it.
    Free,
    /// The operator grants it.
    Granted {
        /// The key in the file: a unit, `@scope/*`, or `*`.
        to: String,
        /// Its line, from 1.
        line: usize,
    },
    /// The operator does not grant it.
    Refused,
    /// Nobody is ever granted it.
    Never,
}

/// A path that is granted, and the line of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantedPath<'a> {
    /// The path, absolute and without `..`.
    pub path: &'a Path,
    /// From 1.
    pub line: usize,
}

impl Grants {
    /// Reads the operator's file. `file` is how it is called in messages.
    ///
    /// # Errors
    /// All that is wrong with it, together.
    pub fn parse(yaml: &str, file: &str) -> Result<Parsed<Self>, ManifestErrors> {
        let mut report = Report::new(file);
        let mut grants = Self::default();
        for (key, node) in entries(yaml, &mut report) {
            if node.is_null() {
                warn_empty(&mut report, key.at, &key.text);
                continue;
            }
            let mut field = Field {
                key: key.text.clone(),
                node: &node,
                report: &mut report,
                secret: false,
            };
            let to = who(&key.text);
            let given = given(&mut field);
            match (to, given) {
                (Some(to), Some((permissions, limits))) => grants.0.push(Entry {
                    to,
                    line: key.at.line,
                    permissions,
                    limits,
                }),
                (None, _) => report.error(
                    DiagnosticKind::Value,
                    key.at,
                    &key.text,
                    "is no unit",
                    "write a unit as `@acme/shop` or `shop`, `@acme/*`, or `*`",
                ),
                (Some(_), None) => {}
            }
        }
        report.finish(grants)
    }

    /// Every path that is granted, for the check that none leads where nobody may go.
    pub fn paths(&self) -> impl Iterator<Item = GrantedPath<'_>> {
        self.0.iter().flat_map(|entry| {
            let Permissions { read, write, .. } = &entry.permissions;
            read.iter().chain(write).map(|path| GrantedPath {
                path: Path::new(path),
                line: entry.line,
            })
        })
    }

    /// The units that have entries of their own, with the lines of these.
    pub fn units(&self) -> impl Iterator<Item = (&PackageName, usize)> {
        self.0.iter().filter_map(|entry| match &entry.to {
            Who::Unit(name) => Some((name, entry.line)),
            Who::All | Who::Scope(_) => None,
        })
    }

    /// The line of the entry for this unit alone, if there is one.
    #[must_use]
    pub fn line_of(&self, unit: &PackageName) -> Option<usize> {
        let mut units = self.units();
        units.find(|(name, _)| *name == unit).map(|(_, line)| line)
    }

    /// What `unit` may do, if it may have all that it asks for. A unit without a name has
    /// what is granted to all.
    ///
    /// # Errors
    /// All that it may not have; never empty.
    pub fn decide(
        &self,
        unit: Option<&PackageName>,
        permissions: &Permissions,
        limits: &Limits,
    ) -> Result<Granted, Vec<NotGranted>> {
        let judged = self.judge(unit, permissions, limits).into_iter();
        let refused: Vec<_> = judged
            .filter_map(|(ask, verdict)| match verdict {
                Verdict::Free | Verdict::Granted { .. } => None,
                Verdict::Refused => Some(NotGranted { ask, never: false }),
                Verdict::Never => Some(NotGranted { ask, never: true }),
            })
            .collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        let paths = |texts: &[String]| texts.iter().map(|text| self.covered(unit, text)).collect();
        let hosts = match &permissions.net {
            NetPermission::Hosts(hosts) => hosts.as_slice(),
            NetPermission::Public | NetPermission::None => &[],
        };
        let may_be_private = |to: &&HostPort| self.of(unit).any(|entry| entry.gives_host(to));
        Ok(Granted {
            read: paths(&permissions.read),
            write: paths(&permissions.write),
            spawn: permissions.spawn,
            net: permissions.net.clone(),
            private: hosts.iter().filter(may_be_private).cloned().collect(),
            limits: Caps {
                memory: limits.memory.unwrap_or(Caps::FREE.memory),
                cpu: limits.cpu.unwrap_or(Caps::FREE.cpu),
                disk: limits.disk.unwrap_or(Caps::FREE.disk),
                output: limits.output.unwrap_or(Caps::FREE.output),
                instances: limits.instances.max(),
            },
        })
    }

    /// All that a unit asks for, and what becomes of each.
    #[must_use]
    pub fn judge(
        &self,
        unit: Option<&PackageName>,
        permissions: &Permissions,
        limits: &Limits,
    ) -> Vec<(Ask, Verdict)> {
        let asks = asks(permissions, limits).into_iter();
        asks.map(|ask| {
            let verdict = self.verdict(unit, &ask);
            (ask, verdict)
        })
        .collect()
    }

    fn verdict(&self, unit: Option<&PackageName>, ask: &Ask) -> Verdict {
        match ask.free() {
            Free::Yes => return Verdict::Free,
            Free::Never => return Verdict::Never,
            Free::No => {}
        }
        let mut entries = self.of(unit);
        match entries.find(|entry| entry.gives(ask)) {
            None => Verdict::Refused,
            Some(entry) => Verdict::Granted {
                to: entry.to.to_string(),
                line: entry.line,
            },
        }
    }

    /// From where a path is reached that `unit` was granted: the longest path in its entries
    /// that covers it, unless somebody may write one that does. What lies in that may be a
    /// link of any app's, whoever it is granted to.
    fn covered(&self, unit: Option<&PackageName>, path: &str) -> CoveredPath {
        let holds = |granted: &&String| covers(std::slice::from_ref(*granted), path);
        let entries = self.0.iter();
        let written = entries.flat_map(|entry| &entry.permissions.write);
        let written = written
            .filter(holds)
            .min_by_key(|granted| Path::new(granted).components().count());
        let own = self.of(unit).flat_map(|entry| &entry.permissions.read);
        let own = || {
            own.filter(holds)
                .max_by_key(|granted| Path::new(granted).components().count())
        };
        let path = PathBuf::from(path);
        CoveredPath {
            root: written
                .or_else(own)
                .map_or_else(|| path.clone(), PathBuf::from),
            path,
        }
    }

    /// The entries that mean this unit.
    fn of(&self, unit: Option<&PackageName>) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| entry.to.means(unit))
    }
}

impl Entry {
    fn gives(&self, ask: &Ask) -> bool {
        let Permissions { read, write, .. } = &self.permissions;
        let limits = &self.limits;
        let reaches =
            |given: Option<ByteSize>, asked: &ByteSize| given.is_some_and(|given| given >= *asked);
        match ask {
            // Who may write a path may read it.
            Ask::Read(path) => covers(read, path) || covers(write, path),
            Ask::Write(path) => covers(write, path),
            Ask::Spawn => self.permissions.spawn,
            Ask::Net(to) => self.gives_host(to),
            Ask::Memory(size) => reaches(limits.memory, size),
            Ask::Disk(size) => reaches(limits.disk, size),
            Ask::Output(size) => reaches(limits.output, size),
            Ask::Cpu(count) => limits.cpu.is_some_and(|given| given >= *count),
            Ask::Instances(count) => limits.instances.max() >= *count,
        }
    }

    fn gives_host(&self, to: &HostPort) -> bool {
        match &self.permissions.net {
            NetPermission::Hosts(hosts) => hosts.contains(to),
            NetPermission::Public | NetPermission::None => false,
        }
    }
}

impl Who {
    fn means(&self, unit: Option<&PackageName>) -> bool {
        match self {
            Self::All => true,
            Self::Scope(scope) => unit.and_then(PackageName::scope) == Some(scope),
            Self::Unit(name) => unit == Some(name),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Scope(scope) => write!(f, "{scope}/*"),
            Self::Unit(name) => write!(f, "{name}"),
        }
    }
}

fn who(key: &str) -> Option<Who> {
    if key == "*" {
        return Some(Who::All);
    }
    match key.strip_suffix("/*") {
        Some(scope) => scope.parse().ok().map(Who::Scope),
        None => key.parse().ok().map(Who::Unit),
    }
}

/// The value of one key. A grant that would have no effect is refused: its writer believes
/// that it has one.
fn given(field: &mut Field<'_, '_>) -> Option<(Permissions, Limits)> {
    let mut given = Permissions::default();
    let mut limits = Limits::default();
    let accepted = "a mapping with `permissions` and `limits`";
    sections::each_key(
        field,
        accepted,
        &["permissions", "limits"],
        |name, value| match name {
            "permissions" => permissions(value).map(|read| given = read),
            _ => sections::limits(value).map(|read| limits = read),
        },
    )?;
    Some((given, limits))
}

fn permissions(field: &mut Field<'_, '_>) -> Option<Permissions> {
    let mut given = Permissions::default();
    let accepted = "a mapping with `read`, `write`, `spawn` and `net`";
    sections::each_key(
        field,
        accepted,
        &["read", "write", "spawn", "net"],
        |name, value| match name {
            "read" => paths(value).map(|paths| given.read = paths),
            "write" => paths(value).map(|paths| given.write = paths),
            "spawn" => value.boolean().map(|spawn| given.spawn = spawn),
            _ => hosts(value).map(|hosts| given.net = NetPermission::Hosts(hosts)),
        },
    )?;
    Some(given)
}

fn paths(field: &mut Field<'_, '_>) -> Option<Vec<String>> {
    let accepted = "a list of absolute paths without `..`, as in `[/srv/maps]`";
    sections::texts(field, accepted, |item, text| {
        match sections::is_plain_path(text) && text.starts_with('/') {
            true => Some(text.to_owned()),
            false => item.refuse(accepted),
        }
    })
}

fn hosts(field: &mut Field<'_, '_>) -> Option<Vec<HostPort>> {
    let accepted = "a list of `host:port`; what is not listed is as without a grant";
    sections::texts(field, accepted, |item, text| {
        let to = sections::host_port(item, text)?;
        match kind(&to) {
            AddressKind::Public | AddressKind::Private => Some(to),
            AddressKind::Forbidden => item.refuse(
                "no address of this machine, of its links or of a metadata service: nobody is granted those",
            ),
        }
    })
}

/// Whether one of the granted folders holds `path`, or is it. By their text: links are
/// for whoever opens them.
fn covers(granted: &[String], path: &str) -> bool {
    let plain = |path: &Path| {
        path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
    };
    let path = Path::new(path);
    plain(path)
        && granted
            .iter()
            .map(Path::new)
            .any(|granted| plain(granted) && path.starts_with(granted))
}

#[cfg(test)]
mod tests;
