//! A peer on a bare socket, which speaks the default layout of the indexed protocol.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use _core::net::address::Address;
use bytes::BytesMut;

use super::PATIENCE;

/// A frame of the default layout.
pub(crate) fn frame(index: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(2 + body.len()).unwrap();
    [&length.to_le_bytes()[..], &index.to_le_bytes(), body].concat()
}

/// A peer on a bare socket.
#[derive(Debug)]
pub(crate) enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                Ok(Self::on_tcp(TcpStream::connect((host.as_str(), *port))?))
            }
            Address::Unix(path) => Ok(Self::unix(UnixStream::connect(path)?)),
        }
    }

    pub(crate) fn on_tcp(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::Tcp(stream)
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::Unix(stream)
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => panic!("a Unix socket"),
        }
    }

    /// Another handle on the same socket.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
        }
    }

    /// Writes all, unless the other end is gone.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Says that nothing more will come.
    pub(crate) fn end(&self) {
        let how = std::net::Shutdown::Write;
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
        .unwrap();
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.read_exact(bytes),
            Self::Unix(stream) => stream.read_exact(bytes),
        }
    }

    /// Adds what there is to `buffer`, and says whether there will be more.
    #[track_caller]
    pub(crate) fn read_more(&mut self, buffer: &mut BytesMut) -> bool {
        let mut bytes = [0; 16 * 1024];
        let read = match self {
            Self::Tcp(stream) => stream.read(&mut bytes),
            Self::Unix(stream) => stream.read(&mut bytes),
        };
        match read {
            Ok(read) => {
                buffer.extend_from_slice(&bytes[..read]);
                read > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => false,
        }
    }

    /// The next frame; `None` at the end of the stream, however it ended.
    pub(crate) fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut head = [0; 6];
        match self.read(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => return None,
        }
        let (length, index) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap());
        let mut body = vec![0; length as usize - 2];
        self.read(&mut body).ok()?;
        Some((u16::from_le_bytes(index.try_into().unwrap()), body))
    }

    /// All bodies up to the end of the stream.
    pub(crate) fn drain(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive())
            .map(|(_, body)| body)
            .collect()
    }

    /// All bytes up to the end of the stream.
    #[track_caller]
    pub(crate) fn drain_bytes(&mut self) -> Vec<u8> {
        let mut buffer = BytesMut::new();
        while self.read_more(&mut buffer) {}
        buffer.to_vec()
    }
}
