//! A network with an inside and an outside: the tests of `outside` run in one network
//! namespace, and what they reach is in another, so that its addresses are not this
//! machine's own. They are run by the one test here.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use buntime_testkit::skipped;
use buntime_testkit::tls::Certificate;

const OUTSIDE: &str = include_str!("outside.ts");
/// Names, and where they lead.
const HOSTS: &str = "127.0.0.1 localhost\n\
    203.0.114.10 api.example.com other.example.com\n\
    10.9.0.2 db.internal\n\
    127.0.0.1 rebound.example.com\n\
    10.9.0.1 self.example.com\n\
    169.254.169.254 metadata.example.com\n\
    203.2.114.6 second.example.com\n\
    10.9.0.2 inside.example.com\n";
/// `$1`: Bun. The outside is where it begins, the inside where it ends.
const SETUP: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$WORLD/hosts" /etc/hosts
mount --bind "$WORLD/resolv.conf" /etc/resolv.conf
ip link set lo up
exec 3<&0
"$WORLD_BUN" "$WORLD/outside.ts" <&3 >/dev/null &
OUTSIDE=$!
unshare -n sh -c '
set -e
ip link set lo up
ip link add out type veth peer name in netns '"$OUTSIDE"'
ip addr add 10.9.0.1/24 dev out
# Addresses of this machine that it never sends from by itself.
ip addr add 203.1.114.5/24 dev lo
ip addr add 203.2.114.5/24 dev out
ip addr add 203.2.114.6/24 dev out
ip route add local 203.3.114.0/24 dev lo
ip link set out up
nsenter -t '"$OUTSIDE"' -n sh -c "
  ip link set in up
  for address in 10.9.0.2/24 203.0.114.10/32 169.254.169.254/32; do ip addr add \$address dev in; done
"
ip route add default via 10.9.0.2
exec "$@"
' sh "$@"
"#;

#[test]
fn the_outside_is_reached_as_the_manifest_says_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("hosts", HOSTS);
    file(
        "resolv.conf",
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    );
    file("outside.ts", OUTSIDE);
    Certificate::new().write(dir.path());
    let flags: &[&str] = if rustix::process::geteuid().is_root() {
        &["-mn"]
    } else {
        &["-Urmn"]
    };
    let unshare = |script: &str| {
        let mut command = Command::new("/usr/bin/unshare");
        command.args(flags).args(["/bin/sh", "-c", script, "sh"]);
        command
            .env("WORLD", dir.path())
            .env("WORLD_BUN", buntime_testkit::real_bun());
        command
    };
    let probe = "mount --make-rprivate / && ip link add out type veth peer name in";
    let works = unshare(probe).output();
    if !works.as_ref().is_ok_and(|output| output.status.success()) {
        return skipped(&format!(
            "no network of its own can be made here: {works:?}"
        ));
    }
    let tests = Path::new("/proc/self/exe").canonicalize().unwrap();
    let mut inside = unshare(SETUP)
        .arg(tests)
        .args([
            "gateway::outside::",
            "--ignored",
            "--test-threads=2",
            "--show-output",
        ])
        // The outside ends when this is closed.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let stdout = inside.stdout.take().unwrap();
    { stdout }.read_to_string(&mut said).unwrap();
    let status = inside.wait().unwrap();
    // What was skipped stands there.
    println!("{said}");
    assert!(status.success() && !said.contains(" 0 passed"), "{said}");
}
