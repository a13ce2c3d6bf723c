//! Accepts connections until told to stop, and then waits for the sessions to end.

use std::{future::Future, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{BoundSocket, Connections, CurrentLimits, Peer, Socket, Stop};

/// How long to wait before accepting again where the system has no room (such as no file descriptor left).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);
/// Refused clients at once that are still told why; more are closed without a word.
const REFUSALS_MAX: usize = 256;

/// A bound socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: BoundSocket,
    connections: Connections,
    limits: CurrentLimits,
    stop: Stop,
    close: Stop,
    refusal: Option<Refusal>,
}

/// What a client is told that is one too many: a text with the limit's name in it.
pub type Refusal = fn(limit: &str) -> String;

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// Who is at the other end.
    pub peer: Peer,
}

impl Listener {
    /// Over a socket. `close` ends accepting, and leaves the sessions alone; `stop` ends those too.
    pub fn new(socket: BoundSocket, connections: Connections, limits: CurrentLimits, stop: Stop, close: Stop) -> Self {
        Self { socket, connections, limits, stop, close, refusal: None }
    }

    /// Tells refused clients why, such as `* BYE Too many connections\r\n`. A client of implicit TLS would not
    /// understand it: there it is left out.
    pub fn refusing_with(mut self, refusal: Refusal) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// Runs a task of `serve` for each connection. Returns when all have ended after a stop, or `stop_timeout` after
    /// it: sessions hear of the stop themselves; those that do not end in time are dropped where they wait (what runs
    /// on a pool's thread runs to its end).
    pub async fn run<F, S>(mut self, serve: F)
    where
        F: Fn(Accepted) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        let mut sessions = JoinSet::new();
        let mut refusals = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = self.stop.stopping() => break,
                () = self.close.stopping() => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
                Some(_) = refusals.join_next(), if !refusals.is_empty() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer, &serve, &mut sessions, &mut refusals),
                    Err(error) => {
                        warn!(%error, "cannot accept connections");
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
            }
        }
        drop(self.socket);
        while !self.stop.is_stopping() && !sessions.is_empty() {
            tokio::select! {
                () = self.stop.stopping() => {}
                _ = sessions.join_next() => {}
            }
        }
        let all = async { while sessions.join_next().await.is_some() {} };
        if timeout(self.limits.load().stop_timeout, all).await.is_err() {
            warn!(sessions = sessions.len(), "sessions did not end in time");
            sessions.shutdown().await;
        }
    }

    fn admit<F, S>(
        &self,
        mut socket: Socket,
        peer: Peer,
        serve: &F,
        sessions: &mut JoinSet<()>,
        refusals: &mut JoinSet<()>,
    ) where
        F: Fn(Accepted) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        match self.connections.admit(peer.ip()) {
            Ok(permit) => {
                let session = serve(Accepted { socket, peer });
                sessions.spawn(async move {
                    session.await;
                    drop(permit);
                });
            }
            Err(error) => {
                info!(%peer, %error, "connection refused");
                let Some(refusal) = self.refusal.filter(|_| refusals.len() < REFUSALS_MAX) else { return };
                let refusal = refusal(error.name);
                refusals.spawn(async move {
                    let _ = timeout(REFUSAL_TIMEOUT, socket.write_all(refusal.as_bytes())).await;
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Instant};

    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;
    use crate::{Limits, ListenAddress, Stopper};

    struct Started {
        address: SocketAddr,
        stopper: Stopper,
        closer: Stopper,
        running: tokio::task::JoinHandle<()>,
    }

    fn started(limits: Limits) -> Started {
        let ((stopper, stop), (closer, close)) = (Stopper::new(), Stopper::new());
        let any = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let connections = Connections::new(&limits);
        let socket = BoundSocket::bind(&any).unwrap();
        let ListenAddress::Tcp(address) = socket.local_addr().unwrap() else { panic!("TCP") };
        let listener = Listener::new(socket, connections, CurrentLimits::new(limits), stop.clone(), close)
            .refusing_with(|limit| format!("full: {limit}\r\n"));
        let running = tokio::spawn(listener.run(move |mut accepted: Accepted| {
            let mut stop = stop.clone();
            async move {
                let mut word = [0; 4];
                tokio::select! {
                    read = accepted.socket.read_exact(&mut word) => {
                        if read.is_ok() && &word == b"hang" {
                            std::future::pending::<()>().await;
                        }
                    }
                    () = stop.stopping() => { let _ = accepted.socket.write_all(b"bye\r\n").await; }
                }
            }
        }));
        Started { address, stopper, closer, running }
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn one_too_many_is_told_why() {
        let server = started(Limits { connections_max: 1, ..Limits::default() });
        let mut first = TcpStream::connect(server.address).await.unwrap();
        let mut second = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(read_all(&mut second).await, "full: connections_max\r\n");
        server.stopper.stop();
        assert_eq!(read_all(&mut first).await, "bye\r\n");
        server.running.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn a_closed_listener_leaves_its_sessions_alone() {
        let server = started(Limits::default());
        let mut client = TcpStream::connect(server.address).await.unwrap();
        // The connection is accepted for certain when another one, later in the queue, has been.
        let mut later = TcpStream::connect(server.address).await.unwrap();
        later.write_all(b"done").await.unwrap();
        assert_eq!(read_all(&mut later).await, "");
        server.closer.stop();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.running.is_finished());
        server.stopper.stop();
        assert_eq!(read_all(&mut client).await, "bye\r\n");
        server.running.await.unwrap();
    }

    #[tokio::test]
    async fn a_session_that_hangs_delays_a_stop_no_longer_than_the_limit() {
        let limits = Limits { stop_timeout: Duration::from_millis(100), ..Limits::default() };
        let server = started(limits);
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(b"hang").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        server.stopper.stop();
        server.running.await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
