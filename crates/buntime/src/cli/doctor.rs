//! `buntime doctor`.

use std::io;
use std::path::{Path, PathBuf};

use buntime_server::config::{Bun, BunPlaces};
use buntime_server::sandbox::{self, Strength};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rustix::process::{Resource, getrlimit};
use serde_json::json;

use super::{Outcome, output};

/// Open files that a server with 10000 connections and some hundred workers wants.
const FILES_WANTED: u64 = 16_384;

/// Processes and threads that 500 workers want.
const PROCESSES_WANTED: u64 = 4096;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Show what this machine offers: Bun, the sandbox and limits")
        .after_help("Exit codes: 0 nothing stands in the way, 1 something must change first.")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON instead of a table"))
        .arg(
            Arg::new("bun")
                .long("bun")
                .value_name("FILE")
                .help("The Bun binary [RUNTIME_BUN; default: found on PATH, else the project's pinned one]")
                .value_parser(value_parser!(PathBuf)),
        )
}

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, with less than wanted.
    Low,
    /// The server cannot start.
    Bad,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Low => "low",
            Self::Bad => "bad",
        }
    }
}

#[derive(Debug)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    found: String,
    /// What to do about it. Empty when good.
    advice: String,
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let configured = matches.get_one::<PathBuf>("bun").cloned();
    let configured = configured.or_else(|| {
        std::env::var_os("RUNTIME_BUN")
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
    });
    let (bun, program) = bun(configured.as_deref(), &BunPlaces::of_process());
    let strength = program.as_deref().map(sandbox::examine);
    let findings = [
        bun,
        confinement(strength.as_ref()),
        kernel(),
        processors(),
        limit(
            "open files",
            Resource::Nofile,
            FILES_WANTED,
            "raise it with `ulimit -n` or LimitNOFILE=",
        ),
        limit(
            "processes",
            Resource::Nproc,
            PROCESSES_WANTED,
            "raise it with `ulimit -u` or LimitNPROC=",
        ),
    ];
    if matches.get_flag("json") {
        let layers = strength.as_ref().and_then(|found| found.as_ref().ok());
        output::say(as_json(&findings, layers));
    } else {
        for finding in &findings {
            output::say(as_row(finding));
        }
    }
    if findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Bad)
    {
        Outcome::Failure
    } else {
        Outcome::Success
    }
}

/// The finding, and the program if there is one.
fn bun(configured: Option<&Path>, places: &BunPlaces) -> (Finding, Option<PathBuf>) {
    // The server resolves a configured path from where it starts; so does this.
    let configured = configured.and_then(|path| std::path::absolute(path).ok());
    match Bun::find(configured.as_deref(), places) {
        Ok((bun, _)) => {
            let finding = Finding {
                subject: "bun",
                verdict: Verdict::Good,
                found: format!(
                    "{} at {} ({})",
                    bun.version,
                    bun.program.display(),
                    bun.origin
                ),
                advice: String::new(),
            };
            (finding, Some(bun.program))
        }
        Err(error) => {
            let finding = Finding {
                subject: "bun",
                verdict: Verdict::Bad,
                found: "none usable".to_owned(),
                advice: error.to_string(),
            };
            (finding, None)
        }
    }
}

/// What confines workers here: Bun was started under it.
fn confinement(strength: Option<&io::Result<Strength>>) -> Finding {
    let (verdict, found, advice) = match strength {
        None => (
            Verdict::Low,
            "not tried".to_owned(),
            "it is tried with Bun".to_owned(),
        ),
        Some(Err(error)) => (Verdict::Low, "not tried".to_owned(), error.to_string()),
        Some(Ok(Strength { layers, missing })) if missing.is_empty() => {
            (Verdict::Good, layers.to_string(), String::new())
        }
        Some(Ok(strength @ Strength { layers, missing })) => {
            let mut advice = format!("missing: {}", sandbox::list(missing));
            let refused = sandbox::advice(strength);
            let verdict = if refused.is_some() {
                Verdict::Bad
            } else {
                Verdict::Low
            };
            if let Some(refused) = refused {
                advice.push_str("; ");
                advice.push_str(&refused);
            }
            (verdict, layers.to_string(), advice)
        }
    };
    Finding {
        subject: "sandbox",
        verdict,
        found,
        advice,
    }
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    // openat2, on which files are opened without following links, came with 5.6.
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let is_new_enough = (numbers.next(), numbers.next()) >= (Some(5), Some(6));
    Finding {
        subject: "kernel",
        verdict: if is_new_enough {
            Verdict::Good
        } else {
            Verdict::Bad
        },
        found: format!(
            "{} {release} {}",
            name.sysname().to_string_lossy(),
            name.machine().to_string_lossy()
        ),
        advice: if is_new_enough {
            String::new()
        } else {
            "Linux 5.6 or newer is needed".to_owned()
        },
    }
}

fn processors() -> Finding {
    let found = std::thread::available_parallelism()
        .map_or_else(|_| "unknown".to_owned(), |count| count.to_string());
    Finding {
        subject: "processors",
        verdict: Verdict::Good,
        found,
        advice: String::new(),
    }
}

fn limit(subject: &'static str, resource: Resource, wanted: u64, advice: &str) -> Finding {
    // The server raises the soft limit to the hard one by itself, so that the hard one counts.
    let most = getrlimit(resource).maximum;
    let is_enough = most.is_none_or(|most| most >= wanted);
    Finding {
        subject,
        verdict: if is_enough {
            Verdict::Good
        } else {
            Verdict::Low
        },
        found: most.map_or_else(|| "no limit".to_owned(), |most| format!("at most {most}")),
        advice: if is_enough {
            String::new()
        } else {
            format!("{wanted} are wanted for many workers; {advice}")
        },
    }
}

fn as_json(findings: &[Finding], strength: Option<&Strength>) -> String {
    let list: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "subject": finding.subject,
                "verdict": finding.verdict.as_str(),
                "found": finding.found,
                "advice": finding.advice,
            })
        })
        .collect();
    let sandbox = strength.map(sandbox::describe);
    json!({ "version": env!("CARGO_PKG_VERSION"), "sandbox": sandbox, "findings": list })
        .to_string()
}

fn as_row(finding: &Finding) -> String {
    let mut row = format!(
        "{:<4} {:<12} {}",
        finding.verdict.as_str(),
        finding.subject,
        finding.found
    );
    if !finding.advice.is_empty() {
        row.push_str(&format!("\n{:18}{}", "", finding.advice));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bun_is_bad_and_says_what_to_do() {
        let (finding, program) = bun(None, &BunPlaces::default());
        assert_eq!(program, None);
        assert_eq!(finding.verdict, Verdict::Bad);
        assert!(finding.advice.contains("RUNTIME_BUN"));
        let text: serde_json::Value = serde_json::from_str(&as_json(&[finding], None)).unwrap();
        assert_eq!(text["findings"][0]["verdict"], "bad");
    }

    #[test]
    fn this_machine_has_a_kernel_and_limits() {
        assert_eq!(kernel().verdict, Verdict::Good);
        assert!(
            !limit("open files", Resource::Nofile, 1, "")
                .found
                .is_empty()
        );
        assert_eq!(
            limit("open files", Resource::Nofile, 1, "").verdict,
            Verdict::Good
        );
    }
}
