//! What a call leaves in the file.

use std::os::unix::fs::MetadataExt as _;

use super::*;

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
