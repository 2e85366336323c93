//! Run by `world`, in a network of their own.

use super::support::{
    CALLER, builder, call, call_of, gateway_of, has_own_network, is_confined, server, with_net,
};

/// Tries again for as long as the outside is not up yet.
fn fetch_once_up(server: &buntime_testkit::TestServer, to: &str) -> String {
    let mut answer = String::new();
    server.wait_until("the outside is up", || {
        answer = call(server, "fetch", to);
        !answer.starts_with("502") && !answer.starts_with("refused")
    });
    answer
}

#[test]
#[ignore = "run by `world`"]
fn a_public_name_is_reached_by_every_client_that_knows_proxies() {
    let server = server("public");
    let plain = "http://api.example.com/x";
    assert_eq!(
        fetch_once_up(&server, plain),
        "200 outside api.example.com/x"
    );
    for (way, to, wanted) in [
        (
            "fetch",
            "https://api.example.com/x",
            "200 outside api.example.com/x",
        ),
        (
            "fetch",
            "http://api.example.com:8080/",
            "200 outside api.example.com:8080/",
        ),
        ("node", plain, "200 outside api.example.com/x"),
        (
            "node",
            "https://api.example.com/x",
            "200 outside api.example.com/x",
        ),
        ("websocket", "ws://api.example.com/", "done outside hello"),
        ("websocket", "wss://api.example.com/", "done outside hello"),
        ("fetch", "http://203.0.114.10/", "200 outside 203.0.114.10/"),
    ] {
        assert_eq!(call(&server, way, to), wanted, "{way} {to}");
    }
}

#[test]
#[ignore = "run by `world`"]
fn what_is_not_public_is_refused_however_it_is_named() {
    let server = server("public");
    for to in [
        // This network's, which nobody has granted.
        "http://db.internal:8080/",
        "http://inside.example.com:8080/",
        "http://10.9.0.2:8080/",
        "http://[::ffff:10.9.0.2]:8080/",
        // Names that lead where they should not, and the same by address.
        "http://rebound.example.com/",
        "http://self.example.com/",
        "http://metadata.example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.9.0.1/",
        "http://[::1]/",
        "http://0.0.0.0/",
        // This machine's, public as they look.
        "http://203.1.114.5/",
        "http://203.1.114.77/",
        "http://203.2.114.6/",
        "http://second.example.com/",
        "http://203.3.114.9/",
    ] {
        let answer = call(&server, "fetch", to);
        assert!(answer.starts_with("403 "), "{to}: {answer}");
    }
    for to in ["https://metadata.example.com/", "https://10.9.0.2/"] {
        let answer = call(&server, "fetch", to);
        assert!(answer.contains("403"), "{to}: {answer}");
    }
    let answer = call(&server, "websocket", "ws://metadata.example.com/");
    assert!(answer.starts_with("refused"), "{answer}");
    let told = server.wait_for_message("Connection refused");
    assert_eq!(told.text("app"), "app@1.0.0");
}

/// A server that grants `app` a database of this network.
fn with_database(ttl: &str) -> buntime_testkit::TestServer {
    let list = "['api.example.com:80', 'api.example.com:443', 'metadata.example.com:80', \
                'rebound.example.com:80', 'inside.example.com:8080', 'db.internal:8080', \
                'db.internal:5432', '10.9.0.2:5432']";
    let builder = builder();
    let grants = builder.dir().join("grants.yaml");
    let granted = "'db.internal:8080', 'db.internal:5432', '10.9.0.2:5432'";
    std::fs::write(
        &grants,
        format!("app: {{permissions: {{net: [{granted}]}}}}\n"),
    )
    .unwrap();
    let manifest = with_net(list).replace("1h", ttl);
    builder
        .module("app@1.0.0", &manifest, CALLER)
        .env("RUNTIME_GRANTS", grants.to_str().unwrap())
        .start()
}

