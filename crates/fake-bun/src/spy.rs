//! What a tool of Bun's could do if somebody's code ran in it: each line on stderr is an
//! attempt and what came of it.

use std::fs::{self, File};
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

use super::say_error;

/// Tries all that it has no business with.
pub(crate) fn look_around(arguments: &[String]) {
    let cwd = std::env::current_dir().unwrap_or_default();
    let keys = cwd
        .ancestors()
        .filter_map(|dir| fs::read(dir.join("root-key")).ok());
    say("keys of the server", Ok::<_, io::Error>(keys.count()));
    say(
        "file of the system",
        fs::read("/etc/passwd").map(|_| "done"),
    );
    say(
        "file outside",
        fs::write("/tmp/spy-was-here", "").map(|()| "done"),
    );
    let others = fs::read_dir("/proc").and_then(|entries| {
        let names = entries.flatten().map(|entry| entry.file_name());
        let numbers = names.filter(|name| name.to_string_lossy().parse::<u32>().is_ok());
        found(numbers.count() > 1)
    });
    say("other processes", others);
    say("spawn", Command::new("/bin/true").status().map(|_| "done"));
    say("UDP", UdpSocket::bind("0.0.0.0:0").map(|_| "done"));
    say("TCP", TcpStream::connect("127.0.0.1:1").map(|_| "done"));
    if let [command, entry, ..] = arguments
        && command == "build"
    {
        say("reading the app", fs::read(entry).map(|_| "done"));
        let opened = File::options().append(true).open(entry);
        say("changing the app", opened.map(|_| "done"));
    }
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    say("environment", Ok::<_, io::Error>(names.join(",")));
}

fn found(is_there: bool) -> io::Result<&'static str> {
    is_there
        .then_some("done")
        .ok_or(io::ErrorKind::NotFound.into())
}

fn say<T: ToString, E: ToString>(what: &str, came: Result<T, E>) {
    let came = came.map_or_else(|error| error.to_string(), |value| value.to_string());
    say_error(&format!("spy: {what}: {came}"));
}
