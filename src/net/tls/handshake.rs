//! The handshake, and how it ends.

use std::io;
use std::time::Duration;

use rustls::Connection as Session;
use tokio::time::timeout;

use crate::call::{CloseKind, CloseReason, RejectReason};
use crate::net::socket::Socket;
use crate::net::tls::fault::{refused, rejected};
use crate::net::tls::stream::{TlsStream, Wire};

/// Time for a peer that is refused to read why.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of such a peer that are thrown away meanwhile.
const UNREAD_BYTES: usize = 64 * 1024;

/// Shakes hands over `socket`; `first` is what was read of the peer already.
pub(super) async fn shake_hands(
    socket: Socket,
    mut session: Session,
    first: &[u8],
) -> Result<TlsStream, CloseReason> {
    match steps(&socket, &mut session, first).await {
        Ok(()) => Ok(TlsStream::new(socket, session)),
        Err(reason) => {
            // The alert that says why, as far as the socket takes it.
            let _ = session.write_tls(&mut Wire(&socket));
            part(socket);
            Err(reason)
        }
    }
}

async fn steps(
    socket: &Socket,
    session: &mut Session,
    mut first: &[u8],
) -> Result<(), CloseReason> {
    loop {
        while session.wants_write() {
            match session.write_tls(&mut Wire(socket)) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => socket.writable().await.map_err(broken)?,
                Err(error) => return Err(broken(error)),
            }
        }
        if !session.is_handshaking() && first.is_empty() {
            return Ok(());
        }
        let read = if first.is_empty() {
            socket.readable().await.map_err(broken)?;
            session.read_tls(&mut Wire(socket))
        } else {
            session.read_tls(&mut first)
        };
        match read {
            Ok(0) => {
                let text = "the peer ended the connection within the TLS handshake; it may not \
                            speak TLS, or not want to";
                return Err(rejected(RejectReason::TlsHandshake, text.to_owned()));
            }
            Ok(_) => {}
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(broken(error)),
        }
        if let Err(error) = session.process_new_packets() {
            return Err(refused(&error));
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[expect(clippy::needless_pass_by_value)]
fn broken(error: io::Error) -> CloseReason {
    let text = format!("the connection broke within the TLS handshake: {error}");
    CloseReason::new(CloseKind::Reset, text)
}

/// Ends a connection so that the peer can read what it was sent last: the end of a connection of
/// which something is unread is a reset, and that may overtake it. Nobody waits for that.
pub(super) fn part(socket: Socket) {
    if socket.shutdown_write().is_err() {
        return;
    }
    tokio::spawn(async move {
        // Who does not end in time is cut off.
        let _ = timeout(LINGER, read_off(&socket)).await;
    });
}

async fn read_off(socket: &Socket) {
    let (mut bytes, mut left) = ([0; 1024], UNREAD_BYTES);
    while left > 0 && socket.readable().await.is_ok() {
        match socket.try_read_slice(&mut bytes) {
            Ok(0) => return,
            Ok(read) => left = left.saturating_sub(read),
            Err(error) if is_passing(&error) => {}
            Err(_) => return,
        }
    }
}
