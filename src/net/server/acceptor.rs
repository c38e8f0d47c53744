//! The acceptor: a listening socket, and the task that takes connections from it.

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener, lookup_host};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::call::Level;
use crate::metrics::Counters;
use crate::net::Socket as Connected;
use crate::net::address::Address;
use crate::net::server::Server;
use crate::net::tls::TlsAcceptor;

/// Connections that may wait to be accepted. With 1024, a storm of 5,000 connects takes ten
/// seconds of retries.
const BACKLOG: i32 = 4096;
/// Pause after an accept failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections that are accepted before those that are there have their turn. Each takes some 30 us
/// until it is gone again; without this, a storm of them holds up a call for milliseconds.
const ACCEPTS: u32 = 8;

#[derive(Debug)]
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What to put right about a socket when we no longer listen at it.
#[derive(Debug)]
enum Leave {
    /// It is ours alone.
    Nothing,
    /// Its file, which we made: path and inode.
    Remove(PathBuf, u64),
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    accepting: Accepting,
    address: Address,
    leave: Leave,
}

impl Listener {
    /// Binds and listens.
    ///
    /// A Unix socket's file that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// The name does not resolve, the address is in use or not ours, or may not be used.
    pub async fn bind(address: &Address, reuse_port: bool) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => {
                let candidates = lookup_host((host.as_str(), *port)).await?;
                Self::adopt(bind_first(candidates, reuse_port)?)
            }
            Address::Unix(path) => {
                let mut listener = Self::adopt(bind_unix(path)?)?;
                listener.leave = Leave::Remove(path.clone(), fs::symlink_metadata(path)?.ino());
                Ok(listener)
            }
        }
    }

    /// Takes over a socket that listens already; its owner may go on to use it afterwards. It blocks
    /// no more, and stays so: the flag belongs to the socket, not to a process, and in others that
    /// have inherited it a server that goes on would wait in `accept` with all that it serves.
    ///
    /// # Errors
    /// It does not listen, or is of a family that is not served.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        check_listens(&socket)?;
        Self::adopt(socket)
    }

    /// Registers a listening socket with the runtime, in whose context this must run.
    fn adopt(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = address_of(&socket)?;
        let accepting = match address {
            Address::Tcp { .. } => Accepting::Tcp(TcpListener::from_std(socket.into())?),
            Address::Unix(_) => Accepting::Unix(UnixListener::from_std(socket.into())?),
        };
        Ok(Self {
            accepting,
            address,
            leave: Leave::Nothing,
        })
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    async fn accept(&self) -> io::Result<(Connected, String)> {
        match &self.accepting {
            Accepting::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Connected::tcp(stream)?, peer.to_string()))
            }
            Accepting::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Connected::Unix(stream), self.address.to_string()))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        match &self.leave {
            Leave::Nothing => {}
            // Somebody may have removed it before us, or put another in its place.
            Leave::Remove(path, inode) => {
                if fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == *inode) {
                    drop(fs::remove_file(path));
                }
            }
        }
    }
}

/// A socket that listens for the servers of other processes, and where it does. Needs no runtime,
/// and waits for the look-up of a name. Nobody removes a Unix socket's file.
///
/// # Errors
/// Those of `Listener::bind`.
pub fn listen(address: &Address) -> io::Result<(Socket, Address)> {
    share(match address {
        Address::Tcp { host, port } => {
            bind_first((host.as_str(), *port).to_socket_addrs()?, false)?
        }
        Address::Unix(path) => bind_unix(path)?,
    })
}

/// Makes a socket that listens already fit for several processes; says where it listens.
///
/// # Errors
/// Those of `Listener::from_fd`.
pub fn share(socket: Socket) -> io::Result<(Socket, Address)> {
    check_listens(&socket)?;
    // As in `Listener::from_fd`.
    socket.set_nonblocking(true)?;
    let address = address_of(&socket)?;
    Ok((socket, address))
}

fn check_listens(socket: &Socket) -> io::Result<()> {
    if socket.is_listener()? {
        return Ok(());
    }
    let text = "the socket does not listen; call listen() on it first";
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Where a socket listens.
fn address_of(socket: &Socket) -> io::Result<Address> {
    let local = socket.local_addr()?;
    if let Some(address) = local.as_socket() {
        return Ok(Address::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        });
    }
    if !local.is_unix() {
        let text = "neither a TCP nor a Unix socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let path = local.as_pathname().map(Path::to_path_buf);
    Ok(Address::Unix(path.unwrap_or_default()))
}

/// Listens at the first address that can be had.
fn bind_first(
    candidates: impl Iterator<Item = SocketAddr>,
    reuse_port: bool,
) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in candidates {
        match bind_tcp(candidate, reuse_port) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // For addresses in TIME_WAIT; a second listener is still refused.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Removes the file of a Unix socket at which nobody listens; leaves everything else alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose backlog is full is alive, and must not be waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Server {
    /// Takes connections in until aborted.
    pub(super) async fn accept(self: Arc<Self>, listener: Listener, tls: Option<Arc<TlsAcceptor>>) {
        let mut accepted = 0_u32;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    self.receive(&Handle::current(), socket, peer, tls.as_ref());
                    accepted = accepted.wrapping_add(1);
                    if accepted.is_multiple_of(ACCEPTS) {
                        yield_now().await;
                    }
                }
                Err(error) => {
                    if let Some(terms) = self.protocols.first() {
                        Counters::count(&terms.counters.accept_errors);
                        let text = format!("accept failed reason={:?}", error.to_string());
                        terms.journal.write(Level::Error, text);
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
