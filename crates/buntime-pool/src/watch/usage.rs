//! What the system tells of a process (proc(5)).

use std::fs;

/// Memory and threads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes that nobody else has: its own pages, shared memory that it has mapped, what was
    /// moved to swap, and the tables of all that. Pages of files are the system's to take back.
    pub(crate) memory: u64,
    pub(crate) threads: u32,
}

/// `None` if the process is gone or the system does not tell.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// Bytes that it has written so far, to whatever it was; `None` if the system does not
/// tell.
pub(super) fn written(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let number = |name: &str| number_after(&text, name);
    // The first counts calls, the second pages, among them those of mapped files.
    Some(number("wchar:")?.max(number("write_bytes:")?))
}

fn parse(status: &str) -> Option<Usage> {
    let number = |name: &str| number_after(status, name);
    let threads = u32::try_from(number("Threads:")?).ok()?;
    // A dead process has no memory. Some systems do not tell the kinds of pages apart.
    let own = number("RssAnon:").or_else(|| number("VmRSS:"))?;
    let shared = number("RssShmem:").unwrap_or(0);
    let swapped = number("VmSwap:").unwrap_or(0);
    let tables = number("VmPTE:").unwrap_or(0);
    Some(Usage {
        memory: (own + shared + swapped + tables).checked_mul(1024)?,
        threads,
    })
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_alone_has_counts_and_files_do_not() {
        let status = "Name:\tbun\nVmRSS:\t 999 kB\nRssAnon:\t 100 kB\nRssFile:\t 800 kB\n\
                      RssShmem:\t 20 kB\nVmPTE:\t 4 kB\nVmSwap:\t 3 kB\nThreads:\t7\n";
        let found = Usage {
            memory: 127 * 1024,
            threads: 7,
        };
        assert_eq!(parse(status), Some(found));
        assert_eq!(parse("Name:\tbun\nState:\tZ (zombie)\nThreads:\t1\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_threads_and_none_has_number_0() {
        let own = usage(std::process::id()).unwrap();
        assert!(own.memory > 100_000 && own.threads > 0, "{own:?}");
        assert_eq!(usage(0), None);
        assert!(written(std::process::id()).is_some());
    }
}
