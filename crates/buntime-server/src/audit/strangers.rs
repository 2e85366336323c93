//! Refusals of callers without a valid key, counted by address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Entry;
use crate::message::Caller;

/// Over how long the refusals of one address share a line.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Most addresses that are told apart in one window; the others share a line.
/// Bounds what strangers can write: 64 KB a minute.
const MOST_ADDRESSES: usize = 256;

/// What was counted since the last lines.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    begun: Option<Instant>,
    by_address: HashMap<Bucket, BTreeMap<&'static str, u64>>,
    /// Since the start.
    totals: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bucket {
    V4(std::net::Ipv4Addr),
    /// A network of 64 bits: one host can speak from any address in it.
    V6([u16; 4]),
    Worker(Arc<str>),
    Others,
}

impl Bucket {
    fn of(caller: &Caller) -> Self {
        let address = match caller {
            Caller::Address(address) => address,
            Caller::Worker(name) => return Self::Worker(Arc::clone(name)),
        };
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::V4(address) => address.to_string(),
            Self::V6([a, b, c, d]) => {
                format!("{}/64", Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0))
            }
            Self::Worker(name) => Caller::Worker(Arc::clone(name)).to_string(),
            Self::Others => "others".to_owned(),
        }
    }
}

impl Strangers {
    /// Counts one. Whether it is the first of a window: somebody must then see to
    /// it that the window ends.
    pub(super) fn count(&mut self, caller: &Caller, code: &'static str) -> bool {
        let mut bucket = Bucket::of(caller);
        if self.by_address.len() >= MOST_ADDRESSES && !self.by_address.contains_key(&bucket) {
            bucket = Bucket::Others;
        }
        *self.totals.entry(code).or_default() += 1;
        let counts = self.by_address.entry(bucket).or_default();
        *counts.entry(code).or_default() += 1;
        let is_first = self.begun.is_none();
        self.begun.get_or_insert_with(Instant::now);
        is_first
    }

    /// How many there were since the start, by code: a handful, as they stand in the
    /// program.
    pub(super) fn totals(&self) -> &BTreeMap<&'static str, u64> {
        &self.totals
    }

    /// Until the window ends; `None`: nothing was counted.
    pub(super) fn due_in(&self) -> Option<Duration> {
        Some(WINDOW.saturating_sub(self.begun?.elapsed()))
    }

    /// The lines of the window, which is over.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.begun = None;
        let lines = std::mem::take(&mut self.by_address).into_iter();
        lines
            .map(|(bucket, counts)| {
                let counts = counts.into_iter().map(|(code, n)| (code.to_owned(), n));
                Entry::strangers(bucket.name(), counts.collect())
            })
            .collect()
    }
}
