//! What a worker leaves on the disk when it ends.

use std::path::Path;
use std::time::Duration;

use buntime_testkit::process::ProcessId;

use super::server;

/// Deeper than any stack, and than the limit of open files.
const DIGGER: &str = r#"
import { mkdirSync, renameSync } from "node:fs";
const tmp = process.env.TMPDIR;
export default {
	fetch() {
		mkdirSync(`${tmp}/chain`);
		for (let level = 0; level < 30_000; level++) {
			mkdirSync(`${tmp}/new`);
			renameSync(`${tmp}/chain`, `${tmp}/new/d`);
			renameSync(`${tmp}/new`, `${tmp}/chain`);
		}
		return new Response(tmp);
	},
};
"#;

#[test]
fn a_deep_tree_in_a_workers_folder_is_removed_and_harms_nobody() {
    let server = server()
        .app(
            "digger@1.0.0",
            "ttl: 0\ntimeout: 60s\n",
            &[("index.ts", DIGGER)],
        )
        .start();
    let process = ProcessId::of(server.pid()).unwrap();
    let mut client = server.connect();
    client.set_patience(Duration::from_secs(60));
    let tmp = client.get("/digger/").text();
    let slot = Path::new(&tmp);
    server.wait_until("its folder is gone", || !slot.exists());
    assert!(process.is_alive(), "the server is gone");
    assert_eq!(server.get("/held/open").text(), "0");
}
