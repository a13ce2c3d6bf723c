//! A session over a pipe, with the backend in memory, and a client that reads with the protocol crate's own decoder.

mod common;
mod hostile;
mod messages;
mod session;
mod two_sessions;
