//! `make bench` and `make soak`.
//!
//! The benchmark runs three systems side by side on this machine: our server, nginx in front
//! of the same Bun app over a unix socket, and Bun alone. They take turns within each round,
//! so that whatever else the machine does meets all of them, and the figures are medians of
//! the ratios of neighbours. Everything is on loopback, on free ports, in a temporary folder.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool whose output is its result"
)]

mod client;
mod figures;
mod machine;
mod process;
mod report;
mod scenarios;
mod servers;
mod soak;
mod wrk;

use std::process::ExitCode;

/// What can go wrong: always the set-up, never a slow server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}: {source}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Failed(String),
}

pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Says what was being done when an I/O error came.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| BenchError::Io {
            what: what(),
            source,
        })
    }
}

fn main() -> ExitCode {
    process::clean_up_on_signals();
    let job = std::env::args().nth(1).unwrap_or_default();
    let result = match job.as_str() {
        "bench" => scenarios::run(&scenarios::Plan::from_environment()),
        "soak" => soak::run(),
        _ => Err(BenchError::Failed(
            "usage: buntime-bench bench|soak".to_owned(),
        )),
    };
    process::stop_all();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
