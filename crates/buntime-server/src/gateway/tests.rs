use proptest::prelude::*;

use super::asks::Asks;
use super::{APP_OUTSIDE, APP_SERVER, App};
use crate::edge::ConnectionLimit;

#[test]
fn the_first_request_says_whom_a_connection_asks() {
    for (first, asks) in [
        (&b""[..], None),
        (b"G", None),
        (b"CONNECT", None),
        (b"GET ", None),
        (b"GET /", Some(Asks::Server)),
        (b"OPTIONS * HTTP/1.1", Some(Asks::Server)),
        (b"PRI * HTTP/2.0\r\n\r\n", Some(Asks::Server)),
        (b"CONNECT ", Some(Asks::Proxy)),
        (b"CONNECT [::1]:80", Some(Asks::Proxy)),
        (b"GET http://a/", Some(Asks::Proxy)),
        (b"POST HTTPS://a/", Some(Asks::Proxy)),
        // No request: the server says so.
        (b"\x16\x03\x01", Some(Asks::Server)),
        (b"get /", Some(Asks::Server)),
        (b"\r\nGET http://a/", Some(Asks::Server)),
        (&[b'A'; 33], Some(Asks::Server)),
        (&[b'A'; 32], None),
    ] {
        assert_eq!(Asks::of(first), asks, "{:?}", first.escape_ascii());
    }
}

proptest! {
    #[test]
    fn what_is_clear_stays_so_and_becomes_clear_soon(bytes: Vec<u8>) {
        let answers: Vec<_> = (0..=bytes.len()).map(|end| Asks::of(&bytes[..end])).collect();
        let clear = answers.iter().position(Option::is_some);
        prop_assert!(clear.is_some() || bytes.len() <= 34);
        if let Some(clear) = clear {
            prop_assert!(answers[clear..].iter().all(|asks| *asks == answers[clear]));
        }
    }
}

#[test]
fn whoever_takes_all_places_for_the_outside_leaves_those_for_the_server() {
    let outside = ConnectionLimit::new(APP_OUTSIDE + 1);
    let (one, other) = (App::new(&outside), App::new(&outside));
    let most = APP_OUTSIDE + APP_SERVER;
    let mut entered: Vec<_> = std::iter::from_fn(|| one.enter()).collect();
    assert_eq!(entered.len(), most);
    // As many as there may be reach the outside, whichever place they came in by.
    entered.reverse();
    let settle = |entered| one.settle(entered, Asks::Proxy);
    let tunnels: Vec<_> = entered.into_iter().filter_map(settle).collect();
    assert_eq!(tunnels.len(), APP_OUTSIDE);
    let calls: Vec<_> = std::iter::from_fn(|| one.settle(one.enter()?, Asks::Server)).collect();
    assert_eq!(calls.len(), APP_SERVER);
    // Another app has one place for the outside left of all, and each of its own.
    let tunnel = other.settle(other.enter().unwrap(), Asks::Proxy).unwrap();
    assert!(other.settle(other.enter().unwrap(), Asks::Proxy).is_none());
    let calls: Vec<_> = std::iter::from_fn(|| other.settle(other.enter()?, Asks::Server)).collect();
    assert_eq!(calls.len(), APP_SERVER);
    drop((tunnels, tunnel));
    assert_eq!(outside.now(), 0);
}
