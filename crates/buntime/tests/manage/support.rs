//! A server with a root key, and its operator.

pub(super) use buntime_testkit::api::ROOT_KEY as ROOT;
use buntime_testkit::api::ask;
use buntime_testkit::{Builder, Connection, Response, TestServer};

/// An app that says which worker answers, and takes its time if it is asked to.
pub(super) const APP: &str = r#"
export default async (request) => {
  const url = new URL(request.url);
  if (url.pathname === "/slow") {
    console.log("slow begins");
    await Bun.sleep(Number(url.searchParams.get("ms") ?? 500));
  }
  if (url.pathname === "/say") console.log(url.searchParams.get("text"));
  if (url.pathname === "/flood") {
    for (let n = 0; n < Number(url.searchParams.get("lines")); n++) console.log("line " + n);
  }
  return new Response(process.env.WORKER_ID);
};
"#;

/// A manifest whose worker stays.
pub(super) const STAYS: &str = "ttl: 1h\n";

pub(super) fn builder() -> Builder {
    TestServer::builder(env!("CARGO_BIN_EXE_buntime")).env("RUNTIME_ROOT_KEY", ROOT)
}

/// What operators of these tests do with servers and their builders.
pub(super) trait Apps: Sized {
    /// Adds an app that stays, and says which worker answers.
    fn with_app(self, folder: &str) -> Self;
}

impl Apps for Builder {
    fn with_app(self, folder: &str) -> Self {
        self.app(folder, STAYS, &[("index.ts", APP)])
    }
}

/// Asks the API with a key, on a connection of its own.
pub(super) fn api(server: &TestServer, key: &str, method: &str, path: &str) -> Response {
    ask(server, key, method, &format!("/api{path}"), None)
}

/// The same as root, and it must go well.
#[track_caller]
pub(super) fn root(server: &TestServer, method: &str, path: &str) -> Response {
    let response = api(server, ROOT, method, path);
    assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
    response
}

/// What the list says of one worker.
#[track_caller]
pub(super) fn listed(server: &TestServer, name: &str) -> serde_json::Value {
    let list = root(server, "GET", "/workers").json();
    let workers = list.as_array().unwrap();
    let found = workers.iter().find(|worker| worker["name"] == name);
    found
        .unwrap_or_else(|| panic!("{name} is not in {list}"))
        .clone()
}

/// The worker that answers now. In the sandbox it does not know the number of its process.
#[track_caller]
pub(super) fn worker(server: &TestServer, path: &str) -> String {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.text()
}

/// A server-sent event.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) data: serde_json::Value,
}

/// Follows the log of a worker.
pub(super) struct Follow {
    connection: Connection,
    text: String,
}

impl Follow {
    /// Begins to follow; `path` is that of the log, with its query.
    #[track_caller]
    pub(super) fn begin(server: &TestServer, path: &str, last: Option<&str>) -> Self {
        let mut connection = server.connect();
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!(
            "GET /api{path} HTTP/1.1\r\nHost: test.example\r\nX-API-Key: {ROOT}\r\n{last}\r\n"
        );
        connection.send(request.as_bytes());
        let head = connection.head("GET").unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type").unwrap(), "text/event-stream");
        let mut follow = Self {
            connection,
            text: String::new(),
        };
        // The first bytes come at once, whether there are lines or not.
        assert!(follow.more());
        assert!(follow.text.starts_with("retry: "), "{}", follow.text);
        follow
    }

    fn more(&mut self) -> bool {
        match self.connection.chunk(&mut Vec::new()) {
            Some(chunk) => {
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
                true
            }
            None => false,
        }
    }

    /// The next event; `None` at the end of the stream.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = Event::parse(block);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return Some(event);
                }
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next line that the app wrote to its standard output.
    pub(super) fn line(&mut self) -> Event {
        loop {
            let event = self.next().unwrap();
            if event.data["stream"] == "stdout" {
                return event;
            }
        }
    }

    /// The connection, for what is not read.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Event {
    /// `None` for what is no event: a comment, a time to wait.
    fn parse(block: &str) -> Option<Self> {
        let field = |name: &str| {
            let prefix = format!("{name}: ");
            let value = block.lines().find_map(|line| line.strip_prefix(&prefix));
            value.unwrap_or_default().to_owned()
        };
        let data = field("data");
        (!data.is_empty()).then(|| Self {
            id: field("id"),
            kind: field("event"),
            data: serde_json::from_str(&data).unwrap(),
        })
    }
}
