//! The stream with its two buffers: the only place that reads, writes and knows the clock.
//!
//! Nothing is read while a command is carried out, and nothing is made while what was made before is not yet taken: a
//! client's pace is the session's. Buffers shrink to almost nothing when the client has been silent for a moment.

use std::{mem, time::Duration};

use culver_runtime::{Limits, Stop, Stream, Tls, TlsInfo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use crate::end::End;

/// Room for input while nothing is known of the client's pace.
const INPUT_LEN_MIN: usize = 512;
/// After so long a silence the buffers give their memory back.
const SHRINK_DELAY: Duration = Duration::from_secs(1);
/// How long the client may take to take the last words.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

pub(crate) struct Wire {
    stream: Stream,
    stop: Stop,
    input: Vec<u8>,
    /// How much of `input` was used.
    used: usize,
    input_len_max: usize,
    /// The last read filled all the room: the client has more to say.
    filled: bool,
    stall_timeout: Duration,
    /// What is to be sent. Steps append to it.
    pub(crate) output: Vec<u8>,
    /// Bytes read from the client.
    pub(crate) bytes_in: u64,
    /// Bytes the client took.
    pub(crate) bytes_out: u64,
}

/// Why waiting for input ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waited {
    /// There is input.
    Input,
    /// The time was over.
    TimedOut,
}

impl Wire {
    pub(crate) fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        limits: &Limits,
        stop: Stop,
    ) -> Self {
        Self {
            stream: Stream::new(stream),
            stop,
            input: Vec::new(),
            used: 0,
            input_len_max: limits.input_step_len.max(INPUT_LEN_MIN),
            filled: false,
            stall_timeout: limits.stall_timeout,
            output: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What was read and not used.
    pub(crate) fn input(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// Marks input as used.
    pub(crate) fn consume(&mut self, len: usize) {
        self.used = self.input.len().min(self.used + len);
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Waits until the client sends something more. May be dropped at any time; nothing is lost.
    pub(crate) async fn read(&mut self, time: Duration) -> Result<Waited, End> {
        let deadline = Instant::now() + time;
        let patience = SHRINK_DELAY.min(time);
        if self.read_until(Instant::now() + patience).await? == Waited::Input {
            return Ok(Waited::Input);
        }
        self.shrink();
        if patience == time { Ok(Waited::TimedOut) } else { self.read_until(deadline).await }
    }

    async fn read_until(&mut self, deadline: Instant) -> Result<Waited, End> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        if self.filled || self.input.len() == self.input.capacity() {
            let room = (self.input.capacity() * 4).clamp(INPUT_LEN_MIN, self.input_len_max);
            self.input.reserve_exact(room.max(self.input.len() + INPUT_LEN_MIN) - self.input.len());
        }
        let read = tokio::select! {
            biased;
            () = self.stop.stopping() => return Err(End::Stopping),
            read = self.stream.read_buf(&mut self.input) => read?,
            () = tokio::time::sleep_until(deadline) => return Ok(Waited::TimedOut),
        };
        if read == 0 {
            return Err(End::Disconnected);
        }
        self.bytes_in += read as u64;
        self.filled = self.input.len() == self.input.capacity();
        Ok(Waited::Input)
    }

    /// Goes on over TLS. The client must have been told, and have sent nothing ahead.
    pub(crate) async fn start_tls(&mut self, tls: &Tls) -> Result<TlsInfo, End> {
        let stream = mem::replace(&mut self.stream, Stream::closed());
        let accepted = tokio::select! {
            accepted = tls.accept(stream) => accepted,
            () = self.stop.stopping() => return Err(End::StoppingMidway),
        };
        let (stream, info) = accepted?;
        self.stream = stream;
        Ok(info)
    }

    fn shrink(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    /// Sends what was made and waits until the client took it.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while let Some(rest) = self.output.get(sent..).filter(|rest| !rest.is_empty()) {
            let taken = tokio::select! {
                taken = timeout(self.stall_timeout, self.stream.write(rest)) => taken.map_err(|_| End::Stalled)??,
                () = self.stop.stopping() => {
                    self.output.drain(..sent);
                    return Err(End::Stopping);
                }
            };
            if taken == 0 {
                return Err(End::Disconnected);
            }
            sent += taken;
            self.bytes_out += taken as u64;
        }
        self.output.clear();
        timeout(self.stall_timeout, self.stream.flush()).await.map_err(|_| End::Stalled)??;
        Ok(())
    }

    /// Sends what can still be sent in a moment, and closes.
    pub(crate) async fn close(&mut self) {
        let last_words = async {
            let written = self.stream.write_all(&self.output).await;
            if written.is_ok() {
                self.bytes_out += self.output.len() as u64;
            }
            // Nobody is left to be told of a failure.
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, last_words).await;
    }
}
