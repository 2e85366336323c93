//! Real processes.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use buntime_sandbox::{Exit, Launch, Launcher, Process, ProcessLimits, SpawnError, Step};

const PROBE: &str = env!("CARGO_BIN_EXE_buntime-launch-probe");

fn launcher() -> Launcher {
    Launcher::start().unwrap()
}

fn launch(program: &str, args: &[&str]) -> (Launch, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let launch = Launch {
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        control: theirs.into(),
        limits: ProcessLimits::default(),
        nice: 0,
        policy: None,
    };
    (launch, ours)
}

fn shell(script: &str) -> (Launch, UnixStream) {
    launch("/bin/sh", &["-c", script])
}

/// Runs it to its end and returns how it ended and what it printed.
async fn run(launch: Launch) -> (Exit, String) {
    let mut process = launcher().spawn(launch).await.unwrap();
    let output = read(process.stdout.take().unwrap()).await;
    (process.wait().await, output)
}

async fn read(from: OwnedFd) -> String {
    tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        File::from(from).read_to_string(&mut text).unwrap();
        text
    })
    .await
    .unwrap()
}

/// Whether a process of this pid exists, dead and unreaped ones included.
fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for a condition that only the kernel can announce by being asked.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let (mut launch, _control) = launch("/usr/bin/env", &[]);
    launch.env = vec![
        ("ONLY".into(), "this".into()),
        ("EMPTY".into(), "".into()),
        ("LINES".into(), "a\nb=c".into()),
    ];
    let (exit, output) = run(launch).await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(output, "ONLY=this\nEMPTY=\nLINES=a\nb=c\n");
}

#[tokio::test]
async fn arguments_arrive_unchanged_and_unconfused() {
    let (launch, _control) = launch("/usr/bin/printf", &["[%s]", "", "--", "a b", "A=1", "é"]);
    assert_eq!(run(launch).await.1, "[][--][a b][A=1][é]");
}

#[tokio::test]
async fn no_descriptor_is_inherited_beyond_the_control_channel() {
    let leaky: Vec<_> = (0..20).map(|_| File::open("/dev/zero").unwrap()).collect();
    for file in &leaky {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty()).unwrap();
    }
    // `ls` has one more open: the directory that it lists.
    let (launch, control) = launch("/bin/ls", &["-l", "/proc/self/fd"]);
    let (exit, output) = run(launch).await;
    assert_eq!(exit, Exit::Code(0));
    assert!(!output.contains("/dev/zero"), "{output}");
    let numbers: BTreeSet<&str> = output
        .lines()
        .filter_map(|line| line.split(" -> ").next()?.rsplit(' ').next())
        .filter(|number| number.parse::<u32>().is_ok())
        .collect();
    assert!(
        numbers.iter().eq(["0", "1", "2", "3", "4"].iter()),
        "{output}"
    );
    assert!(output.contains("0 -> /dev/null"), "{output}");
    assert!(output.contains("3 -> socket:"), "{output}");
    assert!(leaky[0].as_raw_fd() > 2);
    drop(control);
}

#[tokio::test]
async fn stdin_is_at_its_end() {
    let (launch, _control) = launch("/usr/bin/wc", &["-c"]);
    assert_eq!(run(launch).await.1, "0\n");
}

