use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::config::LogConfig;

const JSON: LogConfig = LogConfig {
    level: Level::Info,
    format: Format::Json,
};

fn render(
    format: Format,
    context: &str,
    message: &str,
    fields: impl FnOnce(&mut Fields),
) -> String {
    let mut collected = Fields::new();
    fields(&mut collected);
    line::render(
        format,
        time::Timestamp(45_296_789),
        Level::Info,
        context,
        &message,
        &collected,
    )
}

#[test]
fn lines_have_the_shapes_of_the_contract() {
    let fields = |fields: &mut Fields| {
        fields.request_id("r-1").add("n", 1).add("list", ["a", "b"]);
    };
    assert_eq!(
        render(Format::Json, "pool", "hello", fields),
        concat!(
            r#"{"level":"info","message":"hello","time":"1970-01-01T12:34:56.789Z","context":"pool","#,
            r#""requestId":"r-1","n":1,"list":["a","b"]}"#,
            "\n"
        )
    );
    assert_eq!(
        render(Format::Pretty, "pool", "hello", fields),
        "12:34:56.789 INF [pool] hello {\"requestId\":\"r-1\",\"n\":1,\"list\":[\"a\",\"b\"]}\n"
    );
    assert_eq!(
        render(Format::Pretty, "pool", "it's \"x\"", |_| {}),
        "12:34:56.789 INF [pool] it's \"x\"\n"
    );
    let short: Vec<&str> = [Level::Debug, Level::Info, Level::Warn, Level::Error]
        .map(Level::short)
        .into();
    assert_eq!(short, ["DBG", "INF", "WRN", "ERR"]);
}

#[test]
fn hostile_text_is_escaped_everywhere() {
    let hostile = "a\n\u{1b}[31m\u{9b}2J\r\u{7f}\u{202e}\u{2028}\"\\";
    let map = BTreeMap::from([(hostile, hostile)]);
    for format in [Format::Json, Format::Pretty] {
        let line = render(format, hostile, hostile, |fields| {
            fields
                .add("string", hostile)
                .add("map", &map)
                .text("text", hostile)
                .bytes("bytes", b"\xff\x1b");
        });
        let inside = line.strip_suffix('\n').unwrap();
        assert!(
            !inside
                .chars()
                .any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'),
            "{line:?}"
        );
        let json = inside
            .find(" {\"string\"")
            .map_or(inside, |at| &inside[at..]);
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["string"], hostile);
        assert_eq!(value["map"][hostile], hostile);
        assert_eq!(value["bytes"], "\u{fffd}\u{1b}");
    }
}

#[test]
fn what_does_not_serialize_leaves_the_line_whole() {
    let map = BTreeMap::from([(vec![1], 1)]);
    let line = render(Format::Json, "c", "m", |fields| {
        fields
            .add("map", &map)
            .add("nan", f64::NAN)
            .add("level", "mine");
    });
    let value: Value = serde_json::from_str(&line).unwrap();
    assert!(
        value["map"].as_str().unwrap().starts_with("(unloggable"),
        "{line}"
    );
    assert_eq!(value["nan"], Value::Null);
    assert_eq!(
        (&value["level"], &value["level_"]),
        (&"info".into(), &"mine".into())
    );
}

#[test]
fn an_error_comes_with_its_causes() {
    let cause = io::Error::other("disk gone");
    let error = io::Error::other(Outer(cause));
    let value: Value = serde_json::from_str(&render(Format::Json, "c", "m", |fields| {
        fields.error(&error);
    }))
    .unwrap();
    assert_eq!(value["error"], "outer: disk gone");
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] io::Error);

#[test]
fn lines_are_bounded() {
    let long = "\u{1b}ä".repeat(200_000);
    for format in [Format::Json, Format::Pretty] {
        let line = render(format, &long, &long, |fields| {
            for _ in 0..200 {
                fields
                    .add("a", &long)
                    .text("b", &long)
                    .bytes("c", long.as_bytes())
                    .add("d", [1; 9000].as_slice());
            }
        });
        assert!(line.len() <= LINE_MAX, "{}", line.len());
        assert_eq!(line.matches('\n').count(), 1);
        if format == Format::Json {
            let value: Value = serde_json::from_str(&line).unwrap();
            assert!(value["message"].as_str().unwrap().ends_with('…'));
        }
    }
    let value: Value = serde_json::from_str(&render(Format::Json, "c", "m", |fields| {
        fields.add("d", &long);
    }))
    .unwrap();
    assert!(value["d"].as_str().unwrap().ends_with('…'));
}

