//! What a manifest asks for, and what of it needs a grant.

use std::fmt;
use std::net::IpAddr;

use super::Caps;
use crate::manifest::{HostPort, Limits, NetPermission, Permissions};
use crate::{AddressKind, ByteSize, PackageName};

/// One thing that a manifest asks for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ask {
    /// To read a path.
    Read(String),
    /// To write a path.
    Write(String),
    /// To start programs.
    Spawn,
    /// To reach a host.
    Net(HostPort),
    /// Memory.
    Memory(ByteSize),
    /// Disk.
    Disk(ByteSize),
    /// Output.
    Output(ByteSize),
    /// Processors.
    Cpu(f64),
    /// Processes.
    Instances(u32),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "permissions.read: {path}"),
            Self::Write(path) => write!(f, "permissions.write: {path}"),
            Self::Spawn => f.write_str("permissions.spawn: true"),
            Self::Net(to) => write!(f, "permissions.net: {to}"),
            Self::Memory(size) => write!(f, "limits.memory: {size}"),
            Self::Disk(size) => write!(f, "limits.disk: {size}"),
            Self::Output(size) => write!(f, "limits.output: {size}"),
            Self::Cpu(count) => write!(f, "limits.cpu: {count}"),
            Self::Instances(count) => write!(f, "limits.instances: {count}"),
        }
    }
}

/// One thing that a unit asks for and may not have.
#[derive(Clone, Debug, PartialEq)]
pub struct NotGranted {
    pub(super) ask: Ask,
    pub(super) never: bool,
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ask.fmt(f)?;
        f.write_str(if self.never { " (never granted)" } else { "" })
    }
}

impl NotGranted {
    /// Several of them, for a message.
    #[must_use]
    pub fn list(all: &[Self]) -> String {
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        all.join(", ")
    }

    /// The line of the operator's file that grants all of it that can be granted to `unit`;
    /// `None` if nothing of it can.
    #[must_use]
    pub fn line(unit: &PackageName, all: &[Self]) -> Option<String> {
        let asks = all.iter().filter(|one| !one.never).map(|one| &one.ask);
        let (mut read, mut write, mut net) = (Vec::new(), Vec::new(), Vec::new());
        let (mut permissions, mut limits) = (Vec::new(), Vec::new());
        for ask in asks {
            match ask {
                Ask::Read(path) => read.push(quoted(path)),
                Ask::Write(path) => write.push(quoted(path)),
                Ask::Net(to) => net.push(quoted(&to.to_string())),
                Ask::Spawn => permissions.push("spawn: true".to_owned()),
                Ask::Memory(size) => limits.push(format!("memory: {size}")),
                Ask::Disk(size) => limits.push(format!("disk: {size}")),
                Ask::Output(size) => limits.push(format!("output: {size}")),
                Ask::Cpu(count) => limits.push(format!("cpu: {count}")),
                Ask::Instances(count) => limits.push(format!("instances: {count}")),
            }
        }
        for (key, items) in [("read", read), ("write", write), ("net", net)] {
            if !items.is_empty() {
                permissions.push(format!("{key}: [{}]", items.join(", ")));
            }
        }
        let sections = [("permissions", permissions), ("limits", limits)];
        let sections = sections.iter().filter(|(_, items)| !items.is_empty());
        let sections: Vec<_> = sections
            .map(|(name, items)| format!("{name}: {{{}}}", items.join(", ")))
            .collect();
        let given = sections.join(", ");
        (!given.is_empty()).then(|| format!("{}: {{{given}}}", quoted(unit.as_str())))
    }
}

/// A text in YAML, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether something needs a grant.
pub(super) enum Free {
    Yes,
    No,
    Never,
}

impl Ask {
    pub(super) fn free(&self) -> Free {
        let within = |fits| if fits { Free::Yes } else { Free::No };
        match self {
            Self::Read(_) | Self::Write(_) | Self::Spawn => Free::No,
            Self::Net(to) => match kind(to) {
                AddressKind::Public => Free::Yes,
                AddressKind::Private => Free::No,
                AddressKind::Forbidden => Free::Never,
            },
            Self::Memory(size) => within(*size <= Caps::FREE.memory),
            Self::Disk(size) => within(*size <= Caps::FREE.disk),
            Self::Output(size) => within(*size <= Caps::FREE.output),
            Self::Cpu(count) => within(*count <= Caps::FREE.cpu),
            Self::Instances(count) => within(*count <= Caps::FREE.instances),
        }
    }
}

/// All that is written in a manifest.
pub(super) fn asks(permissions: &Permissions, limits: &Limits) -> Vec<Ask> {
    let mut asks: Vec<Ask> = permissions.read.iter().cloned().map(Ask::Read).collect();
    asks.extend(permissions.write.iter().cloned().map(Ask::Write));
    asks.extend(permissions.spawn.then_some(Ask::Spawn));
    if let NetPermission::Hosts(hosts) = &permissions.net {
        asks.extend(hosts.iter().cloned().map(Ask::Net));
    }
    asks.extend(limits.memory.map(Ask::Memory));
    asks.extend(limits.disk.map(Ask::Disk));
    asks.extend(limits.output.map(Ask::Output));
    asks.extend(limits.cpu.map(Ask::Cpu));
    let instances = limits.instances.max();
    asks.extend((instances > 1).then_some(Ask::Instances(instances)));
    asks
}

/// What is to be granted before a name may be listed. A name may lead to any address,
/// so whoever connects looks at that as well.
pub(super) fn kind(to: &HostPort) -> AddressKind {
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
