use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::launch::ProcessLimits;

const SHORT: Duration = Duration::from_millis(300);

fn launch(program: &Path) -> Launch {
    Launch {
        program: program.to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: PathBuf::from("/"),
        control: File::open("/dev/null").unwrap().into(),
        limits: ProcessLimits::default(),
        nice: 0,
        policy: None,
    }
}

/// A program whose every other open waits, for as long as the system lets it (45 seconds),
/// until the file is dropped.
#[expect(unsafe_code, reason = "rustix has no leases")]
fn held_back(path: &Path) -> File {
    // Not in all versions of the C library's headers.
    const F_SETSIG: libc::c_int = 10;
    std::fs::copy("/bin/true", path).unwrap();
    let file = File::open(path).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    // SAFETY: plain numbers. The signal that tells of who waits is one that is ignored.
    unsafe {
        assert_eq!(libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG), 0);
        // Children of other tests may have the copy open for a moment.
        while libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) != 0 {
            let error = io::Error::last_os_error();
            assert!(std::time::Instant::now() < end, "{error}");
            std::thread::yield_now();
        }
    }
    file
}

#[tokio::test]
async fn a_start_that_hangs_fails_and_the_next_does_not() {
    let launcher = Launcher::with_patience(SHORT).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let hangs = dir.path().join("hangs");
    let held = held_back(&hangs);
    let error = launcher.spawn(launch(&hangs)).await.unwrap_err();
    let SpawnError::Start { source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    let mut next = launcher.spawn(launch("/bin/true".as_ref())).await.unwrap();
    assert_eq!(next.wait().await, crate::process::Exit::Code(0));
    drop(held);
}

/// Puts a job that will hang into the queue.
async fn submit(spawn: std::pin::Pin<&mut impl Future>) {
    tokio::select! {
        biased;
        _ = spawn => panic!("it was to hang"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn a_job_that_was_given_up_keeps_its_place_until_its_turn() {
    let launcher = Launcher::with_patience(Duration::from_secs(20)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let hangs = dir.path().join("hangs");
    let held = held_back(&hangs);
    let mut first = Box::pin(launcher.spawn(launch(&hangs)));
    submit(first.as_mut()).await;
    for _ in 1..QUEUE {
        // As a caller that goes away once its job is in the queue.
        submit(Box::pin(launcher.spawn(launch(&hangs))).as_mut()).await;
    }
    assert_eq!(launcher.handle.places.available_permits(), 0);
    drop(held);
    first.await.unwrap();
    let mut next = launcher.spawn(launch("/bin/true".as_ref())).await.unwrap();
    assert_eq!(next.wait().await, crate::process::Exit::Code(0));
}
