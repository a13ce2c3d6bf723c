//! A stream of lines with its two buffers, for the protocols whose commands are lines (POP3, LMTP): the only place that
//! reads, writes and knows the clock.
//!
//! Nothing is read while a command is carried out, and nothing is made while what was made before is not yet taken: a
//! client's pace is the session's. A line that is too long is dropped as it comes. Buffers give their memory back when
//! the client has been silent for a moment.

use std::{fmt, io, ops::Range, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, sleep_until, timeout},
};

use crate::{Limits, Stop, Stream, Tls, TlsInfo};

/// Room for input while nothing is known of the client's pace.
const INPUT_LEN_MIN: usize = 512;
/// After so long a silence the buffers give their memory back.
const SHRINK_DELAY: Duration = Duration::from_secs(1);
/// How long the client may take to take the last words.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// A stream of lines. The fields that are public are the session's to use.
pub struct Lines {
    stream: Stream,
    stop: Stop,
    input: Vec<u8>,
    /// How much of `input` was used.
    used: usize,
    input_len_max: usize,
    /// The last read filled all the room: the client has more to say.
    filled: bool,
    stall_timeout: Duration,
    /// See [`Lines::set_deadline`].
    deadline: Option<Instant>,
    /// What is to be sent. Sent before the next wait for input, so that answers to one packet go in one.
    pub output: Vec<u8>,
    /// Bytes read from the client.
    pub bytes_in: u64,
    /// Bytes that the client took.
    pub bytes_out: u64,
}

/// A line that came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    /// It lies here, for [`Lines::text`], without its line end (LF or CR LF).
    At(Range<usize>),
    /// It was longer than allowed, and was dropped.
    TooLong,
}

/// Why there is no more to read, or nobody takes what is written.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// The client closed the connection.
    #[error("disconnected")]
    Disconnected,
    /// The stream failed.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The client sent nothing, or no whole line, in the time it had.
    #[error("inactive for too long")]
    Silent,
    /// The client took no byte for too long.
    #[error("stalled")]
    Stalled,
    /// The server stops.
    #[error("server stops")]
    Stopping,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes_in, bytes_out) = (self.bytes_in, self.bytes_out);
        f.debug_struct("Lines").field("bytes_in", &bytes_in).field("bytes_out", &bytes_out).finish_non_exhaustive()
    }
}

impl Lines {
    /// Takes a stream of which nothing was read yet. Of the limits, `input_step_len` and `stall_timeout` are heeded.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, limits: &Limits, stop: Stop) -> Self {
        Self {
            stream: Stream::new(stream),
            stop,
            input: Vec::new(),
            used: 0,
            input_len_max: limits.input_step_len.max(INPUT_LEN_MIN),
            filled: false,
            stall_timeout: limits.stall_timeout,
            deadline: None,
            output: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Until when the client may be there at all, however busy it is: for those who have not logged in. Afterwards
    /// nothing is read, written or agreed on any more ([`Gone::Silent`]).
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Bytes of memory that the buffers take.
    pub fn capacity(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// How long the client may take for something.
    fn patience(&self, most: Duration) -> Result<Duration, Gone> {
        let Some(deadline) = self.deadline else { return Ok(most) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Gone::Silent) } else { Ok(left.min(most)) }
    }

    /// The next line, of at most `len_max` bytes with its end. It must be whole after `time`, however its bytes trickle.
    ///
    /// # Errors
    /// When the client is gone or silent, or the server stops. What was read of a line stays for the next call.
    pub async fn line(&mut self, len_max: usize, time: Duration) -> Result<Line, Gone> {
        let deadline = Instant::now() + time;
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let rest = self.input.get(self.used + searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', rest) {
                let line = self.used..self.used + searched + at + 1;
                self.used = line.end;
                if too_long || line.len() > len_max {
                    return Ok(Line::TooLong);
                }
                let text = self.input.get(line.clone()).unwrap_or_default();
                let end_len = if text.ends_with(b"\r\n") { 2 } else { 1 };
                return Ok(Line::At(line.start..line.end - end_len));
            }
            searched = self.input.len() - self.used;
            if searched > len_max {
                too_long = true;
                self.used = self.input.len();
                searched = 0;
            }
            self.fill_until(deadline).await?;
        }
    }

    /// A line's bytes. Good until more is read.
    pub fn text(&self, line: &Range<usize>) -> &[u8] {
        self.input.get(line.clone()).unwrap_or_default()
    }

    /// What was read and not used, for what is not lines.
    pub fn input(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// Marks input as used.
    pub fn consume(&mut self, len: usize) {
        self.used = self.input.len().min(self.used + len);
    }

    /// Whether the server stops.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_stopping()
    }

    /// Sends what is to be sent, and waits until the client sends something.
    ///
    /// # Errors
    /// Those of [`Lines::line`].
    pub async fn fill(&mut self, time: Duration) -> Result<(), Gone> {
        self.fill_until(Instant::now() + time).await
    }

    async fn fill_until(&mut self, deadline: Instant) -> Result<(), Gone> {
        self.flush().await?;
        // What has come already would be read first, whatever the time.
        self.patience(Duration::MAX)?;
        let deadline = self.deadline.map_or(deadline, |last| last.min(deadline));
        let patience = (Instant::now() + SHRINK_DELAY).min(deadline);
        if self.read_until(patience).await? {
            return Ok(());
        }
        self.shrink();
        if patience < deadline && self.read_until(deadline).await? { Ok(()) } else { Err(Gone::Silent) }
    }

