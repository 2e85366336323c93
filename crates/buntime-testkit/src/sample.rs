//! Apps that tests run, and what is asked about them again and again.

use std::time::Duration;

use crate::log::LogLine;
use crate::process::{self, ProcessId};
use crate::server::{Builder, TestServer};
use crate::wire::Connection;
use crate::{NeighbourProbe, PATIENCE};

/// An app with a path for each thing that an app may do; its source tells them.
pub const SAMPLE: &str = include_str!("../fixtures/sample.ts");
/// An app without faults.
const NEIGHBOUR: &str = "export default { fetch: () => new Response(\"well\") };\n";
const NEIGHBOUR_PATH: &str = "/neighbour/";
/// Of the probe, in a second.
const PROBES: u32 = 50;

impl Builder {
    /// Adds [`SAMPLE`] under a name.
    pub fn sample(self, folder: &str, manifest: &str) -> Self {
        self.app(folder, manifest, &[("index.ts", SAMPLE)])
    }

    /// Adds an app of one module.
    pub fn module(self, folder: &str, manifest: &str, source: &str) -> Self {
        self.app(folder, manifest, &[("index.ts", source)])
    }

    /// Adds the app that [`TestServer::probe`] asks.
    pub fn neighbour(self) -> Self {
        self.module("neighbour@1.0.0", "ttl: 1h\n", NEIGHBOUR)
    }
}

impl TestServer {
    /// Begins to ask the neighbour 50 times a second.
    ///
    /// # Panics
    /// If it does not answer to begin with.
    #[must_use]
    #[track_caller]
    pub fn probe(&self) -> NeighbourProbe {
        NeighbourProbe::start(self.addr(), NEIGHBOUR_PATH, PROBES)
    }

    /// Sends a GET and leaves the response for later.
    ///
    /// # Panics
    /// If the server takes no connection.
    #[must_use]
    pub fn begin(&self, target: &str) -> Connection {
        let mut connection = self.connect();
        connection.send(format!("GET {target} HTTP/1.1\r\nhost: test.example\r\n\r\n").as_bytes());
        connection
    }

    /// The process that answers for the sample `app`.
    ///
    /// # Panics
    /// If none does.
    #[must_use]
    #[track_caller]
    pub fn worker(&self, app: &str) -> ProcessId {
        let response = self.get(&format!("/{app}/worker"));
        assert_eq!(response.status, 200, "{response:?}");
        self.process_of(&response.text())
            .expect("the worker died at once")
    }

    /// The process of the worker of this id, if it lives. A worker itself does not
    /// know its number outside of its sandbox.
    ///
    /// # Panics
    /// If no worker of this id was started.
    #[must_use]
    #[track_caller]
    pub fn process_of(&self, worker: &str) -> Option<ProcessId> {
        let started = self.wait_for_log_about(worker, |line| {
            line.message() == "Worker started" && line.value()["worker"] == worker
        });
        let pid = u32::try_from(started.value()["pid"].as_u64().unwrap()).unwrap();
        ProcessId::of(pid)
    }

    /// The id of a worker.
    ///
    /// # Panics
    /// If no such worker was started.
    #[must_use]
    #[track_caller]
    pub fn id_of(&self, worker: ProcessId) -> String {
        let started = self.wait_for_log(|line| {
            line.message() == "Worker started" && line.value()["pid"] == worker.pid
        });
        started.text("worker").to_owned()
    }

    /// Waits for a line with this message.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_for_message(&self, message: &str) -> LogLine {
        self.wait_for_log(|line| line.message() == message)
    }

    /// How many lines have this message.
    #[must_use]
    pub fn count_messages(&self, message: &str) -> usize {
        self.log()
            .iter()
            .filter(|line| line.message() == message)
            .count()
    }

    /// Waits until a worker's end is logged, and says why it ended.
    ///
    /// # Panics
    /// If it does not end, or a process is left.
    #[must_use]
    #[track_caller]
    pub fn wait_for_end(&self, worker: ProcessId) -> String {
        let ended = self.wait_for_log(|line| {
            line.message() == "Worker ended" && line.value()["pid"] == worker.pid
        });
        assert_gone(worker, PATIENCE);
        ended.text("reason").to_owned()
    }
}

/// Asserts that a process ends.
///
/// # Panics
/// If it has not after `patience`.
#[track_caller]
pub fn assert_gone(worker: ProcessId, patience: Duration) {
    let left = process::wait_gone(&[worker], patience);
    assert!(left.is_empty(), "still there: {}", worker.command());
}

/// Asserts an error of the server's own: status, code, request id, and nothing of
/// the app in it.
///
/// # Panics
/// If it is something else.
#[track_caller]
pub fn assert_error(response: &crate::Response, status: u16, code: &str) {
    assert_eq!(
        (response.status, response.error_code().as_str()),
        (status, code),
        "{response:?}"
    );
    let body = response.json();
    assert_eq!(body["error"]["requestId"], response.request_id().as_str());
    let text = response.text();
    for secret in ["canary", "index.ts", "/tmp", "wrapper", "    at "] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// Whole seconds of Retry-After.
///
/// # Panics
/// If there is none.
#[must_use]
#[track_caller]
pub fn retry_after(response: &crate::Response) -> u64 {
    let value = response.header("retry-after");
    let value = value.unwrap_or_else(|| panic!("no Retry-After: {response:?}"));
    value.parse().unwrap()
}
