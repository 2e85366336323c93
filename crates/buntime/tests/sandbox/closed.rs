//! T1: the server's memory is closed to other processes of its user.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use buntime_testkit::{TestServer, skipped};

use crate::levels::{Level, is_root, place};

const PLAIN: Level = Level {
    plain_user: true,
    masked_proc: false,
    lacks: &[],
};

/// What another process of the same user, without rights of root's, gets of a process.
fn looks(pid: u32) -> Vec<bool> {
    let uid = PLAIN.uid().to_string();
    ["mem", "environ", "maps", "fd/0", "root/etc", "cwd/."]
        .map(|name| {
            let path = format!("/proc/{pid}/{name}");
            let script = format!("if [ -d {path} ]; then ls {path}; else head -c 0 {path}; fi");
            let mut command = if is_root() {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "sh"]);
                command
            } else {
                Command::new("sh")
            };
            let status = command
                .args(["-c", &script])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            status.success()
        })
        .into()
}

#[test]
fn t1_a_process_of_the_same_user_cannot_look_into_the_server() {
    let bin = place();
    let Some(program) = PLAIN.program(bin.path()) else {
        return;
    };
    // An ordinary process can be looked into: else what follows would show nothing.
    let mut other = Command::new("/bin/sleep");
    other.arg("1000").stdin(Stdio::null());
    if is_root() {
        other.uid(PLAIN.uid()).gid(PLAIN.uid());
    }
    let mut other = other.spawn().unwrap();
    let seen = looks(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    if seen.contains(&false) {
        return skipped(&format!("processes here do not see each other: {seen:?}"));
    }

    let builder = TestServer::builder(program)
        .env("RUNTIME_ROOT_KEY", "a-root-key-of-the-test")
        .module(
            "app@1.0.0",
            "ttl: 0\n",
            "export default { fetch: () => new Response(`up`) };",
        );
    let server = PLAIN.hand_over(builder).start();
    let none = vec![false; seen.len()];
    assert_eq!(looks(server.pid()), none);
    // Starting workers, in namespaces where this machine has them, opens nothing.
    for _ in 0..3 {
        assert_eq!(server.get("/app/").text(), "up");
        assert_eq!(looks(server.pid()), none);
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "no core is written");
}
