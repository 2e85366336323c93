//! Raw TCP to hosts that an app may reach, in the network of its worker: at each of them
//! the server listens, and carries on what is connected (`Gateway::forwards`). Names lead
//! there by a file of names of the app's own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use buntime_core::{HostPort, NetPermission};
use buntime_sandbox::{Attachment, Process};
use sha2::{Digest as _, Sha256};

use crate::config::AppSpec;
use crate::error::StartFailure;
use crate::gateway::Forward;
use crate::pool::Shared;

/// Of the runtime directory: files of names, called by what they hold.
pub(crate) const NAMES: &str = "names";
/// What is hidden by one.
const PLACE: &str = "/etc/hosts";
/// Hosts beyond these are reached by the proxy alone; the sandbox makes no more.
const MOST: usize = 64;

/// Where hosts are found in a worker's network.
#[derive(Debug, PartialEq, Eq)]
struct Layout<'a> {
    hosts: Vec<(&'a HostPort, SocketAddr)>,
    names: String,
}

/// Whether workers of `spec` have any, so that an app must not run before they are made.
pub(crate) fn are_wanted(shared: &Shared, spec: &AppSpec) -> bool {
    shared.config.sandbox.layers.network && !listed(spec).is_empty()
}

/// Makes them for a worker that is about to get its app.
pub(crate) async fn make(
    shared: &Shared,
    process: &Process,
    spec: &AppSpec,
) -> Result<Vec<Forward>, StartFailure> {
    if !are_wanted(shared, spec) {
        return Ok(Vec::new());
    }
    let layout = Layout::of(listed(spec));
    let launcher = &shared.config.launcher;
    let addresses: Vec<_> = layout.hosts.iter().map(|(_, address)| *address).collect();
    let failed = |error: &dyn std::fmt::Display| {
        StartFailure::new(format!("cannot make the hosts of permissions.net: {error}"))
    };
    let sockets = launcher.forward(process, &addresses).await;
    let sockets = sockets.map_err(|error| failed(&error))?;
    let dir = shared.slots_dir.with_file_name(NAMES);
    let path = write_names(&dir, &layout.names).map_err(|error| failed(&error))?;
    let names = Attachment {
        path,
        place: Some(PLACE.into()),
        writable: false,
    };
    let shown = launcher.attach(process, &[names]).await;
    shown.map_err(|error| failed(&error))?;
    let hosts = layout.hosts.iter().map(|(host, _)| (*host).clone());
    let forwards = hosts.zip(sockets).map(|(host, socket)| Forward {
        host,
        socket: socket.into(),
    });
    Ok(forwards.collect())
}

fn listed(spec: &AppSpec) -> &[HostPort] {
    match &spec.granted.net {
        NetPermission::Hosts(hosts) => hosts,
        NetPermission::Public | NetPermission::None => &[],
    }
}

impl<'a> Layout<'a> {
    fn of(listed: &'a [HostPort]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut hosts: Vec<(&HostPort, SocketAddr)> = Vec::new();
        for host in listed {
            let address = address_of(host.host(), &mut names);
            let address = SocketAddr::new(address, host.port());
            // One host may be listed in two spellings.
            if hosts.len() < MOST && !hosts.iter().any(|(_, taken)| *taken == address) {
                hosts.push((host, address));
            }
        }
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (index, name) in names.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{} {name}", numbered(index));
        }
        Self { hosts, names: text }
    }
}

/// The address itself, or one for the name, which is the same for all of its ports.
fn address_of<'a>(host: &'a str, names: &mut Vec<&'a str>) -> IpAddr {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse() {
        return address;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let known = names
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name));
    let index = known.unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    numbered(index)
}

fn numbered(index: usize) -> IpAddr {
    let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, 64, high, low).into()
}

/// Writes a file of names if it is not there yet; it is never changed.
fn write_names(dir: &Path, names: &str) -> io::Result<PathBuf> {
    let digest = Sha256::digest(names.as_bytes());
    let path = dir.join(
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    );
    if !path.exists() {
        let part = dir.join(uuid::Uuid::new_v4().simple().to_string());
        fs::write(&part, names)?;
        // Whatever user the worker is.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o644))?;
        fs::rename(&part, &path)?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_an_address_and_each_address_is_itself() {
        let yaml = "permissions: {net: ['db.internal:5432', 'DB.internal:80', \
            'cache.internal:6379', '10.0.0.5:80', '[2001:db8::1]:443']}\n";
        let manifest = buntime_core::Manifest::parse(yaml, "m").unwrap().value;
        let NetPermission::Hosts(hosts) = manifest.permissions.net else {
            panic!("a list")
        };
        let layout = Layout::of(&hosts);
        let found: Vec<_> = layout.hosts.iter().map(|(_, at)| at.to_string()).collect();
        assert_eq!(
            found,
            [
                "127.64.0.1:5432",
                "127.64.0.1:80",
                "127.64.0.2:6379",
                "10.0.0.5:80",
                "[2001:db8::1]:443"
            ]
        );
        assert_eq!(
            layout.names,
            "127.0.0.1 localhost\n127.64.0.1 db.internal\n127.64.0.2 cache.internal\n"
        );
    }
}
