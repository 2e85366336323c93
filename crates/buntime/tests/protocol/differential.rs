//! The same bytes to our server, to Node and to nginx: what ours accepts, nobody may
//! split differently. Two servers in a row that disagree about where a request ends
//! are what smuggling needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buntime_testkit::{Connection, TestServer, skipped};

use crate::support::{echo, seen, sound};

const NGINX: &str = "/usr/sbin/nginx";
/// Variants made of the written cases.
const VARIANTS: usize = 160;
/// Case numbers have four digits, so that lengths do not depend on them.
const FIRST: usize = 1000;

struct Case {
    name: String,
    bytes: Vec<u8>,
}

/// Reads the corpus: a name, a tab, escaped bytes.
fn written() -> Vec<Case> {
    include_str!("../corpus/requests.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, text) = line.split_once('\t').unwrap();
            Case {
                name: name.to_owned(),
                bytes: unescape(text),
            }
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&kind, tail) = rest.split_first().unwrap();
        rest = tail;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).unwrap()
            }
            other => panic!("unknown escape \\{}", char::from(other)),
        });
    }
    bytes
}

/// Cases with one byte more, fewer or other, always the same ones.
fn variants(written: &[Case]) -> Vec<Case> {
    const BYTES: &[u8] = b"\t\x0b\0 ,;:\n\r0\x80";
    // Knuth's generator is random enough to place a byte.
    let mut state = 0x5EED_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut variants = Vec::new();
    while variants.len() < VARIANTS {
        let case = &written[random(written.len())];
        let mut bytes = case.bytes.clone();
        let at = random(bytes.len());
        let byte = BYTES[random(BYTES.len())];
        let change = match random(4) {
            0 | 1 => {
                bytes.insert(at, byte);
                "more"
            }
            2 => {
                bytes.remove(at);
                "fewer"
            }
            _ => {
                bytes[at] = byte;
                "other"
            }
        };
        // Without its number a request could not be told from those of other cases.
        if marks(&bytes) == marks(&case.bytes) {
            let name = format!("{} ({change} at {at}: {byte:#04x})", case.name);
            variants.push(Case { name, bytes });
        }
    }
    variants
}

/// How often the number of the case stands in its bytes.
fn marks(bytes: &[u8]) -> usize {
    bytes.windows(4).filter(|window| window == b"/@@/").count()
}

/// What is sent for a case: its bytes, then a request that ends the connection and
/// shows that it was still in step.
fn to_send(number: usize, case: &Case) -> Vec<u8> {
    let mut bytes = case.bytes.clone();
    bytes.extend_from_slice(b"GET /echo/@@/end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let digits = number.to_string();
    while let Some(at) = bytes.windows(2).position(|pair| pair == b"@@") {
        bytes.splice(at..at + 2, digits.bytes());
    }
    bytes
}

/// Calls `work` for each case, several at a time.
fn for_each(cases: &[Case], work: impl Fn(usize, &[u8]) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    work(FIRST + index, &to_send(FIRST + index, case));
                }
            });
        }
    });
}

/// Sends, and reads until the server closes, as it must within its timeouts.
fn play(mut socket: impl Read + Write, bytes: &[u8]) {
    let _ = socket.write_all(bytes);
    let _ = socket.read_to_end(&mut Vec::new());
}

/// The requests that belong to each case, in order.
type Seen = BTreeMap<usize, Vec<String>>;

fn by_case(lines: impl IntoIterator<Item = String>) -> Seen {
    let mut seen = Seen::new();
    for line in lines {
        let digits = |segment: &str| (segment.len() == 4).then(|| segment.parse().ok())?;
        let number = line.split('/').find_map(digits);
        seen.entry(number.unwrap_or(0)).or_default().push(line);
    }
    seen
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Node's servers: the process, its output, the address for clients and the one for nginx.
fn node() -> (
    Running,
    std::io::BufReader<std::process::ChildStdout>,
    SocketAddr,
    SocketAddr,
) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/reference.mjs");
    let mut child = Command::new("node")
        .arg(script)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test needs node on PATH: {error}"));
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let ports = line(&mut output);
    let address =
        |name: &str| SocketAddr::from(([127, 0, 0, 1], ports[name].as_u64().unwrap() as u16));
    let (direct, behind) = (address("node"), address("nginx"));
    (running, output, direct, behind)
}

