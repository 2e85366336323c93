use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use buntime_core::PackageName;
use buntime_core::access::Permissions;
use buntime_core::access::{KeyId, Namespaces, Principal, Rights, Role};
use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::log::Log;
use super::*;
use crate::logging::Captured;

const SMALL: Limits = Limits {
    file: 4096,
    files: 3,
};

fn open(dir: &TempDir, limits: Limits) -> (Audit, Captured) {
    let (logger, captured) = Logger::capture();
    (Audit::open(dir.path(), limits, logger).unwrap(), captured)
}

fn key(name: &str, namespaces: &[&str]) -> Actor {
    let principal = Principal {
        id: KeyId::root(),
        name: name.into(),
        key_prefix: "btk_abcdefgh".into(),
        role: Role::Custom,
        rights: Rights {
            permissions: Permissions::all(),
            namespaces: reach(namespaces),
            expires_at: None,
        },
        created_at: SystemTime::UNIX_EPOCH,
        is_root: false,
    };
    Actor::from(&principal)
}

fn reach(list: &[&str]) -> Namespaces {
    Namespaces::parse(list.iter().copied()).unwrap()
}

fn call(id: &str, action: &'static str, actor: Option<Actor>) -> Call {
    Call {
        request_id: id.into(),
        actor,
        from: IpAddr::from([192, 0, 2, 7]).into(),
        method: "POST",
        path: "/workers/upload".into(),
        action,
    }
}

fn unit(name: &str) -> Target {
    let mut target = Target::named(&format!("{name}@1.0.0"));
    target.add_scope(name.parse::<PackageName>().unwrap().scope());
    target
}

fn server(name: &str) -> Target {
    let mut target = Target::named(name);
    target.add_server();
    target
}

fn units(names: &[&str]) -> Target {
    let mut target = Target::named(&names.join(", "));
    for name in names {
        target.add_scope(name.parse::<PackageName>().unwrap().scope());
    }
    target
}

const DONE: Outcome = Outcome {
    status: 200,
    code: None,
};

fn all(reader: &Namespaces) -> Query<'_> {
    Query {
        limit: 100,
        cursor: None,
        action: None,
        key: None,
        target: None,
        since: None,
        until: None,
        reader,
    }
}

fn lines(dir: &TempDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path().join("audit.log")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a1_a_call_leaves_one_line_that_tells_all() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    let begun = call("r-1", "worker.upload", Some(key("ci", &["@a"])));
    let mut pending = audit.begin(begun).await.unwrap();
    assert_eq!(lines(&dir), [] as [Value; 0], "nothing has happened yet");
    pending.about(unit("@a/shop"));
    pending.finish(DONE).await.unwrap();
    let lines = lines(&dir);
    assert_eq!(lines.len(), 1);
    let time = lines[0]["time"].as_str().unwrap();
    assert!(time.parse::<Time>().is_ok() && time.len() == 24, "{time}");
    let mut line = lines[0].clone();
    line.as_object_mut().unwrap().remove("time");
    assert_eq!(
        line,
        serde_json::json!({
            "requestId": "r-1",
            "key": {"id": "root", "name": "ci", "prefix": "btk_abcdefgh"},
            "address": "192.0.2.7",
            "method": "POST",
            "path": "/workers/upload",
            "action": "worker.upload",
            "target": "@a/shop@1.0.0",
            "namespaces": ["@a"],
            "status": 200,
        })
    );
    let mode = fs::metadata(dir.path().join("audit.log")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_call_that_is_cut_off_leaves_its_line_too() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    let mut pending = audit.begin(call("r", "key.revoke", None)).await.unwrap();
    pending.about(server("k"));
    drop(pending);
    audit.flush().await.unwrap();
    let lines = lines(&dir);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["code"]),
        (&Value::Null, &"CUT_OFF".into())
    );
}

#[tokio::test]
async fn a2_whatever_a_name_holds_a_line_is_one_line_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    let nasty = "a\"b\\c\n{\"forged\":1}\r\u{1b}[31m\u{202e}\u{9b}\0";
    let long = nasty.repeat(10_000);
    for text in [nasty, &long] {
        let mut call = call(text, "x", Some(key(text, &["*"])));
        call.path = text.into();
        let target = Target::named(text);
        audit.record(call, target, DONE).await.unwrap();
    }
    let text = fs::read_to_string(dir.path().join("audit.log")).unwrap();
    assert_eq!(text.matches('\n').count(), 2);
    assert!(
        text.trim_end()
            .chars()
            .all(|c| c == '\n' || !c.is_control())
    );
    assert!(text.lines().all(|line| line.len() < line::LONGEST));
    let lines = lines(&dir);
    assert_eq!(lines[0]["key"]["name"], nasty);
    assert_eq!(lines[0]["target"], nasty);
    assert!(lines[1]["target"].as_str().unwrap().ends_with('…'));
}

