//! What a process reaches.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use buntime_sandbox::{Attachment, Exit, Landlock, Launch, Net, Policy, Process, ProcessLimits};
use buntime_testkit::skipped;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{World, bun, output};

#[tokio::test]
async fn tcp_goes_to_the_ports_that_are_named_and_to_no_other() {
    let world = World::new().await;
    if world.layers.landlock < Some(Landlock(4)) {
        return;
    }
    let listening = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [allowed, other] = listening
        .each_ref()
        .map(|listener| listener.local_addr().unwrap().port());
    for layers in world.levels() {
        let script = format!(
            r#"
            const reach = (port) => new Promise((done, fail) => {{
                const socket = require("net").connect(port, "127.0.0.1", () => {{ socket.destroy(); done("reached"); }});
                socket.on("error", fail);
            }});
            await attempt("allowed", () => reach({allowed}));
            await attempt("other", () => reach({other}));
            await attempt("metadata", () => fetch("http://169.254.169.254/", {{ signal: AbortSignal.timeout(5000) }}));
            await attempt("listen", () => Bun.listen({{ hostname: "127.0.0.1", port: 0, socket: {{ data() {{}} }} }}).port);
            process.exit(0);
            "#
        );
        let (process, _control) = world
            .start(layers, Net::Ports(vec![allowed]), &script)
            .await;
        let (exit, text) = output(process).await;
        assert_eq!(exit, Exit::Code(0), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "allowed: reached", "{layers}: {text}");
        assert_eq!(lines.len(), 4, "{text}");
        for line in &lines[1..] {
            assert!(line.contains(": refused "), "{layers}: {text}");
        }
    }
}

/// The longest that a step of a test may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where the gateway is in a process's eyes.
const GATEWAY: u16 = 80;

/// What a process gets from `reach(host, port)`.
const REACH: &str = r#"
    const reach = (port, host = "127.0.0.1") => new Promise((done, fail) => {
        const socket = require("net").connect({ port, host }, () => { socket.destroy(); done("reached"); });
        socket.setTimeout(5000, () => fail(new Error("silence")));
        socket.on("error", fail);
    });
"#;

/// The next connection to a gateway, and what was sent over it.
async fn accept(gateway: &tokio::net::TcpListener) -> Option<String> {
    let accepted = tokio::time::timeout(LIMIT, gateway.accept()).await.unwrap();
    let (mut connection, _) = accepted.ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    Some(text)
}

fn listener(gateway: OwnedFd) -> tokio::net::TcpListener {
    tokio::net::TcpListener::from_std(gateway.into()).unwrap()
}

#[tokio::test]
async fn a_process_reaches_its_gateway_and_nothing_else() {
    let world = World::new().await;
    if !world.layers.network {
        return skipped("this machine has no network namespaces for us");
    }
    let [host, any] = ["127.0.0.1:0", "0.0.0.0:0"].map(|a| std::net::TcpListener::bind(a).unwrap());
    let [host, any] = [&host, &any].map(|listener| listener.local_addr().unwrap().port());
    let six = std::net::TcpListener::bind("[::1]:0").unwrap();
    let six = six.local_addr().unwrap().port();
    let abstract_name = format!("buntime-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let _by_path = std::os::unix::net::UnixListener::bind(world.path("other/sock")).unwrap();
    let script = format!(
        r#"{REACH}
        const unix = (path) => new Promise((done, fail) => {{
            const socket = require("net").connect(path, () => done("reached"));
            socket.on("error", fail);
        }});
        await attempt("gateway", () => new Promise((done, fail) => {{
            const socket = require("net").connect({GATEWAY}, "127.0.0.1", () => socket.end("hello", () => done("reached")));
            socket.on("error", fail);
        }}));
        await attempt("host", () => reach({host}));
        await attempt("any", () => reach({any}));
        await attempt("six", () => reach({six}, "::1"));
        await attempt("mapped", () => reach({host}, "::ffff:127.0.0.1"));
        await attempt("metadata", () => reach(80, "169.254.169.254"));
        await attempt("outside", () => reach(80, "192.0.2.1"));
        await attempt("outside six", () => reach(80, "2001:db8::1"));
        await attempt("udp", () => Bun.udpSocket({{}}).then(s => s.port));
        await attempt("listen", () => Bun.listen({{ hostname: "127.0.0.1", port: 0, socket: {{ data() {{}} }} }}).port);
        await attempt("abstract", () => unix("\0{abstract_name}"));
        await attempt("by path", () => unix(DIR + "/other/sock"));
        process.exit(0);
        "#
    );
    let net = Net::Gateway { port: GATEWAY };
    let (mut process, _control) = world.start(world.layers, net, &script).await;
    let gateway = listener(process.gateway.take().unwrap());
    assert_eq!(accept(&gateway).await.as_deref(), Some("hello"));
    let (exit, text) = output(process).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "gateway: reached", "{text}");
    assert_eq!(lines.len(), 12, "{text}");
    for line in &lines[1..] {
        assert!(line.contains(": refused "), "{text}");
    }
    // The process is gone, and with it whoever may speak to this socket.
    assert!(accept(&gateway).await.is_none());
}

