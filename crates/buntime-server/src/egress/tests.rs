use std::net::IpAddr;

use buntime_core::{AddressKind, Granted, HostPort, Manifest, NetPermission};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::lookup::{LOOKUPS, Lookups, OF_APP};
use super::policy::kind_here;
use super::*;
use crate::edge::ConnectionLimit;

/// Calls this machine public, for the servers of tests are here.
fn everything_is_public(_: IpAddr) -> AddressKind {
    AddressKind::Public
}

fn hosts(list: &[&str]) -> Vec<HostPort> {
    let yaml = format!("permissions: {{net: {list:?}}}\n");
    match Manifest::parse(&yaml, "m").unwrap().value.permissions.net {
        NetPermission::Hosts(hosts) => hosts,
        other => panic!("{other:?}"),
    }
}

fn listed(list: &[&str], granted: &[&str]) -> Policy {
    let granted = if granted.is_empty() {
        Vec::new()
    } else {
        hosts(granted)
    };
    policy(NetPermission::Hosts(hosts(list)), granted)
}

fn public() -> Policy {
    policy(NetPermission::Public, Vec::new())
}

fn policy(net: NetPermission, private: Vec<HostPort>) -> Policy {
    let mut granted = Granted::default();
    (granted.net, granted.private) = (net, private);
    Policy::new(&granted)
}

fn start(kind: fn(IpAddr) -> AddressKind) -> Egress {
    Egress::with_dialer(Logger::capture().0, Dialer::with_kind(kind))
}

/// A worker's gateway, as far as the proxy goes.
struct Exit {
    port: u16,
    token: Uuid,
    ended: CancellationToken,
    connections: Arc<ConnectionLimit>,
}

impl Exit {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    fn authorization(&self) -> String {
        format!("Proxy-Authorization: {}\r\n", authorization(self.token))
    }
}

async fn open(egress: &Egress, policy: Policy) -> Exit {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exit = Exit {
        port: listener.local_addr().unwrap().port(),
        token: Uuid::new_v4(),
        ended: CancellationToken::new(),
        connections: ConnectionLimit::new(100),
    };
    let (ended, told) = (exit.ended.clone(), Arc::default());
    let client = Client::new("shop@1.0.0", policy, exit.token, told, ended);
    let (egress, client) = (egress.clone(), Arc::new(client));
    let connections = Arc::clone(&exit.connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (egress, client) = (egress.clone(), Arc::clone(&client));
            let place = connections.try_enter().unwrap();
            tokio::spawn(async move {
                egress.serve(client, stream, BytesMut::new(), place).await;
            });
        }
    });
    exit
}

/// Sends `text`, then all that comes back until `until` is in it.
async fn ask(stream: &mut TcpStream, text: &str, until: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut block = [0; 1024];
    loop {
        let count = stream.read(&mut block).await.unwrap();
        seen.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&seen);
        if text.contains(until) || count == 0 {
            return text.into_owned();
        }
    }
}

/// A server that answers one connection: what it got comes back as the body.
async fn mirror() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: {}\r\n\r\n",
            head.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&head).await.unwrap();
    });
    (port, task)
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap()
    });
    let egress = start(everything_is_public);
    let exit = open(&egress, public()).await;
    let mut app = exit.connect().await;
    let connect = format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n{}\r\n",
        exit.authorization()
    );
    let head = ask(&mut app, &connect, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(
        ask(&mut app, "\x16\x03hello", "hello").await,
        "\x16\x03hello"
    );
    drop(app);
    assert_eq!(echo.await.unwrap(), 7);
}

#[tokio::test]
async fn a_plain_request_is_passed_on_without_what_is_the_proxys() {
    let (port, server) = mirror().await;
    let egress = start(everything_is_public);
    let exit = open(&egress, public()).await;
    let mut app = exit.connect().await;
    let request = format!(
        "GET http://u:p@localhost:{port}/a?b HTTP/1.1\r\nHost: other.example\r\n\
         Connection: x-mine\r\nX-Mine: 1\r\nX-Kept: 1\r\n{}\r\n",
        exit.authorization()
    );
    let answer = ask(&mut app, &request, "x-kept: 1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (head, sent) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("x-hop"), "{head}");
    assert!(sent.starts_with("GET /a?b HTTP/1.1\r\n"), "{sent}");
    assert!(
        sent.contains(&format!("host: localhost:{port}\r\n")),
        "{sent}"
    );
    for gone in ["proxy", "x-mine", "other.example", "u:p"] {
        assert!(!sent.to_ascii_lowercase().contains(gone), "{gone}: {sent}");
    }
    server.await.unwrap();
}

#[tokio::test]
async fn without_the_token_of_this_worker_nothing_is_done() {
    let egress = start(everything_is_public);
    let (exit, other) = (open(&egress, public()).await, open(&egress, public()).await);
    let other = other.authorization();
    for header in ["", &other, "Proxy-Authorization: Basic\r\n"] {
        let mut app = exit.connect().await;
        let request = format!("CONNECT localhost:1 HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        let answer = ask(&mut app, &request, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 407"), "{answer}");
    }
}

