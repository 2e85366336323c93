use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Admission, GroupId, GroupLimits, Scheduler, Ticket};

const A: GroupId = GroupId(1);
const B: GroupId = GroupId(2);
const TWO: GroupLimits = GroupLimits {
    concurrency: 2,
    queue: 3,
};

fn queued(admission: Admission) -> Ticket {
    match admission {
        Admission::Queued(ticket) => ticket,
        other => panic!("expected a ticket, got {other:?}"),
    }
}

#[test]
fn a_group_is_bounded_in_places_and_in_queue() {
    let mut scheduler = Scheduler::new(10);
    assert_eq!(scheduler.request(A, TWO), Admission::Granted);
    assert_eq!(scheduler.request(A, TWO), Admission::Granted);
    let first = queued(scheduler.request(A, TWO));
    let second = queued(scheduler.request(A, TWO));
    queued(scheduler.request(A, TWO));
    assert_eq!(scheduler.request(A, TWO), Admission::Full);
    assert_eq!(scheduler.request(B, TWO), Admission::Granted);
    assert_eq!(scheduler.next_grant(), None);
    scheduler.cancel(A, first);
    scheduler.release(A);
    assert_eq!(scheduler.next_grant(), Some((A, second)));
    assert_eq!(scheduler.next_grant(), None);
}

#[test]
fn places_go_round_over_the_groups_that_wait() {
    let mut scheduler = Scheduler::new(1);
    let limits = GroupLimits {
        concurrency: 5,
        queue: 100,
    };
    assert_eq!(scheduler.request(A, limits), Admission::Granted);
    for _ in 0..50 {
        queued(scheduler.request(A, limits));
    }
    queued(scheduler.request(B, limits));
    queued(scheduler.request(B, limits));
    let mut order = Vec::new();
    let mut holder = A;
    for _ in 0..5 {
        scheduler.release(holder);
        holder = scheduler.next_grant().expect("somebody waits").0;
        order.push(holder);
    }
    assert_eq!(order, [A, B, A, B, A]);
}

#[test]
fn an_empty_group_leaves_the_map() {
    let mut scheduler = Scheduler::new(1);
    scheduler.request(A, TWO);
    let ticket = queued(scheduler.request(B, TWO));
    scheduler.cancel(B, ticket);
    scheduler.release(A);
    assert!(scheduler.groups.is_empty() && scheduler.turn.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Request(u8),
    Release(u8),
    Cancel(u8, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..5u8).prop_map(Step::Request),
        2 => (0..5u8).prop_map(Step::Release),
        1 => (0..5u8, 0..8usize).prop_map(|(group, at)| Step::Cancel(group, at)),
    ];
    proptest::collection::vec(step, 0..400)
}

/// What the scheduler must look like from outside, kept in the plainest way.
#[derive(Default)]
struct Model {
    running: BTreeMap<GroupId, usize>,
    waiting: BTreeMap<GroupId, Vec<Ticket>>,
    /// Grants to others since a group last got one while it could have had one.
    passed_over: BTreeMap<GroupId, BTreeMap<GroupId, usize>>,
}

impl Model {
    fn used(&self) -> usize {
        self.running.values().sum()
    }

    fn ready(&self, limits: GroupLimits) -> BTreeSet<GroupId> {
        self.waiting
            .iter()
            .filter(|(id, queue)| {
                !queue.is_empty() && self.running.get(id).copied().unwrap_or(0) < limits.concurrency
            })
            .map(|(id, _)| *id)
            .collect()
    }

    fn granted(&mut self, id: GroupId, limits: GroupLimits) {
        let ready = self.ready(limits);
        for other in ready.iter().filter(|other| **other != id) {
            let count = self
                .passed_over
                .entry(*other)
                .or_default()
                .entry(id)
                .or_default();
            *count += 1;
            assert!(*count <= 1, "{other:?} was passed over twice by {id:?}");
        }
        self.passed_over.remove(&id);
        *self.running.entry(id).or_default() += 1;
    }

    /// Who could not have had a place does not grow in rights.
    fn forget_those_not_ready(&mut self, limits: GroupLimits) {
        let ready = self.ready(limits);
        self.passed_over.retain(|group, _| ready.contains(group));
    }
}

proptest! {
    #[test]
    fn the_scheduler_agrees_with_its_model(
        steps in steps(),
        capacity in 1..6usize,
        concurrency in 1..4usize,
        queue in 0..6usize,
    ) {
        let limits = GroupLimits { concurrency, queue };
        let mut scheduler = Scheduler::new(capacity);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Request(group) => {
                    let id = GroupId(group.into());
                    let free = model.used() < capacity
                        && model.running.get(&id).copied().unwrap_or(0) < concurrency;
                    let waiting = model.waiting.entry(id).or_default();
                    match scheduler.request(id, limits) {
                        Admission::Granted => {
                            prop_assert!(free && waiting.is_empty());
                            *model.running.entry(id).or_default() += 1;
                        }
                        Admission::Queued(ticket) => {
                            prop_assert!(!free && waiting.len() < queue);
                            waiting.push(ticket);
                        }
                        Admission::Full => prop_assert!(!free && waiting.len() == queue),
                    }
                }
                Step::Release(group) => {
                    let id = GroupId(group.into());
                    if let Some(running) = model.running.get_mut(&id).filter(|count| **count > 0) {
                        *running -= 1;
                        scheduler.release(id);
                    }
                }
                Step::Cancel(group, at) => {
                    let id = GroupId(group.into());
                    if let Some(waiting) = model.waiting.get_mut(&id).filter(|queue| at < queue.len()) {
                        let ticket = waiting.remove(at);
                        scheduler.cancel(id, ticket);
                    }
                }
            }
            model.forget_those_not_ready(limits);
            while let Some((id, ticket)) = scheduler.next_grant() {
                let waiting = model.waiting.entry(id).or_default();
                prop_assert_eq!(waiting.first().copied(), Some(ticket), "first come, first served");
                model.granted(id, limits);
                model.waiting.entry(id).or_default().remove(0);
            }
            let ready = model.ready(limits);
            prop_assert!(model.used() == capacity || ready.is_empty(), "a free place is given");
            prop_assert_eq!(scheduler.used(), model.used());
            prop_assert_eq!(scheduler.queued(), model.waiting.values().map(Vec::len).sum::<usize>());
            prop_assert!(model.running.values().all(|running| *running <= concurrency));
            prop_assert_eq!(scheduler.starved() > 0, !ready.is_empty());
        }
    }
}
