//! A small npm registry on loopback, with packages that a test makes up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::PATIENCE;
use crate::tls::Certificate;

/// Longest request.
const MOST: usize = 64 * 1024;
/// How long a request for a held package waits before it is cut off.
const HELD: Duration = Duration::from_secs(60);

/// A registry. An install from a lockfile asks for tarballs only; if the lockfile is
/// out of step, Bun asks for what versions there are too. Dropping it ends it.
#[derive(Debug)]
pub struct NpmRegistry {
    address: SocketAddr,
    /// Scheme, host and port.
    place: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Tarballs by path.
    tarballs: BTreeMap<String, Vec<u8>>,
    /// The versions of each name, as JSON.
    versions: BTreeMap<String, BTreeMap<String, String>>,
    held: BTreeSet<String>,
    requests: Vec<RegistryRequest>,
    closed: bool,
}

/// What the registry was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryRequest {
    /// The path.
    pub path: String,
    /// The whole head.
    pub head: String,
}

impl NpmRegistry {
    /// Starts an empty one.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn start() -> Self {
        Self::serving(None)
    }

    /// Starts an empty one at `localhost` that shows this certificate.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    pub fn start_tls(certificate: &Certificate) -> Self {
        Self::serving(Some(Arc::new(certificate.server())))
    }

    fn serving(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let place = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.state.lock().unwrap().closed {
                    return;
                }
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                // They end with the registry at the latest.
                std::thread::spawn(move || stream.map(|stream| accept(stream, tls, &shared)));
            }
        });
        Self {
            address,
            place,
            shared,
            thread: Some(thread),
        }
    }

    /// Its address as a setting, with a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/", self.place)
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Publishes a package. `files` are beside its package.json, to which `extra`
    /// adds fields (`"a": 1, …`).
    pub fn publish(&self, name: &str, version: &str, extra: &str, files: &[(&str, &str)]) {
        let comma = if extra.is_empty() { "" } else { ", " };
        let package = format!("{{\"name\": \"{name}\", \"version\": \"{version}\"{comma}{extra}}}");
        let mut entries = vec![("package.json", package.as_str())];
        entries.extend_from_slice(files);
        let tarball = gzip(&tar(&entries));
        let path = path_of(name, version);
        let dist = format!("\"dist\": {{\"tarball\": \"{}{path}\"}}", self.place);
        let described = package.replacen('{', &format!("{{{dist}, "), 1);
        let mut state = self.shared.state.lock().unwrap();
        state.tarballs.insert(path, tarball);
        let versions = state.versions.entry(name.to_owned()).or_default();
        versions.insert(version.to_owned(), described);
    }

    /// Lets requests for this package wait until [`Self::release`].
    pub fn hold(&self, name: &str, version: &str) {
        let mut state = self.shared.state.lock().unwrap();
        state.held.insert(path_of(name, version));
    }

    /// Answers what waits.
    pub fn release(&self) {
        self.shared.state.lock().unwrap().held.clear();
        self.shared.changed.notify_all();
    }

    /// What was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<RegistryRequest> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// Waits until so many requests have come.
    ///
    /// # Panics
    /// If they do not.
    pub fn wait_for_requests(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        while state.requests.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "only {:?}", state.requests);
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

impl Drop for NpmRegistry {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().closed = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl State {
    /// What is known of a package.
    fn described(&self, name: &str) -> Option<Vec<u8>> {
        let versions = self.versions.get(name)?;
        let latest = versions.keys().next_back()?;
        let list: Vec<String> = versions
            .iter()
            .map(|(version, text)| format!("\"{version}\": {text}"))
            .collect();
        let list = list.join(", ");
        let text = format!(
            "{{\"name\": \"{name}\", \"dist-tags\": {{\"latest\": \"{latest}\"}}, \
             \"versions\": {{{list}}}}}"
        );
        Some(text.into_bytes())
    }
}

/// A package.json and a bun.lock that fit: each package is `(name, version, address)`,
/// the address empty for the configured registry.
#[must_use]
pub fn locked(packages: &[(&str, &str, &str)]) -> (String, String) {
    let list = |each: &dyn Fn(&(&str, &str, &str)) -> String| {
        packages.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let wanted = list(&|(name, version, _)| format!("\"{name}\": \"{version}\""));
    let found = list(&|(name, version, address)| {
        format!("\"{name}\": [\"{name}@{version}\", \"{address}\", {{}}, \"\"]")
    });
    (
        format!("{{\"name\": \"app\", \"dependencies\": {{{wanted}}}}}"),
        format!(
            "{{\"lockfileVersion\": 1, \"workspaces\": {{\"\": {{\"name\": \"app\", \
             \"dependencies\": {{{wanted}}},}}}}, \"packages\": {{{found}}}}}"
        ),
    )
}

fn path_of(name: &str, version: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    format!("/{name}/-/{base}-{version}.tgz")
}

fn accept(mut stream: TcpStream, tls: Option<Arc<ServerConfig>>, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    if let Some(tls) = tls {
        let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
        serve(&mut stream, shared);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    } else {
        serve(&mut stream, shared);
        let _ = stream.shutdown(Shutdown::Write);
    }
}

fn serve(stream: &mut (impl Read + Write), shared: &Shared) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MOST {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.replace("%2f", "/");
    let mut state = shared.state.lock().unwrap();
    state.requests.push(RegistryRequest {
        path: path.clone(),
        head,
    });
    shared.changed.notify_all();
    let deadline = Instant::now() + HELD;
    while state.held.contains(&path) && !state.closed {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = shared.changed.wait_timeout(state, left).unwrap().0;
    }
    let found = state.tarballs.get(&path).cloned();
    let found = found.or_else(|| state.described(path.strip_prefix('/')?));
    drop(state);
    let (status, body) = match found {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.write_all(&body);
}

/// A tape archive of files below `package/`.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut tar = Vec::new();
    for (name, text) in files {
        let mut head = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            head[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, &format!("package/{name}"));
        put(100, "0000644\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", text.len()));
        put(136, "00000000000\0");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = head.iter().copied().map(u32::from).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        tar.extend_from_slice(&head);
        tar.extend_from_slice(text.as_bytes());
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// A gzip file that compresses nothing.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = bytes.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        gzip.push(u8::from(blocks.peek().is_none()));
        let length = u16::try_from(block.len()).unwrap();
        gzip.extend_from_slice(&length.to_le_bytes());
        gzip.extend_from_slice(&(!length).to_le_bytes());
        gzip.extend_from_slice(block);
    }
    let mut crc = !0_u32;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    gzip.extend_from_slice(&(!crc).to_le_bytes());
    gzip.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
    gzip
}
