//! When a connection's task looks at the time, for its calls and for itself.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Instant;

use tokio::select;
use tokio::sync::Notify;
use tokio::time::{self, sleep_until};

use crate::net::connection::{Connection, locked};
use crate::net::timeouts::Vigil;

/// When a connection's task next looks at the time.
///
/// Calls end long before their deadlines as a rule, and to tell the task of each one would take a
/// system call. So an alarm stays as it is when its call has ended: it serves later deadlines, too,
/// until it goes off in vain.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// `None` while the task looks.
    time: Mutex<Option<Instant>>,
    sooner: Notify,
}

impl Alarm {
    /// Goes off at `deadline` at the latest. Whoever calls this has noted the deadline where the
    /// task will find it.
    pub(super) fn set(&self, deadline: Instant) {
        let mut time = locked(&self.time);
        if time.is_none_or(|time| deadline < time) {
            *time = Some(deadline);
            drop(time);
            self.sooner.notify_one();
        }
    }

    fn stands_at(&self, next: Option<Instant>) {
        *locked(&self.time) = next;
    }
}

impl Connection {
    /// Ends calls whose time is up, and the connection when nothing comes of it any more. Never
    /// ends by itself.
    pub(super) async fn keep_time(&self) -> Infallible {
        let mut vigil = Vigil::new(time::Instant::now(), &self.terms.timeouts);
        loop {
            // Armed before the look: a change that comes in between is not missed.
            let mut sooner = pin!(self.alarm.sooner.notified());
            sooner.as_mut().enable();
            self.alarm.stands_at(None);
            let now = time::Instant::now();
            self.expire_calls(now.into_std());
            self.expire_tickets(now.into_std());
            let look = self.look(&mut vigil, now).into_std();
            let calls = self.calling.next_deadline();
            let tickets = self.answering.next_deadline();
            let next = calls.into_iter().chain(tickets).fold(look, Instant::min);
            self.alarm.stands_at(Some(next));
            select! {
                biased;
                () = sooner => {}
                () = sleep_until(next.into()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};
    use std::time::Duration;

    fn is_ready(future: impl Future) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(future).poll(&mut context).is_ready()
    }

    #[test]
    fn only_an_earlier_deadline_wakes_the_task() {
        let alarm = Alarm::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let woken_by = |seconds| {
            alarm.set(at(seconds));
            is_ready(alarm.sooner.notified())
        };
        assert!(woken_by(5));
        // Whether the call for which it was set has ended is all the same.
        assert!(!woken_by(6));
        assert!(!woken_by(5));
        assert!(woken_by(4));
        // The task looks.
        alarm.stands_at(None);
        assert!(woken_by(9));
        // It goes to sleep.
        alarm.stands_at(Some(at(7)));
        assert!(!woken_by(8));
        assert!(woken_by(6));
    }
}
