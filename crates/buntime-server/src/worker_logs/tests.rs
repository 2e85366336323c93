use uuid::Uuid;

use super::*;

fn stdout(text: impl Into<String>) -> Line {
    Line::new(Stream::Stdout, text.into())
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().map(|entry| &*entry.line.text).collect()
}

#[test]
fn lines_stand_under_the_workers_name_with_their_version() {
    let logs = WorkerLogs::default();
    logs.add("@a/x@1.0.0", stdout("one"));
    logs.add("@a/x@2.0.0-rc.1", stdout("two"));
    logs.add("x@latest", stdout("three"));
    let batch = logs.tail("@a/x", None, 10);
    assert_eq!(texts(&batch), ["one", "two"]);
    assert_eq!(&*batch.lines[1].version, "2.0.0-rc.1");
    assert_eq!(texts(&logs.tail("@a/x", Some("1.0.0"), 10)), ["one"]);
    assert_eq!(texts(&logs.tail("x", None, 10)), ["three"]);
    assert_eq!(texts(&logs.tail("@a/x", None, 1)), ["two"]);
    assert_eq!(texts(&logs.tail("none", None, 10)), [""; 0]);
}

#[test]
fn a_line_is_shown_with_all_that_is_known_of_it() {
    let logs = WorkerLogs::default();
    let worker = Uuid::new_v4();
    let line = Line::new(Stream::Error, "Error: \u{1b}[31mno").of(worker);
    logs.add("x@1.0.0", line.during(Some("id-1")));
    let entry = &logs.tail("x", None, 1).lines[0];
    let shown = serde_json::to_value(entry).unwrap();
    assert_eq!(shown["message"], "Error: \u{1b}[31mno");
    assert_eq!(shown["stream"], "error");
    assert_eq!(shown["version"], "1.0.0");
    assert_eq!(shown["worker"], worker.to_string());
    assert_eq!(shown["requestId"], "id-1");
    assert!(shown["time"].as_str().unwrap().ends_with('Z'));
    let id: Cursor = shown["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id, entry.id);
}

#[test]
fn a_follower_sees_each_line_once_and_is_told_what_it_missed() {
    let logs = WorkerLogs::default();
    logs.add("x@1.0.0", stdout("old"));
    logs.add("x@1.0.0", stdout("last"));
    let mut follower = logs.follow("x", None, 1);
    assert_eq!(texts(&follower.take(None, 1000)), ["last"]);
    assert_eq!(texts(&follower.take(None, 1000)), [""; 0]);
    for number in 0..LINES_MAX + 5 {
        logs.add("x@1.0.0", stdout(number.to_string()));
    }
    let batch = follower.take(None, 1);
    assert_eq!((batch.missed, texts(&batch)), (5, vec!["5"]));
    let batch = follower.take(None, usize::MAX);
    assert_eq!((batch.missed, batch.lines.len()), (0, LINES_MAX - 1));
}

#[test]
fn a_follower_goes_on_where_it_was_and_only_there() {
    let logs = WorkerLogs::default();
    for text in ["one", "two", "three"] {
        logs.add("x@1.0.0", stdout(text));
    }
    let seen = logs.tail("x", None, 3).lines[0].id;
    let mut follower = logs.follow("x", Some(seen), 0);
    assert_eq!(texts(&follower.take(None, 1000)), ["two", "three"]);
    // The same number in another ring, or a line that is still to come, means nothing.
    logs.add("y@1.0.0", stdout("other"));
    for strange in [seen.to_string().replace("-0", "-7").parse().unwrap(), {
        let other = logs.tail("y", None, 1).lines[0].id;
        assert_ne!(other, seen);
        other
    }] {
        let mut follower = logs.follow("x", Some(strange), 1);
        assert_eq!(texts(&follower.take(None, 1000)), ["three"]);
    }
}

#[tokio::test]
async fn a_follower_hears_of_lines_of_workers_that_had_none() {
    let logs = WorkerLogs::default();
    let mut follower = logs.follow("x", None, 10);
    assert!(follower.take(None, 1000).lines.is_empty());
    let other = logs.clone();
    let write = tokio::spawn(async move { other.add("x@1.0.0", stdout("first")) });
    follower.changed().await;
    assert_eq!(texts(&follower.take(None, 1000)), ["first"]);
    write.await.unwrap();
}

#[test]
fn one_worker_has_a_bound_and_so_have_all_together() {
    let logs = WorkerLogs::default();
    let line = || stdout("x".repeat(16 * 1024));
    let mut followed = logs.follow("app0", None, 0);
    for number in 0..40 {
        for _ in 0..20 {
            logs.add(&format!("app{number}@1.0.0"), line());
        }
    }
    let rings = logs.rings.lock();
    let of = |name: &str| rings.by_name.get(name).map(Ring::bytes);
    assert!(rings.bytes <= TOTAL_MAX);
    assert_eq!(
        rings.bytes,
        rings.by_name.values().map(Ring::bytes).sum::<usize>()
    );
    // The last that was written to has all that one may have, the first nothing.
    assert!(of("app39").is_some_and(|bytes| (BYTES_MAX - 20_000..=BYTES_MAX).contains(&bytes)));
    assert_eq!((of("app0"), of("app1")), (Some(0), None));
    drop(rings);
    assert_eq!(followed.take(None, usize::MAX).missed, 20);
}

#[test]
fn followers_are_counted_by_key_and_in_all() {
    let logs = WorkerLogs::default();
    let key = |name: &str| name.parse::<KeyId>().unwrap();
    let mut places: Vec<_> = (0..20).filter_map(|_| logs.admit(&key("one"))).collect();
    assert_eq!(places.len(), FOLLOWERS_OF_KEY);
    for number in 0..20 {
        let key = key(&format!("k{number}"));
        places.extend((0..5).filter_map(|_| logs.admit(&key)));
    }
    assert_eq!(places.len(), FOLLOWERS_MAX);
    drop(places);
    assert!(logs.followers.lock().is_empty());
    assert!(logs.admit(&key("one")).is_some());
}

#[test]
fn names_of_lines_are_read_strictly() {
    let cursor = logs_cursor();
    assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    for bad in [
        "",
        "-",
        "1-1",
        "0000000000000001-",
        "0000000000000001-+1",
        "000000000000000g-1",
    ] {
        // An empty number is no number either.
        assert!(bad.parse::<Cursor>().is_err(), "{bad}");
    }
}

fn logs_cursor() -> Cursor {
    let logs = WorkerLogs::default();
    logs.add("x@1.0.0", stdout("one"));
    logs.tail("x", None, 1).lines[0].id
}