/// Which network namespace a running process is in.
fn network_of(process: &Process) -> PathBuf {
    fs::read_link(format!("/proc/{}/ns/net", process.pid())).unwrap()
}

#[tokio::test]
async fn a_network_is_used_again_only_when_its_process_is_gone_and_nothing_is_left_in_it() {
    let world = World::new().await;
    if !world.layers.network {
        return skipped("this machine has no network namespaces for us");
    }
    let script = format!(
        r#"
        const sockets = [];
        for (let n = 0; n < 3; n++) sockets.push(await Bun.connect({{ hostname: "127.0.0.1", port: {GATEWAY}, socket: {{ open(s) {{ s.write("left"); }}, data() {{}} }} }}));
        console.log("up");
        ask();
        "#
    );
    let start = async || {
        let net = Net::Gateway { port: GATEWAY };
        let (mut process, control) = world.start(world.layers, net, &script).await;
        let mut lines = BufReader::new(File::from(process.stdout.take().unwrap())).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        let gateway = listener(process.gateway.take().unwrap());
        (process, control, gateway)
    };
    let (mut first, _control, gateway) = start().await;
    let network = network_of(&first);
    assert_ne!(network, fs::read_link("/proc/self/ns/net").unwrap());
    let (second, _control_2, gateway_2) = start().await;
    assert_ne!(network_of(&second), network);
    // One connection is taken, two stay in the queue.
    let (taken, _) = gateway.accept().await.unwrap();
    first.kill();
    first.wait().await;
    let (third, _control_3, gateway_3) = start().await;
    assert_eq!(network_of(&third), network);
    // The old socket gives nothing of the old process nor of the new one.
    assert!(accept(&gateway).await.is_none());
    drop(taken);
    // Those of the new are its own three.
    for gateway in [&gateway_2, &gateway_3] {
        for _ in 0..3 {
            tokio::time::timeout(LIMIT, gateway.accept())
                .await
                .unwrap()
                .unwrap();
        }
        let more = gateway.accept();
        tokio::select! {
            biased;
            _ = more => panic!("a connection that nobody made"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop((second, third));
}

#[tokio::test]
async fn nobody_learns_what_a_network_has_counted_for_another() {
    let world = World::new().await;
    let counters = r#"
        const paths = ["self", "thread-self", "1", "1/task/1"].map((who) => `/proc/${who}/net/snmp`);
        for (const path of paths) await attempt("counters", () => fs.readFileSync(path, "utf8").length > 0);
        await attempt("own", () => fs.readFileSync("/proc/self/status", "utf8").length > 0);
        await attempt("write", () => fs.writeFileSync("/proc/self/net/x", ""));
        console.log("up");
        ask();
    "#;
    let start = async |layers, net, spawn| {
        let policy = Policy {
            net,
            spawn,
            ..world.policy(layers)
        };
        let (mut process, control) = world.start_under(policy, counters).await;
        let mut said = Vec::new();
        for line in BufReader::new(File::from(process.stdout.take().unwrap())).lines() {
            match line.unwrap() {
                line if line == "up" => break,
                line => said.push(line),
            }
        }
        (process, control, said)
    };
    for layers in world.levels() {
        let net = match layers.network {
            true => Net::Gateway { port: GATEWAY },
            false => Net::Host,
        };
        let (mut process, _control, said) = start(layers, net.clone(), false).await;
        assert!(said[4] == "own: true", "{layers}: {said:?}");
        for refused in said[..4].iter().chain(&said[5..]) {
            assert!(refused.contains(": refused E"), "{layers}: {said:?}");
        }
        if !layers.network {
            continue;
        }
        // Whose programs can see it gets a new one.
        let network = network_of(&process);
        process.kill();
        process.wait().await;
        let (process, _control, said) = start(layers, net.clone(), true).await;
        assert_ne!(network_of(&process), network);
        assert_eq!(said[0], "counters: true");
        let (process, _control, _) = start(layers, net, false).await;
        assert_eq!(network_of(&process), network);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_live_processes_share_a_network() {
    let world = World::new().await;
    if !world.layers.network {
        return skipped("this machine has no network namespaces for us");
    }
    let mut seen = std::collections::HashSet::new();
    let mut live: Vec<(PathBuf, Process)> = Vec::new();
    for round in 0..60 {
        let net = Net::Gateway { port: GATEWAY };
        let (process, _control) = world.start(world.layers, net, "ask()").await;
        let network = network_of(&process);
        assert!(live.iter().all(|(other, _)| *other != network));
        seen.insert(network.clone());
        live.push((network, process));
        if round % 3 > 0 {
            // One is waited for, another only dropped.
            let (_, mut gone) = live.swap_remove(0);
            if round % 2 == 0 {
                gone.kill();
                gone.wait().await;
            }
        }
    }
    assert!(seen.len() < 60, "none was used again");
}

#[tokio::test]
async fn raw_tcp_goes_where_the_server_listens_for_it_and_by_names_that_it_gives() {
    let world = World::new().await;
    if !world.layers.network {
        return skipped("this machine has no network namespaces for us");
    }
    let script = format!(
        r#"{REACH}
        await attempt("before", () => reach(5432, "127.64.0.1"));
        ask();
        const say = (host, port, text) => new Promise((done, fail) => {{
            const socket = require("net").connect({{ port, host }}, () => socket.end(text, () => done("reached")));
            socket.on("error", fail);
        }});
        await attempt("by number", () => say("127.64.0.1", 5432, "one"));
        await attempt("by name", () => say("db.example.com", 5432, "two"));
        await attempt("address", () => say("10.1.2.3", 6379, "three"));
        await attempt("six", () => say("2001:db8::7", 6379, "four"));
        await attempt("other port", () => reach(5433, "db.example.com"));
        await attempt("other address", () => reach(5432, "127.64.0.2"));
        await attempt("other name", () => reach(5432, "localhost.example.com"));
        process.exit(0);
        "#
    );
    let net = Net::Gateway { port: GATEWAY };
    let (mut process, mut control) = world.start(world.layers, net, &script).await;
    let mut lines = BufReader::new(File::from(process.stdout.take().unwrap())).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "before: refused ECONNREFUSED"
    );
    fs::write(
        world.path("hosts"),
        "127.0.0.1 localhost\n127.64.0.1 db.example.com\n",
    )
    .unwrap();
    let names = Attachment {
        path: world.path("hosts"),
        place: Some("/etc/hosts".into()),
        is_folder: false,
        writable: false,
    };
    world.launcher.attach(&process, &[names]).await.unwrap();
    let addresses = ["127.64.0.1:5432", "10.1.2.3:6379", "[2001:db8::7]:6379"];
    let addresses = addresses.map(|address| address.parse().unwrap());
    let sockets = world.launcher.forward(&process, &addresses).await.unwrap();
    let sockets: Vec<_> = sockets.into_iter().map(listener).collect();
    let found: Vec<_> = sockets
        .iter()
        .map(|socket| socket.local_addr().unwrap())
        .collect();
    assert_eq!(found, addresses);
    // The same once more: taken.
    assert!(world.launcher.forward(&process, &addresses).await.is_err());
    control.write_all(b"go\n").unwrap();
    for (socket, text) in [(0, "one"), (0, "two"), (1, "three"), (2, "four")] {
        assert_eq!(accept(&sockets[socket]).await.as_deref(), Some(text));
    }
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    process.wait().await;
    assert_eq!(rest.len(), 7, "{rest:?}");
    assert!(
        rest[..4].iter().all(|line| line.ends_with(": reached")),
        "{rest:?}"
    );
    assert!(
        rest[4..].iter().all(|line| line.contains(": refused ")),
        "{rest:?}"
    );
    for socket in &sockets {
        assert!(accept(socket).await.is_none());
    }
    // It is another's now, if anybody's.
    assert!(world.launcher.forward(&process, &addresses).await.is_err());
    let (next, _control) = world
        .start(world.layers, Net::Gateway { port: GATEWAY }, "ask()")
        .await;
    let again = world.launcher.forward(&next, &addresses).await.unwrap();
    assert_eq!(again.len(), 3);
}

/// A program in C's stead: system calls as they are, over Bun's own.
const CALLS: &str = r#"
    const { symbols: { syscall, __errno_location } } = require("bun:ffi").dlopen("libc.so.6", {
        syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: "i64" },
        __errno_location: { args: [], returns: "ptr" },
    });
    const { ptr, read } = require("bun:ffi");
    const call = (number, ...rest) => {
        const result = Number(syscall(number, ...rest, ...Array(6 - rest.length).fill(0)));
        return result < 0 ? "errno " + read.i32(__errno_location(), 0) : result;
    };
    const inet = (a, b, c, d, port) => new Uint8Array([2, 0, port >> 8, port & 255, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
    const SOCKET = process.arch === "x64" ? 41 : 198, CONNECT = process.arch === "x64" ? 42 : 203;
    const FCNTL = process.arch === "x64" ? 72 : 25, WRITE = process.arch === "x64" ? 1 : 64;
    const LISTEN = process.arch === "x64" ? 50 : 201;
    const SOCKETPAIR = process.arch === "x64" ? 53 : 199;
"#;

#[tokio::test]
async fn a_process_without_a_network_of_its_own_connects_to_one_address_alone() {
    let world = World::new().await;
    let [allowed, other] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = allowed.local_addr().unwrap().port();
    let other = other.local_addr().unwrap().port();
    // The same port at other addresses of this machine.
    let _two = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    let _six = std::net::TcpListener::bind(("::1", port)).unwrap();
    let _by_path = std::os::unix::net::UnixListener::bind(world.path("slot/sock")).unwrap();
    allowed.set_nonblocking(true).unwrap();
    let allowed = tokio::net::TcpListener::from_std(allowed).unwrap();
    for layers in world.brokered() {
        let script = format!(
            r#"{REACH}{CALLS}
            const say = (text) => new Promise((done, fail) => {{
                const socket = require("net").connect({port}, "127.0.0.1", () => socket.end(text, () => done("reached")));
                socket.on("error", fail);
            }});
            await attempt("allowed", () => say("one"));
            await attempt("fetch", () => fetch("http://127.0.0.1:{port}/").then(r => r.text()));
            await attempt("waiting", () => {{
                const socket = call(SOCKET, 2, 1, 0);
                const done = call(CONNECT, socket, ptr(inet(127, 0, 0, 1, {port})), 16);
                const text = new TextEncoder().encode("raw");
                return [done, call(FCNTL, socket, 3) & 2048, call(WRITE, socket, ptr(text), 3)];
            }});
            await attempt("mapped", () => reach({port}, "::ffff:127.0.0.1"));
            await attempt("no socket", () => call(CONNECT, 999, ptr(inet(127, 0, 0, 1, {port})), 16));
            await attempt("no memory", () => call(CONNECT, 3, 4096, 16));
            await attempt("too long", () => call(CONNECT, 3, ptr(new Uint8Array(200)), 129));
            await attempt("datagrams", () => [call(SOCKET, 1, 2, 0), call(SOCKETPAIR, 1, 2, 0, ptr(new Uint8Array(8)))]);
            await attempt("other port", () => reach({other}));
            await attempt("other address", () => reach({port}, "127.0.0.2"));
            await attempt("six", () => reach({port}, "::1"));
            await attempt("any", () => reach({port}, "0.0.0.0"));
            await attempt("metadata", () => reach({port}, "169.254.169.254"));
            await attempt("path", () => new Promise((done, fail) => {{
                const socket = require("net").connect(DIR + "/slot/sock", () => done("reached"));
                socket.on("error", fail);
            }}));
            await attempt("listen", () => {{
                Bun.serve({{ unix: DIR + "/slot/" + process.pid + ".sock", fetch: () => new Response() }});
                const answers = [1, 2].map((family) => call(LISTEN, call(SOCKET, family, 1, 0), 1));
                return answers.join();
            }});
            process.exit(0);
            "#
        );
        let (process, _control) = world.start(layers, Net::Loopback { port }, &script).await;
        assert_eq!(accept(&allowed).await.as_deref(), Some("one"), "{layers}");
        {
            let (mut fetch, _) = tokio::time::timeout(LIMIT, allowed.accept())
                .await
                .unwrap()
                .unwrap();
            let mut head = [0; 4];
            fetch.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"GET ");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
            fetch.write_all(answer).await.unwrap();
        }
        let (exit, text) = output(process).await;
        assert_eq!(exit, Exit::Code(0), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..8],
            [
                "allowed: reached",
                "fetch: hi",
                "waiting: 0,0,3",
                "mapped: reached",
                "no socket: errno 9",
                "no memory: errno 14",
                "too long: errno 22",
                "datagrams: errno 1,errno 1",
            ],
            "{layers}: {text}"
        );
        assert_eq!(lines.len(), 15, "{text}");
        for line in &lines[8..14] {
            assert!(line.contains(": refused EACCES"), "{layers}: {text}");
        }
        // A worker's own, at first, and no other.
        assert_eq!(lines[14], "listen: errno 1,errno 1", "{layers}: {text}");
        assert_eq!(accept(&allowed).await.as_deref(), Some("raw"));
        assert_eq!(accept(&allowed).await.as_deref(), Some(""));
    }
}

#[tokio::test]
async fn connections_are_made_without_the_runtime() {
    let world = World::new().await;
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port();
    let script = format!(
        r#"{CALLS}
        console.log(call(CONNECT, call(SOCKET, 2, 1, 0), ptr(inet(127, 0, 0, 1, {port})), 16));
        process.exit(0);
        "#
    );
    let layers = world.brokered()[0];
    let net = Net::Loopback { port };
    let (mut process, _control) = world.start(layers, net, &script).await;
    // The runtime has this thread alone, which does nothing but wait.
    let stdout = process.stdout.take().unwrap();
    let mut look = [rustix::event::PollFd::new(
        &stdout,
        rustix::event::PollFlags::IN,
    )];
    let limit = rustix::event::Timespec::try_from(LIMIT).unwrap();
    assert_eq!(rustix::event::poll(&mut look, Some(&limit)).unwrap(), 1);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut fs::File::from(stdout), &mut text).unwrap();
    assert_eq!(text, "0\n");
}

/// How many listeners for held-back calls this process has.
fn listeners() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    let links = links.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| link.to_string_lossy().contains("seccomp"))
        .count()
}

