//! Pages of the log, held against a list.

use std::path::Path;

use proptest::prelude::*;

use super::super::log::Log;
use super::*;

const SMALL: Limits = Limits {
    file: 4096,
    files: 3,
};

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
