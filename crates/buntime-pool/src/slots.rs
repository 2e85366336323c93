//! The scheduler behind a lock, and places as values that give themselves back.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::scheduler::{Admission, GroupId, GroupLimits, Scheduler, Ticket};

/// All places of a pool.
#[derive(Debug)]
pub(crate) struct Slots {
    inner: Mutex<Inner>,
    starved: AtomicBool,
    /// Told when a ticket waits that only the capacity holds back.
    hunger: Notify,
}

#[derive(Debug)]
struct Inner {
    scheduler: Scheduler,
    waiting: HashMap<Ticket, oneshot::Sender<Permit>>,
}

impl Slots {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                scheduler: Scheduler::new(capacity),
                waiting: HashMap::new(),
            }),
            starved: AtomicBool::new(false),
            hunger: Notify::new(),
        })
    }

    /// Asks for a place; `None` if the queue is full. Dropping what is returned
    /// leaves the queue.
    pub(crate) fn acquire(self: &Arc<Self>, group: GroupId, limits: GroupLimits) -> Option<Wait> {
        let mut inner = self.inner.lock();
        let state = match inner.scheduler.request(group, limits) {
            Admission::Full => return None,
            Admission::Granted => WaitState::Granted(Some(self.permit(group))),
            Admission::Queued(ticket) => {
                let (sender, receiver) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                WaitState::Queued(ticket, receiver)
            }
        };
        self.note_hunger(&inner.scheduler);
        drop(inner);
        Some(Wait {
            slots: Arc::clone(self),
            group,
            state,
        })
    }

    /// Whether requests wait that only the capacity holds back.
    pub(crate) fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    /// How many requests wait that only the capacity holds back.
    pub(crate) fn starved(&self) -> usize {
        self.inner.lock().scheduler.starved()
    }

    /// Returns when requests wait that only the capacity holds back.
    pub(crate) async fn hungry(&self) {
        self.hunger.notified().await;
    }

    /// Something may have become evictable.
    pub(crate) fn remind(&self) {
        self.hunger.notify_one();
    }

    pub(crate) fn used(&self) -> usize {
        self.inner.lock().scheduler.used()
    }

    pub(crate) fn queued(&self) -> usize {
        self.inner.lock().scheduler.queued()
    }

    pub(crate) fn queued_in(&self, group: GroupId) -> usize {
        self.inner.lock().scheduler.queued_in(group)
    }

    fn permit(self: &Arc<Self>, group: GroupId) -> Permit {
        Permit {
            slots: Arc::clone(self),
            group,
        }
    }

    fn note_hunger(&self, scheduler: &Scheduler) {
        let starved = scheduler.starved() > 0;
        self.starved.store(starved, Ordering::Relaxed);
        if starved {
            self.hunger.notify_one();
        }
    }

    /// Changes the scheduler and hands out what became free.
    fn update(self: &Arc<Self>, change: impl FnOnce(&mut Inner)) {
        let mut granted = Vec::new();
        {
            let mut inner = self.inner.lock();
            change(&mut inner);
            while let Some((group, ticket)) = inner.scheduler.next_grant() {
                let sender = inner.waiting.remove(&ticket);
                granted.push((sender, self.permit(group)));
            }
            self.note_hunger(&inner.scheduler);
        }
        // Outside of the lock: a permit that nobody takes any more comes back
        // here when it is dropped.
        for (sender, permit) in granted {
            if let Some(sender) = sender {
                let _ = sender.send(permit);
            }
        }
    }
}

/// A place in the pool; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    slots: Arc<Slots>,
    group: GroupId,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let group = self.group;
        self.slots.update(|inner| inner.scheduler.release(group));
    }
}

/// A place that may still have to be waited for.
#[derive(Debug)]
pub(crate) struct Wait {
    slots: Arc<Slots>,
    group: GroupId,
    state: WaitState,
}

#[derive(Debug)]
enum WaitState {
    Granted(Option<Permit>),
    Queued(Ticket, oneshot::Receiver<Permit>),
}

impl Future for Wait {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let permit = match &mut self.state {
            WaitState::Granted(permit) => permit.take(),
            WaitState::Queued(_, receiver) => match Pin::new(receiver).poll(cx) {
                Poll::Ready(permit) => permit.ok(),
                Poll::Pending => None,
            },
        };
        match permit {
            Some(permit) => {
                self.state = WaitState::Granted(None);
                Poll::Ready(permit)
            }
            // The sender stays in the map for as long as the ticket waits.
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let WaitState::Queued(ticket, _) = self.state {
            let group = self.group;
            self.slots.update(|inner| {
                inner.waiting.remove(&ticket);
                inner.scheduler.cancel(group, ticket);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: GroupLimits = GroupLimits {
        concurrency: 1,
        queue: 2,
    };

    #[tokio::test]
    async fn a_dropped_wait_leaves_the_queue_and_a_dropped_permit_passes_on() {
        let slots = Slots::new(4);
        let group = GroupId(7);
        let first = slots.acquire(group, ONE).expect("room").await;
        let left = slots.acquire(group, ONE).expect("room");
        let second = slots.acquire(group, ONE).expect("room");
        assert!(slots.acquire(group, ONE).is_none());
        drop(left);
        assert_eq!(slots.queued(), 1);
        drop(first);
        let second = second.await;
        assert_eq!((slots.used(), slots.queued()), (1, 0));
        drop(second);
        assert_eq!(slots.used(), 0);
    }

    #[tokio::test]
    async fn a_place_granted_to_nobody_comes_back() {
        let slots = Slots::new(1);
        let first = slots.acquire(GroupId(1), ONE).expect("room").await;
        let abandoned = slots.acquire(GroupId(2), ONE).expect("room");
        assert!(slots.is_starved());
        drop(first);
        assert_eq!(slots.used(), 1, "granted, not yet taken");
        drop(abandoned);
        assert_eq!(slots.used(), 0);
        assert!(!slots.is_starved());
    }
}
