//! Who sees which lines, and what a query asks for.

use super::*;

#[tokio::test]
async fn lines_are_seen_within_the_readers_namespaces() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    let write = |id: &'static str, actor: &[&str], target: Target| {
        let call = call(id, "x", Some(key("k", actor)));
        audit.record(call, target, DONE)
    };
    write("own", &["@a"], unit("@a/x")).await.unwrap();
    write("by root", &["*"], unit("@a/x")).await.unwrap();
    write("other", &["@b"], unit("@b/x")).await.unwrap();
    write("unscoped", &["*"], unit("x")).await.unwrap();
    write("server", &["*"], server("plugins")).await.unwrap();
    // Reached out of its namespaces: neither side is told of the other.
    write("a to b", &["@a"], unit("@b/x")).await.unwrap();
    write("a and b", &["@a", "@b"], units(&["@a/x", "@b/x"]))
        .await
        .unwrap();
    write("of nothing", &["@a"], Target::default())
        .await
        .unwrap();
    audit.refuse_stranger(&stranger([1, 1, 1, 1]), "AUTH_REQUIRED");
    audit.flush().await.unwrap();
    let seen = |reader: &[&str]| {
        let reader = reach(reader);
        let page = audit.read(&all(&reader)).unwrap();
        let mut ids: Vec<_> = page
            .lines
            .into_iter()
            .filter_map(|line| line.request_id)
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(seen(&["@a"]), ["by root", "of nothing", "own"]);
    assert_eq!(seen(&["@b"]), ["other"]);
    assert_eq!(
        seen(&["@A", "@b"]),
        ["a and b", "a to b", "by root", "of nothing", "other", "own"]
    );
    assert_eq!(seen(&["@c"]), [] as [&str; 0]);
    assert_eq!(seen(&["*"]).len(), 8);
}

#[tokio::test]
async fn a_query_takes_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    for (id, action, target) in [
        ("1", "worker.upload", "@a/x"),
        ("2", "worker.remove", "@a/x"),
        ("3", "workers", "@a/xyz"),
        ("4", "key.create", "@b/x"),
    ] {
        let call = call(id, action, Some(key("k", &["*"])));
        audit.record(call, unit(target), DONE).await.unwrap();
    }
    let everything = reach(&["*"]);
    let ids = |query: Query<'_>| {
        let page = audit.read(&query).unwrap();
        let ids = page.lines.into_iter().filter_map(|line| line.request_id);
        ids.collect::<String>()
    };
    let base = all(&everything);
    assert_eq!(
        ids(Query {
            action: Some("worker"),
            ..base
        }),
        "21"
    );
    assert_eq!(
        ids(Query {
            action: Some("worker.upload"),
            ..base
        }),
        "1"
    );
    assert_eq!(
        ids(Query {
            target: Some("@a/x@"),
            ..base
        }),
        "21"
    );
    assert_eq!(
        ids(Query {
            target: Some("@a/x"),
            ..base
        }),
        "321"
    );
    assert_eq!(
        ids(Query {
            key: Some("root"),
            ..base
        }),
        "4321"
    );
    assert_eq!(
        ids(Query {
            key: Some("other"),
            ..base
        }),
        ""
    );
    let (past, future): (Time, Time) =
        ("2001-01-01".parse().unwrap(), "9999-01-01".parse().unwrap());
    assert_eq!(
        ids(Query {
            since: Some(&past),
            until: Some(&future),
            ..base
        }),
        "4321"
    );
    assert_eq!(
        ids(Query {
            until: Some(&past),
            ..base
        }),
        ""
    );
    assert_eq!(
        ids(Query {
            since: Some(&future),
            ..base
        }),
        ""
    );
}

#[test]
fn times_and_cursors_are_read_strictly() {
    for (text, full) in [
        ("2026-11-22", "2026-11-22T00:00:00.000Z"),
        ("2026-11-22T12:34:56Z", "2026-11-22T12:34:56.000Z"),
        ("2026-11-22T12:34:56.789Z", "2026-11-22T12:34:56.789Z"),
    ] {
        let time: Time = text.parse().unwrap();
        assert_eq!(time, full.parse().unwrap(), "{text}");
    }
    for bad in [
        "",
        "today",
        "2026-11-22T12:34:56+01:00",
        "2026-11-22 12:34:56Z",
        "ääääää",
        "2026-11-2ä",
    ] {
        assert_eq!(bad.parse::<Time>(), Err(BadTime), "{bad}");
    }
    let cursor: Cursor = "1a-ff".parse().unwrap();
    assert_eq!(cursor.to_string(), "1a-ff");
    for bad in [
        "",
        "-",
        "1",
        "1-",
        "1-g",
        "+1-1",
        "1-11111111111111111",
        "1-1-1",
    ] {
        assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
    }
}
