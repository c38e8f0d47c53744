//! The pending table: by examples, then against a model.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::status::Code;

/// Whoever waits; it cannot be copied, so that each comes out by one way only.
#[derive(Debug, PartialEq, Eq)]
struct Who(u32);

fn gone() -> Status {
    Status::new(Code::Unavailable, "gone")
}

fn at(start: Instant, milliseconds: u64) -> Instant {
    start + Duration::from_millis(milliseconds)
}

#[test]
fn answers_find_their_calls_in_any_order() {
    let mut table = Pending::new(false, 100, 10);
    let ids: Vec<u64> = (0..3)
        .map(|n| table.insert(None, Who(n)).unwrap().0)
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(table.complete(Some(2)), Completed::Waiter(Who(1)));
    assert_eq!(table.complete(Some(2)), Completed::Nobody);
    assert_eq!(table.complete(Some(77)), Completed::Nobody);
    assert_eq!(table.complete(None), Completed::Nobody);
    assert_eq!(table.complete(Some(3)), Completed::Waiter(Who(2)));
    assert_eq!(table.complete(Some(1)), Completed::Waiter(Who(0)));
    assert!(table.is_empty());
}

#[test]
fn a_table_has_as_many_places_as_its_capacity_and_its_ids_allow() {
    for (largest_id, capacity, places) in [(100, 3, 3), (3, 100, 3), (u64::MAX - 1, 2, 2)] {
        let mut table = Pending::new(false, largest_id, capacity);
        for n in 0..places {
            table.insert(None, Who(n)).unwrap();
        }
        let (why, who) = table.insert(None, Who(9)).unwrap_err();
        assert_eq!(why, NotTaken::Full(places as usize));
        assert_eq!(who, Who(9));
        assert_eq!(table.cancel(2), Some(Who(1)));
        assert!(table.insert(None, Who(9)).is_ok());
    }
}

#[test]
fn ids_go_round_and_pass_over_those_in_use() {
    let mut table = Pending::new(false, 3, 10);
    let insert = |table: &mut Pending<Who>| table.insert(None, Who(0)).unwrap().0;
    assert_eq!(insert(&mut table), 1);
    assert_eq!(insert(&mut table), 2);
    table.complete(Some(1));
    assert_eq!(insert(&mut table), 3);
    assert_eq!(insert(&mut table), 1);
    table.complete(Some(3));
    assert_eq!(insert(&mut table), 3);
}

#[test]
fn in_order_a_call_that_was_given_up_keeps_its_place_until_its_answer_came() {
    let start = Instant::now();
    let mut table = Pending::new(true, 100, 10);
    for n in 0..4 {
        let deadline = (n == 1).then(|| at(start, 10));
        table.insert(deadline, Who(n)).unwrap();
    }
    assert_eq!(table.cancel(1), Some(Who(0)));
    assert_eq!(table.cancel(1), None);
    assert_eq!(table.expire(at(start, 10)), Some(Who(1)));
    assert_eq!(table.next_deadline(), None);
    assert_eq!(table.len(), 4);
    assert_eq!(table.complete(None), Completed::Nobody);
    assert_eq!(table.complete(Some(2)), Completed::Nobody);
    assert_eq!(table.complete(Some(3)), Completed::Waiter(Who(2)));
    assert_eq!(table.complete(None), Completed::Waiter(Who(3)));
    let none = Completed::OutOfOrder { expected: None };
    assert_eq!(table.complete(None), none);
}

#[test]
fn in_order_an_answer_to_another_call_is_told_and_changes_nothing() {
    let mut table = Pending::new(true, 100, 10);
    let none = Completed::OutOfOrder { expected: None };
    assert_eq!(table.complete(Some(1)), none);
    table.insert(None, Who(0)).unwrap();
    table.insert(None, Who(1)).unwrap();
    for id in [0, 2, 99] {
        let expected = Some(1);
        assert_eq!(table.complete(Some(id)), Completed::OutOfOrder { expected });
    }
    assert_eq!(table.complete(Some(1)), Completed::Waiter(Who(0)));
    assert_eq!(table.complete(Some(2)), Completed::Waiter(Who(1)));
}

