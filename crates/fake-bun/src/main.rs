//! A program that takes Bun's arguments, binds the worker's socket, speaks the
//! control channel, and then misbehaves as it is told. It starts blank or, like the
//! wrapper, with the app that `BUNTIME_APP` holds.
//!
//! Before it has an app, the variable `FAKE_BUN` tells: `exit`, `hang` (never up),
//! `garbage` (no notice but noise), `no-socket`, `deaf` (up, but answers nothing).
//!
//! The app's entry file tells, one instruction a line:
//! - `fail TEXT`: cannot be loaded · `exit CODE`: ends while it loads · `hang`: is
//!   never ready · `slow MS`: is ready late
//! - `count FILE`: adds a byte to the file, to count starts
//! - `stubborn`: says that it has `onTerminate` and ignores the order
//! - `noise`: garbage on the control channel, for ever · `close-control`
//! - `flood`: lines on stdout, for ever · `print TEXT`: one line on stdout
//!
//! A request's path tells what to do with it:
//! - `/pid`, `/env`, `/args`, `/echo` (the body), `/head` (the request's head),
//!   `/rehearsals` (how many there were)
//! - `/exit`, `/hang`, `/close` (no answer), `/garbage`, `/half-head`,
//!   `/short` (less than announced), `/long` (more than announced), `/bad-chunk`,
//!   `/short-chunk`, `/header-flood`, `/drip` (a head that never ends),
//!   `/informational`, `/trailers`, `/until-close`, `/failure` (the wrapper's mark),
//!   `/early` (answers before it has read the body), `/stream` (begins a body and
//!   then is silent), `/twice` (two responses)
//! - `/close-later`: answers, then closes the connection that should be kept
//! - anything else: 200 with the path as body
//!
//! Under the name `spy-bun` it also is what the sandbox tries Bun with, and what it is
//! told to build or install it uses to look around (`spy`).

#![expect(clippy::exit, reason = "to end at the wrong moment is what it is for")]

mod spy;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

static APP: OnceLock<Value> = OnceLock::new();
static OUT: OnceLock<Mutex<UnixStream>> = OnceLock::new();
static REHEARSALS: AtomicU32 = AtomicU32::new(0);

fn main() -> ExitCode {
    if std::env::args()
        .nth(1)
        .is_some_and(|arg| arg == "--version")
    {
        return match writeln!(io::stdout(), "1.4.5") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if std::env::args()
        .next()
        .is_some_and(|name| name.ends_with("spy-bun"))
    {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.iter().any(|word| word.contains("6 * 7")) {
            let said = writeln!(io::stdout(), "42");
            return said.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        if let Some("install" | "build") = arguments.first().map(String::as_str) {
            spy::look_around(&arguments);
            return ExitCode::FAILURE;
        }
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&format!("fake Bun: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mood = std::env::var("FAKE_BUN").unwrap_or_default();
    match mood.as_str() {
        "exit" => {
            say_error("fake Bun cannot start");
            exit(7);
        }
        "hang" => hang(),
        _ => {}
    }
    let control = control();
    let _ = OUT.set(Mutex::new(control.try_clone()?));
    if mood == "garbage" {
        send_raw(b"what is this\n");
        hang();
    }
    if let Ok(app) = std::env::var("BUNTIME_APP") {
        let outcome = assign(serde_json::from_str(&app)?);
        if outcome["t"] == "ready" && mood != "no-socket" {
            listen()?;
        }
        send(&outcome);
        spoil_control();
    } else {
        if mood != "no-socket" {
            listen()?;
        }
        send(&json!({"t": "up"}));
    }
    for line in BufReader::new(control).lines() {
        let order: Value = serde_json::from_str(&line?)?;
        let is_stubborn = instructions().iter().any(|line| line == "stubborn");
        if text(&order, "t") == "terminate" && !is_stubborn {
            send(&json!({"t": "terminated"}));
            exit(0);
        }
    }
    Ok(())
}

/// Binds the worker's socket.
fn listen() -> io::Result<()> {
    let listener = UnixListener::bind("w.sock")?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if std::env::var("FAKE_BUN").is_ok_and(|mood| mood == "deaf") {
                std::mem::forget(stream);
                continue;
            }
            thread::spawn(move || serve(stream));
        }
    });
    Ok(())
}

/// Descriptor 3.
#[expect(unsafe_code, reason = "the descriptor is known by its number alone")]
fn control() -> UnixStream {
    // SAFETY: whoever starts a worker gives it this descriptor, and nothing else
    // in this program uses it.
    unsafe { UnixStream::from_raw_fd(3) }
}

/// Becomes an app; the outcome.
fn assign(order: Value) -> Value {
    let _ = APP.set(order);
    let mut hooks = vec!["onIdle"];
    for line in instructions() {
        let (word, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
        match word {
            "fail" => {
                return json!({"t": "failed", "kind": "import", "message": rest, "stack": ""});
            }
            "exit" => exit(rest.parse().unwrap_or(1)),
            "hang" => hang(),
            "slow" => thread::sleep(Duration::from_millis(rest.parse().unwrap_or(0))),
            "count" => {
                let file = fs::File::options().create(true).append(true).open(rest);
                let _ = file.and_then(|mut file| file.write_all(b"."));
            }
            "stubborn" => hooks.push("onTerminate"),
            "flood" => {
                thread::spawn(|| {
                    let line = format!("{}\n", "x".repeat(100)).repeat(100);
                    while io::stdout().write_all(line.as_bytes()).is_ok() {}
                });
            }
            "print" => {
                let _ = writeln!(io::stdout(), "{rest}");
            }
            _ => {}
        }
    }
    json!({"t": "ready", "hooks": hooks, "websocket": true})
}

/// What it does to the control channel once it serves.
fn spoil_control() {
    for line in instructions() {
        match line.as_str() {
            "noise" => {
                thread::spawn(|| {
                    loop {
                        send_raw(b"\x00\xff noise\n");
                    }
                });
            }
            "close-control" => {
                let out = OUT.get();
                let out = out.map(|out| out.lock().unwrap_or_else(PoisonError::into_inner));
                let _ = out.map(|out| out.shutdown(std::net::Shutdown::Write));
            }
            _ => {}
        }
    }
}

fn instructions() -> Vec<String> {
    let entry = APP.get().map_or("", |app| text(app, "entry"));
    let source = fs::read_to_string(entry).unwrap_or_default();
    source.lines().map(str::to_owned).collect()
}

struct Request {
    head: String,
    path: String,
    headers: BTreeMap<String, String>,
}

fn serve(stream: UnixStream) {
    // The client went away, or we were told to break off.
    let _ = serve_all(stream);
}

fn serve_all(stream: UnixStream) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = read_head(&mut input)? {
        if request.path == "/early" {
            out.write_all(&answer("early"))?;
            thread::sleep(Duration::from_millis(20));
            return Ok(());
        }
        let body = read_body(&mut input, &request)?;
        if request.headers.contains_key("x-buntime-rehearse") {
            REHEARSALS.fetch_add(1, Ordering::Relaxed);
            answered(&mut out, r#"{"t":"ready"}"#)?;
            continue;
        }
        if let Some(order) = request.headers.get("x-buntime-assign") {
            let order = if order.is_empty() {
                body.as_slice()
            } else {
                order.as_bytes()
            };
            let outcome = assign(serde_json::from_slice(order)?);
            answered(&mut out, &outcome.to_string())?;
            spoil_control();
            continue;
        }
        let goes_on = reply(&mut out, &request, &body)?;
        if !goes_on
            || request
                .headers
                .get("connection")
                .is_some_and(|value| value == "close")
        {
            return Ok(());
        }
    }
    Ok(())
}

fn read_head(input: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if input.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.get(before..) == Some("\r\n") {
            break;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    let headers = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(':')))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Some(Request {
        head,
        path,
        headers,
    }))
}

