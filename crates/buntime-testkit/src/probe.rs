//! A neighbour that is asked all the time: whatever one app does, another one must
//! not notice.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any answer may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(5);
/// Failures kept with their words; more are counted.
const KEPT: usize = 10;
const ANSWER_LIMIT: u64 = 64 * 1024;

/// A thread that sends a GET at a fixed rate, each on a connection of its own.
/// To be ended with [`NeighbourProbe::finish`]; dropped without it, it stops and
/// panics if a request has failed.
#[derive(Debug)]
pub struct NeighbourProbe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<ProbeReport>>,
}

/// What a probe has seen.
#[derive(Clone, Debug, Default)]
pub struct ProbeReport {
    /// Requests sent.
    pub sent: u64,
    /// Requests that were not answered with 200.
    pub failed: u64,
    /// What became of the first of them.
    pub failures: Vec<String>,
    /// The longest time to a whole answer.
    pub slowest: Duration,
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} requests to the neighbour failed, the slowest took {:?}",
            self.failed, self.sent, self.slowest
        )?;
        self.failures
            .iter()
            .try_for_each(|failure| write!(f, "\n- {failure}"))
    }
}

impl NeighbourProbe {
    /// Waits for a first good answer, then asks for `path` `per_second` times a second.
    ///
    /// # Panics
    /// When the neighbour does not answer to begin with.
    #[must_use]
    #[track_caller]
    pub fn start(address: SocketAddr, path: &str, per_second: u32) -> Self {
        let path = path.to_owned();
        if let Err(reason) = ask(address, &path) {
            panic!("the neighbour does not answer to begin with: {reason}");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pause = Duration::from_secs(1) / per_second.max(1);
        let run = move || probe(address, &path, pause, &stopped);
        Self {
            stop,
            thread: Some(thread::spawn(run)),
        }
    }

    /// Ends the probe.
    ///
    /// # Panics
    /// When a request has failed, or none was sent.
    #[track_caller]
    pub fn finish(mut self) -> ProbeReport {
        let report = self.join();
        assert_eq!(report.failed, 0, "{report}");
        assert!(report.sent > 0, "the probe asked nothing");
        report
    }

    fn join(&mut self) -> ProbeReport {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(report)) => report,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => ProbeReport::default(),
        }
    }
}

impl Drop for NeighbourProbe {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        let report = self.join();
        assert!(thread::panicking() || report.failed == 0, "{report}");
    }
}

fn probe(address: SocketAddr, path: &str, pause: Duration, stop: &AtomicBool) -> ProbeReport {
    let mut report = ProbeReport::default();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        if let Err(reason) = ask(address, path) {
            report.failed += 1;
            if report.failures.len() < KEPT {
                report.failures.push(reason);
            }
        }
        report.sent += 1;
        report.slowest = report.slowest.max(begun.elapsed());
        // A slow answer is not made up for by a burst.
        next = (next + pause).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    report
}

/// One request. The error says what came instead of a 200.
fn ask(address: SocketAddr, path: &str) -> Result<(), String> {
    let begun = Instant::now();
    let fetch = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
        Ok(answer)
    };
    match fetch() {
        Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => Err(format!(
            "after {:?}: {}",
            begun.elapsed(),
            String::from_utf8_lossy(&answer)
        )),
        Err(error) => Err(format!("after {:?}: {error}", begun.elapsed())),
    }
}