#[tokio::test]
async fn who_answers_for_a_process_goes_with_it() {
    let world = World::new().await;
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = target.local_addr().unwrap().port();
    // It connects without end, some of it to what is not allowed.
    let script = format!(
        r#"{CALLS}
        const [yes, no] = [inet(127, 0, 0, 1, {port}), inet(127, 0, 0, 2, {port})];
        console.log("up");
        for (;;) {{
            const socket = call(SOCKET, 2, 1 | 2048, 0);
            call(CONNECT, socket, ptr(no), 16);
            call(CONNECT, socket, ptr(yes), 16);
            call(process.arch === "x64" ? 3 : 57, socket);
        }}
        "#
    );
    for layers in world.brokered() {
        for waits in [true, false] {
            let (mut process, _control) =
                world.start(layers, Net::Loopback { port }, &script).await;
            let mut up =
                tokio::net::unix::pipe::Receiver::from_owned_fd(process.stdout.take().unwrap())
                    .unwrap();
            up.read_u8().await.unwrap();
            assert!(listeners() > 0);
            process.kill();
            if waits {
                process.wait().await;
            }
            drop(process);
        }
    }
    let none_is_left = async {
        while listeners() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, none_is_left).await.unwrap();
}

/// Whether this machine has a connection to a port that was begun and not answered.
fn is_connecting(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(2);
        // The other end, and the state: SYN_SENT.
        fields.next().is_some_and(|end| end.ends_with(&remote)) && fields.next() == Some("02")
    })
}

