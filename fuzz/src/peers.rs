//! Whole ends of connections, in memory and in simulated time.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use _core::call::{Call, CloseKind, CloseReason, Event, Link, Outbound, Session, Turn, Waiter};
use _core::net::Stream;
use _core::net::client::Dial;
use _core::wire::baidu_std::BaiduStdCodec;
use _core::wire::hulu::HuluCodec;
use _core::wire::indexed::{IndexedCodec, Layout, Reply};
use _core::wire::sofa::SofaCodec;
use _core::wire::{Body, Codec, Extras, Payload, limits};
use bytes::BytesMut;
use tokio::time::{sleep, timeout};

use crate::simulation::{method, now, pipe};

/// Time in which a connection ends of which one end was closed, whatever was sent before.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Protocols of a port.
pub fn protocols(choice: u8) -> Vec<Arc<dyn Codec>> {
    let baidu: Arc<dyn Codec> = Arc::new(BaiduStdCodec::new(limits::MESSAGE_BYTES));
    let indexed = |id_width, reply| -> Arc<dyn Codec> {
        let layout = Layout {
            id_width,
            reply,
            ..Layout::default()
        };
        Arc::new(IndexedCodec::new(layout.checked().expect("a layout")))
    };
    match choice % 4 {
        0 => vec![
            baidu,
            Arc::new(HuluCodec::new(limits::MESSAGE_BYTES)),
            Arc::new(SofaCodec::new(limits::MESSAGE_BYTES)),
            indexed(4, Reply::ById),
        ],
        1 => vec![baidu],
        2 => vec![indexed(0, Reply::InOrder)],
        _ => vec![indexed(0, Reply::None)],
    }
}

/// A stranger's end of a connection.
#[derive(Debug)]
pub struct Stranger(Arc<Stream>);

impl Stranger {
    /// Both ends of a connection: a stranger's, and the other.
    #[must_use]
    pub fn pair() -> (Self, Stream) {
        let (near, far, _) = pipe(64 * 1024, false);
        let near = Stream::Other(Box::new(near));
        (Self(Arc::new(near)), Stream::Other(Box::new(far)))
    }

    /// Sends what is taken, in pieces of `piece` bytes.
    pub async fn send(&self, data: &[u8], piece: usize) {
        for mut piece in data.chunks(piece.max(1)) {
            while !piece.is_empty() {
                match self.0.try_write(&[io::IoSlice::new(piece)]) {
                    Ok(written) => piece = &piece[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        // The other end may wait for this one to read.
                        if timeout(PATIENCE, self.0.writable()).await.is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Says that nothing more will come.
    pub fn end(&self) {
        let _ = self.0.shutdown_write();
    }

    /// Reads up to the end; says how many bytes came.
    pub async fn drain(&self) -> usize {
        let mut total = 0;
        let mut buffer = BytesMut::new();
        while self.read(&mut buffer).await {
            total += buffer.len();
            buffer.clear();
        }
        total
    }

    /// Reads more; says whether there is any.
    pub async fn read(&self, buffer: &mut BytesMut) -> bool {
        loop {
            if self.0.readable().await.is_err() {
                return false;
            }
            buffer.reserve(16 * 1024);
            match self.0.try_read(buffer) {
                Ok(read) => return read > 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
    }
}

/// Answers, late, or not, and calls back.
#[derive(Debug)]
pub struct Desk;

impl Desk {
    fn run(link: &Arc<dyn Link>, call: Call) {
        match call.place.method {
            0 => {
                call_back(link);
                call.ticket.respond(Body::default(), &Extras::NONE);
            }
            1 => {
                call.ticket.respond(&call.body, &call.extras);
            }
            2 => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(50)).await;
                    call.ticket.respond(&call.body, &Extras::NONE);
                });
            }
            // Given up.
            _ => {}
        }
    }
}

fn call_back(link: &Arc<dyn Link>) {
    let call = Outbound {
        method: method(1),
        body: Payload::default(),
        extras: Extras::default(),
        deadline: Some(now() + Duration::from_secs(1)),
    };
    // It ends in time, whatever the peer does.
    let _ = link.call(&call, Waiter::new(drop));
}

impl Session for Desk {
    fn handle(&self, link: &Arc<dyn Link>, event: Event, _: &mut Turn<'_>) {
        match event {
            Event::Opened | Event::Credential(..) => {}
            Event::Call(call) => Self::run(link, call),
            Event::Closed(_) => link.finish(CloseReason::new(CloseKind::Closed, "all is said")),
        }
    }
}

/// Leads once to a stranger.
pub struct ToStranger(pub Mutex<Option<Stream>>);

impl fmt::Debug for ToStranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stranger")
    }
}

impl Dial for ToStranger {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + '_>> {
        let stream = self.0.lock().expect("nobody panicked").take();
        Box::pin(async { stream.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) })
    }
}