    /// Says whether something came.
    async fn read_until(&mut self, deadline: Instant) -> Result<bool, Gone> {
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
            () = self.stop.stopping() => return Err(Gone::Stopping),
            read = self.stream.read_buf(&mut self.input) => read?,
            () = sleep_until(deadline) => return Ok(false),
        };
        if read == 0 {
            return Err(Gone::Disconnected);
        }
        self.bytes_in += read as u64;
        self.filled = self.input.len() == self.input.capacity();
        Ok(true)
    }

    fn shrink(&mut self) {
        self.output.shrink_to_fit();
        self.input.shrink_to_fit();
    }

    /// Sends what is to be sent and waits until the client took it, however long it is, as long as it goes on taking.
    ///
    /// # Errors
    /// When the client is gone or takes nothing for the `stall_timeout`, or the server stops.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut sent = 0;
        let outcome = self.send_from(&mut sent).await;
        // What was taken must not be said again in the last words.
        self.output.drain(..sent);
        outcome?;
        let patience = self.patience(self.stall_timeout)?;
        timeout(patience, self.stream.flush()).await.map_err(|_| Gone::Stalled)??;
        Ok(())
    }

    /// Sends the output from `sent` on, and moves that along.
    async fn send_from(&mut self, sent: &mut usize) -> Result<(), Gone> {
        while let Some(rest) = self.output.get(*sent..).filter(|rest| !rest.is_empty()) {
            let patience = self.patience(self.stall_timeout)?;
            let taken = tokio::select! {
                taken = timeout(patience, self.stream.write(rest)) => taken.map_err(|_| Gone::Stalled)??,
                () = self.stop.stopping() => return Err(Gone::Stopping),
            };
            if taken == 0 {
                return Err(Gone::Disconnected);
            }
            *sent += taken;
            self.bytes_out += taken as u64;
        }
        Ok(())
    }

    /// Goes on over TLS: sends what is to be sent, drops what the client sent before the handshake (nobody can tell from
    /// whom it is), and shakes hands.
    ///
    /// # Errors
    /// Those of [`Lines::flush`]; a failed handshake is [`Gone::Lost`].
    pub async fn start_tls(&mut self, tls: &Tls) -> Result<TlsInfo, Gone> {
        self.flush().await?;
        self.input = Vec::new();
        self.used = 0;
        let patience = self.patience(Duration::MAX)?;
        let stream = std::mem::replace(&mut self.stream, Stream::closed());
        let (stream, info) = tokio::select! {
            accepted = timeout(patience, tls.accept(stream)) => accepted.map_err(|_| Gone::Silent)??,
            () = self.stop.stopping() => return Err(Gone::Stopping),
        };
        self.stream = stream;
        Ok(info)
    }

    /// Sends what can still be sent in a moment, and closes.
    pub async fn close(&mut self) {
        let last_words = async {
            if self.stream.write_all(&self.output).await.is_ok() {
                self.bytes_out += self.output.len() as u64;
            }
            // Nobody is left to be told of a failure.
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, last_words).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::Stopper;

    fn lines() -> (Lines, DuplexStream, Stopper) {
        let (stopper, stop) = Stopper::new();
        let (near, far) = duplex(1 << 20);
        (Lines::new(near, &Limits::default(), stop), far, stopper)
    }

    async fn next(lines: &mut Lines) -> Option<String> {
        match lines.line(10, Duration::from_secs(60)).await.unwrap() {
            Line::At(at) => Some(String::from_utf8(lines.text(&at).to_vec()).unwrap()),
            Line::TooLong => None,
        }
    }

    #[tokio::test]
    async fn lines_of_any_length_and_cut() {
        let (mut lines, mut far, _stopper) = lines();
        far.write_all(b"one\r\ntwo\n\r\n12345678\r\n123456789\r\n").await.unwrap();
        far.write_all(&[b'x'; 100_000]).await.unwrap();
        far.write_all(b"\nlast\r\nrest").await.unwrap();
        for expected in [Some("one"), Some("two"), Some(""), Some("12345678"), None, None, Some("last")] {
            assert_eq!(next(&mut lines).await.as_deref(), expected);
        }
        assert_eq!(lines.input(), b"rest");
        assert!(lines.input.capacity() <= Limits::default().input_step_len);
        drop(far);
        assert!(matches!(lines.line(10, Duration::from_secs(60)).await, Err(Gone::Disconnected)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_trickles_is_not_waited_for_longer_than_one_that_does_not_come() {
        let (mut lines, mut far, _stopper) = lines();
        let trickle = tokio::spawn(async move {
            while far.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let began = Instant::now();
        assert!(matches!(lines.line(10, Duration::from_secs(30)).await, Err(Gone::Silent)));
        assert_eq!(began.elapsed().as_secs(), 30);
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut lines, far, stopper) = lines();
        lines.output = vec![0; 2 << 20];
        assert!(matches!(lines.flush().await, Err(Gone::Stalled)));
        stopper.stop();
        assert!(matches!(lines.flush().await, Err(Gone::Stopping)));
        drop(far);
    }
}
