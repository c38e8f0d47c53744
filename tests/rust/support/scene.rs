//! A channel to a server that does as it is told.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use _core::net::client::{Channel, ChannelOptions, Delivery, Target};
use _core::wire::Codec;

use super::{Calls, ECHO, Folder, House, Talker, done, ms, numbered};

/// More than a test waits for.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
pub(crate) const NO_LIMIT: Option<Duration> = None;

pub(crate) fn patient() -> ChannelOptions {
    ChannelOptions {
        wait_for_ready: true,
        keep_connected: false,
        connect_timeout: GRACE,
        backoff_min: ms(5),
        backoff_max: ms(50),
        max_retry: 3,
        pooled: None,
    }
}

/// A channel, and the place where its connections come in.
pub(crate) struct Scene {
    pub(crate) channel: Arc<Channel>,
    pub(crate) calls: Calls,
    pub(crate) listener: UnixListener,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) house: House,
    pub(crate) folder: Folder,
}

impl Scene {
    pub(crate) fn new(codec: &Arc<dyn Codec>) -> Self {
        Self::with(codec, patient(), b"")
    }

    pub(crate) fn with(
        codec: &Arc<dyn Codec>,
        options: ChannelOptions,
        credential: &'static [u8],
    ) -> Self {
        let (house, folder) = (House::new(), Folder::new());
        let listener = UnixListener::bind(folder.file("socket")).unwrap();
        let target = Target::Address(folder.address());
        Self {
            channel: house.caller(target, options, codec, credential),
            calls: Calls::new(),
            listener,
            codec: Arc::clone(codec),
            house,
            folder,
        }
    }

    /// The server of the next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Talker {
        Talker::accept(&self.listener, &self.codec)
    }

    /// The server of a first connection that no call was needed for.
    #[track_caller]
    pub(crate) fn connect(&self) -> Talker {
        let connected = self.calls.waiter(u32::MAX);
        drop(self.channel.connect(Some(GRACE), connected));
        let server = self.accept();
        assert_eq!(self.calls.next(), (u32::MAX, done()));
        server
    }

    /// Calls [`ECHO`] with `number` for a body.
    pub(crate) fn call(&self, number: u32) -> Delivery {
        self.calls.call(&self.channel, ECHO, number, NO_LIMIT)
    }

    /// The same with a time limit.
    pub(crate) fn call_within(&self, number: u32, limit: Duration) -> Delivery {
        self.calls.call(&self.channel, ECHO, number, Some(limit))
    }

    /// The next call, which is this one, is answered and told to have been.
    #[track_caller]
    pub(crate) fn echo(&self, server: &mut Talker, number: u32) {
        assert_eq!(server.echo(), numbered(number));
        assert_eq!(self.calls.answer(number).body.bytes, numbered(number));
    }

    /// Nobody wants to connect.
    #[track_caller]
    pub(crate) fn assert_no_connection(&self) {
        thread::sleep(ms(60));
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "another connection");
    }
}
