use std::net::IpAddr;
use std::task::{Context, Poll};

use buntime_http::{BodyError, BodySource, Frame, HeaderList, Target};

use super::*;
use crate::config::{AdminOrigin, ApiPrefix};
use crate::message::{Peer, Protocol, Scheme};

struct NoBody;

impl BodySource for NoBody {
    fn content_length(&self) -> Option<u64> {
        Some(0)
    }

    fn is_end(&self) -> bool {
        true
    }

    fn set_limit(&mut self, _: u64) {}

    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(None)
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

fn request(listener: Listener, method: Method, headers: &[(&str, &str)]) -> Request {
    let mut list = HeaderList::new();
    for (name, value) in headers {
        list.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    Request {
        id: RequestId::fresh(),
        method,
        target: Target::parse(b"/api/x").unwrap(),
        protocol: Protocol::Http11,
        headers: list,
        websocket: false,
        peer: Peer {
            address: IpAddr::from([127, 0, 0, 1]),
            scheme: Scheme::Http,
            trusted_proxy: listener.is_for_clients(),
            listener,
        },
        body: Box::new(NoBody),
    }
}

fn gate(admin_host: Option<&str>, admin_port: Option<u16>, allowed: Option<&[&str]>) -> Gate {
    Gate::new(&ApiConfig {
        prefix: ApiPrefix::default(),
        allowed_hosts: allowed.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
        admin: AdminOrigin {
            host: admin_host.map(str::to_owned),
            port: admin_port,
        },
        session_ttl: std::time::Duration::from_secs(1),
    })
}

#[test]
fn c12_the_admin_origin_and_the_apps_have_nothing_in_common() {
    use Listener::{Admin, Public};
    let workers = || Listener::Worker("shop".into());
    for (host, port, listener, asked, reach) in [
        (None, None, Public, "a", Reach::All),
        (None, None, workers(), "a", Reach::All),
        (Some("admin.x"), None, Public, "admin.x", Reach::Admin),
        (Some("admin.x"), None, Public, "ADMIN.x:8000", Reach::Admin),
        (Some("admin.x"), None, Public, "a", Reach::Apps),
        (Some("admin.x"), None, Public, "admin.x.", Reach::Apps),
        (Some("admin.x"), None, Public, "x.admin.x", Reach::Apps),
        (Some("admin.x"), None, workers(), "admin.x", Reach::Workers),
        (Some("::1"), None, Public, "[::1]:8000", Reach::Admin),
        (None, Some(1), Public, "a", Reach::Apps),
        (None, Some(1), Admin, "a", Reach::Admin),
        (None, Some(1), workers(), "a", Reach::Workers),
        (Some("admin.x"), Some(1), Public, "admin.x", Reach::Admin),
        (Some("admin.x"), Some(1), Public, "a", Reach::Apps),
        (Some("admin.x"), Some(1), Admin, "a", Reach::Admin),
    ] {
        let gate = gate(host, port, None);
        let request = request(listener, Method::Get, &[("Host", asked)]);
        assert_eq!(gate.reach(&request), reach, "{host:?} {port:?} {asked}");
    }
    let behind = [("Host", "inner:8000"), ("X-Forwarded-Host", "admin.x")];
    let gate = gate(Some("admin.x"), None, None);
    assert_eq!(
        gate.reach(&request(Public, Method::Get, &behind)),
        Reach::Admin
    );
    let mut stranger = request(Public, Method::Get, &behind);
    stranger.peer.trusted_proxy = false;
    assert_eq!(gate.reach(&stranger), Reach::Apps);
}

/// The status that the API's gate gives; 200 if it lets the request through.
fn status(gate: &Gate, request: &Request, below: &str) -> u16 {
    let (log, _lines) = Logger::capture();
    let login = request.method == Method::Post && below == "/admin/session";
    match gate.check_api(request, gate.reach(request), login, &log) {
        Ok(()) => 200,
        Err(failure) => failure.status,
    }
}

#[test]
fn c10_sessions_count_under_known_names_alone() {
    use Listener::Public;
    const COOKIE: (&str, &str) = ("Cookie", "a=1; buntime_session=x");
    let named: &[&str] = &["shop.example", "10.0.0.1"];
    for (allowed, host, status_of) in [
        (None, "localhost:8000", 200),
        (None, "127.0.0.1", 200),
        (None, "[::1]:8000", 200),
        (None, "attacker.example", 421),
        (None, "", 421),
        (Some(named), "shop.example:8443", 200),
        (Some(named), "SHOP.example", 200),
        (Some(named), "10.0.0.1", 200),
        (Some(named), "localhost", 421),
        (Some(named), "127.0.0.1", 421),
        (Some(named), "a.shop.example", 421),
    ] {
        let gate = gate(None, None, allowed);
        for (method, below, headers) in [
            (Method::Get, "/keys", vec![COOKIE]),
            (
                Method::Head,
                "/workers",
                vec![("Cookie", "__Host-buntime_session=x")],
            ),
            (Method::Post, "/admin/session", vec![]),
            (Method::Post, "/admin/session", vec![("X-API-Key", "k")]),
            (Method::Delete, "/keys/1", vec![COOKIE]),
        ] {
            let origin = format!("http://{host}");
            let mut all = vec![("Host", host), ("Origin", origin.as_str())];
            all.extend(headers);
            let request = request(Public, method, &all);
            assert_eq!(
                status(&gate, &request, below),
                status_of,
                "{host} {method} {below}"
            );
        }
        // What has no session to lose is served under any name.
        for headers in [
            vec![],
            vec![("Cookie", "a=1")],
            vec![("X-API-Key", "k")],
            vec![COOKIE, ("Authorization", "Bearer k")],
        ] {
            let mut all = vec![("Host", host)];
            all.extend(headers);
            assert_eq!(
                status(&gate, &request(Public, Method::Get, &all), "/keys"),
                200
            );
        }
    }
}

#[test]
fn who_names_an_admin_host_can_log_in_there() {
    let gate = gate(Some("admin.x"), None, None);
    for (host, status_of) in [("admin.x", 200), ("other.x", 404), ("127.0.0.1", 404)] {
        let origin = format!("http://{host}");
        let headers = [("Host", host), ("Origin", origin.as_str())];
        let login = request(Listener::Public, Method::Post, &headers);
        assert_eq!(status(&gate, &login, "/admin/session"), status_of, "{host}");
    }
}

#[test]
fn workers_have_the_api_but_no_session_where_it_has_an_origin_of_its_own() {
    let with_host = gate(Some("admin.x"), None, None);
    let without = gate(None, None, None);
    for (headers, method, apart, together) in [
        (vec![], Method::Get, 200, 200),
        (vec![("X-API-Key", "k")], Method::Post, 200, 200),
        (vec![("X-Buntime-Internal", "true")], Method::Post, 200, 200),
        (vec![("Cookie", "buntime_session=x")], Method::Get, 404, 200),
        (
            vec![
                ("Cookie", "buntime_session=x"),
                ("X-Buntime-Internal", "true"),
            ],
            Method::Post,
            404,
            403,
        ),
    ] {
        let mut all = vec![("Host", "127.0.0.1:1234")];
        all.extend(headers);
        let request = request(Listener::Worker("shop".into()), method, &all);
        assert_eq!(status(&with_host, &request, "/keys"), apart, "{all:?}");
        assert_eq!(status(&without, &request, "/keys"), together, "{all:?}");
    }
}

#[test]
fn a_refusal_is_logged_with_all_that_one_needs() {
    let headers = [("Host", "a:8000"), ("Origin", "https://evil.example")];
    let request = request(Listener::Public, Method::Delete, &headers);
    let (log, lines) = Logger::capture();
    let gate = gate(None, None, None);
    let failure = gate
        .check_api(&request, Reach::All, false, &log)
        .unwrap_err();
    assert_eq!((failure.status, &*failure.message), (403, "Forbidden"));
    let line = &lines.lines()[0];
    for part in [
        "\"level\":\"warn\"",
        "\"message\":\"CSRF check failed\"",
        "\"method\":\"DELETE\"",
        "\"path\":\"/api/x\"",
        "\"origin\":\"https://evil.example\"",
        "\"host\":\"a:8000\"",
        request.id.as_str(),
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}