fn read_body(input: &mut impl BufRead, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if let Some(length) = request.headers.get("content-length") {
        let length = length.parse().unwrap_or(0);
        input.take(length).read_to_end(&mut body)?;
    } else if request.headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            input.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            input.take(size).read_to_end(&mut body)?;
            let mut end = String::new();
            input.read_line(&mut end)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(body)
}

/// Answers; whether the connection goes on.
fn reply(out: &mut UnixStream, request: &Request, body: &[u8]) -> io::Result<bool> {
    let raw: &[u8] = match request.path.as_str() {
        "/pid" => return answered(out, &std::process::id().to_string()),
        "/env" => {
            let env = APP.get().and_then(|app| app.get("env"));
            return answered(out, &env.unwrap_or(&Value::Null).to_string());
        }
        "/args" => {
            let args: Vec<String> = std::env::args().skip(1).collect();
            return answered(out, &args.join("\n"));
        }
        "/head" => return answered(out, &request.head),
        "/rehearsals" => return answered(out, &REHEARSALS.load(Ordering::Relaxed).to_string()),
        "/echo" => return answered(out, &String::from_utf8_lossy(body)),
        "/exit" => exit(3),
        "/hang" => hang(),
        "/close" => b"",
        "/close-later" => {
            out.write_all(&answer("bye"))?;
            b""
        }
        "/garbage" => b"\x16\x03\x01 this is no response\r\n\r\n",
        "/half-head" => b"HTTP/1.1 200 OK\r\ncontent-le",
        "/short" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        "/long" => {
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlonger than that")?;
            return Ok(true);
        }
        "/twice" => {
            // In one piece: what comes later is a matter of luck.
            out.write_all(&[answer("one"), answer("two")].concat())?;
            return Ok(true);
        }
        "/bad-chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokNO",
        "/short-chunk" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "/until-close" => b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "/trailers" => {
            out.write_all(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
            )?;
            return Ok(true);
        }
        "/informational" => {
            out.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            out.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")?;
            return answered(out, "final");
        }
        "/failure" => {
            out.write_all(
                b"HTTP/1.1 502 Bad\r\nx-buntime-failure: threw\r\ncontent-length: 0\r\n\r\n",
            )?;
            return Ok(true);
        }
        "/header-flood" => {
            out.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                out.write_all(b"x-more: and more\r\n")?;
            }
        }
        "/drip" => {
            out.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                out.write_all(b"x")?;
                thread::sleep(Duration::from_millis(5));
            }
        }
        "/stream" => {
            out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")?;
            // Until the server has had enough.
            let _ = out.read(&mut [0]);
            b""
        }
        path => return answered(out, path),
    };
    out.write_all(raw)?;
    Ok(false)
}

fn answered(out: &mut UnixStream, body: &str) -> io::Result<bool> {
    out.write_all(&answer(body)).map(|()| true)
}

fn answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nx-buntime-x: 1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn send(notice: &Value) {
    send_raw(format!("{notice}\n").as_bytes());
}

fn send_raw(bytes: &[u8]) {
    if let Some(out) = OUT.get() {
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.write_all(bytes).is_err() {
            exit(0);
        }
    }
}

fn say_error(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}
