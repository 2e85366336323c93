//! C10, C12: under which names sessions count, and where the API is to be found.

use std::sync::Arc;

use buntime_testkit::tls::{Certificate, client};
use buntime_testkit::{Connection, TestServer};

use super::support::{
    admin_address, admin_address_by, ask, builder, failed, forbidden, server, with, workers_address,
};

const SESSION: (&str, &str) = ("Cookie", "a=1; buntime_session=x");

#[test]
fn c10_login_and_cookie_under_a_foreign_name_are_misdirected() {
    let default = server();
    let named = builder()
        .env("RUNTIME_ALLOWED_HOSTS", "panel.example, 10.0.0.1")
        .start();
    for (server, host, is_allowed) in [
        (&default, "localhost", true),
        (&default, "LOCALHOST:8000", true),
        (&default, "127.0.0.1:8000", true),
        (&default, "[::1]", true),
        (&default, "attacker.example", false),
        (&default, "localhost.attacker.example", false),
        (&named, "panel.example:8443", true),
        (&named, "PANEL.example", true),
        (&named, "10.0.0.1", true),
        (&named, "attacker.example", false),
        (&named, "localhost", false),
        (&named, "127.0.0.1", false),
    ] {
        let origin = format!("http://{host}");
        let own = [("Host", host), ("Origin", origin.as_str())];
        for (method, target, more) in [
            ("POST", "/api/admin/session", &[][..]),
            ("POST", "/api/admin/session", &[("X-API-Key", "k")]),
            ("GET", "/api/admin/session", &[SESSION]),
            (
                "GET",
                "/api/keys",
                &[("Cookie", "__Host-buntime_session=x")],
            ),
            ("POST", "/api/keys", &[SESSION]),
            ("DELETE", "/api/admin/session", &[SESSION]),
        ] {
            let response = ask(server.addr(), method, target, &with(&own, more));
            if is_allowed {
                // The gate lets it pass to its handler, or to authentication.
                match (method, target) {
                    ("POST", "/api/admin/session") => failed(&response, 400, "INVALID_JSON"),
                    ("DELETE", _) => assert_eq!(response.status, 204),
                    _ => failed(&response, 401, "AUTH_REQUIRED"),
                }
            } else {
                failed(&response, 421, "HOST_NOT_ALLOWED");
                let id = response.request_id();
                let line = server.wait_for_log(|line| line.text("requestId") == id);
                assert_eq!((line.level(), line.text("host")), ("warn", host));
            }
        }
        // Header keys and what is public work under any name.
        let key = with(&own, &[SESSION, ("X-API-Key", "k")]);
        assert_eq!(ask(server.addr(), "GET", "/api/keys", &key).status, 401);
        assert_eq!(ask(server.addr(), "GET", "/api/health", &own).status, 200);
        assert_eq!(ask(server.addr(), "GET", "/say/", &own).status, 200);
        let visitor = with(&own, &[SESSION]);
        assert_eq!(ask(server.addr(), "GET", "/say/", &visitor).status, 200);
    }
}

/// Asks for everything there is: what is the API's, what is the apps', what is both's.
fn statuses(address: std::net::SocketAddr, host: &str) -> [u16; 7] {
    [
        "/api/keys",
        "/api/health",
        "/",
        "/say/",
        "/site/",
        "/health",
        "/.well-known/buntime",
    ]
    .map(|target| ask(address, "GET", target, &[("Host", host)]).status)
}

const ADMIN: [u16; 7] = [401, 200, 302, 404, 404, 200, 200];
const APPS: [u16; 7] = [404, 404, 404, 200, 200, 200, 200];
const BOTH: [u16; 7] = [401, 200, 302, 200, 200, 200, 200];

#[test]
fn c12_the_api_is_under_the_admin_host_alone() {
    let server = builder().env("RUNTIME_ADMIN_HOST", "admin.x").start();
    for (host, found) in [
        ("admin.x", ADMIN),
        ("ADMIN.x:8000", ADMIN),
        ("apps.x", APPS),
        ("admin.x.evil.example", APPS),
        ("evil.admin.x", APPS),
        ("127.0.0.1", APPS),
        ("localhost", APPS),
    ] {
        assert_eq!(statuses(server.addr(), host), found, "{host}");
    }
    for target in ["/api/keys", "/api/admin/session", "/%61pi/keys"] {
        for method in ["GET", "POST", "DELETE"] {
            let headers = [
                ("Host", "apps.x"),
                ("Origin", "http://apps.x"),
                SESSION,
                ("X-API-Key", "k"),
            ];
            let response = ask(server.addr(), method, target, &headers);
            failed(&response, 404, "NOT_FOUND");
        }
    }
    // Whoever names an admin host can log in there.
    let login = [("Host", "admin.x"), ("Origin", "http://admin.x")];
    let response = ask(server.addr(), "POST", "/api/admin/session", &login);
    failed(&response, 400, "INVALID_JSON");
    let forged = with(&[login[0]], &[("Origin", "http://apps.x"), SESSION]);
    let response = ask(server.addr(), "POST", "/api/keys", &forged);
    forbidden(&response, "Forbidden");
    // Behind a trusted proxy its word counts.
    let behind = [("Host", "inner"), ("X-Forwarded-Host", "admin.x")];
    assert_eq!(ask(server.addr(), "GET", "/api/keys", &behind).status, 401);
    workers_keep_the_api_without_sessions(&server);
}