fn line(output: &mut impl std::io::BufRead) -> serde_json::Value {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Asks one of Node's servers what it has seen.
fn ask_seen(address: SocketAddr, output: &mut impl std::io::BufRead) -> Seen {
    assert_eq!(Connection::open(address).get("/all-seen").status, 200);
    let answer = line(output);
    let lines = answer["seen"].as_array().unwrap().iter();
    by_case(lines.map(|line| line.as_str().unwrap().to_owned()))
}

/// nginx before a server, on a unix socket. `None` where there is no nginx.
fn nginx(server: &TestServer, behind: SocketAddr) -> Option<(Running, PathBuf)> {
    if !Path::new(NGINX).exists() {
        return None;
    }
    let dir = server.dir().join("nginx");
    std::fs::create_dir(&dir).unwrap();
    let socket = dir.join("socket");
    let config = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/errors;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
           fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
           client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;\n\
           server {{ listen unix:{socket}; location / {{ proxy_pass http://{behind};\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
        dir = dir.display(),
        socket = socket.display(),
    );
    std::fs::write(dir.join("conf"), config).unwrap();
    let child = Command::new(NGINX)
        .args([
            "-p".as_ref(),
            dir.as_os_str(),
            "-c".as_ref(),
            dir.join("conf").as_os_str(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    server.wait_until("nginx listens", || UnixStream::connect(&socket).is_ok());
    Some((running, socket))
}

/// What ours made of a case: for each request what reached the app, or `None` where
/// the server answered by itself.
type Ours = Vec<Option<String>>;

/// Why the two do not agree; `None` if they do.
fn disagreement(number: usize, ours: &Ours, theirs: &[String]) -> Option<&'static str> {
    let end = format!("GET /{number}/end 0");
    let ours_in_step = ours.last().is_some_and(|last| last.as_ref() == Some(&end));
    let theirs_in_step = theirs.last() == Some(&end);
    if ours_in_step && theirs_in_step && ours.len() != theirs.len() {
        return Some("other number of requests");
    }
    // Where one of them has refused something, up to there they saw the same.
    let differ = |(ours, theirs): (&Option<String>, &String)| {
        ours.as_ref().is_some_and(|ours| ours != theirs)
    };
    ours.iter()
        .zip(theirs)
        .any(differ)
        .then_some("other requests")
}

#[test]
fn nobody_splits_differently_what_we_accept() {
    let mut cases = written();
    cases.extend(variants(&cases));
    let server = echo()
        .env("RUNTIME_HEAD_TIMEOUT", "1s")
        .env("RUNTIME_BODY_TIMEOUT", "1s")
        .env("RUNTIME_IDLE_TIMEOUT", "1s")
        .env("RUNTIME_LOG_LEVEL", "info")
        .start();
    let responses = Mutex::new(BTreeMap::new());
    for_each(&cases, |number, bytes| {
        let mut client = server.connect();
        client.send(bytes);
        let mut statuses = Vec::new();
        while let Some(response) = client.next_response("GET") {
            sound(&response);
            statuses.push(response.status);
        }
        responses.lock().unwrap().insert(number, statuses);
    });
    let mut passed = by_case(seen(&server));
    let ours: BTreeMap<usize, Ours> = responses
        .into_inner()
        .unwrap()
        .into_iter()
        .map(|(number, statuses)| {
            let mut seen = passed.remove(&number).unwrap_or_default().into_iter();
            let ours = statuses
                .iter()
                .map(|status| if *status == 200 { seen.next() } else { None })
                .collect();
            assert_eq!(
                seen.next(),
                None,
                "case {number}: more was seen than answered"
            );
            (number, ours)
        })
        .collect();
    let in_step = ours
        .values()
        .filter(|ours| {
            ours.last()
                .is_some_and(|last| last.as_ref().is_some_and(|line| line.contains("/end ")))
        })
        .count();
    assert!(
        in_step > 30,
        "only {in_step} of {} cases were accepted: this proves nothing",
        cases.len()
    );

    let (_node, mut output, direct, behind) = node();
    let patience = Some(Duration::from_secs(10));
    for_each(&cases, |_, bytes| {
        let socket = TcpStream::connect(direct).unwrap();
        socket.set_read_timeout(patience).unwrap();
        play(socket, bytes);
    });
    let mut references = vec![("node", ask_seen(direct, &mut output))];
    match nginx(&server, behind) {
        Some((_nginx, socket)) => {
            for_each(&cases, |_, bytes| {
                let socket = UnixStream::connect(&socket).unwrap();
                socket.set_read_timeout(patience).unwrap();
                play(socket, bytes);
            });
            references.push(("nginx", ask_seen(behind, &mut output)));
        }
        None => skipped(&format!(
            "{NGINX} is not there, so nothing was compared with it"
        )),
    }

    let mut table = String::new();
    for (name, seen) in &references {
        let known = seen.keys().filter(|&&number| number >= FIRST).count();
        assert!(
            known > 30,
            "{name} saw only {known} cases: this proves nothing"
        );
        for (number, ours) in &ours {
            let theirs = seen.get(number).map(Vec::as_slice).unwrap_or_default();
            if let Some(why) = disagreement(*number, ours, theirs) {
                let case = &cases[number - FIRST];
                table.push_str(&format!(
                    "{name}: {why}: {}\n  bytes  {}\n  ours   {ours:?}\n  {name:6} {theirs:?}\n",
                    case.name,
                    case.bytes.escape_ascii(),
                ));
            }
        }
    }
    assert!(table.is_empty(), "requests are split differently:\n{table}");
}
