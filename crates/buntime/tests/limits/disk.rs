//! `limits.disk`.

use super::{assert_killed_by, hog, server};

const LIMIT: &str = "{disk: 16mb}";
const REASON: &str = "killed: disk 16 MB";

#[test]
fn w15_an_app_that_fills_its_data_folder_with_one_file_is_killed() {
    let server = server(LIMIT).start();
    let neighbour = server.probe();
    let worker = hog(&server);
    let response = server.get("/hog/one-file");
    assert_eq!(response.status, 502, "{}", response.text());
    super::assert_killed(&server, worker, REASON);
    neighbour.finish();
}

#[test]
fn w15_an_app_that_fills_its_temporary_folder_with_many_files_is_killed() {
    assert_killed_by(LIMIT, "many-files", REASON);
}

#[test]
fn w15_a_file_without_a_name_counts() {
    assert_killed_by(LIMIT, "file-without-a-name", REASON);
}

#[test]
fn w15_files_without_a_name_that_are_mapped_and_not_open_count() {
    assert_killed_by(LIMIT, "mapped-files-without-a-name", REASON);
}

#[test]
fn w15_what_a_folder_holds_that_nobody_may_read_counts() {
    assert_killed_by(LIMIT, "folder-that-nobody-reads", REASON);
}

#[test]
fn an_app_that_begins_with_too_much_may_clear_up_and_not_write_more() {
    let server = server(LIMIT).start();
    let neighbour = server.probe();
    for (mb, reason) in [(24, REASON), (28, REASON)] {
        let worker = hog(&server);
        let response = server.get(&format!("/hog/file-of-size?mb={mb}"));
        assert_eq!(response.status, 502, "{response:?}");
        assert_eq!(server.wait_for_end(worker), reason);
    }
    let worker = hog(&server);
    assert_eq!(server.get("/hog/clear").text(), "clear");
    assert_eq!(hog(&server), worker);
    neighbour.finish();
}