proptest! {
    #[test]
    fn always_one_line_of_valid_json(
        context in any::<String>(),
        message in any::<String>(),
        text in any::<String>(),
        bytes in any::<Vec<u8>>(),
        map in any::<BTreeMap<String, Option<f64>>>(),
    ) {
        let line = render(Format::Json, &context, &message, |fields| {
            fields.request_id(&text).add("text", &text).add("map", &map).bytes("bytes", &bytes);
        });
        prop_assert!(line.len() <= LINE_MAX);
        let inside = line.strip_suffix('\n').unwrap();
        prop_assert!(!inside.chars().any(char::is_control));
        let value: Value = serde_json::from_str(inside).unwrap();
        prop_assert_eq!(value["message"].as_str(), Some(&*message));
        prop_assert_eq!(value["text"].as_str(), Some(&*text));
    }

    #[test]
    fn a_cut_string_is_valid_and_bounded(text in "[\u{0}-\u{10ffff}]{0,60}", most in 8_usize..200) {
        let mut out = String::new();
        escape::json_string(&mut out, &text, most);
        prop_assert!(out.len() <= most);
        let back: String = serde_json::from_str(&out).unwrap();
        let kept = back.strip_suffix('…').unwrap_or(&back);
        prop_assert!(text.starts_with(kept));
    }
}

#[test]
fn below_the_level_nothing_is_made() {
    let (mut logger, captured) = Logger::capture();
    logger.level = Level::Warn;
    logger.info("c", "m", |_| {
        panic!("the fields of a line that is not made")
    });
    logger.warn("c", format_args!("{} of {}", 1, 2), |fields| {
        fields.add("n", 3);
    });
    assert_eq!(captured.json().len(), 1);
    assert_eq!(captured.json()[0]["message"], "1 of 2");
    assert!(!logger.is_on(Level::Info) && logger.is_on(Level::Error));
    let late = captured.wait_for(Duration::from_secs(5), |line| line.contains("1 of 2"));
    assert!(late.is_some());
}

/// What was written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn lines(&self) -> Vec<Value> {
        String::from_utf8(self.0.lock().clone())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_guard_writes_what_is_queued() {
    let out = Shared::default();
    let (logger, guard) = Logger::start(JSON, out.clone()).unwrap();
    for n in 0..1000 {
        logger.info("c", "m", |fields| {
            fields.add("n", n);
        });
    }
    drop(guard);
    let lines = out.lines();
    assert_eq!(lines.len(), 1000);
    assert!(lines.iter().enumerate().all(|(n, line)| line["n"] == n));
}

/// A reader that takes nothing until it is told to, and says when it was asked to.
struct Slow {
    asked: SyncSender<()>,
    go: Receiver<()>,
    out: Shared,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.try_send(());
        // Once the other end is gone it is fast.
        let _ = self.go.recv();
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_reader_costs_lines_not_time_or_memory() {
    let out = Shared::default();
    let (asked, is_asked) = sync_channel(1);
    let (release, go) = sync_channel(1);
    let (logger, guard) = Logger::start(
        JSON,
        Slow {
            asked,
            go,
            out: out.clone(),
        },
    )
    .unwrap();
    logger.info("c", "first", |_| {});
    is_asked.recv().unwrap();
    // The writer is stuck: these never wait, and what does not fit is dropped.
    let sent = 20_000_u64;
    for _ in 0..sent {
        logger.info("c", "more", |_| {});
    }
    drop(release);
    drop(guard);
    let lines = out.lines();
    let dropped: u64 = lines
        .iter()
        .filter_map(|line| line["dropped"].as_u64())
        .sum();
    let written = lines
        .iter()
        .filter(|line| line["message"] == "more")
        .count();
    assert!(dropped > 0 && written > 0);
    assert_eq!(u64::try_from(written).unwrap() + dropped, sent);
    assert_eq!(lines[1]["context"], "log", "the next line says so");
}

/// A log that nobody can read.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_log_stops_nobody() {
    let (logger, guard) = Logger::start(JSON, Broken).unwrap();
    for _ in 0..100 {
        logger.info("c", "m", |_| {});
    }
    guard.flush(Duration::from_secs(5));
    logger.info("c", "m", |_| {});
}
