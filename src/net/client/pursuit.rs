//! A call that may have to wait: for a connection, for room, for its answer, for another try.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use crate::call::{Backoff, Ended, Outbound, Waiter, is_refused};
use crate::metrics::Counters;
use crate::net::calling::NotSent;
use crate::net::client::delivery::{Delivery, Telling, Untold, cancelled, failed};
use crate::net::client::line::Line;
use crate::net::connection::{Connection, locked};
use crate::status::{Code, Status};
use crate::wire::baidu_std::errno;

/// Calls of one line that may wait for a connection, for room or for another try.
const WAITING_CALLS: usize = 4096;
/// Bytes of requests that may wait so.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Shortest pause before a call is made again that an overloaded server refused.
const RETRY_MIN: Duration = Duration::from_millis(10);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_millis(200);
/// Time before a call's deadline at which a last attempt to connect is made for it.
const LAST_CHANCE: Duration = Duration::from_millis(200);

/// Counts itself and its bytes among the calls that wait, for as long as it lives.
pub(super) struct Waiting {
    line: Arc<Line>,
    bytes: usize,
    /// It pauses, and others pass it.
    aside: bool,
}

impl Waiting {
    pub(super) fn new(line: &Arc<Line>, bytes: usize) -> Self {
        line.waiting.fetch_add(1, Ordering::SeqCst);
        line.waiting_bytes.fetch_add(bytes, Ordering::SeqCst);
        Self {
            line: Arc::clone(line),
            bytes,
            aside: false,
        }
    }

    /// Lets others pass, or no longer.
    fn stand_aside(&mut self, aside: bool) {
        let Line {
            waiting, pausing, ..
        } = &*self.line;
        if aside && !self.aside {
            pausing.fetch_add(1, Ordering::SeqCst);
            waiting.fetch_sub(1, Ordering::SeqCst);
        } else if !aside && self.aside {
            waiting.fetch_add(1, Ordering::SeqCst);
            pausing.fetch_sub(1, Ordering::SeqCst);
        }
        self.aside = aside;
    }

    /// Refused when too many wait, or too much; one alone may be of any size.
    fn admitted(&self) -> Result<(), Status> {
        let (waiting, pausing) = (&self.line.waiting, &self.line.pausing);
        let calls = waiting.load(Ordering::SeqCst) + pausing.load(Ordering::SeqCst);
        let bytes = self.line.waiting_bytes.load(Ordering::SeqCst);
        if calls <= WAITING_CALLS && (calls == 1 || bytes <= WAITING_BYTES) {
            return Ok(());
        }
        let text = format!(
            "{calls} calls with {bytes} bytes wait already: {}",
            self.line.obstacle()
        );
        Err(Status::new(Code::ResourceExhausted, text))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.stand_aside(false);
        self.line.waiting.fetch_sub(1, Ordering::SeqCst);
        self.line
            .waiting_bytes
            .fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// Gives a sent call up when nobody waits for its answer any more.
struct Asked<'a> {
    connection: &'a Connection,
    number: Option<u64>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.connection.abandon_call(number);
        }
    }
}

/// How far a call has come.
#[derive(Debug, Default)]
enum Progress {
    /// It waits for a connection or for room.
    #[default]
    Waiting,
    /// It waits for its answer.
    Sent,
    /// It waits for another try.
    Refused(String),
}

/// Why a call is tried again.
#[derive(Debug)]
enum Again {
    /// Nothing of it was sent.
    Unsent,
    /// The server did not run it.
    Refused(Status),
}

/// A call that is made until it was run once.
struct Pursuit {
    line: Arc<Line>,
    call: Arc<Outbound>,
    /// Attempts to connect that had failed when the call was made: calls that are not to wait
    /// fail together.
    failures: u64,
    /// Tries that the server refused.
    refused: u32,
    /// The last one, since the server had too much to do: it is given a moment.
    overloaded: bool,
    waiting: Option<Waiting>,
    /// For whoever ends it when its time is up.
    progress: Arc<Mutex<Progress>>,
    /// Taken by whoever ends it. Answers do so where they arrive, so that calls that were made at
    /// once and calls that had to wait are told in the order in which they ended.
    untold: Arc<Untold>,
}

impl Line {
    /// Has an attempt to connect made shortly before a call's time is up: a pause between two
    /// attempts may be longer than what is left.
    async fn hurry_before(&self, deadline: Option<Instant>) -> Infallible {
        let chance = deadline.and_then(|deadline| deadline.checked_sub(LAST_CHANCE));
        if let Some(chance) = chance {
            sleep_until(chance).await;
            self.hurry.notify_one();
        }
        pending().await
    }

