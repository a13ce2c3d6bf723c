//! The stream with its two buffers: the only place that reads, writes and knows the clock.
//!
//! Nothing is read while a command is carried out, and nothing is made while what was made before is not yet taken: a
//! client's pace is the session's. Buffers shrink to almost nothing when the client has been silent for a moment.
//!
//! With COMPRESS, what is read is inflated no further than there is room in the input, and what is to be sent is deflated
//! in steps, each of which the client takes before the next is made.

use std::{io, mem, time::Duration};

use culver_runtime::{Limits, Stop, Stream, Tls, TlsInfo};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use crate::{
    deflate::{Deflater, Inflated, Inflater},
    end::End,
};

/// Room for input while nothing is known of the client's pace.
const INPUT_LEN_MIN: usize = 512;
/// After so long a silence the buffers give their memory back.
const SHRINK_DELAY: Duration = Duration::from_secs(1);
/// Compressed bytes read at once.
const COMPRESSED_INPUT_LEN: usize = 8 * 1024;
/// Bytes that are deflated before what they became is sent.
const DEFLATE_STEP_LEN: usize = 32 * 1024;
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
    /// When the client must have logged in, until it has. However busy it is: nothing is read or written after that.
    login_deadline: Option<Instant>,
    /// Boxed: few sessions have it.
    compression: Option<Box<Compression>>,
    /// What is to be sent. Steps append to it.
    pub(crate) output: Vec<u8>,
    /// Bytes read from the client, compressed ones where they are.
    pub(crate) bytes_in: u64,
    /// Bytes the client took, compressed ones where they are.
    pub(crate) bytes_out: u64,
}