#[test]
fn c12_the_api_is_on_the_admin_port_alone() {
    let server = builder().env("RUNTIME_ADMIN_PORT", "0").start();
    let admin = admin_address(&server);
    assert_ne!(admin.port(), server.addr().port());
    for host in ["localhost", "a.example"] {
        assert_eq!(statuses(server.addr(), host), APPS);
        assert_eq!(statuses(admin, host), ADMIN);
    }
    // The same name, another port: another origin, and the cookie comes all the same.
    let public = format!("http://{}", server.addr());
    let own = format!("http://{admin}");
    let host = admin.to_string();
    for (origin, status) in [(public, 403), (own, 401)] {
        let headers = [("Host", host.as_str()), ("Origin", &origin), SESSION];
        assert_eq!(ask(admin, "POST", "/api/keys", &headers).status, status);
    }
    workers_keep_the_api_without_sessions(&server);
}

/// Apps share the origin of the workers' listener, so no session counts there.
fn workers_keep_the_api_without_sessions(server: &TestServer) {
    let workers = workers_address(server);
    let host = workers.to_string();
    let own = [("Host", host.as_str())];
    assert_eq!(statuses(workers, &host), BOTH);
    assert_eq!(statuses(workers, "admin.x"), BOTH);
    let cookie = with(&own, &[SESSION]);
    failed(&ask(workers, "GET", "/api/keys", &cookie), 404, "NOT_FOUND");
    let origin = format!("http://{host}");
    let login = with(&own, &[("Origin", &origin)]);
    let response = ask(workers, "POST", "/api/admin/session", &login);
    failed(&response, 404, "NOT_FOUND");
}

#[test]
fn without_either_all_is_everywhere_and_production_warns_once() {
    let warned = |server: &TestServer| {
        server
            .log()
            .iter()
            .filter(|line| line.level() == "warn" && line.message().contains("RUNTIME_ADMIN_HOST"))
            .count()
    };
    let server = builder().env("NODE_ENV", "production").start();
    assert_eq!(warned(&server), 1);
    assert_eq!(statuses(server.addr(), "a"), BOTH);
    for (name, value) in [
        ("NODE_ENV", "staging"),
        ("RUNTIME_ADMIN_HOST", "admin.x"),
        ("RUNTIME_ADMIN_PORT", "0"),
    ] {
        let server = builder()
            .env("NODE_ENV", "production")
            .env(name, value)
            .start();
        assert_eq!(warned(&server), 0, "{name}");
    }
}

#[test]
fn the_homepage_is_an_app_and_not_on_the_admin_host() {
    let server = builder()
        .env("RUNTIME_ADMIN_HOST", "admin.x")
        .env("RUNTIME_HOMEPAGE", "say")
        .start();
    for (host, root, other, icon) in [("admin.x", 302, 404, 204), ("apps.x", 200, 200, 200)] {
        for (target, status) in [("/", root), ("/other", other), ("/favicon.ico", icon)] {
            let response = ask(server.addr(), "GET", target, &[("Host", host)]);
            assert_eq!(response.status, status, "{host} {target}");
        }
    }
    let headers = [("Host", "apps.x"), ("Origin", "https://evil.example")];
    forbidden(&ask(server.addr(), "POST", "/", &headers), "Forbidden");
}

#[test]
fn the_admin_port_speaks_https_if_the_port_does() {
    let certificate = Certificate::new();
    let builder = builder().env("RUNTIME_ADMIN_PORT", "0");
    let (cert, key) = certificate.write(builder.dir());
    let server = builder
        .env("RUNTIME_TLS_CERT", cert.to_str().unwrap())
        .env("RUNTIME_TLS_KEY", key.to_str().unwrap())
        .start();
    let admin = admin_address_by(&server, "https");
    let client = Arc::new(client(&[&certificate], &[b"http/1.1"]));
    let host = format!("localhost:{}", admin.port());
    for (origin, status) in [
        (format!("https://{host}"), 401),
        // On its way here somebody could have changed such a page.
        (format!("http://{host}"), 403),
        (format!("https://localhost:{}", server.addr().port()), 403),
    ] {
        let headers = [("Host", host.as_str()), ("Origin", &origin), SESSION];
        let mut connection = Connection::open_tls(admin, &client).unwrap();
        let response = connection.request("POST", "/api/keys", &headers, b"");
        assert_eq!(response.status, status, "{origin}");
        assert!(response.header("strict-transport-security").is_some());
    }
    let mut connection = Connection::open_tls(admin, &client).unwrap();
    assert_eq!(connection.get("/say/").status, 404);
    let mut connection = server.connect_tls(&client);
    failed(&connection.get("/api/keys"), 404, "NOT_FOUND");
    let plain = ask(admin, "GET", "/api/keys", &[]);
    failed(&plain, 400, "HTTPS_REQUIRED");
    // Workers are on this machine and speak HTTP; what they see is how the client asked.
    let seen = connection.get("/say/").json();
    let api = seen["api"].as_str().unwrap();
    let api = api.strip_prefix("http://").unwrap().parse().unwrap();
    assert_eq!(ask(api, "GET", "/api/keys", &[]).status, 401);
}
