//! `make soak`: mixed load for ten minutes; fails if the server grows in memory, descriptors,
//! threads or processes. What comes of it stands in `bench/SOAK.md`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::median;
use crate::process::{descendants, descriptors, rss, stopping, threads};
use crate::servers::Ours;
use crate::{BenchError, Context as _, Result, client, machine};

/// How long a soak takes, in seconds. One that was made shorter is only a look.
const FULL: u64 = 600;

/// What is watched, and how much more at the end than at the start is still no growth.
struct Watched {
    name: &'static str,
    unit: &'static str,
    /// Absolute slack, in the unit.
    slack: f64,
    /// Relative slack.
    share: f64,
}

const WATCHED: [Watched; 4] = [
    Watched {
        name: "memory",
        unit: " MB",
        slack: 4.0,
        share: 0.10,
    },
    Watched {
        name: "descriptors",
        unit: "",
        slack: 24.0,
        share: 0.10,
    },
    Watched {
        name: "threads",
        unit: "",
        slack: 2.0,
        share: 0.0,
    },
    Watched {
        name: "processes below it",
        unit: "",
        slack: 6.0,
        share: 0.0,
    },
];

type Look = [f64; WATCHED.len()];

/// A client on the port of the server. Says whether the answer was what it should be.
type Caller = fn(u16) -> bool;

/// What clients do, good and bad ones.
const CALLERS: [(&str, Caller); 11] = [
    ("no-op", |port| get(port, "/noop/", 200)),
    ("echo", |port| {
        matches!(client::once(port, "POST", "/echo/", &[b'x'; 4096]), Ok(200))
    }),
    ("static file", |port| {
        get(port, "/static/site-0a1b2c3d4e.css", 200)
    }),
    ("HEAD", |port| {
        matches!(client::once(port, "HEAD", "/@demo/planets/", b""), Ok(200))
    }),
    ("nobody's path", |port| get(port, "/no-such-app/", 404)),
    ("ephemeral", |port| {
        std::thread::sleep(Duration::from_millis(200));
        get(port, "/ephemeral/", 200)
    }),
    ("download given up", |port| {
        given_up(port, "GET /download/ HTTP/1.1\r\nhost: a\r\n\r\n", 1000)
    }),
    ("events given up", |port| {
        given_up(port, "GET /clock/events HTTP/1.1\r\nhost: a\r\n\r\n", 200)
    }),
    ("WebSocket given up", |port| {
        given_up(
            port,
            "GET /chat/socket?room=lobby&name=me HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            100,
        )
    }),
    ("upload given up", |port| {
        given_up(
            port,
            "POST /echo/ HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nonly this",
            0,
        )
    }),
    ("no HTTP", |port| {
        given_up(port, "\u{16}\u{3}\u{1}\r\n\r\n", 0)
    }),
];

fn get(port: u16, path: &str, status: u16) -> bool {
    matches!(client::once(port, "GET", path, b""), Ok(answer) if answer == status)
}