    /// Makes a call that may have to wait, in a task; `refusal` is what the first try met.
    pub(super) fn pursue(
        self: &Arc<Self>,
        call: Arc<Outbound>,
        refusal: Option<&Status>,
        telling: Telling,
        delivery: &Delivery,
    ) {
        let waiting = Waiting::new(self, call.weight());
        if let Err(refusal) = waiting.admitted() {
            return telling.tell(Ended::Failed(refusal));
        }
        let untold = Untold::new(telling);
        let Some(cancel) = delivery.pursued(&untold) else {
            untold.tell(cancelled());
            return;
        };
        let mut pursuit = Pursuit {
            line: Arc::clone(self),
            failures: self.standing().failures,
            refused: u32::from(refusal.is_some()),
            overloaded: refusal.is_some_and(is_overload),
            waiting: Some(waiting),
            progress: Arc::default(),
            untold,
            call,
        };
        self.runtime.spawn(async move {
            let start = Instant::now();
            let deadline = pursuit.call.deadline.map(Instant::from_std);
            let (line, progress) = (Arc::clone(&pursuit.line), Arc::clone(&pursuit.progress));
            let untold = Arc::clone(&pursuit.untold);
            let end = select! {
                biased;
                Ok(()) = cancel => cancelled(),
                end = pursuit.run() => match end {
                    Ok(()) => return,
                    Err(status) => Ended::Failed(status),
                },
                never = line.hurry_before(deadline) => match never {},
                () = sleep_until(deadline.unwrap_or(start)), if deadline.is_some() => {
                    let within = start.elapsed().as_secs_f64();
                    let text = match &*locked(&progress) {
                        Progress::Waiting => {
                            format!("not sent within {within:.3} s: {}", line.obstacle())
                        }
                        Progress::Sent => {
                            format!("no answer from {} within the deadline", line.target)
                        }
                        Progress::Refused(text) => {
                            format!("refused by {} for {within:.3} s: {text}", line.target)
                        }
                    };
                    failed(Code::DeadlineExceeded, text)
                }
            };
            drop(pursuit);
            untold.tell(end);
        });
    }
}

fn is_overload(status: &Status) -> bool {
    status.native == Some(errno::ELIMIT)
}

impl Pursuit {
    /// Counts the call among those that wait, unless it is counted already.
    fn wait(&mut self) -> Result<&mut Waiting, Status> {
        let waiting = if let Some(waiting) = self.waiting.take() {
            waiting
        } else {
            let waiting = Waiting::new(&self.line, self.call.weight());
            waiting.admitted()?;
            waiting
        };
        Ok(self.waiting.insert(waiting))
    }

    /// Tries until the call has ended and that was told, or cannot be made.
    async fn run(&mut self) -> Result<(), Status> {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            if std::mem::take(&mut self.overloaded) {
                // Others need not wait for this one's pause.
                self.wait()?.stand_aside(true);
                sleep(backoff.next(fastrand::f64())).await;
                self.wait()?.stand_aside(false);
            }
            if self.refused > 0 {
                Counters::count(&self.line.terms.counters.retries);
            }
            match self.once().await? {
                None => return Ok(()),
                Some(Again::Unsent) => *locked(&self.progress) = Progress::Waiting,
                Some(Again::Refused(status)) => {
                    self.refused += 1;
                    self.overloaded = is_overload(&status);
                    *locked(&self.progress) = Progress::Refused(status.text);
                }
            }
        }
    }

    /// Whoever waits for the end of one try: told here if it is that of the call.
    fn waiter(&self, again: oneshot::Sender<Option<Again>>) -> Waiter {
        let untold = Arc::clone(&self.untold);
        let counters = Arc::clone(&self.line.terms.counters);
        let may_retry = self.refused < self.line.options.max_retry;
        Waiter::new(move |end| {
            let retry = match end {
                Ended::Unsent(_) => Some(Again::Unsent),
                Ended::Denied(status, _) if may_retry && is_refused(&status) => {
                    Some(Again::Refused(status))
                }
                end => {
                    // Who made the call was told that it is under way, and takes no mistake.
                    let end = match end {
                        Ended::Invalid(error) => failed(
                            Code::InvalidArgument,
                            format!("the call cannot be sent: {error}"),
                        ),
                        end => end,
                    };
                    let reply = matches!(end, Ended::Answered(_) | Ended::Denied(..));
                    if !untold.tell(end) && reply {
                        Counters::count(&counters.late_replies);
                    }
                    None
                }
            };
            // Nobody listens when the call was given up meanwhile.
            drop(again.send(retry));
        })
    }

    /// Makes one try; why there must be another one, if so.
    async fn once(&mut self) -> Result<Option<Again>, Status> {
        self.wait()?;
        let waiting = self.waiting.take();
        let line = Arc::clone(&self.line);
        let turn = line.order.lock().await;
        let (connection, number, end) = self.send().await?;
        *locked(&self.progress) = Progress::Sent;
        drop((turn, waiting));
        let mut asked = Asked {
            connection: &connection,
            number,
        };
        let end = end.await;
        asked.number = None;
        // The waiter is never dropped untold while the runtime is there.
        end.map_err(|_| Status::new(Code::Unavailable, "the channel was shut down"))
    }

    /// Hands the call to the first connection that takes it.
    async fn send(
        &self,
    ) -> Result<
        (
            Arc<Connection>,
            Option<u64>,
            oneshot::Receiver<Option<Again>>,
        ),
        Status,
    > {
        loop {
            let connection = self.line.connection(self.failures).await?;
            loop {
                // Armed before the try: room that comes in between is not missed.
                let mut room = std::pin::pin!(connection.room.notified());
                room.as_mut().enable();
                let (tell, told) = oneshot::channel();
                match connection.push(&self.call, self.waiter(tell)) {
                    Ok(number) => return Ok((Arc::clone(&connection), number, told)),
                    Err((NotSent::Full { .. }, _)) => room.await,
                    Err((NotSent::Gone(_), _)) => break,
                    Err((NotSent::Refused(end), waiter)) => {
                        waiter.tell(end);
                        return Ok((Arc::clone(&connection), None, told));
                    }
                }
            }
        }
    }
}
