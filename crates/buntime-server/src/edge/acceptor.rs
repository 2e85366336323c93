//! Takes connections off a listening socket. Survives every error of it.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::shard::Accepted;
use super::{ConnectionLimit, ConnectionPlace, Intake};
use crate::message::Listener;

/// How long accepting pauses when the process or the machine has run out of
/// descriptors or memory: trying again at once would only burn the processor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// When a silent client is first asked whether it is there, how long it has for
/// an answer, and after how many of these without one it is gone.
const ASK_AFTER: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(15);
const ASK_TIMES: u32 = 4;

/// What an unanswered asking amounts to: with data under way the system does not
/// ask, and would wait a quarter of an hour for that to be acknowledged.
const GONE_AFTER: Duration = Duration::from_secs(60 + 4 * 15);

/// What a client beyond the connection limit gets. It has sent nothing that
/// could be answered yet, so there is no request id of its own to return.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\
    connection: close\r\nretry-after: 1\r\nx-request-id: ";

/// What becomes of the clients of a listening socket.
pub(super) struct Clients {
    pub(super) listener: Listener,
    pub(super) intake: Intake,
    pub(super) limit: Arc<ConnectionLimit>,
    pub(super) encrypted: bool,
    /// How long a client may take nothing of a response.
    pub(super) patience: Duration,
}

pub(super) async fn run(socket: TcpListener, clients: Clients, closing: CancellationToken) {
    let take = |stream: TcpStream, address| match clients.limit.try_enter() {
        Some(place) => clients.hand_over(stream, address, place),
        // A shake of hands only to say no would cost more than a yes.
        None if clients.encrypted => {}
        None => turn_away(&stream),
    };
    each(&socket, take, &closing).await;
}

/// Accepts until `closing`, whatever happens.
pub(crate) async fn each(
    socket: &TcpListener,
    mut take: impl FnMut(TcpStream, IpAddr),
    closing: &CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => take(stream, canonical(address.ip())),
            // The client gave up between its SYN and our accept.
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

impl Clients {
    fn hand_over(&self, stream: TcpStream, address: IpAddr, place: ConnectionPlace) {
        // Responses are written whole; waiting for more to send only adds latency.
        let _ = stream.set_nodelay(true);
        let _ = watch_over(&stream, self.patience);
        let Ok(stream) = stream.into_std() else {
            return;
        };
        self.intake.take(Accepted {
            stream,
            address,
            listener: self.listener.clone(),
            place,
            early: BytesMut::new(),
        });
    }
}

/// Has the system ask a silent client whether it is still there, and give up one
/// that acknowledges nothing: a quiet event stream or WebSocket of one that
/// vanished would else stay for ever. `patience` is how long a client may take
/// nothing of a response; one that is slow by that measure is not gone.
fn watch_over(stream: impl AsFd + Copy, patience: Duration) -> rustix::io::Result<()> {
    let gone_after = GONE_AFTER.max(patience).as_millis();
    sockopt::set_tcp_user_timeout(stream, u32::try_from(gone_after).unwrap_or(u32::MAX))?;
    sockopt::set_tcp_keepidle(stream, ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, ASK_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, ASK_TIMES)?;
    sockopt::set_socket_keepalive(stream, true)
}

/// Says that there are too many.
pub(crate) fn turn_away(stream: &TcpStream) {
    let id = buntime_http::RequestId::fresh();
    let answer = [FULL, id.as_str().as_bytes(), b"\r\n\r\n"].concat();
    // The socket is new and its buffer empty, so this does not block; if it
    // fails, closing says the same.
    let _ = stream.try_write(&answer);
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut
    )
}

/// An IPv4 client on an IPv6 socket counts as what it is.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_vanished_is_given_up_by_the_system() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for (patience, gone_after) in [(30, 120_000), (600, 600_000)] {
            watch_over(&stream, Duration::from_secs(patience)).unwrap();
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), gone_after);
            assert!(sockopt::socket_keepalive(&stream).unwrap());
        }
        let asked = ASK_AFTER + ASK_AGAIN * ASK_TIMES;
        assert_eq!(GONE_AFTER, asked, "asking and waiting take equally long");
    }
}
