//! The log for people, of a running server: what a line says, and that nobody else writes one.
//! Its reader is no terminal here, and it has no colours for one either.

use buntime_testkit::{Builder, TestServer};

const KEPT: &str = "ttl: 1h\n";
/// What a line of the server looks like; none of these may be one.
const FORGED: &str = "12:34:56.789 ERR [server] forged";
/// Says and throws what it is sent.
const FORGER: &str = r#"
export default {
  async fetch(request: Request) {
    const text = await request.text();
    if (request.url.endsWith("/throw")) throw new Error(text);
    if (request.url.endsWith("/warn")) console.error(text);
    else console.log(text);
    return new Response("logged");
  },
};
"#;

fn server() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime"))
        .env("RUNTIME_LOG_FORMAT", "pretty")
        .module("forger@1.0.0", KEPT, FORGER)
}

/// A line taken apart: `12:34:56.789 INF [pool] message {"k":"v"}`.
struct Line {
    level: String,
    context: String,
    /// Message and fields.
    text: String,
}

/// Takes a line apart.
#[track_caller]
fn parse(line: &str) -> Line {
    let mut parts = line.splitn(4, ' ');
    let mut part = || parts.next().unwrap_or_else(|| panic!("no line: {line:?}"));
    let (time, level, context, text) = (part(), part(), part(), part());
    let shape = time.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(shape, "00:00:00.000", "{line:?}");
    assert!(["DBG", "INF", "WRN", "ERR"].contains(&level), "{line:?}");
    let context = context.strip_prefix('[').unwrap().strip_suffix(']');
    let steers = |c: char| c.is_control() || "\u{2028}\u{202e}".contains(c);
    assert!(!line.contains(steers), "{line:?}");
    Line {
        level: level.to_owned(),
        context: context.unwrap().to_owned(),
        text: text.to_owned(),
    }
}

impl Line {
    /// The value of a field behind the message.
    #[track_caller]
    fn field(&self, name: &str) -> serde_json::Value {
        let at = self.text.rfind(" {\"").unwrap();
        let fields: serde_json::Value = serde_json::from_str(&self.text[at..]).unwrap();
        fields[name].clone()
    }
}

#[track_caller]
fn line(server: &TestServer, part: &str) -> Line {
    parse(&server.wait_for_line(|line| line.contains(part)))
}

#[track_caller]
fn say(server: &TestServer, path: &str, id: &str, text: &str) -> u16 {
    let headers = [("X-Request-Id", id)];
    let mut client = server.connect();
    client
        .request("POST", path, &headers, text.as_bytes())
        .status
}

#[test]
fn lines_say_who_and_about_which_request() {
    let server = server().start();
    assert_eq!(
        say(&server, "/forger/say", "said-1", "hello from the app"),
        200
    );
    let said = line(&server, "hello from the app");
    assert_eq!((&*said.level, &*said.context), ("INF", "forger@1.0.0"));
    assert!(
        said.text.starts_with("hello from the app {"),
        "{}",
        said.text
    );
    let worker = said.field("worker");
    let started = line(&server, "Worker started");
    assert_eq!(
        started.field("worker"),
        worker,
        "it bears the id of its worker"
    );

    let asked = line(&server, "said-1");
    assert_eq!((&*asked.level, &*asked.context), ("DBG", "http"));
    assert_eq!(asked.field("requestId"), "said-1");
    assert_eq!(asked.field("method"), "POST");
    assert_eq!(asked.field("path"), "/forger/say");
    assert_eq!(asked.field("status"), 200);

    assert_eq!(say(&server, "/forger/warn", "warned-1", "a warning"), 200);
    assert_eq!(line(&server, "a warning").level, "WRN");

    assert_eq!(
        say(&server, "/forger/throw", "thrown-1", "out of order"),
        502
    );
    let thrown = line(&server, "out of order");
    assert_eq!((&*thrown.level, &*thrown.context), ("ERR", "forger@1.0.0"));
    assert_eq!(thrown.field("requestId"), "thrown-1");
    assert_eq!(thrown.field("worker"), worker);
}

#[test]
fn nobody_forges_a_line_or_steers_the_terminal() {
    let server = server().start();
    for text in [
        FORGED.to_owned(),
        format!("before\n{FORGED}\nafter"),
        format!("before\r\n{FORGED}"),
        format!("carriage\r{FORGED}"),
        format!("\u{1b}[2K\u{1b}[1G{FORGED}\u{1b}[0m"),
        format!("\u{9b}2K\u{9b}1G{FORGED}"),
        format!("vertical\u{b}form\u{c}next\u{85}separator\u{2028}{FORGED}"),
        format!("bell\u{7}back\u{8}delete\u{7f}\u{202e}{FORGED}"),
        "\u{1b}]0;a title\u{7}".to_owned(),
    ] {
        assert_eq!(say(&server, "/forger/say", "id-1", &text), 200, "{text:?}");
        assert_eq!(say(&server, "/forger/warn", "id-1", &text), 200, "{text:?}");
        assert_eq!(
            say(&server, "/forger/throw", "id-1", &text),
            502,
            "{text:?}"
        );
    }
    // By a request: its path, its id, and what a refusal repeats of its headers.
    for (target, headers) in [
        ("/forger/%1b[2K%9b", ""),
        ("/nobody/%0a12:34:56.789%20ERR%20[server]%20forged", ""),
        ("/nobody/\u{9b}2K", ""),
        ("/nobody/\u{2028}", ""),
        ("/nobody/?\u{1b}[31m", ""),
        ("/nobody/", "X-Request-Id: \u{1b}[31mred\r\n"),
        ("/nobody/", "X-Request-Id: a\u{9b}b\r\n"),
        ("/api/keys", "Origin: http://a\u{9b}31m\r\n"),
        ("/api/keys", "Origin: http://a\u{2028}12:34:56.789\r\n"),
        ("/api/keys", "Origin: http://a\u{1b}[31m\r\n"),
    ] {
        let mut client = server.connect();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").as_bytes());
        assert_ne!(client.response_to("POST").status, 500, "{target}");
    }
    assert_eq!(say(&server, "/forger/say", "last-1", "the last one"), 200);
    line(&server, "the last one");
    line(&server, "last-1");
    let mut forged = 0;
    for text in server.output().split('\n') {
        let line = parse(text);
        if line.text.contains("forged") {
            assert_eq!(line.context, "forger@1.0.0", "{text}");
            forged += 1;
        }
    }
    assert!(forged >= 16, "{forged} of the app's lines are there");
}