#[tokio::test]
async fn what_is_for_the_server_is_not_for_the_proxy() {
    let egress = start(everything_is_public);
    let exit = open(&egress, public()).await;
    let mut app = exit.connect().await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", exit.authorization());
    let answer = ask(&mut app, &request, "http://").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_tunnel_ends_with_its_worker_and_gives_its_place_back() {
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = host.local_addr().unwrap().port();
    let egress = start(everything_is_public);
    let exit = open(&egress, public()).await;
    let mut app = exit.connect().await;
    let connect = format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: a\r\n{}\r\n",
        exit.authorization()
    );
    ask(&mut app, &connect, "\r\n\r\n").await;
    let (mut host, _) = host.accept().await.unwrap();
    assert_eq!(exit.connections.now(), 1);
    exit.ended.cancel();
    // Neither side has closed.
    assert_eq!(host.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(app.read(&mut [0]).await.unwrap(), 0);
    while exit.connections.now() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn this_machine_is_never_reached_by_any_spelling() {
    let egress = start(kind_here);
    // What a manifest may list and an operator may grant makes no difference.
    let granted = ["localhost:80", "127.0.0.1:80"];
    for policy in [public(), listed(&granted, &granted)] {
        let exit = open(&egress, policy).await;
        for host in ["localhost", "127.0.0.1", "LOCALHOST"] {
            let mut app = exit.connect().await;
            let request = format!(
                "CONNECT {host}:80 HTTP/1.1\r\nHost: a\r\n{}\r\n",
                exit.authorization()
            );
            let answer = ask(&mut app, &request, "\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
        }
    }
    let exit = open(&egress, public()).await;
    for host in [
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let mut app = exit.connect().await;
        let request = format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: a\r\n{}\r\n",
            exit.authorization()
        );
        let answer = ask(&mut app, &request, "granted").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
    }
}

#[test]
fn an_address_of_this_machine_is_forbidden_whatever_its_range() {
    assert_eq!(kind_here([127, 0, 0, 1].into()), AddressKind::Forbidden);
    assert_eq!(kind_here([1, 1, 1, 1].into()), AddressKind::Public);
    // The address that this machine sends from is its own, where it has a way out.
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    if socket.connect(("1.1.1.1", 9)).is_ok() {
        let own = socket.local_addr().unwrap().ip();
        assert_eq!(kind_here(own), AddressKind::Forbidden, "{own}");
    }
}

#[test]
fn policies_let_through_what_they_say() {
    let none = policy(NetPermission::None, Vec::new());
    assert_eq!(none.name("example.com", 443), Err(Refusal::NoNetwork));
    let public = public().name("example.com", 443).unwrap();
    assert_eq!(public.address(AddressKind::Public), Ok(()));
    assert_eq!(
        public.address(AddressKind::Private),
        Err(Refusal::NotPublic)
    );
    assert_eq!(
        public.address(AddressKind::Forbidden),
        Err(Refusal::Forbidden)
    );
    let some = listed(
        &["api.example.com:443", "db.internal:5432", "10.0.0.5:80"],
        &["db.internal:5432"],
    );
    for (host, port, private) in [
        ("api.example.com", 443, Err(Refusal::NotPublic)),
        ("API.example.com.", 443, Err(Refusal::NotPublic)),
        ("db.internal", 5432, Ok(())),
        ("10.0.0.5", 80, Err(Refusal::NotPublic)),
    ] {
        let listed = some.name(host, port).unwrap();
        assert_eq!(listed.address(AddressKind::Private), private, "{host}");
        assert_eq!(
            listed.address(AddressKind::Forbidden),
            Err(Refusal::Forbidden)
        );
    }
    for (host, port) in [
        ("api.example.com", 80),
        ("x.api.example.com", 443),
        ("example.com", 443),
    ] {
        assert_eq!(
            some.name(host, port),
            Err(Refusal::NotListed),
            "{host}:{port}"
        );
    }
}

#[tokio::test]
async fn an_app_that_tries_in_a_loop_does_not_fill_the_log() {
    let (log, lines) = Logger::capture();
    let egress = Egress::new(log);
    let exit = open(&egress, public()).await;
    for _ in 0..50 {
        let mut app = exit.connect().await;
        let request = format!(
            "GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n{}\r\n",
            exit.authorization()
        );
        let answer = ask(&mut app, &request, "granted").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    let lines = lines.lines();
    assert!((1..=2).contains(&lines.len()), "{lines:?}");
    assert!(
        lines[0].contains("shop@1.0.0") && !lines[0].contains(&exit.token.simple().to_string())
    );
}

#[tokio::test]
async fn look_ups_hold_their_places_until_their_threads_are_free() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let started = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&started);
    let lookups = Arc::new(Lookups::by(Arc::new(move |host: &str, port| {
        if host == "slow.test" {
            count.fetch_add(1, Ordering::SeqCst);
            // Ends with the sender, one after another.
            let _ = gate.lock().recv();
        }
        Ok(vec![([127, 0, 0, 1], port).into()])
    })));
    let find = |app: &'static str, host: &'static str| {
        let lookups = Arc::clone(&lookups);
        tokio::spawn(async move { lookups.find(app, host, 1).await.unwrap().len() })
    };
    let slow: Vec<_> = (0..2 * OF_APP).map(|_| find("a", "slow.test")).collect();
    while started.load(Ordering::SeqCst) < OF_APP as u64 {
        tokio::task::yield_now().await;
    }
    for task in &slow {
        task.abort();
    }
    for task in slow {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    // Nobody waits any more, and the threads are still there.
    assert_eq!(lookups.held_by("a"), OF_APP);
    let waits = find("a", "fast.test");
    assert_eq!(find("b", "fast.test").await.unwrap(), 1);
    assert!(!waits.is_finished());
    drop(release);
    assert_eq!(waits.await.unwrap(), 1);
    assert_eq!(started.load(Ordering::SeqCst), OF_APP as u64);
}

#[tokio::test]
async fn eight_apps_whose_names_hang_leave_a_look_up_to_everybody_else() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let lookups = Arc::new(Lookups::by(Arc::new(move |host: &str, port| {
        if host == "slow.test" {
            // Ends with the sender.
            let _ = gate.lock().recv();
        }
        Ok(vec![([127, 0, 0, 1], port).into()])
    })));
    let find = |app: String, host: &'static str| {
        let lookups = Arc::clone(&lookups);
        tokio::spawn(async move { lookups.find(&app, host, 1).await.unwrap().len() })
    };
    let hostile: Vec<String> = (0..8).map(|number| format!("hostile-{number}")).collect();
    // Each asks for a quarter of all places, so together for twice as many as there are.
    let slow: Vec<_> = hostile
        .iter()
        .flat_map(|app| std::iter::repeat_n(app.clone(), OF_APP))
        .map(|app| find(app, "slow.test"))
        .collect();
    let held = || {
        hostile
            .iter()
            .map(|app| lookups.held_by(app))
            .sum::<usize>()
    };
    while !hostile.iter().all(|app| lookups.held_by(app) > 0) {
        tokio::task::yield_now().await;
    }
    assert!(held() < LOOKUPS);
    for neighbour in 0..LOOKUPS {
        assert_eq!(
            find(format!("app-{neighbour}"), "fast.test").await.unwrap(),
            1
        );
    }
    // What became free meanwhile is not theirs alone.
    assert!(held() < LOOKUPS);
    drop(release);
    for task in slow {
        assert_eq!(task.await.unwrap(), 1);
    }
    assert_eq!(held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_reached_is_given_up_as_a_whole() {
    // The look-up never ends, which the clock of the test does not wait for.
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let lookups = Lookups::by(Arc::new(move |_: &str, _| {
        let _ = gate.lock().recv();
        Ok(Vec::new())
    }));
    let dialer = Dialer::with_kind(everything_is_public).with_lookups(lookups);
    let ended = CancellationToken::new();
    let client = Client::new("a@1.0.0", public(), Uuid::new_v4(), Arc::default(), ended);
    let (begun, advancing) = (tokio::time::Instant::now(), CancellationToken::new());
    // A blocking task keeps a paused clock from moving by itself.
    let advance = async {
        while !advancing.is_cancelled() {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
    };
    let connect = async {
        let reached = dialer.connect(&client, "slow.test", 1).await;
        advancing.cancel();
        reached
    };
    let (reached, ()) = tokio::join!(connect, advance);
    assert!(matches!(reached, Err(DialError::Connect(_))), "{reached:?}");
    assert!((15..=17).contains(&begun.elapsed().as_secs()));
    drop(release);
}

#[test]
fn an_install_reaches_registries_anywhere_and_all_else_at_public_addresses() {
    let registries = hosts(&["localhost:4873", "10.0.0.5:443", "registry.test:443"]);
    let policy = Policy::install(&registries.into());
    for (host, port) in [
        ("LOCALHOST.", 4873),
        ("10.0.0.5", 443),
        ("registry.test", 443),
    ] {
        let listed = policy.name(host, port).unwrap();
        assert_eq!(listed.address(AddressKind::Forbidden), Ok(()), "{host}");
        assert_eq!(listed.address(AddressKind::Private), Ok(()), "{host}");
    }
    for (host, port) in [("localhost", 80), ("10.0.0.5", 80), ("elsewhere.test", 443)] {
        let listed = policy.name(host, port).unwrap();
        assert_eq!(listed.address(AddressKind::Public), Ok(()), "{host}");
        let refused = listed.address(AddressKind::Private);
        assert_eq!(refused, Err(Refusal::NotPublic), "{host}");
        let refused = listed.address(AddressKind::Forbidden);
        assert_eq!(refused, Err(Refusal::Forbidden), "{host}");
    }
}