#[test]
fn a2_of_too_many_names_all_are_told_by_number_and_hash() {
    let mut target = Target::default();
    let few: Vec<String> = (0..10).map(|n| format!("apps/x/{n}")).collect();
    target.rename_all(&few);
    assert_eq!(target.name(), few.join(", "));
    let many: Vec<String> = (0..1000).map(|n| format!("apps/x/1.0.0/{n}")).collect();
    target.rename_all(&many);
    // printf 'apps/x/1.0.0/%d\n' $(seq 0 999) | sha256sum
    let hash = "8a337baa408c482c5a98ff76815310b748cc7489b7cd7b852960a2657c5fd4c4";
    let begin = format!("1000 paths, sha256 {hash}: apps/x/1.0.0/0, apps/x/1.0.0/1, ");
    assert!(target.name().starts_with(&begin), "{}", target.name());
    assert!(target.name().ends_with('…') && target.name().len() <= 2048);
    let mut other = many;
    other[999].push('x');
    let before = target.name().to_owned();
    target.rename_all(&other);
    assert_ne!(target.name(), before);
}

#[tokio::test]
async fn a3_without_a_writable_file_nothing_begins_until_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, log) = open(&dir, Limits::default());
    let path = dir.path().join("audit.log");
    let pending = audit.begin(call("r-0", "x", None)).await.unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // One that had begun is not answered as if it were written, and is not lost.
    assert_eq!(pending.finish(DONE).await, Err(AuditUnavailable));
    for _ in 0..3 {
        let refused = audit.begin(call("r-1", "x", None)).await;
        assert_eq!(refused.map(drop), Err(AuditUnavailable));
    }
    assert!(!audit.is_available() && audit.failures() == 4);
    let everything = reach(&["*"]);
    assert_eq!(
        audit.read(&all(&everything)).unwrap().lines,
        [],
        "reading goes on"
    );
    fs::remove_dir(&path).unwrap();
    let again = audit.begin(call("r-2", "x", None)).await.unwrap();
    again.finish(DONE).await.unwrap();
    let ids: Vec<Value> = lines(&dir)
        .iter()
        .map(|line| line["requestId"].clone())
        .collect();
    assert_eq!(ids, ["r-0", "r-2"]);
    let told: Vec<Value> = log
        .json()
        .iter()
        .map(|line| line["level"].clone())
        .collect();
    assert_eq!(told, ["error", "info"], "once each");
}

#[tokio::test]
async fn the_file_is_never_one_that_a_link_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join("audit.log")).unwrap();
    let (audit, _) = open(&dir, Limits::default());
    assert!(audit.begin(call("r", "x", None)).await.is_err());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"");
}

