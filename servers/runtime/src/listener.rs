//! Accepts connections until told to stop, and then waits for the sessions to end.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{Connections, Limits, Stop};

/// How long to wait before accepting again where the system has no room (such as no file descriptor left).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a refused client may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);

/// A bound socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    connections: Connections,
    stop: Stop,
    stop_timeout: Duration,
    refusal: &'static [u8],
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Accepted {
    /// The stream, without Nagle's delay.
    pub stream: TcpStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Which address he connected to.
    pub local: SocketAddr,
}

impl Listener {
    /// Binds. `refusal` is what a client is told that is one too many, such as `* BYE Too many connections\r\n`.
    pub async fn bind(
        address: SocketAddr,
        limits: &Limits,
        connections: Connections,
        stop: Stop,
        refusal: &'static [u8],
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket, connections, stop, stop_timeout: limits.stop_timeout, refusal })
    }

    /// The address it is bound to, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
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
        loop {
            tokio::select! {
                biased;
                () = self.stop.stopping() => break,
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &serve, &mut sessions),
                    Err(error) => {
                        warn!(%error, "cannot accept connections");
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
            }
        }
        drop(self.socket);
        let all = async { while sessions.join_next().await.is_some() {} };
        if timeout(self.stop_timeout, all).await.is_err() {
            warn!(sessions = sessions.len(), "sessions did not end in time");
            sessions.shutdown().await;
        }
    }

    fn admit<F, S>(&self, mut stream: TcpStream, peer: SocketAddr, serve: &F, sessions: &mut JoinSet<()>)
    where
        F: Fn(Accepted) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        // Both fail only for a connection that is gone already; the session will notice.
        let local = stream.local_addr().unwrap_or(peer);
        let _ = stream.set_nodelay(true);
        match self.connections.admit(Some(peer.ip())) {
            Ok(permit) => {
                let session = serve(Accepted { stream, peer, local });
                sessions.spawn(async move {
                    session.await;
                    drop(permit);
                });
            }
            Err(error) => {
                info!(%peer, %error, "connection refused");
                let refusal = self.refusal;
                sessions.spawn(async move {
                    let _ = timeout(REFUSAL_TIMEOUT, stream.write_all(refusal)).await;
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::Stopper;

    async fn started(limits: Limits) -> (SocketAddr, Stopper, tokio::task::JoinHandle<()>) {
        let (stopper, stop) = Stopper::new();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let connections = Connections::new(&limits);
        let listener = Listener::bind(any, &limits, connections, stop.clone(), b"full\r\n").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(listener.run(move |mut accepted: Accepted| {
            let mut stop = stop.clone();
            async move {
                let mut word = [0; 4];
                tokio::select! {
                    read = accepted.stream.read_exact(&mut word) => {
                        if read.is_ok() && &word == b"hang" {
                            std::future::pending::<()>().await;
                        }
                    }
                    () = stop.stopping() => { let _ = accepted.stream.write_all(b"bye\r\n").await; }
                }
            }
        }));
        (address, stopper, running)
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn one_too_many_is_told_why() {
        let (address, stopper, running) = started(Limits { connections_max: 1, ..Limits::default() }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_all(&mut second).await, "full\r\n");
        stopper.stop();
        assert_eq!(read_all(&mut first).await, "bye\r\n");
        running.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_session_that_hangs_delays_a_stop_no_longer_than_the_limit() {
        let limits = Limits { stop_timeout: Duration::from_millis(100), ..Limits::default() };
        let (address, stopper, running) = started(limits).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"hang").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let began = Instant::now();
        stopper.stop();
        running.await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