#[test]
#[ignore = "run by `world`"]
fn a_list_opens_what_it_names_and_no_more() {
    let server = with_database("1h");
    let listed = "http://api.example.com/";
    assert_eq!(
        fetch_once_up(&server, listed),
        "200 outside api.example.com/"
    );
    for to in ["http://db.internal:8080/", "https://api.example.com/"] {
        let answer = call(&server, "fetch", to);
        assert!(answer.starts_with("200 outside"), "{to}: {answer}");
    }
    for (to, why) in [
        ("http://other.example.com/", "not listed"),
        ("http://api.example.com:8080/", "not listed"),
        ("http://203.0.114.10/", "not listed"),
        ("http://10.9.0.2:8080/", "not listed"),
        // Listed, and for nobody.
        ("http://metadata.example.com/", "never granted"),
        ("http://rebound.example.com/", "never granted"),
        // Listed by a public name, which was not granted to lead here.
        ("http://inside.example.com:8080/", "not granted"),
    ] {
        let answer = call(&server, "fetch", to);
        assert!(
            answer.starts_with("403 ") && answer.contains(why),
            "{to}: {answer}"
        );
    }
}

#[test]
#[ignore = "run by `world`"]
fn raw_tcp_leads_to_listed_hosts_by_name_and_by_address() {
    for ttl in ["1h", "0"] {
        let server = with_database(ttl);
        if !has_own_network(&server) {
            return;
        }
        let up = "http://api.example.com/";
        assert_eq!(fetch_once_up(&server, up), "200 outside api.example.com/");
        for to in ["db.internal:5432", "10.9.0.2:5432"] {
            let answer = call(&server, "tcp", to);
            assert!(
                answer.starts_with("done echo GET / HTTP/1.0"),
                "{ttl} {to}: {answer}"
            );
            assert_eq!(call(&server, "net", to), "done connected", "{ttl} {to}");
        }
        // A forward listens, and carries nothing to where nobody may go.
        for to in ["metadata.example.com:80", "rebound.example.com:80"] {
            assert_eq!(call(&server, "tcp", to), "done closed", "{ttl} {to}");
        }
        for to in [
            "api.example.com:8080",
            "10.9.0.2:80",
            "127.64.0.1:22",
            "other.example.com:80",
        ] {
            let answer = call(&server, "tcp", to);
            assert!(answer.starts_with("refused"), "{ttl} {to}: {answer}");
        }
    }
}

#[test]
#[ignore = "run by `world`"]
fn with_net_none_there_is_the_server_and_nothing_else() {
    let server = server("none");
    for to in ["http://api.example.com/", "http://203.0.114.10/"] {
        let answer = call(&server, "fetch", to);
        assert!(answer.starts_with("403 "), "{to}: {answer}");
    }
    let (gateway, _) = gateway_of(&server, "app");
    let answer = call(&server, "fetch", &format!("http://{gateway}/api/health"));
    assert!(answer.starts_with("200 "), "{answer}");
}

#[test]
#[ignore = "run by `world`"]
fn no_way_but_the_proxy_leads_anywhere() {
    let server = builder()
        .module("app@1.0.0", &with_net("public"), CALLER)
        .module("other@1.0.0", &with_net("public"), CALLER)
        .start();
    if !is_confined(&server) {
        return;
    }
    let (own, _) = gateway_of(&server, "app");
    let (other, _) = gateway_of(&server, "other");
    let up = "http://api.example.com/";
    assert_eq!(fetch_once_up(&server, up), "200 outside api.example.com/");
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wrong = vec![
        server.addr().to_string(),
        here.local_addr().unwrap().to_string(),
        "203.0.114.10:80".to_owned(),
        "10.9.0.2:5432".to_owned(),
        "169.254.169.254:80".to_owned(),
    ];
    if other != own {
        wrong.push(other.to_string());
    }
    for to in &wrong {
        for way in ["tcp", "net", "ffi"] {
            let answer = call(&server, way, to);
            assert!(answer.starts_with("refused"), "{way} {to}: {answer}");
        }
    }
    // The one thing that is there.
    for way in ["net", "ffi"] {
        assert_eq!(
            call(&server, way, &own.to_string()),
            "done connected",
            "{way}"
        );
    }
    assert!(call_of(&server, "other", "fetch", up).starts_with("200 "));
}
