//! How often an address, or an app, may fail to log in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::message::Caller;

/// Failures that each has in one window.
const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Most that are remembered. One more takes the place of the one whose window began
/// first.
const ORIGINS: usize = 10_000;

/// Who fails. A customer of IPv6 has a network, not an address; apps have none of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Address(IpAddr),
    App(Arc<str>),
}

impl Origin {
    fn of(caller: &Caller) -> Self {
        let address = match caller {
            Caller::Address(address) => address.to_canonical(),
            Caller::Worker(name) => return Self::App(Arc::clone(name)),
        };
        Self::Address(match address {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            IpAddr::V4(_) => address,
        })
    }
}

#[derive(Debug)]
struct Window {
    began: Instant,
    failures: u32,
}

/// Failed logins of the last minute. Others are not slowed by them.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<Origin, Window>);

impl Throttle {
    /// How long this one must wait before it may try again, if it must.
    pub(super) fn wait(&self, from: &Caller, now: Instant) -> Option<Duration> {
        let window = self.0.get(&Origin::of(from))?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(window.began))?;
        (window.failures >= FAILURES && !left.is_zero()).then_some(left)
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, from: &Caller, now: Instant) {
        let origin = Origin::of(from);
        let is_over = |window: &Window| now.saturating_duration_since(window.began) >= WINDOW;
        if self.0.len() >= ORIGINS && !self.0.contains_key(&origin) {
            self.0.retain(|_, window| !is_over(window));
            if self.0.len() >= ORIGINS {
                let first = self.0.iter().min_by_key(|(_, window)| window.began);
                if let Some(first) = first.map(|(origin, _)| origin.clone()) {
                    self.0.remove(&first);
                }
            }
        }
        let window = self.0.entry(origin).or_insert(Window {
            began: now,
            failures: 0,
        });
        if is_over(window) {
            *window = Window {
                began: now,
                failures: 0,
            };
        }
        window.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Caller {
        Caller::Address(text.parse().unwrap())
    }

    #[test]
    fn the_tenth_failure_is_the_last_of_its_minute() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let us = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(throttle.wait(&us, start), None);
            throttle.failed(&us, start);
        }
        assert_eq!(throttle.wait(&us, start), Some(WINDOW));
        assert_eq!(throttle.wait(&address("192.0.2.2"), start), None);
        let later = start + Duration::from_secs(59);
        assert_eq!(throttle.wait(&us, later), Some(Duration::from_secs(1)));
        let later = start + WINDOW;
        assert_eq!(throttle.wait(&us, later), None);
        throttle.failed(&us, later);
        assert_eq!(throttle.wait(&us, later), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_a_mapped_address_is_ipv4() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for last in 0..10 {
            throttle.failed(&address(&format!("2001:db8:1:2::{last}")), now);
            throttle.failed(&address("::ffff:192.0.2.1"), now);
        }
        for (text, waits) in [
            ("2001:db8:1:2:ffff::", true),
            ("2001:db8:1:3::", false),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.2", false),
        ] {
            assert_eq!(
                throttle.wait(&address(text), now).is_some(),
                waits,
                "{text}"
            );
        }
    }

    #[test]
    fn an_app_that_fails_takes_no_attempt_from_another_or_from_this_machine() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let app = |name: &str| Caller::Worker(name.into());
        for _ in 0..10 {
            throttle.failed(&app("shop"), now);
        }
        assert_eq!(throttle.wait(&app("shop"), now), Some(WINDOW));
        for other in [app("blog"), address("127.0.0.1"), address("0.0.0.0")] {
            assert_eq!(throttle.wait(&other, now), None, "{other}");
        }
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..20_000_u32 {
            throttle.failed(&IpAddr::from(number.to_be_bytes()).into(), now);
        }
        assert_eq!(throttle.0.len(), ORIGINS);
    }
}