#[tokio::test]
async fn a_socket_that_waits_is_given_back_when_it_is_connected() {
    let world = World::new().await;
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let port = full.local_addr().unwrap().port();
    let filler = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let script = format!(
        r#"{CALLS}
        const socket = call(SOCKET, 2, 1, 0);
        const done = call(CONNECT, socket, ptr(inet(127, 0, 0, 1, {port})), 16);
        console.log(done, call(FCNTL, socket, 3) & 2048);
        process.exit(0);
        "#
    );
    let layers = world.brokered()[0];
    let net = Net::Loopback { port };
    let (process, _control) = world.start(layers, net, &script).await;
    let begun = async {
        while !is_connecting(port) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, begun).await.unwrap();
    full.accept().unwrap();
    let (exit, text) = output(process).await;
    assert_eq!((exit, text.as_str()), (Exit::Code(0), "0 0\n"));
    drop(filler);
}

#[tokio::test]
async fn descriptors_that_others_have_on_their_way_keep_nobody_from_starting() {
    let world = World::new().await;
    let (from, _to) = UnixStream::pair().unwrap();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
    let descriptors = [from.as_fd(); 250];
    let mut message = SendAncillaryBuffer::new(&mut space);
    assert!(message.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let bytes = [IoSlice::new(b"x")];
    sendmsg(&from, &bytes, &mut message, SendFlags::empty()).unwrap();
    for layers in world.brokered() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let launch = Launch {
            program: bun(),
            args: vec!["--version".into()],
            env: Vec::new(),
            cwd: world.path("slot"),
            control: theirs.into(),
            limits: ProcessLimits {
                open_files: 200,
                ..ProcessLimits::default()
            },
            nice: 0,
            policy: Some(Policy {
                net: Net::Loopback { port: 1 },
                ..world.policy(layers)
            }),
        };
        let process = world.launcher.spawn(launch).await.unwrap();
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
        let files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let files: Vec<&str> = files.unwrap().split_whitespace().collect();
        assert_eq!(files[3..5], ["200", "200"], "{layers:?}");
    }
}
