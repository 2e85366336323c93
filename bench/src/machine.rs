//! What the figures were measured on, without names.

use std::fs;
use std::process::Command;

/// Cores, memory, kernel: what one needs to read the figures.
pub(crate) fn shape() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            text.lines()
                .next()?
                .split_whitespace()
                .nth(1)?
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0);
    // Only the numbers: what follows them names the builder.
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: String = kernel
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    format!(
        "{cores} cores, {} GB memory, Linux {kernel}, {}",
        memory.div_ceil(1 << 20),
        std::env::consts::ARCH
    )
}

/// Today, as `YYYY-MM-DD` in UTC.
pub(crate) fn date() -> String {
    output("date", &["-u", "+%F"])
}

/// The version of Bun that everything runs on.
pub(crate) fn bun() -> String {
    crate::servers::bun().map_or_else(
        |_| "unknown".to_owned(),
        |bun| output(&bun.display().to_string(), &["--version"]),
    )
}

/// The first line that a command prints, stdout or stderr.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "unknown".to_owned();
    };
    let bytes = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    String::from_utf8_lossy(&bytes)
        .lines()
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
