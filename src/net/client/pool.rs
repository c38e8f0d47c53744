//! Connections with one call each: a large answer never stands before a small one.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::call::{Ended, Outbound, Waiter};
use crate::net::client::Delivery;
use crate::net::client::line::Line;
use crate::net::connection::locked;
use crate::status::{Code, Status};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

type OpenLine = Box<dyn Fn() -> Arc<Line> + Send + Sync>;

#[derive(Debug, Default)]
struct Stock {
    /// Lines that carry no call, the one that was used last at the end.
    idle: Vec<(Arc<Line>, Instant)>,
    /// Lines that carry one.
    busy: Vec<Arc<Line>>,
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

    /// A line for one call, the one that was used last.
    fn take(&self) -> Result<Arc<Line>, Status> {
        let mut stock = locked(&self.stock);
        let fresh = Instant::now().checked_sub(IDLE);
        let stale = stock
            .idle
            .iter()
            .take_while(|(_, used)| fresh.is_some_and(|fresh| *used < fresh))
            .count();
        for (line, _) in stock.idle.drain(..stale) {
            line.cut();
        }
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
        stock.busy.push(Arc::clone(&line));
        Ok(line)
    }

    /// Takes a line back. One whose call ended without an answer is not used again: the answer
    /// may still come.
    fn give_back(&self, line: &Arc<Line>, answered: bool) {
        if !answered {
            line.cut();
        }
        let mut stock = locked(&self.stock);
        stock.busy.retain(|other| !Arc::ptr_eq(other, line));
        if !stock.closed {
            stock.idle.push((Arc::clone(line), Instant::now()));
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
        let line = match self.take() {
            Ok(line) => line,
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
            pool.give_back(&used, answered);
            waiter.tell(end);
        });
        work(&line, waiter)
    }

    pub(super) fn is_connected(&self) -> bool {
        let stock = locked(&self.stock);
        let idle = stock.idle.iter().map(|(line, _)| line);
        idle.chain(&stock.busy).any(|line| line.is_connected())
    }

    pub(super) async fn close(&self, grace: Duration) {
        let lines: Vec<_> = {
            let mut stock = locked(&self.stock);
            stock.closed = true;
            let idle = std::mem::take(&mut stock.idle)
                .into_iter()
                .map(|(line, _)| line);
            idle.chain(stock.busy.iter().cloned()).collect()
        };
        let ends = tokio::time::Instant::now() + grace;
        for line in lines {
            let left = ends.saturating_duration_since(tokio::time::Instant::now());
            line.close(left).await;
        }
    }
}