/// What lies between the buffers and the stream with COMPRESS.
struct Compression {
    inflater: Inflater,
    /// What was read and not yet inflated.
    unread: Vec<u8>,
    /// The last call filled its room: there may be more even without input.
    has_more: bool,
    /// The client ended its stream.
    ended: bool,
    deflater: Deflater,
    /// What was deflated and not yet taken.
    unsent: Vec<u8>,
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
        login_deadline: Instant,
    ) -> Self {
        Self {
            stream: Stream::new(stream),
            stop,
            input: Vec::new(),
            used: 0,
            input_len_max: limits.input_step_len.max(INPUT_LEN_MIN),
            filled: false,
            stall_timeout: limits.stall_timeout,
            login_deadline: Some(login_deadline),
            compression: None,
            output: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// What was read and not used.
    pub(crate) fn input(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// Bytes of memory that the buffers take.
    pub(crate) fn capacity(&self) -> usize {
        let compressed = self.compression.as_ref().map_or(0, |with| with.unread.capacity() + with.unsent.capacity());
        self.input.capacity() + self.output.capacity() + compressed
    }

    /// Marks input as used.
    pub(crate) fn consume(&mut self, len: usize) {
        self.used = self.input.len().min(self.used + len);
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// The client has logged in: it may take its time.
    pub(crate) fn forget_login_deadline(&mut self) {
        self.login_deadline = None;
    }

    /// How long the client may take for something; an error where it should have logged in by now.
    fn patience(&self, most: Duration) -> Result<Duration, End> {
        let Some(deadline) = self.login_deadline else { return Ok(most) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(End::Inactive) } else { Ok(left.min(most)) }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Waits until the client sends something more. May be dropped at any time; nothing is lost.
    pub(crate) async fn read(&mut self, time: Duration) -> Result<Waited, End> {
        let time = self.patience(time)?;
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
        loop {
            if self.inflate().await? {
                break;
            }
            let buffer = match &mut self.compression {
                Some(compression) => compression.room(),
                None => &mut self.input,
            };
            let read = tokio::select! {
                biased;
                () = self.stop.stopping() => return Err(End::Stopping),
                read = self.stream.read_buf(buffer) => read?,
                () = tokio::time::sleep_until(deadline) => return Ok(Waited::TimedOut),
            };
            if read == 0 {
                return Err(End::Disconnected);
            }
            self.bytes_in += read as u64;
            if self.compression.is_none() {
                break;
            }
        }
        self.filled = self.input.len() == self.input.capacity();
        Ok(Waited::Input)
    }

    /// Inflates what was read, as far as there is room. Whether there was something.
    async fn inflate(&mut self) -> Result<bool, End> {
        let Some(compression) = &mut self.compression else { return Ok(false) };
        if compression.ended && !compression.has_more {
            return Err(End::Disconnected);
        }
        if !compression.may_have_input() {
            return Ok(false);
        }
        // A few bytes may be inflated for long, with no wait for the stream in between: others have their turn here.
        tokio::task::consume_budget().await;
        let room = self.input.capacity() - self.input.len();
        compression.inflate(&mut self.input, room)
    }

    /// From now on both directions are compressed. What was to be sent must have been sent; what was read ahead is
    /// compressed.
    pub(crate) fn start_compression(&mut self) {
        let unread = self.input().to_vec();
        self.consume(unread.len());
        self.compression = Some(Box::new(Compression {
            inflater: Inflater::new(),
            unread,
            has_more: false,
            ended: false,
            deflater: Deflater::default(),
            unsent: Vec::new(),
        }));
    }

    /// Whether COMPRESS is in force.
    pub(crate) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }

    /// Goes on over TLS. The client must have been told, and have sent nothing ahead.
    pub(crate) async fn start_tls(&mut self, tls: &Tls) -> Result<TlsInfo, End> {
        let time = self.patience(Duration::MAX)?;
        let stream = mem::replace(&mut self.stream, Stream::closed());
        let accepted = tokio::select! {
            accepted = timeout(time, tls.accept(stream)) => accepted.map_err(|_| End::Stalled)?,
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
        if let Some(compression) = &mut self.compression {
            compression.shrink();
        }
    }

    /// Sends what was made and waits until the client took it. Not to be dropped before its end.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        if let Some(mut compression) = self.compression.take() {
            let flushed = self.flush_compressed(&mut compression).await;
            self.compression = Some(compression);
            flushed?;
        } else {
            let mut output = mem::take(&mut self.output);
            let sent = self.send(&mut output).await;
            self.output = output;
            sent?;
        }
        let patience = self.patience(self.stall_timeout)?;
        timeout(patience, self.stream.flush()).await.map_err(|_| End::Stalled)??;
        Ok(())
    }

    async fn flush_compressed(&mut self, compression: &mut Compression) -> Result<(), End> {
        loop {
            self.send(&mut compression.unsent).await?;
            if self.output.is_empty() {
                return Ok(());
            }
            compression.deflate(&mut self.output);
        }
    }

    /// Sends and waits until the client took all of it; what it did not take stays.
    async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), End> {
        let mut sent = 0;
        let outcome = self.send_from(bytes, &mut sent).await;
        // What was taken must not be said again in the last words.
        bytes.drain(..sent);
        outcome
    }

    /// Sends from `sent` on, and moves that along.
    async fn send_from(&mut self, bytes: &[u8], sent: &mut usize) -> Result<(), End> {
        while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
            let patience = self.patience(self.stall_timeout)?;
            let taken = tokio::select! {
                taken = timeout(patience, self.stream.write(rest)) => taken.map_err(|_| End::Stalled)??,
                () = self.stop.stopping() => return Err(End::Stopping),
            };
            if taken == 0 {
                return Err(End::Disconnected);
            }
            *sent += taken;
            self.bytes_out += taken as u64;
        }
        Ok(())
    }

    /// Sends what can still be sent in a moment, and closes.
    pub(crate) async fn close(&mut self) {
        let last_words = match &mut self.compression {
            Some(compression) => {
                while !self.output.is_empty() {
                    compression.deflate(&mut self.output);
                }
                &compression.unsent
            }
            None => &self.output,
        };
        let stream = &mut self.stream;
        let say = async {
            let written = stream.write_all(last_words).await;
            // Nobody is left to be told of a failure.
            let _ = stream.shutdown().await;
            written.is_ok()
        };
        if timeout(LAST_WORDS_TIMEOUT, say).await == Ok(true) {
            self.bytes_out += last_words.len() as u64;
        }
    }
}

impl Compression {
    /// Room for what is read.
    fn room(&mut self) -> &mut Vec<u8> {
        self.unread.reserve_exact(COMPRESSED_INPUT_LEN.saturating_sub(self.unread.len()));
        &mut self.unread
    }

    fn may_have_input(&self) -> bool {
        self.has_more || !self.unread.is_empty()
    }

    /// Inflates up to `room` bytes; whether there were any.
    fn inflate(&mut self, input: &mut Vec<u8>, room: usize) -> Result<bool, End> {
        let inflated = self.inflater.inflate(&self.unread, input, room);
        let Inflated { consumed, made, filled, ended } =
            inflated.map_err(|error| End::Lost(io::Error::other(error)))?;
        self.unread.drain(..consumed);
        self.has_more = filled;
        self.ended = ended;
        Ok(made > 0)
    }

    /// Deflates the next step of the output. The last one is flushed, so that the client can read all.
    fn deflate(&mut self, output: &mut Vec<u8>) {
        let len = output.len().min(DEFLATE_STEP_LEN);
        let is_last = len == output.len();
        self.deflater.deflate(output.get(..len).unwrap_or_default(), &mut self.unsent, is_last);
        if is_last {
            output.clear();
        } else {
            output.drain(..len);
        }
    }

    fn shrink(&mut self) {
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
        self.inflater.shrink();
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.deflater.shrink();
        }
    }
}
