//! What an app can take with its gateway: nothing from others, and nothing that stays.

use std::fs;

use buntime_testkit::TestServer;

use super::support::{CALLER, builder, call, call_of, gateway_of, server_in_the_open, with_net};

fn descriptors(server: &TestServer) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .count()
}

#[test]
fn a_thousand_connections_of_one_app_take_nothing_from_others() {
    let server = builder()
        .module("app@1.0.0", &with_net("public"), CALLER)
        .module("other@1.0.0", &with_net("public"), CALLER)
        .env("RUNTIME_MAX_CONNECTIONS", "50")
        .neighbour()
        .start();
    let neighbour = server.probe();
    let opened = call(&server, "many", "1000");
    assert_eq!(opened, "256 HTTP/1.1 503");
    // Neither another app's way to the server, nor clients.
    let (gateway, _) = gateway_of(&server, "other");
    let answer = call_of(
        &server,
        "other",
        "fetch",
        &format!("http://{gateway}/api/health"),
    );
    assert!(answer.starts_with("200 "), "{answer}");
    neighbour.finish();
}

#[test]
fn garbage_is_told_so_and_silence_is_cut() {
    let server = server_in_the_open();
    let (gateway, _) = gateway_of(&server, "app");
    let mut garbage = buntime_testkit::Connection::open(gateway);
    garbage.send(b"\x16\x03\x01\x00\xff\r\n\r\n");
    let answer = garbage.next_response("GET").unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    for begun in [&b""[..], b"GE", b"CONNECT", b"GET "] {
        let mut slow = buntime_testkit::Connection::open(gateway);
        slow.send(begun);
        slow.assert_closed();
    }
    assert!(call(&server, "fetch", &format!("http://{gateway}/api/health")).starts_with("200"));
}

#[test]
fn a_gateway_ends_with_its_worker() {
    let server = server_in_the_open();
    let (gateway, _) = gateway_of(&server, "app");
    let worker = call(&server, "variable", "WORKER_ID");
    let worker = server.process_of(&worker).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(worker.pid.cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let _ = server.wait_for_end(worker);
    server.wait_until("nobody listens there", || {
        buntime_testkit::Connection::try_open(gateway).is_err()
    });
}

#[test]
fn workers_that_come_and_go_leave_no_descriptor() {
    let server = builder()
        .module(
            "app@1.0.0",
            "ttl: 0\n",
            "export default { fetch: () => new Response('x') };\n",
        )
        .start();
    let ask = |times| {
        for _ in 0..times {
            assert_eq!(server.get("/app/").status, 200);
        }
    };
    let settle = |most: usize| server.holds_soon(|| descriptors(&server) <= most);
    ask(20);
    let before = descriptors(&server);
    ask(200);
    assert!(
        settle(before + 10),
        "{before} before, {} after",
        descriptors(&server)
    );
}
