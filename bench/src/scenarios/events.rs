//! How long an event stream's reader waits for the first byte.

use std::time::Instant;

use super::cold::RATE;
use super::{Plan, in_turns};
use crate::Result;
use crate::client::{self, Connection};
use crate::figures::{Sample, median};
use crate::report::{Goal, Report};
use crate::servers::{SYSTEMS, Servers};

pub(super) fn first_byte(plan: &Plan, servers: &Servers, report: &mut Report) -> Result<()> {
    let all = in_turns(plan, "events", &SYSTEMS, |&system, each| {
        let (port, path) = servers.place(system, "events", "stream");
        let one = || {
            let mut connection = Connection::open(port).ok()?;
            connection.first_byte(&path).ok()?;
            Some(Instant::now())
        };
        let latencies = client::open_loop(RATE, each, one);
        Ok(Sample::of_clients(&latencies, each))
    })?;
    report.section(
        "Event stream, the first byte",
        "20 new readers a second, each on a connection of its own, which goes when the first event has come.",
    );
    let rows = SYSTEMS.iter().zip(&all);
    let rows: Vec<_> = rows
        .map(|(system, samples)| (system.label(), samples.as_slice()))
        .collect();
    report.table(&rows);
    report.verdict(
        "event stream: first byte, p99",
        median(all[0].iter().map(|sample| sample.p99)),
        " ms",
        Goal::AtMost(100.0),
    );
    Ok(())
}
