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

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path};

use super::reader::entries;
use super::sections;
use super::values::{Field, warn_empty};
use super::{HostPort, Limits, NetPermission, Permissions};
use crate::diagnostic::{DiagnosticKind, ManifestErrors, Parsed, Report};
use crate::{AddressKind, ByteSize, Namespace, PackageName};

/// What the operator grants to whom. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants(Vec<Granted>);

#[derive(Clone, Debug, PartialEq)]
struct Granted {
    to: Who,
    permissions: Permissions,
    limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    All,
    Scope(Namespace),
    Unit(PackageName),
}

/// What a unit may have without being granted anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreeLimits {
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

impl Default for FreeLimits {
    fn default() -> Self {
        Self {
            memory: ByteSize::from_bytes(512 << 20),
            cpu: 1.0,
            disk: ByteSize::from_bytes(1 << 30),
            output: ByteSize::from_bytes(1 << 20),
            instances: 8,
        }
    }
}

/// One thing that a unit asks for and was not granted.
#[derive(Clone, Debug, PartialEq)]
pub enum NotGranted {
    /// To read a path.
    Read(String),
    /// To write a path.
    Write(String),
    /// To start programs.
    Spawn,
    /// To reach an address that is not public.
    Net(HostPort),
    /// To reach what nobody is ever granted.
    Never(HostPort),
    /// More memory.
    Memory(ByteSize),
    /// More processors.
    Cpu(f64),
    /// More disk.
    Disk(ByteSize),
    /// More output.
    Output(ByteSize),
    /// More processes.
    Instances(u32),
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "permissions.read: {path}"),
            Self::Write(path) => write!(f, "permissions.write: {path}"),
            Self::Spawn => f.write_str("permissions.spawn: true"),
            Self::Net(to) => write!(f, "permissions.net: {}:{}", to.host(), to.port()),
            Self::Never(to) => {
                let (host, port) = (to.host(), to.port());
                write!(f, "permissions.net: {host}:{port} (never granted)")
            }
            Self::Memory(size) => write!(f, "limits.memory: {size}"),
            Self::Cpu(count) => write!(f, "limits.cpu: {count}"),
            Self::Disk(size) => write!(f, "limits.disk: {size}"),
            Self::Output(size) => write!(f, "limits.output: {size}"),
            Self::Instances(count) => write!(f, "limits.instances: {count}"),
        }
    }
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
            let granted = granted(&mut field);
            match (to, granted) {
                (Some(to), Some((permissions, limits))) => grants.0.push(Granted {
                    to,
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
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|granted| {
            let Permissions { read, write, .. } = &granted.permissions;
            read.iter().chain(write).map(String::as_str)
        })
    }

    /// What `unit` asks for and may not have; empty if it may have all of it.
    #[must_use]
    pub fn refused(
        &self,
        unit: &PackageName,
        permissions: &Permissions,
        limits: &Limits,
        free: &FreeLimits,
    ) -> Vec<NotGranted> {
        let granted: Vec<&Granted> = self.0.iter().filter(|one| one.to.means(unit)).collect();
        let mut refused = Vec::new();
        for path in &permissions.read {
            // Who may write a path may read it.
            let readable = |one: &&Granted| {
                let Permissions { read, write, .. } = &one.permissions;
                covers(read, path) || covers(write, path)
            };
            if !granted.iter().any(readable) {
                refused.push(NotGranted::Read(path.clone()));
            }
        }
        for path in &permissions.write {
            if !granted
                .iter()
                .any(|one| covers(&one.permissions.write, path))
            {
                refused.push(NotGranted::Write(path.clone()));
            }
        }
        if permissions.spawn && !granted.iter().any(|one| one.permissions.spawn) {
            refused.push(NotGranted::Spawn);
        }
        if let NetPermission::Hosts(asked) = &permissions.net {
            for to in asked {
                let is_granted = granted.iter().any(|one| match &one.permissions.net {
                    NetPermission::Hosts(hosts) => hosts.contains(to),
                    NetPermission::Public | NetPermission::None => false,
                });
                match kind(to) {
                    AddressKind::Forbidden => refused.push(NotGranted::Never(to.clone())),
                    AddressKind::Private if !is_granted => {
                        refused.push(NotGranted::Net(to.clone()));
                    }
                    AddressKind::Private | AddressKind::Public => {}
                }
            }
        }
        over_limits(&granted, limits, free, &mut refused);
        refused
    }
}

impl Who {
    fn means(&self, unit: &PackageName) -> bool {
        match self {
            Self::All => true,
            Self::Scope(scope) => unit.scope() == Some(scope),
            Self::Unit(name) => unit == name,
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

fn granted(field: &mut Field<'_, '_>) -> Option<(Permissions, Limits)> {
    let mut permissions = Permissions::default();
    let mut limits = Limits::default();
    let accepted = "a mapping with `permissions` and `limits`";
    sections::each_key(
        field,
        accepted,
        &["permissions", "limits"],
        |name, value| match name {
            "permissions" => sections::permissions(value).map(|read| permissions = read),
            _ => sections::limits(value).map(|read| limits = read),
        },
    )?;
    Some((permissions, limits))
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

/// What is to be granted before a name may be listed. A name may lead to any address,
/// so whoever connects looks at that as well.
fn kind(to: &HostPort) -> AddressKind {
    let host = to.host().trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return AddressKind::of(address);
    }
    let last = host
        .trim_end_matches('.')
        .rsplit('.')
        .next()
        .unwrap_or(host);
    match last {
        "localhost" => AddressKind::Forbidden,
        // Names that only a network's own servers answer for; a name of one label too.
        "internal" | "local" | "lan" | "home" | "corp" | "intranet" | "private" => {
            AddressKind::Private
        }
        _ if !host.contains('.') => AddressKind::Private,
        _ => AddressKind::Public,
    }
}

fn over_limits(
    granted: &[&Granted],
    asked: &Limits,
    free: &FreeLimits,
    refused: &mut Vec<NotGranted>,
) {
    let most = |of: fn(&Limits) -> Option<ByteSize>, free: ByteSize| {
        let granted = granted.iter().filter_map(|one| of(&one.limits));
        granted.fold(free, ByteSize::max)
    };
    let over = |asked: Option<ByteSize>, most| asked.filter(|asked| *asked > most);
    let memory = over(asked.memory, most(|limits| limits.memory, free.memory));
    let disk = over(asked.disk, most(|limits| limits.disk, free.disk));
    let output = over(asked.output, most(|limits| limits.output, free.output));
    refused.extend(memory.map(NotGranted::Memory));
    refused.extend(disk.map(NotGranted::Disk));
    refused.extend(output.map(NotGranted::Output));
    let cpus = granted.iter().filter_map(|one| one.limits.cpu);
    let cpus = cpus.fold(free.cpu, f64::max);
    if let Some(asked) = asked.cpu.filter(|asked| *asked > cpus) {
        refused.push(NotGranted::Cpu(asked));
    }
    let instances = granted.iter().map(|one| one.limits.instances.max());
    let instances = instances.fold(free.instances, u32::max);
    if asked.instances.max() > instances {
        refused.push(NotGranted::Instances(asked.instances.max()));
    }
}

#[cfg(test)]
mod tests;