#[test]
fn a_withdrawn_call_leaves_no_place_behind() {
    for in_order in [true, false] {
        let start = Instant::now();
        let mut table = Pending::new(in_order, 100, 10);
        table.insert(None, Who(0)).unwrap();
        let (id, next) = table.insert(Some(at(start, 5)), Who(1)).unwrap();
        assert!(next);
        assert_eq!(table.withdraw(id), Some(Who(1)));
        assert_eq!(table.withdraw(id), None);
        assert_eq!((table.len(), table.next_deadline()), (1, None));
        // One whose time was up before it was taken back.
        let (id, _) = table.insert(Some(at(start, 5)), Who(2)).unwrap();
        assert_eq!(table.expire(at(start, 5)), Some(Who(2)));
        assert_eq!(table.withdraw(id), None);
        assert_eq!(table.len(), 1);
        assert_eq!(table.complete(Some(1)), Completed::Waiter(Who(0)));
        assert!(table.is_empty());
    }
}

#[test]
fn calls_expire_one_by_one_from_their_deadline_on() {
    let start = Instant::now();
    let mut table = Pending::new(false, 100, 10);
    let insert = |table: &mut Pending<Who>, n: u32, ms: u64| {
        let deadline = Some(at(start, ms));
        table.insert(deadline, Who(n)).unwrap().1
    };
    assert!(insert(&mut table, 0, 20));
    assert!(!insert(&mut table, 1, 30));
    assert!(insert(&mut table, 2, 10));
    // As early as the next one is no earlier.
    assert!(!insert(&mut table, 3, 10));
    assert!(!table.insert(None, Who(4)).unwrap().1);
    assert_eq!(table.next_deadline(), Some(at(start, 10)));
    assert_eq!(table.expire(at(start, 9)), None);
    assert_eq!(table.expire(at(start, 10)), Some(Who(2)));
    assert_eq!(table.complete(Some(1)), Completed::Waiter(Who(0)));
    assert_eq!(table.next_deadline(), Some(at(start, 10)));
    assert_eq!(table.expire(at(start, 99)), Some(Who(3)));
    assert_eq!(table.next_deadline(), Some(at(start, 30)));
    assert_eq!(table.expire(at(start, 99)), Some(Who(1)));
    assert_eq!(table.expire(at(start, 99)), None);
    assert_eq!(table.next_deadline(), None);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_failed_table_gives_all_back_by_id_and_takes_nothing_more() {
    for in_order in [true, false] {
        let start = Instant::now();
        let mut table = Pending::new(in_order, 1000, 1000);
        for n in 0..100 {
            table.insert(Some(at(start, 5)), Who(n)).unwrap();
        }
        assert_eq!(table.cancel(50), Some(Who(49)));
        let failed = table.fail_all(gone());
        let expected = (0u32..100).filter(|&n| n != 49);
        let expected: Vec<_> = expected.map(|n| (u64::from(n) + 1, Who(n))).collect();
        assert_eq!(failed, expected);
        assert!(table.is_empty());
        assert_eq!(table.next_deadline(), None);
        assert_eq!(table.expire(at(start, 99)), None);
        assert_eq!(table.cancel(1), None);
        // The first reason is the one that is told.
        let later = Status::new(Code::Internal, "later");
        assert_eq!(table.fail_all(later), []);
        let refused = table.insert(None, Who(0)).unwrap_err();
        assert_eq!(refused, (NotTaken::Failed(gone()), Who(0)));
    }
}

/// One thing that is done to the table. Ids are chosen among those in use, most of the time.
#[derive(Debug, Clone)]
enum Step {
    /// A call, maybe with a deadline in so many ticks.
    Insert(Option<u64>),
    /// An answer to the call at this place.
    Complete(usize),
    /// An answer that carries this id, whosever it is.
    CompleteId(u64),
    /// An answer without an id.
    CompleteNext,
    /// The call at this place is cancelled.
    Cancel(usize),
    /// A call that may not be there is cancelled.
    CancelId(u64),
    /// The call at this place is taken back.
    Withdraw(usize),
    /// So many ticks pass, and whoever is due expires.
    Pass(u64),
    /// The connection is lost.
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let deadline = prop_oneof![1 => Just(None), 3 => (0u64..12).prop_map(Some)];
    let step = prop_oneof![
        400 => deadline.prop_map(Step::Insert),
        80 => any::<usize>().prop_map(Step::Complete),
        30 => (0u64..10).prop_map(Step::CompleteId),
        80 => Just(Step::CompleteNext),
        60 => any::<usize>().prop_map(Step::Cancel),
        20 => (0u64..10).prop_map(Step::CancelId),
        40 => any::<usize>().prop_map(Step::Withdraw),
        60 => (0u64..6).prop_map(Step::Pass),
        3 => Just(Step::Fail),
    ];
    proptest::collection::vec(step, 0..150)
}

/// A place in the table as the model sees it.
#[derive(Debug)]
struct Place {
    id: u64,
    who: Option<u32>,
    deadline: Option<u64>,
}

/// The table as a list of calls in the order in which they were made.
#[derive(Debug)]
struct Model {
    in_order: bool,
    largest_id: u64,
    capacity: usize,
    last_id: u64,
    places: Vec<Place>,
    failed: bool,
}

impl Model {
    fn next_deadline(&self) -> Option<u64> {
        self.places.iter().filter_map(|place| place.deadline).min()
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.places.iter().position(|place| place.id == id)
    }

    fn is_full(&self) -> bool {
        self.places.len() >= self.capacity || self.places.len() as u64 >= self.largest_id
    }

    fn insert(&mut self, deadline: Option<u64>, who: u32) -> (u64, bool) {
        let next = self.next_deadline();
        loop {
            self.last_id = self.last_id % self.largest_id + 1;
            if self.find(self.last_id).is_none() {
                break;
            }
        }
        let (id, who) = (self.last_id, Some(who));
        self.places.push(Place { id, who, deadline });
        let is_next = deadline.is_some_and(|mine| next.is_none_or(|next| mine < next));
        (id, is_next)
    }

    fn complete(&mut self, id: Option<u64>) -> Completed<Who> {
        let place = if self.in_order {
            let expected = self.places.first().map(|place| place.id);
            if expected.is_none() || id.is_some() && id != expected {
                return Completed::OutOfOrder { expected };
            }
            Some(0)
        } else {
            id.and_then(|id| self.find(id))
        };
        let who = place.and_then(|place| self.places.remove(place).who);
        who.map_or(Completed::Nobody, |who| Completed::Waiter(Who(who)))
    }

    /// Nobody waits any more: the place goes, unless an answer will come for it.
    fn give_up(&mut self, place: usize) -> Option<u32> {
        if self.in_order {
            self.places[place].deadline = None;
            self.places[place].who.take()
        } else {
            self.places.remove(place).who
        }
    }

    fn cancel(&mut self, id: u64) -> Option<u32> {
        self.find(id).and_then(|place| self.give_up(place))
    }

    fn withdraw(&mut self, id: u64) -> Option<u32> {
        let place = self.find(id)?;
        self.places.remove(place).who
    }

    /// Whose time is up first; of two at once, the one with the lower id.
    fn expire(&mut self, now: u64) -> Option<u32> {
        let due = |place: &Place| Some((place.deadline?, place.id));
        let (deadline, id) = self.places.iter().filter_map(due).min()?;
        if deadline > now {
            return None;
        }
        self.cancel(id)
    }
}

/// The table, the model beside it, and who has come out.
struct Pair {
    start: Instant,
    now: u64,
    table: Pending<Who>,
    model: Model,
    made: u32,
    out: Vec<u32>,
}

impl Pair {
    fn new(in_order: bool, largest_id: u64, capacity: usize) -> Self {
        Self {
            start: Instant::now(),
            now: 0,
            table: Pending::new(in_order, largest_id, capacity),
            model: Model {
                in_order,
                largest_id,
                capacity,
                last_id: 0,
                places: Vec::new(),
                failed: false,
            },
            made: 0,
            out: Vec::new(),
        }
    }

    fn id_at(&self, place: usize) -> u64 {
        let count = self.model.places.len().max(1);
        let place = self.model.places.get(place % count);
        place.map_or(1, |place| place.id)
    }

    fn insert(&mut self, ticks: Option<u64>) -> Result<(), TestCaseError> {
        let deadline = ticks.map(|ticks| self.now + ticks);
        let who = self.made;
        self.made += 1;
        let full = self.model.is_full();
        match self
            .table
            .insert(deadline.map(|tick| at(self.start, tick)), Who(who))
        {
            Ok(taken) => {
                prop_assert!(!full && !self.model.failed);
                prop_assert_eq!(taken, self.model.insert(deadline, who));
            }
            Err((why, back)) => {
                let expected = if self.model.failed {
                    NotTaken::Failed(gone())
                } else {
                    prop_assert!(full);
                    NotTaken::Full(self.model.places.len())
                };
                prop_assert_eq!(why, expected);
                self.out.push(back.0);
            }
        }
        Ok(())
    }

    fn complete(&mut self, id: Option<u64>) -> Result<(), TestCaseError> {
        let completed = self.table.complete(id);
        prop_assert_eq!(&completed, &self.model.complete(id));
        if let Completed::Waiter(who) = completed {
            self.out.push(who.0);
        }
        Ok(())
    }

    fn came_out(&mut self, who: Option<Who>, expected: Option<u32>) -> Result<(), TestCaseError> {
        let who = who.map(|who| who.0);
        prop_assert_eq!(who, expected);
        self.out.extend(who);
        Ok(())
    }

    fn pass(&mut self, ticks: u64) -> Result<(), TestCaseError> {
        self.now += ticks;
        loop {
            let who = self.table.expire(at(self.start, self.now));
            let over = who.is_none();
            let expected = self.model.expire(self.now);
            self.came_out(who, expected)?;
            if over {
                return Ok(());
            }
        }
    }

    fn fail(&mut self) -> Result<(), TestCaseError> {
        let failed = self.table.fail_all(gone());
        let mut expected: Vec<_> = self
            .model
            .places
            .drain(..)
            .filter_map(|place| Some((place.id, Who(place.who?))))
            .collect();
        expected.sort_by_key(|&(id, _)| id);
        prop_assert_eq!(&failed, &expected);
        self.model.failed = true;
        self.out.extend(failed.into_iter().map(|(_, who)| who.0));
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Insert(ticks) => self.insert(ticks)?,
            Step::Complete(place) => self.complete(Some(self.id_at(place)))?,
            Step::CompleteId(id) => self.complete(Some(id))?,
            Step::CompleteNext => self.complete(None)?,
            Step::Cancel(place) => {
                let id = self.id_at(place);
                let (who, expected) = (self.table.cancel(id), self.model.cancel(id));
                self.came_out(who, expected)?;
            }
            Step::CancelId(id) => {
                let (who, expected) = (self.table.cancel(id), self.model.cancel(id));
                self.came_out(who, expected)?;
            }
            Step::Withdraw(place) => {
                let id = self.id_at(place);
                let (who, expected) = (self.table.withdraw(id), self.model.withdraw(id));
                self.came_out(who, expected)?;
            }
            Step::Pass(ticks) => self.pass(ticks)?,
            Step::Fail => self.fail()?,
        }
        prop_assert_eq!(self.table.len(), self.model.places.len());
        prop_assert_eq!(self.table.is_empty(), self.model.places.is_empty());
        let next = self.model.next_deadline().map(|tick| at(self.start, tick));
        prop_assert_eq!(self.table.next_deadline(), next);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whoever_goes_in_comes_out_once_as_the_model_says(
        in_order in any::<bool>(),
        largest_id in 1u64..8,
        capacity in 1usize..10,
        steps in steps(),
    ) {
        let mut pair = Pair::new(in_order, largest_id, capacity);
        for step in &steps {
            pair.step(step)?;
        }
        pair.fail()?;
        pair.out.sort_unstable();
        prop_assert!(pair.out.iter().copied().eq(0..pair.made), "{:?}", pair.out);
    }
}
