//! Does this machine keep to itself what is sent to an address?

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The kernel's words for routes (`linux/rtnetlink.h`, `linux/netlink.h`).
const GET_ROUTE: u16 = 26;
const NEW_ROUTE: u16 = 24;
const REQUEST: u16 = 1;
const DESTINATION: u16 = 1;
const UNICAST: u8 = 1;

/// Where its parts stand in an answer.
const KIND_OF_MESSAGE: usize = 4;
const KIND_OF_ROUTE: usize = 23;

/// Whether `address` is this machine's, by whatever means: each of an interface's, and
/// ranges that are routed to itself. So are addresses that mean many machines at once.
/// Nothing is sent by asking.
pub(super) fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    route(address).unwrap_or_else(|_| binds(address))
}

/// Asks for the route. Where there is none, nobody is reached.
fn route(address: IpAddr) -> Result<bool, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::send(&socket, &question(address), SendFlags::empty())?;
    // The kernel has answered by now.
    let mut answer = [0; 4096];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer
        .get(KIND_OF_MESSAGE..)
        .and_then(<[u8]>::first_chunk)
        .map(|kind| u16::from_ne_bytes(*kind));
    match (kind, answer.get(KIND_OF_ROUTE)) {
        (Some(NEW_ROUTE), Some(&route)) => Ok(route != UNICAST),
        (Some(_), _) => Ok(false),
        (None, _) => Err(Errno::BADMSG),
    }
}

/// The message that asks: its head, what a route has, and the address as an attribute.
fn question(address: IpAddr) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(address) => (AddressFamily::INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AddressFamily::INET6, address.octets().to_vec()),
    };
    let [family, _] = family.as_raw().to_le_bytes();
    let size = octets.len() as u8;
    let mut message = vec![0; 4];
    message.extend(GET_ROUTE.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Number and sender: one question, one socket.
    message.extend([0; 8]);
    message.extend([family, size * 8]);
    message.extend([0; 10]);
    message.extend((u16::from(size) + 4).to_ne_bytes());
    message.extend(DESTINATION.to_ne_bytes());
    message.extend(octets);
    let length = message.len() as u32;
    message.splice(..4, length.to_ne_bytes());
    message
}

/// Where the kernel may not be asked: only its own addresses can be sent from. If it was
/// told to allow all of them, all count as its own.
fn binds(address: IpAddr) -> bool {
    !UdpSocket::bind((address, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_asking_know_what_is_local() {
        for (address, own) in [
            ("127.0.0.1", true),
            // A range, of which no interface has but one address.
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.3.2.1", true),
            ("192.0.2.77", false),
            ("2001:db8::77", false),
            ("::ffff:192.0.2.77", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(is_own(address), own, "{address}");
            assert_eq!(binds(address.to_canonical()), own, "{address}");
        }
        assert_eq!(route([127, 9, 9, 9].into()), Ok(true));
    }
}
