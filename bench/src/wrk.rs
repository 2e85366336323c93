//! Runs wrk and reads what it prints.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{BenchError, Context as _, Result};

/// What to ask of wrk.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) url: String,
    pub(crate) connections: u32,
    pub(crate) script: Option<String>,
    /// `Name: value`
    pub(crate) header: Option<String>,
    /// For the script.
    pub(crate) argument: Option<&'static str>,
}

/// What wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) rate: f64,
    /// In milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Answers that are no 2xx or 3xx, and broken connections.
    pub(crate) failed: u64,
}

pub(crate) fn run(load: &Load, duration: Duration) -> Result<Seen> {
    let mut command = Command::new("wrk");
    command
        .args(["--threads", "2", "--latency", "--timeout", "10s"])
        .arg(format!("--connections={}", load.connections))
        .arg(format!("--duration={}s", duration.as_secs().max(1)))
        .stdin(Stdio::null());
    if let Some(script) = &load.script {
        command.arg(format!("--script={script}"));
    }
    if let Some(header) = &load.header {
        command.args(["--header", header]);
    }
    command.arg(&load.url);
    if let Some(argument) = load.argument {
        command.args(["--", argument]);
    }
    let output = command.output().context(|| "cannot run wrk".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| {
        BenchError::Failed(format!(
            "wrk on {} said: {text}{}",
            load.url,
            String::from_utf8_lossy(&output.stderr)
        ))
    })
}

fn parse(text: &str) -> Option<Seen> {
    let after = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
    };
    let non_2xx = after("Non-2xx or 3xx responses:")
        .and_then(|count| count.parse::<u64>().ok())
        .unwrap_or(0);
    // "connect 0, read 1, write 0, timeout 0"
    let broken: u64 = after("Socket errors:")
        .unwrap_or_default()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|count| count.parse::<u64>().ok())
        .sum();
    let requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))?
        .0;
    Some(Seen {
        requests: requests.trim().parse().ok()?,
        rate: after("Requests/sec:")?.parse().ok()?,
        p50: milliseconds(after("50%")?)?,
        p99: milliseconds(after("99%")?)?,
        failed: non_2xx + broken,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_output_of_wrk() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  2 threads and 50 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     2.94ms    5.49ms  40.21ms   88.21%\n  Latency Distribution\n     50%  750.00us\n     75%    2.31ms\n     90%   10.10ms\n     99%    1.25s \n  48213 requests in 1.10s, 6.10MB read\n  Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\nRequests/sec:  43829.12\nTransfer/sec:      5.55MB\n";
        assert_eq!(
            parse(text),
            Some(Seen {
                requests: 48_213,
                rate: 43_829.12,
                p50: 0.75,
                p99: 1250.0,
                failed: 7
            })
        );
        assert_eq!(parse("unable to connect"), None);
    }
}
