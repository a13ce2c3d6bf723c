//! A stream whose bytes are counted, where they go over the wire.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use culver_runtime::{ProtocolMetrics, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that counts for its protocol.
#[derive(Debug)]
pub(crate) struct Metered {
    socket: Socket,
    metrics: &'static ProtocolMetrics,
}

impl Metered {
    /// Counts what goes through the socket.
    pub(crate) fn new(socket: Socket, metrics: &'static ProtocolMetrics) -> Self {
        Self { socket, metrics }
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.metrics.received_bytes.add((buf.filled().len() - before) as u64);
        poll
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = poll {
            self.metrics.sent_bytes.add(written as u64);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
