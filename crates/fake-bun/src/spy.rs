//! What a tool of Bun's could do if somebody's code ran in it: each line on stderr is an
//! attempt and what came of it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

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
    let lock = fs::read_to_string(cwd.join("bun.lock")).unwrap_or_default();
    for host in lock.split("http://").skip(1) {
        let host = host.split('/').next().unwrap_or_default();
        say("TCP to a named host", connect(host).map(|_| "done"));
        say(
            "proxy to a named host",
            by_proxy(&format!("http://{host}/")),
        );
    }
    say("proxy to the server", by_proxy("/api/health"));
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

fn connect(host: &str) -> io::Result<TcpStream> {
    let address = host.parse().map_err(io::Error::other)?;
    TcpStream::connect_timeout(&address, Duration::from_secs(2))
}

/// The status that the proxy answers with.
fn by_proxy(target: &str) -> io::Result<String> {
    let proxy = std::env::var("HTTP_PROXY").map_err(io::Error::other)?;
    let (user, host) = proxy
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('@'))
        .ok_or(io::ErrorKind::InvalidInput)?;
    let authorization = BASE64_STANDARD.encode(user);
    let mut stream = connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let asked = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic {authorization}\r\n\r\n"
    );
    stream.write_all(asked.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
