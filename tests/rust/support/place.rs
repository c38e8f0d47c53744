//! A house with a server of wires with answers, and what goes beside calls to it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use _core::call::Greeting;
use _core::net::address::Address;
use _core::net::server::{Cut, Server};
use _core::wire::indexed::{Layout, Reply};
use _core::wire::{Codec, Extras, Parts, Payload};
use bytes::Bytes;
use socket2::SockRef;

use super::{Desk, House, Setup, Talker, baidu, hulu, indexed, loopback, sofa};

pub(crate) fn by_id() -> Arc<dyn Codec> {
    indexed(Layout {
        id_width: 4,
        reply: Reply::ById,
        ..Layout::default()
    })
}

pub(crate) fn in_order(id_width: usize) -> Arc<dyn Codec> {
    indexed(Layout {
        id_width,
        reply: Reply::InOrder,
        ..Layout::default()
    })
}

/// All protocols that answer, as one port speaks them.
pub(crate) fn all() -> Vec<Arc<dyn Codec>> {
    vec![baidu(), hulu(), sofa(), by_id()]
}

pub(crate) fn payload(body: &[u8]) -> Payload {
    Payload::plain(Bytes::copy_from_slice(body))
}

pub(crate) fn greeting(serves: bool) -> Extras {
    let greeting = Greeting {
        moves: true,
        serves,
    };
    Extras::from(Parts {
        metadata: vec![greeting.entry()],
        ..Parts::default()
    })
}

pub(crate) fn credential(credential: &[u8]) -> Extras {
    Extras::from(Parts {
        credential: Bytes::copy_from_slice(credential),
        ..Parts::default()
    })
}

/// A house with a server of one protocol.
pub(crate) struct Place {
    pub(crate) house: House,
    pub(crate) server: Arc<Server>,
    pub(crate) address: Address,
    pub(crate) desk: Arc<Desk>,
    pub(crate) codec: Arc<dyn Codec>,
}

impl Place {
    pub(crate) fn new(codec: &Arc<dyn Codec>) -> Self {
        Self::with(codec, |_| {})
    }

    pub(crate) fn with(codec: &Arc<dyn Codec>, change: impl FnOnce(&mut Setup)) -> Self {
        Self::at(&loopback(), codec, change)
    }

    pub(crate) fn at(
        address: &Address,
        codec: &Arc<dyn Codec>,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let house = House::new();
        let mut setup = Setup::of(codec);
        change(&mut setup);
        let (server, address, desk) = house.serve_desk(address, setup);
        Self {
            house,
            server,
            address,
            desk,
            codec: Arc::clone(codec),
        }
    }

    #[track_caller]
    pub(crate) fn caller(&self) -> Talker {
        Talker::connect(&self.address, &self.codec)
    }

    /// Stops the server on a thread of its own.
    pub(crate) fn stop(&self, grace: Duration) -> thread::JoinHandle<Cut> {
        let server = Arc::clone(&self.server);
        let handle = self.house.runtime().handle();
        thread::spawn(move || handle.block_on(async move { server.stop(grace).await }))
    }
}

/// Breaks a connection.
#[expect(clippy::needless_pass_by_value)] // it is gone afterwards
pub(crate) fn reset(talker: Talker) {
    let socket = SockRef::from(talker.peer.tcp());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
