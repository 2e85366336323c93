//! Looking at processes through `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A process, told apart from a later one with the same number by its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The number.
    pub pid: u32,
    start: u64,
}

struct Stat {
    state: u8,
    parent: u32,
    start: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

impl ProcessId {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: stat(pid)?.start,
        })
    }

    /// Whether it still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid)
            .is_some_and(|stat| stat.start == self.start && !matches!(stat.state, b'Z' | b'X'))
    }

    /// Whether a signal stopped it where it stands.
    #[must_use]
    pub fn is_stopped(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && stat.state == b'T')
    }

    /// Its command line, for messages.
    #[must_use]
    pub fn command(self) -> String {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }
}

fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// All processes below `pid`: children, their children and so on.
#[must_use]
pub fn descendants(pid: u32) -> Vec<ProcessId> {
    let family: Vec<(u32, Stat)> = all().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found = vec![pid];
    let mut ids = Vec::new();
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        for (pid, stat) in &family {
            if stat.parent == parent && !found.contains(pid) {
                found.push(*pid);
                ids.push(ProcessId {
                    pid: *pid,
                    start: stat.start,
                });
            }
        }
        at += 1;
    }
    ids
}

/// All processes, but for this one, whose environment holds `text`: the workers
/// of a server, by the path of its temporary folder.
#[must_use]
pub fn with_environment_of(text: &OsStr) -> Vec<ProcessId> {
    let text = text.as_bytes();
    all()
        .filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.windows(text.len()).any(|window| window == text))
        })
        .filter_map(ProcessId::of)
        .collect()
}

/// Waits until none of `processes` runs; gives those that still do after `patience`.
#[must_use]
pub fn wait_gone(processes: &[ProcessId], patience: Duration) -> Vec<ProcessId> {
    let deadline = Instant::now() + patience;
    loop {
        let left: Vec<ProcessId> = processes
            .iter()
            .copied()
            .filter(|id| id.is_alive())
            .collect();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Has this process open as many descriptors as it ever may, and says how many that is.
#[must_use]
pub fn raise_descriptors() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Open descriptors of a process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Threads of a process.
#[must_use]
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Memory that a process has written, in bytes, swapped or not. Pages of the program
/// file do not count: whose they are depends on who else runs it.
///
/// # Panics
/// If the process is gone.
#[must_use]
pub fn private_memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("the process of which the memory is asked is gone");
    let kilobytes: u64 = text
        .lines()
        .filter(|line| line.starts_with("RssAnon:") || line.starts_with("VmSwap:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    kilobytes * 1024
}

/// The open descriptors of a process, and what each of them is.
#[must_use]
pub fn descriptor_names(pid: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = fs::read_link(entry.path()).ok()?;
            Some(format!(
                "{} {}",
                entry.file_name().display(),
                name.display()
            ))
        })
        .collect()
}
