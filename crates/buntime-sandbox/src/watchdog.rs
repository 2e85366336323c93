//! Kills children of the launcher that take too long.
//!
//! A child looks at paths that the operator granted or where apps lie. One on a file system
//! that does not answer would hold the launcher's only thread for ever, and with it every
//! start. It can be killed there, except where the system itself insists on an answer, as
//! with FUSE.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::stack::Birth;

/// How often children of a job that is late are killed until it ends: it may just be about
/// to make one.
const AGAIN: Duration = Duration::from_millis(50);

/// Who looks after the jobs of one launcher. Its thread ends with this value.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    job: Job,
    /// Whether the thread waits without an end.
    sleeps: bool,
}

#[derive(Debug, Clone, Copy)]
enum Job {
    None,
    Until(Instant),
    Late,
    /// There will be none any more.
    Closed,
}

impl Watchdog {
    /// Starts to look after the children that are noted in `births`.
    ///
    /// # Errors
    /// The system has no thread left to give.
    pub(crate) fn start(births: [Arc<Birth>; 2], patience: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                job: Job::None,
                sleeps: false,
            }),
            bell: Condvar::new(),
        });
        let watched = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("launcher-watch".into())
            .stack_size(64 << 10)
            .spawn(move || watched.run(&births))?;
        Ok(Self { shared, patience })
    }

    /// Does a job. If it takes too long its children are killed, and what it made is
    /// dropped.
    ///
    /// # Errors
    /// The job's own, or that it took too long.
    pub(crate) fn during<T>(&self, job: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.shared.set(Job::Until(Instant::now() + self.patience));
        let done = job();
        match self.shared.set(Job::None) {
            Job::Late => Err(io::ErrorKind::TimedOut.into()),
            _ => done,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.set(Job::Closed);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what there is now; returns what there was. The thread is woken only if it would
    /// not look by itself in time: once it looks after jobs, it looks whenever the one that
    /// it saw would have been late.
    fn set(&self, job: Job) -> Job {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.job, job);
        let is_work = !matches!(job, Job::None);
        if is_work && (state.sleeps || matches!(job, Job::Closed)) {
            self.bell.notify_one();
        }
        before
    }

    fn run(&self, births: &[Arc<Birth>; 2]) {
        let mut state = self.lock();
        loop {
            let pause = match state.job {
                Job::Closed => return,
                Job::None => {
                    state.sleeps = true;
                    state = self
                        .bell
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                    state.sleeps = false;
                    continue;
                }
                Job::Until(end) => end.saturating_duration_since(Instant::now()),
                Job::Late => AGAIN,
            };
            if pause.is_zero() {
                state.job = Job::Late;
            } else {
                let woken = self.bell.wait_timeout(state, pause);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            if matches!(state.job, Job::Late) {
                for birth in births {
                    birth.kill();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child;
    use crate::stack::Stacks;

    const SHORT: Duration = Duration::from_millis(100);

    /// Waits for ever, by system calls only.
    fn hang() -> io::Result<()> {
        loop {
            let _ = rustix::event::poll(&mut [], None);
        }
    }

    #[test]
    fn a_child_that_hangs_is_killed_and_the_next_is_not() {
        let mut stacks = Stacks::new().unwrap();
        let watchdog = Watchdog::start(stacks.births(), SHORT).unwrap();
        for _ in 0..2 {
            let late = watchdog.during(|| child::errand(&mut stacks.errand, 0, &hang));
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
            let errand = || child::errand(&mut stacks.errand, 0, &|| Ok(()));
            watchdog.during(errand).unwrap();
        }
    }

    #[test]
    fn a_job_with_a_child_after_its_time_ends_too() {
        let mut stacks = Stacks::new().unwrap();
        let watchdog = Watchdog::start(stacks.births(), SHORT).unwrap();
        let late = watchdog.during(|| {
            let _ = child::errand(&mut stacks.errand, 0, &hang);
            child::errand(&mut stacks.errand, 0, &hang)
        });
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