#[tokio::test]
async fn after_a_crash_the_next_line_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    audit
        .record(call("r-1", "x", None), Target::default(), DONE)
        .await
        .unwrap();
    drop(audit);
    let path = dir.path().join("audit.log");
    let mut torn = fs::read(&path).unwrap();
    torn.extend_from_slice(&torn.clone()[..40]);
    fs::write(&path, torn).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (audit, _) = open(&dir, Limits::default());
    audit
        .record(call("r-2", "x", None), Target::default(), DONE)
        .await
        .unwrap();
    let everything = reach(&["*"]);
    let page = audit.read(&all(&everything)).unwrap();
    let ids: Vec<_> = page
        .lines
        .iter()
        .map(|line| line.request_id.as_deref().unwrap())
        .collect();
    assert_eq!(ids, ["r-2", "r-1"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_once_leave_a_line_each() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(
        &dir,
        Limits {
            file: 1 << 16,
            files: 99,
        },
    );
    let calls = (0..400).map(|n| {
        let audit = audit.clone();
        tokio::spawn(async move {
            let call = call(&format!("r-{n}"), "x", None);
            audit.begin(call).await.unwrap().finish(DONE).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let everything = reach(&["*"]);
    let mut query = all(&everything);
    let mut ids = Vec::new();
    loop {
        let page = audit.read(&query).unwrap();
        ids.extend(page.lines.into_iter().map(|line| line.request_id.unwrap()));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 400);
}

fn stranger(address: impl Into<IpAddr>) -> Caller {
    address.into().into()
}

#[tokio::test]
async fn k8_refusals_of_strangers_are_counted_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    for n in 0..50_u16 {
        audit.refuse_stranger(&stranger([192, 0, 2, 1]), "AUTH_REQUIRED");
        audit.refuse_stranger(&stranger([0x2001, 0xdb8, 0, 1, n, 2, 3, 4]), "INVALID_KEY");
    }
    audit.refuse_stranger(&stranger([192, 0, 2, 1]), "INVALID_KEY");
    audit.flush().await.unwrap();
    let mut lines = lines(&dir);
    lines.sort_by_key(|line| line["address"].to_string());
    let [v4, v6] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(v4["address"], "192.0.2.1");
    assert_eq!(
        v4["counts"],
        serde_json::json!({"AUTH_REQUIRED": 50, "INVALID_KEY": 1})
    );
    assert_eq!(v6["address"], "2001:db8:0:1::/64");
    assert_eq!(v6["counts"], serde_json::json!({"INVALID_KEY": 50}));
    assert_eq!(
        (&v4["key"], &v4["namespaces"]),
        (&Value::Null, &serde_json::json!(["*"]))
    );
}

#[tokio::test]
async fn many_strangers_share_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (audit, _) = open(&dir, Limits::default());
    for n in 0..20_000_u32 {
        audit.refuse_stranger(&stranger(n.to_be_bytes()), "AUTH_REQUIRED");
    }
    audit.flush().await.unwrap();
    let lines = lines(&dir);
    assert_eq!(lines.len(), 257);
    let counted = lines
        .iter()
        .map(|line| line["counts"]["AUTH_REQUIRED"].as_u64().unwrap());
    assert_eq!(counted.sum::<u64>(), 20_000);
}

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

/// Lines of a file, of one length each so that the model knows where files end.
fn some_line(n: u32, length: usize) -> Vec<u8> {
    let call = call(&n.to_string(), "x", None);
    let target = server(&"t".repeat(length));
    let entry = Entry::new(call, target, Some(DONE));
    entry.render(crate::logging::Timestamp::now())
}

fn page_ids(dir: &Path, log: &Log, query: &Query<'_>) -> (Vec<u32>, Option<Cursor>) {
    let page = reader::read(dir, &log.live(), query).unwrap();
    let ids = page
        .lines
        .iter()
        .map(|line| line.request_id.as_ref().unwrap().parse().unwrap());
    (ids.collect(), page.next)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pages tell what a plain list would, whatever happens between two of them:
    /// more lines, new files, restarts, torn ends.
    #[test]
    fn pages_agree_with_a_list(
        steps in proptest::collection::vec((0_usize..1500, 0_u8..12), 1..60),
        limit in 1_usize..9,
        begin in 0_usize..60,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(dir.path(), SMALL);
        let mut files = vec![Vec::new()];
        let mut length = 0;
        let everything = reach(&["*"]);
        let mut query = Query { limit, ..all(&everything) };
        let mut read = Vec::new();
        let mut expected: Option<Vec<u32>> = None;
        for (n, (size, event)) in steps.into_iter().enumerate() {
            let n_32 = u32::try_from(n).unwrap();
            let line = some_line(n_32, size);
            if event == 0 {
                // A crash in the middle of a line, and a new start.
                let mut torn = fs::read(dir.path().join("audit.log")).unwrap_or_default();
                torn.extend_from_slice(&line[..line.len() / 2]);
                length = torn.len() + 1;
                fs::write(dir.path().join("audit.log"), torn).unwrap();
                log = Log::new(dir.path(), SMALL);
                log.append(b"").unwrap();
            }
            if length > 0 && length + line.len() > 4096 {
                files.push(Vec::new());
                length = 0;
            }
            log.append(&line).unwrap();
            length += line.len();
            files.last_mut().unwrap().push(n_32);
            let kept = files.len().saturating_sub(1 + SMALL.files);
            if n == begin {
                let mut all: Vec<u32> = files[kept..].concat();
                all.reverse();
                expected = Some(all);
            }
            if expected.is_some() && (read.is_empty() || query.cursor.is_some()) {
                let (ids, next) = page_ids(dir.path(), &log, &query);
                prop_assert!(ids.len() <= limit);
                read.extend(ids);
                query.cursor = next;
            }
        }
        if let Some(expected) = expected {
            while query.cursor.is_some() {
                let (ids, next) = page_ids(dir.path(), &log, &query);
                read.extend(ids);
                query.cursor = next;
            }
            // What was removed meanwhile is missing at the end, nothing else.
            prop_assert_eq!(&expected[..read.len()], &read[..]);
            let removed = files.len().saturating_sub(1 + SMALL.files);
            let left: Vec<u32> = files[removed..].concat();
            let missed = &expected[read.len()..];
            prop_assert!(missed.iter().all(|n| !left.contains(n)), "{missed:?}");
        }
        let everything: u64 = fs::read_dir(dir.path()).unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        prop_assert!(everything <= 4 * (4096 + 2048));
    }

    #[test]
    fn no_text_breaks_the_readers_of_queries(text in "\\PC{0,30}") {
        let _ = text.parse::<Time>();
        let _ = text.parse::<Cursor>();
    }
}

#[test]
fn garbage_in_the_files_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::new(dir.path(), Limits::default());
    log.append(&some_line(1, 10)).unwrap();
    let mut garbage = vec![b'x'; 300_000];
    garbage.extend_from_slice(b"\n\n\0\0\n[]\n{}\n");
    log.append(&garbage).unwrap();
    log.append(&some_line(2, 10)).unwrap();
    let everything = reach(&["*"]);
    assert_eq!(page_ids(dir.path(), &log, &all(&everything)).0, [2, 1]);
}
