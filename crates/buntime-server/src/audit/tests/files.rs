//! The file: when it cannot be written, when it was cut off, and many writers at once.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

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
