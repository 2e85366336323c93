//! Raw TCP to hosts that an app may reach, in the network of its worker: at each of them
//! the server listens, and carries on what is connected (`Gateway::forwards`). Names lead
//! there by a file of names of the app's own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use buntime_core::{HostPort, NetPermission};
use buntime_sandbox::{Attachment, Process};
use uuid::Uuid;

use crate::config::AppSpec;
use crate::error::StartFailure;
use crate::gateway::Forward;
use crate::pool::Shared;

/// Of the runtime directory: files of names that workers are about to be shown.
pub(crate) const NAMES: &str = "names";
/// What is hidden by one.
const PLACE: &str = "/etc/hosts";
/// Hosts beyond these are reached by the proxy alone; the sandbox makes no more.
const MOST: usize = 64;

/// Where a host is found in a worker's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    host: &'a HostPort,
    /// What leads to the address, unless the host is one.
    name: Option<&'a str>,
    address: SocketAddr,
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
    let made = listen(shared, process, spec, places(listed(spec))).await;
    let failed = |error: &dyn std::fmt::Display| {
        StartFailure::new(format!("cannot make the names of permissions.net: {error}"))
    };
    let text = names(made.iter().map(|(place, _)| place));
    let dir = shared.slots_dir.with_file_name(NAMES);
    let file = NamesFile::write(&dir, &text).map_err(|error| failed(&error))?;
    let names = Attachment {
        path: file.0.clone(),
        place: Some(PLACE.into()),
        is_folder: false,
        writable: false,
    };
    let shown = shared.config.launcher.attach(process, &[names]).await;
    shown.map_err(|error| failed(&error))?;
    let forwards = made.into_iter().map(|(place, socket)| Forward {
        host: place.host.clone(),
        socket: socket.into(),
    });
    Ok(forwards.collect())
}

/// Listens at each of these, or at those where that can be done.
async fn listen<'a>(
    shared: &Shared,
    process: &Process,
    spec: &AppSpec,
    places: Vec<Place<'a>>,
) -> Vec<(Place<'a>, OwnedFd)> {
    let launcher = &shared.config.launcher;
    let addresses: Vec<_> = places.iter().map(|place| place.address).collect();
    // All or none are made at once.
    if let Ok(sockets) = launcher.forward(process, &addresses).await {
        return places.into_iter().zip(sockets).collect();
    }
    let mut made = Vec::new();
    for place in places {
        match launcher.forward(process, &[place.address]).await {
            Ok(sockets) => made.extend(sockets.into_iter().map(|socket| (place, socket))),
            Err(error) => {
                let (events, host) = (&shared.config.events, place.host.to_string());
                events.not_forwarded(&spec.id, &host, &error.to_string());
            }
        }
    }
    made
}

fn listed(spec: &AppSpec) -> &[HostPort] {
    match &spec.granted.net {
        NetPermission::Hosts(hosts) => hosts,
        NetPermission::Public | NetPermission::None => &[],
    }
}

/// The first hosts of a list, each once.
fn places(listed: &[HostPort]) -> Vec<Place<'_>> {
    let mut names: Vec<&str> = Vec::new();
    let mut places: Vec<Place<'_>> = Vec::new();
    for host in listed {
        if places.len() == MOST {
            break;
        }
        let (name, address) = address_of(host.host(), &mut names);
        let address = SocketAddr::new(address, host.port());
        // One host may be listed in two spellings.
        if !places.iter().any(|place| place.address == address) {
            places.push(Place {
                host,
                name,
                address,
            });
        }
    }
    places
}

/// The address itself, or one for the name, which is the same for all of its ports.
fn address_of<'a>(host: &'a str, names: &mut Vec<&'a str>) -> (Option<&'a str>, IpAddr) {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse::<IpAddr>() {
        // Who connects to an IPv4 address written as IPv6 comes by IPv4.
        return (None, address.to_canonical());
    }
    let known = names
        .iter()
        .position(|known| known.eq_ignore_ascii_case(host));
    let index = known.unwrap_or_else(|| {
        names.push(host);
        names.len() - 1
    });
    (Some(host), numbered(index))
}

fn numbered(index: usize) -> IpAddr {
    let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, 64, high, low).into()
}

/// What a file of names holds: no name that leads to where nobody listens.
fn names<'a>(made: impl Iterator<Item = &'a Place<'a>>) -> String {
    let mut text = "127.0.0.1 localhost\n".to_owned();
    let mut known: Vec<IpAddr> = Vec::new();
    for place in made {
        let address = place.address.ip();
        if let Some(name) = place.name
            && !known.contains(&address)
        {
            known.push(address);
            // Writing to a string does not fail.
            let _ = writeln!(text, "{address} {name}");
        }
    }
    text
}

/// A file of names until the worker has been shown it. What it was shown stays there
/// without a name.
struct NamesFile(PathBuf);

impl NamesFile {
    fn write(dir: &Path, names: &str) -> io::Result<Self> {
        let file = Self(dir.join(Uuid::new_v4().simple().to_string()));
        fs::write(&file.0, names)?;
        // Whatever user the worker is.
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644))?;
        Ok(file)
    }
}

impl Drop for NamesFile {
    fn drop(&mut self) {
        // A leftover is removed at the next start of the server.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(list: &str) -> Vec<HostPort> {
        let yaml = format!("permissions: {{net: [{list}]}}\n");
        let manifest = buntime_core::Manifest::parse(&yaml, "m").unwrap().value;
        match manifest.permissions.net {
            NetPermission::Hosts(hosts) => hosts,
            other => panic!("a list: {other:?}"),
        }
    }

    fn addresses(places: &[Place<'_>]) -> Vec<String> {
        places
            .iter()
            .map(|place| place.address.to_string())
            .collect()
    }

    #[test]
    fn each_name_has_an_address_and_each_address_is_itself() {
        let hosts = listed(
            "'db.internal:5432', 'DB.internal:80', 'cache.internal:6379', \
             '10.0.0.5:80', '[2001:db8::1]:443', '[::ffff:10.0.0.6]:80', '[::ffff:a00:5]:80'",
        );
        let places = places(&hosts);
        assert_eq!(
            addresses(&places),
            [
                "127.64.0.1:5432",
                "127.64.0.1:80",
                "127.64.0.2:6379",
                "10.0.0.5:80",
                "[2001:db8::1]:443",
                "10.0.0.6:80"
            ]
        );
        assert_eq!(
            names(places.iter()),
            "127.0.0.1 localhost\n127.64.0.1 db.internal\n127.64.0.2 cache.internal\n"
        );
        assert_eq!(
            names(places.iter().skip(2)),
            "127.0.0.1 localhost\n127.64.0.2 cache.internal\n",
            "a name without a socket has no address"
        );
    }

    #[test]
    fn names_beyond_the_bound_have_no_address() {
        let list: Vec<_> = (0..100).map(|host| format!("'h{host}.dev:80'")).collect();
        let hosts = listed(&list.join(", "));
        let places = places(&hosts);
        assert_eq!(places.len(), MOST);
        let names = names(places.iter());
        assert!(names.ends_with("127.64.0.64 h63.dev\n"), "{names}");
    }

    #[test]
    fn a_file_of_names_is_gone_with_its_use() {
        let dir = tempfile::tempdir().unwrap();
        let file = NamesFile::write(dir.path(), "127.0.0.1 localhost\n").unwrap();
        assert!(file.0.is_file());
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
