//! Connections with one call each: a large answer never stands before a small one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::call::{Ended, Outbound, Waiter};
use crate::net::client::Delivery;
use crate::net::client::line::Line;
use crate::net::clock;
use crate::net::connection::locked;
use crate::status::{Code, Status};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

type OpenLine = Box<dyn Fn() -> Arc<Line> + Send + Sync>;

#[derive(Debug, Default)]
struct Stock {
    /// Lines that carry no call, the one that was used last at the end.
    idle: Vec<(Arc<Line>, Instant)>,
    /// Lines that carry one, by its number.
    busy: BTreeMap<u64, Arc<Line>>,
    /// How many calls there were.
    calls: u64,
    closed: bool,
}

/// The lines of one channel.
pub(super) struct Pool {
    most: usize,
    open: OpenLine,
    stock: Mutex<Stock>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of at most `most` lines.
    pub(super) fn new(most: usize, open: OpenLine) -> Arc<Self> {
        Arc::new(Self {
            most,
            open,
            stock: Mutex::default(),
        })
    }

    /// A line for one call, the one that was used last, and the number of the call.
    fn take(&self) -> Result<(u64, Arc<Line>), Status> {
        // No lock of a line is taken under that of the stock.
        for line in self.stale() {
            line.cut();
        }
        let mut stock = locked(&self.stock);
        if stock.closed || stock.busy.len() >= self.most {
            let text = format!("all {} connections of the pool are busy", self.most);
            let code = Code::ResourceExhausted;
            return if stock.closed {
                Err((self.open)().closed())
            } else {
                Err(Status::new(code, text))
            };
        }
        let line = stock
            .idle
            .pop()
            .map_or_else(|| (self.open)(), |(line, _)| line);
        stock.calls += 1;
        let call = stock.calls;
        stock.busy.insert(call, Arc::clone(&line));
        Ok((call, line))
    }

    /// Takes out the lines that nobody has used for long.
    fn stale(&self) -> Vec<Arc<Line>> {
        let mut stock = locked(&self.stock);
        let fresh = clock::now().checked_sub(IDLE);
        let stale = stock
            .idle
            .iter()
            .take_while(|(_, used)| fresh.is_some_and(|fresh| *used < fresh))
            .count();
        stock.idle.drain(..stale).map(|(line, _)| line).collect()
    }

    /// Takes a line back from a call. One whose call ended without an answer is not used again: the
    /// answer may still come.
    fn give_back(&self, call: u64, line: &Arc<Line>, answered: bool) {
        if !answered {
            line.cut();
        }
        let mut stock = locked(&self.stock);
        stock.busy.remove(&call);
        if !stock.closed {
            stock.idle.push((Arc::clone(line), clock::now()));
        }
    }

    pub(super) fn call(self: &Arc<Self>, call: Outbound, waiter: Waiter) -> Delivery {
        self.with_line(waiter, |line, waiter| line.call(call, waiter))
    }

    pub(super) fn connect(self: &Arc<Self>, limit: Option<Duration>, waiter: Waiter) -> Delivery {
        self.with_line(waiter, |line, waiter| line.connect(limit, waiter))
    }

    fn with_line(
        self: &Arc<Self>,
        waiter: Waiter,
        work: impl FnOnce(&Arc<Line>, Waiter) -> Delivery,
    ) -> Delivery {
        let (call, line) = match self.take() {
            Ok(taken) => taken,
            Err(status) => {
                waiter.tell(Ended::Failed(status));
                return Delivery::ended();
            }
        };
        let (pool, used) = (Arc::clone(self), Arc::clone(&line));
        let waiter = Waiter::new(move |end| {
            let answered = match &end {
                Ended::Answered(_) | Ended::Denied(..) | Ended::Invalid(_) => true,
                Ended::Failed(_) | Ended::Unsent(_) => false,
            };
            pool.give_back(call, &used, answered);
            waiter.tell(end);
        });
        work(&line, waiter)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lines().iter().any(|line| line.is_connected())
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        let stock = locked(&self.stock);
        let idle = stock.idle.iter().map(|(line, _)| line);
        idle.chain(stock.busy.values()).cloned().collect()
    }

    pub(super) async fn close(&self, grace: Duration) {
        let lines: Vec<_> = {
            let mut stock = locked(&self.stock);
            stock.closed = true;
            let idle = std::mem::take(&mut stock.idle);
            let idle = idle.into_iter().map(|(line, _)| line);
            idle.chain(stock.busy.values().cloned()).collect()
        };
        // Side by side: each has the whole of the grace.
        let mut closing = JoinSet::new();
        for line in lines {
            closing.spawn(async move { line.close(grace).await });
        }
        closing.join_all().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::net::Runtime;
    use crate::net::client::line::State;
    use crate::net::client::line::tests::line;
    use crate::wire::{Extras, MethodName, Payload};

    /// A pool whose lines are closed before their first call is made, as by a close that comes
    /// in between.
    fn closed(runtime: &Runtime) -> Arc<Pool> {
        let driver = Arc::clone(runtime.driver());
        let open = move || {
            let line = line(&driver);
            line.change(|standing| standing.state = State::Closed);
            line
        };
        Pool::new(2, Box::new(open))
    }

    #[test]
    fn a_line_that_is_closed_is_told_of_without_standing_in_its_own_way() {
        let (told, heard) = channel();
        thread::spawn(move || {
            let runtime = Runtime::start().unwrap();
            let pool = closed(&runtime);
            for _ in 0..3 {
                let told = told.clone();
                let waiter = Waiter::new(move |end| told.send(end).unwrap());
                let name = MethodName {
                    service: "game.Desk".to_owned(),
                    method: "echo".to_owned(),
                    index: 0,
                };
                let call = Outbound {
                    method: Arc::new(name),
                    body: Payload::default(),
                    extras: Extras::default(),
                    deadline: None,
                };
                drop(pool.call(call, waiter));
            }
        });
        for _ in 0..3 {
            let end = heard.recv_timeout(Duration::from_secs(5));
            let Ok(Ended::Failed(status)) = end else {
                panic!("{end:?}")
            };
            assert_eq!(status.code, Code::Unavailable);
            assert!(status.text.contains("is closed"), "{status}");
        }
    }
}
