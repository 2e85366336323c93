use std::net::IpAddr;

use buntime_core::{AddressKind, HostPort, Manifest, NetPermission};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::policy::kind_here;
use super::*;

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
    Policy::new(NetPermission::Hosts(hosts(list)), granted)
}

fn public() -> Policy {
    Policy::new(NetPermission::Public, Vec::new())
}

fn start(kind: fn(IpAddr) -> AddressKind) -> Egress {
    let stop = CancellationToken::new();
    Egress::start_with(Logger::capture().0, stop, Dialer::with_kind(kind)).unwrap()
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

fn authorization(exit: &Exit) -> String {
    format!("Proxy-Authorization: {}\r\n", credentials(exit.token))
}

/// A server that answers one connection: what it got comes back as the body.
async fn mirror() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap()
    });
    let egress = start(everything_is_public);
    let exit = egress.open("shop@1.0.0", public());
    let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
        .await
        .unwrap();
    let connect = format!(
        "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n{}\r\n",
        authorization(&exit)
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
    let exit = egress.open("shop@1.0.0", public());
    let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
        .await
        .unwrap();
    let request = format!(
        "GET http://u:p@localhost:{port}/a?b HTTP/1.1\r\nHost: other.example\r\n\
         Connection: x-mine\r\nX-Mine: 1\r\nX-Kept: 1\r\n{}\r\n",
        authorization(&exit)
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
async fn without_a_token_that_counts_nothing_is_done() {
    let egress = start(everything_is_public);
    let exit = egress.open("shop@1.0.0", public());
    let known = authorization(&exit);
    let other = format!("Proxy-Authorization: {}\r\n", credentials(Uuid::new_v4()));
    drop(exit);
    for header in ["", &other, &known, "Proxy-Authorization: Basic\r\n"] {
        let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
            .await
            .unwrap();
        let request = format!("CONNECT localhost:1 HTTP/1.1\r\nHost: a\r\n{header}\r\n");
        let answer = ask(&mut app, &request, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 407"), "{answer}");
    }
    assert!(egress.0.clients.read().is_empty());
}

#[tokio::test]
async fn this_machine_is_never_reached_by_any_spelling() {
    let egress = start(kind_here);
    // What a manifest may list and an operator may grant makes no difference.
    let granted = ["localhost:80", "127.0.0.1:80"];
    for policy in [public(), listed(&granted, &granted)] {
        let exit = egress.open("shop@1.0.0", policy);
        for host in ["localhost", "127.0.0.1", "LOCALHOST"] {
            let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
                .await
                .unwrap();
            let request = format!(
                "CONNECT {host}:80 HTTP/1.1\r\nHost: a\r\n{}\r\n",
                authorization(&exit)
            );
            let answer = ask(&mut app, &request, "\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
        }
    }
    let exit = egress.open("shop@1.0.0", public());
    for host in [
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
            .await
            .unwrap();
        let request = format!(
            "GET http://{host}/ HTTP/1.1\r\nHost: a\r\n{}\r\n",
            authorization(&exit)
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
    let none = Policy::new(NetPermission::None, Vec::new());
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
    let stop = CancellationToken::new();
    let egress = Egress::start_with(log, stop, Dialer::system()).unwrap();
    let exit = egress.open("shop@1.0.0", public());
    let mut app = TcpStream::connect(("127.0.0.1", egress.port()))
        .await
        .unwrap();
    for _ in 0..50 {
        let request = format!(
            "GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\n{}\r\n",
            authorization(&exit)
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
