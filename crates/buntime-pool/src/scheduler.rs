//! Who may have a worker next: a state machine without I/O, clock or locks.
//!
//! Every app is a group. A group has at most `concurrency` places at a time and
//! a queue of at most `queue` tickets; all groups together have `capacity` places.
//! Within a group it is first come, first served. When the pool is the
//! bottleneck, free places go round over the groups that wait.

use std::collections::{HashMap, VecDeque};

/// Names a group. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u64);

/// Names a request that waits. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The bounds of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
}

/// The answer to a request for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The place is taken.
    Granted,
    /// [`Scheduler::next_grant`] will name this ticket.
    Queued(Ticket),
    /// The queue is full.
    Full,
}

#[derive(Debug)]
struct Group {
    limits: GroupLimits,
    running: usize,
    queue: VecDeque<Ticket>,
    /// Whether the group is in `Scheduler::turn`.
    in_turn: bool,
}

impl Group {
    /// How many of the waiting tickets only the capacity holds back.
    fn ready(&self) -> usize {
        self.queue
            .len()
            .min(self.limits.concurrency.saturating_sub(self.running))
    }
}

/// See the module.
///
/// Invariant, whenever [`Scheduler::next_grant`] has just returned `None`: if a
/// place is free, no ticket waits that its own group's concurrency would let in.
#[derive(Debug)]
pub(crate) struct Scheduler {
    capacity: usize,
    used: usize,
    queued: usize,
    next_ticket: u64,
    groups: HashMap<GroupId, Group>,
    /// The groups with a ticket that only the capacity holds back, next one first.
    turn: VecDeque<GroupId>,
}

impl Scheduler {
    /// With `capacity` places, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            used: 0,
            queued: 0,
            next_ticket: 0,
            groups: HashMap::new(),
            turn: VecDeque::new(),
        }
    }

    /// Asks for a place.
    pub(crate) fn request(&mut self, id: GroupId, limits: GroupLimits) -> Admission {
        let group = self.groups.entry(id).or_insert_with(|| Group {
            limits,
            running: 0,
            queue: VecDeque::new(),
            in_turn: false,
        });
        let admission = if group.queue.is_empty()
            && group.running < group.limits.concurrency
            && self.used < self.capacity
        {
            group.running += 1;
            self.used += 1;
            Admission::Granted
        } else if group.queue.len() < group.limits.queue {
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            self.queued += 1;
            group.queue.push_back(ticket);
            Admission::Queued(ticket)
        } else {
            Admission::Full
        };
        self.settle(id);
        admission
    }

    /// Gives a place back. Then call [`Self::next_grant`] until it says `None`.
    pub(crate) fn release(&mut self, id: GroupId) {
        if let Some(group) = self.groups.get_mut(&id)
            && group.running > 0
        {
            group.running -= 1;
            self.used -= 1;
        }
        self.settle(id);
    }

    /// Takes a waiting ticket out of its queue. Nothing happens if it does not wait.
    pub(crate) fn cancel(&mut self, id: GroupId, ticket: Ticket) {
        if let Some(group) = self.groups.get_mut(&id)
            && let Some(at) = group.queue.iter().position(|&other| other == ticket)
        {
            group.queue.remove(at);
            self.queued -= 1;
        }
        self.settle(id);
    }

    /// The next ticket that gets a place, if one is free.
    pub(crate) fn next_grant(&mut self) -> Option<(GroupId, Ticket)> {
        while self.used < self.capacity {
            let id = self.turn.pop_front()?;
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            group.in_turn = false;
            if group.ready() > 0
                && let Some(ticket) = group.queue.pop_front()
            {
                group.running += 1;
                self.used += 1;
                self.queued -= 1;
                self.settle(id);
                return Some((id, ticket));
            }
            self.settle(id);
        }
        None
    }

    /// How many waiting tickets only the capacity holds back.
    pub(crate) fn starved(&self) -> usize {
        self.turn
            .iter()
            .filter_map(|id| self.groups.get(id))
            .map(Group::ready)
            .sum()
    }

    /// Places that are taken.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Tickets that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Tickets of one group that wait.
    pub(crate) fn queued_in(&self, id: GroupId) -> usize {
        self.groups.get(&id).map_or(0, |group| group.queue.len())
    }

    /// Puts the group in the turn if it belongs there; forgets it if it is empty.
    fn settle(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.ready() > 0 {
            if !group.in_turn {
                group.in_turn = true;
                self.turn.push_back(id);
            }
        } else if group.in_turn {
            group.in_turn = false;
            self.turn.retain(|other| *other != id);
        }
        if group.running == 0 && group.queue.is_empty() {
            self.groups.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