#[tokio::test]
async fn the_control_channel_goes_both_ways() {
    let (launch, mut control) = shell("read line <&3; echo \"got $line\" >&3");
    let mut process = launcher().spawn(launch).await.unwrap();
    control.write_all(b"ping\n").unwrap();
    let mut answer = String::new();
    BufReader::new(control).read_line(&mut answer).unwrap();
    assert_eq!(answer, "got ping\n");
    assert_eq!(process.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn the_process_has_a_group_and_limits_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (mut launch, _control) = launch(
        "/bin/sh",
        &[
            "-c",
            "ulimit -n; ulimit -c; ulimit -f; ulimit -d; umask; pwd; nice; \
             cut -d' ' -f1,5 /proc/$$/stat",
        ],
    );
    launch.cwd = dir.path().to_path_buf();
    launch.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    launch.limits = ProcessLimits {
        open_files: 99,
        file_size: Some(1 << 20),
        data: Some(8 << 30),
    };
    launch.nice = 5;
    let mut process = launcher().spawn(launch).await.unwrap();
    let pid = process.pid();
    let output = read(process.stdout.take().unwrap()).await;
    assert_eq!(process.wait().await, Exit::Code(0));
    let lines: Vec<&str> = output.lines().collect();
    let file_blocks = (1 << 20) / 512;
    assert_eq!(lines[0], "99");
    assert_eq!(lines[1], "0");
    assert_eq!(lines[2], file_blocks.to_string());
    assert_eq!(lines[3], (8 << 20).to_string());
    assert_eq!(lines[4], "0077");
    assert_eq!(Path::new(lines[5]), dir.path().canonicalize().unwrap());
    let nice = rustix::process::getpriority_process(None).unwrap() + 5;
    assert_eq!(lines[6], nice.to_string());
    assert_eq!(lines[7], format!("{pid} {pid}"));
}

#[tokio::test]
async fn the_process_gains_no_privileges_and_inherits_no_signal_settings() {
    // Not by way of a shell, which blocks signals of its own while it forks.
    let (launch, _control) = launch("/bin/cat", &["/proc/self/status"]);
    let (_, output) = run(launch).await;
    for line in [
        "NoNewPrivs:\t1",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
        "SigCgt:\t0000000000000000",
    ] {
        assert!(output.lines().any(|found| found == line), "{output}");
    }
}

#[tokio::test]
async fn the_process_is_scheduled_in_batches() {
    let (launch, _control) = launch("/bin/cat", &["/proc/self/stat"]);
    let (_, output) = run(launch).await;
    // Field 41 of proc_pid_stat(5); the two first are before the bracket.
    let fields = output.rsplit_once(')').unwrap().1;
    assert_eq!(fields.split_whitespace().nth(38), Some("3"), "{output}");
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let (launch, _control) = launch("/no/such/bun", &[]);
    let error = launcher().spawn(launch).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/bun"), "{error}");
    let SpawnError::Step { step, source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(step, Step::Exec);
    assert_eq!(source.raw_os_error(), Some(libc::ENOENT));
}

#[tokio::test]
async fn a_file_that_is_no_program_is_not_given_to_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    std::fs::write(&path, "echo ran by a shell").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    let (launch, _control) = launch(path.to_str().unwrap(), &[]);
    let error = launcher().spawn(launch).await.unwrap_err();
    let SpawnError::Step { step, source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(step, Step::Exec);
    assert_eq!(source.raw_os_error(), Some(libc::ENOEXEC));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let (mut launch, _control) = launch("/bin/true", &[]);
    launch.cwd = PathBuf::from("/no/such/dir");
    let error = launcher().spawn(launch).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("working directory (/no/such/dir)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_environment_of_a_megabyte_arrives() {
    let (mut launch, _control) = launch("/usr/bin/env", &[]);
    // One string may have 128 KB.
    launch.env = (0..10)
        .map(|n| (format!("V{n}").into(), "x".repeat(100_000).into()))
        .collect();
    let (exit, output) = run(launch).await;
    assert_eq!((exit, output.len()), (Exit::Code(0), 10 * 100_004));
}

#[tokio::test]
async fn an_environment_too_large_for_the_system_is_an_error() {
    let (mut launch, _control) = launch("/usr/bin/env", &[]);
    launch.env = vec![("V".into(), "x".repeat(200_000).into())];
    let error = launcher().spawn(launch).await.unwrap_err();
    let SpawnError::Step { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.raw_os_error(), Some(libc::E2BIG));
}

#[tokio::test]
async fn exits_are_told_apart() {
    let (code, _control) = shell("exit 7");
    assert_eq!(run(code).await.0, Exit::Code(7));
    let (signal, _control) = shell("kill -9 $$");
    assert_eq!(run(signal).await.0, Exit::Signal(libc::SIGKILL));
}

#[tokio::test]
async fn terminate_asks_and_kill_insists() {
    let launcher = launcher();
    let (polite, control) = shell("trap 'exit 3' TERM; echo up >&3; while :; do sleep 0.01; done");
    let mut process = launcher.spawn(polite).await.unwrap();
    up(&control);
    process.terminate();
    assert_eq!(process.wait().await, Exit::Code(3));

    let (deaf, control) = shell("trap '' TERM; echo up >&3; while :; do sleep 0.01; done");
    let mut process = launcher.spawn(deaf).await.unwrap();
    up(&control);
    process.terminate();
    process.kill();
    assert_eq!(process.wait().await, Exit::Signal(libc::SIGKILL));
    // Later calls find nothing to harm and say the same.
    process.kill();
    process.terminate();
    assert_eq!(process.wait().await, Exit::Signal(libc::SIGKILL));
}

/// Reads one line from the control channel.
fn up(control: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[tokio::test]
async fn the_whole_group_dies_with_its_leader() {
    let (launch, control) = shell("sleep 1000 & echo $! >&3; exit 0");
    let mut process = launcher().spawn(launch).await.unwrap();
    let left_behind: u32 = up(&control).parse().unwrap();
    assert_eq!(process.wait().await, Exit::Code(0));
    eventually("the orphan is dead", || !running(left_behind)).await;
}

/// Whether a process runs; an orphan that nobody reaps counts as gone.
fn running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    })
}

#[tokio::test]
async fn dropping_a_process_kills_and_reaps_it() {
    let launcher = launcher();
    let (launch, _control) = launch("/bin/sleep", &["1000"]);
    let process = launcher.spawn(launch).await.unwrap();
    let pid = process.pid();
    assert!(exists(pid));
    drop(process);
    eventually("the process is reaped", || !exists(pid)).await;
}

#[tokio::test]
async fn a_process_outlives_the_launcher_handle_that_started_it() {
    let (launch, control) = shell("read line <&3; exit 4");
    let mut process = launcher().spawn(launch).await.unwrap();
    // `launcher()` is gone here; its thread must not be, or the kernel would
    // kill the process.
    (&control).write_all(b"go\n").unwrap();
    assert_eq!(process.wait().await, Exit::Code(4));
}

#[tokio::test]
async fn a_spawn_given_up_leaves_nothing() {
    let launcher = launcher();
    let (launch, control) = launch("/bin/sleep", &["1000"]);
    let mut spawn = Box::pin(launcher.spawn(launch));
    // Give it up after its first step, somewhere between queue and exec.
    tokio::select! {
        biased;
        _ = &mut spawn => {}
        () = std::future::ready(()) => {}
    }
    drop(spawn);
    // The other end closes when the last holder of the descriptor is gone.
    let mut rest = Vec::new();
    let ended = tokio::task::spawn_blocking(move || {
        control
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (&control).read_to_end(&mut rest)
    });
    ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_are_all_reaped() {
    let launcher = launcher();
    let mut tasks = tokio::task::JoinSet::new();
    for code in 0..200 {
        let launcher = launcher.clone();
        tasks.spawn(async move {
            let (launch, _control) = shell(&format!("exit {code}"));
            let mut process: Process = launcher.spawn(launch).await.unwrap();
            (code, process.pid(), process.wait().await)
        });
    }
    for (code, pid, exit) in tasks.join_all().await {
        assert_eq!(exit, Exit::Code(code));
        assert!(!exists(pid));
    }
}

#[tokio::test]
async fn the_process_dies_when_the_server_is_killed() {
    let mut server = Command::new(PROBE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(running(pid));
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("the process is dead", || !running(pid)).await;
}

/// Who can open a terminal that it shares with a shell can type commands into it.
#[test]
fn the_process_has_no_terminal() {
    // Field 7 is the controlling terminal, 0 for none; 4 the parent.
    let field = |pid: &str, number: usize| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(number - 3).map(str::to_owned).next().unwrap()
    };
    // A server with a terminal of its own.
    let mut shell = Command::new("script")
        .args(["--quiet", "--command", PROBE, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid = line.trim();
    let server = field(pid, 4);
    assert_ne!(field(&server, 7), "0");
    assert_eq!(field(pid, 7), "0");
    shell.kill().unwrap();
    shell.wait().unwrap();
}