/// Sends `request`, reads `bytes` of what comes, and leaves without a word.
fn given_up(port: u16, request: &str, bytes: usize) -> bool {
    let talk = || -> std::io::Result<()> {
        let mut stream =
            TcpStream::connect_timeout(&client::loopback(port), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        stream.read_exact(&mut vec![0; bytes])?;
        stream.shutdown(Shutdown::Both)
    };
    talk().is_ok()
}

pub(crate) fn run() -> Result<()> {
    let seconds = std::env::var("SOAK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(FULL);
    let mut ours = Ours::start(
        "soak",
        &[Path::new("bench/apps"), Path::new("examples/apps")],
    )?;
    for app in ["noop", "echo", "download", "ephemeral", "clock", "chat"] {
        ours.warm(&format!("/{app}/"))?;
    }
    let (port, pid) = (ours.port, ours.pid());
    let end = Instant::now() + Duration::from_secs(seconds);
    println!("soaking for {seconds} s");

    let (looks, failures) = std::thread::scope(|scope| {
        let callers: Vec<_> = CALLERS
            .iter()
            .map(|&(name, call)| (name, scope.spawn(move || call_until(end, || call(port)))))
            .collect();
        let looks = watch(pid, end, Duration::from_secs(seconds));
        let failures: Vec<(&str, u64, u64)> = callers
            .into_iter()
            .filter_map(|(name, caller)| {
                caller
                    .join()
                    .ok()
                    .map(|(calls, failed)| (name, calls, failed))
            })
            .collect();
        (looks, failures)
    });
    if stopping() {
        return Err(BenchError::Failed("interrupted".to_owned()));
    }
    if ours.ended() {
        return Err(BenchError::Failed(
            "the server ended: see bench/out/soak.log".to_owned(),
        ));
    }
    let outcome = judge(&looks, &failures);
    // The outcome of a run that is long enough is kept, whichever it is.
    let path = if seconds >= FULL {
        "bench/SOAK.md"
    } else {
        "bench/out/soak.md"
    };
    let text = format!(
        "# Soak\n\nWritten by `make soak` on {}. {}, Bun {}. {seconds} s of mixed load on one server.\n{}",
        machine::date(),
        machine::shape(),
        machine::bun(),
        outcome.text
    );
    fs::write(path, &text).context(|| path.to_owned())?;
    println!("{text}\nWritten to {path}");
    if outcome.problems.is_empty() {
        Ok(())
    } else {
        Err(BenchError::Failed(outcome.problems.join("; ")))
    }
}

/// Calls again and again, but not so fast that the callers starve each other.
fn call_until(end: Instant, call: impl Fn() -> bool) -> (u64, u64) {
    let (mut calls, mut failed) = (0, 0);
    while Instant::now() < end && !stopping() {
        calls += 1;
        failed += u64::from(!call());
        std::thread::sleep(Duration::from_millis(2));
    }
    (calls, failed)
}

fn watch(pid: u32, end: Instant, all: Duration) -> Vec<Look> {
    let every = (all / 100).clamp(Duration::from_millis(200), Duration::from_secs(5));
    let mut looks = Vec::new();
    while Instant::now() < end && !stopping() {
        std::thread::sleep(every);
        let count = |value: Option<u64>| value.map_or(f64::NAN, |value| value as f64);
        let look = [
            count(rss(pid)) / 1024.0,
            count(descriptors(pid)),
            count(threads(pid)),
            descendants(pid).len() as f64,
        ];
        if looks.len() % 10 == 0 {
            println!(
                "memory {:.1} MB, {} descriptors, {} threads, {} processes",
                look[0], look[1], look[2], look[3]
            );
        }
        looks.push(look);
    }
    looks
}

/// What a soak has found.
struct Outcome {
    /// Markdown.
    text: String,
    problems: Vec<String>,
}

/// The first fifth is warming up; the second is compared with the last.
fn judge(looks: &[Look], failures: &[(&str, u64, u64)]) -> Outcome {
    let mut problems = Vec::new();
    let mut text = String::from(
        "The server itself, medians of the second fifth of the time and of the last:\n\n\
         | | early | late | |\n| --- | ---: | ---: | --- |\n",
    );
    let fifth = looks.len() / 5;
    for (at, watched) in WATCHED.iter().enumerate() {
        let of = |part: &[Look]| median(part.iter().map(|look| look[at]));
        let (early, late) = (of(&looks[fifth..2 * fifth]), of(&looks[4 * fifth..]));
        // Written so that a figure that could not be read fails too.
        let steady = late <= early + watched.slack + early * watched.share;
        let (name, unit) = (watched.name, watched.unit);
        let mark = if steady { "steady" } else { "**grew**" };
        let _ = writeln!(
            text,
            "| {name} | {early:.1}{unit} | {late:.1}{unit} | {mark} |"
        );
        if !steady {
            problems.push(format!(
                "{name} grew from {early:.1}{unit} to {late:.1}{unit}"
            ));
        }
    }
    text += "\n| what clients did | calls | not as they should be |\n| --- | ---: | ---: |\n";
    for &(name, calls, failed) in failures {
        let _ = writeln!(text, "| {name} | {calls} | {failed} |");
        if failed > 0 {
            problems.push(format!("{name}: {failed} of {calls} calls failed"));
        }
    }
    Outcome { text, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_failures_are_found() {
        let steady = vec![[20.0, 50.0, 5.0, 10.0]; 100];
        let fine = judge(&steady, &[("no-op", 10, 0)]);
        assert!(fine.problems.is_empty());
        assert!(
            fine.text
                .contains("| memory | 20.0 MB | 20.0 MB | steady |")
        );
        let failing = judge(&steady, &[("no-op", 10, 1)]);
        assert_eq!(failing.problems, ["no-op: 1 of 10 calls failed"]);
        let leaking: Vec<Look> = (0..100)
            .map(|i| [20.0, 50.0 + f64::from(i), 5.0, 10.0])
            .collect();
        let leaking = judge(&leaking, &[]);
        assert_eq!(leaking.problems, ["descriptors grew from 79.5 to 139.5"]);
        assert_eq!(judge(&[[f64::NAN; 4]; 10], &[]).problems.len(), 4);
    }
}
