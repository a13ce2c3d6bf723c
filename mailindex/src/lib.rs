//! Dovecot's transaction log, index and cache, to the byte

#![forbid(unsafe_code)]

pub mod cache;
pub mod dump;
pub mod engine;
pub mod log;
mod offset_encoding;
pub mod replay;
pub mod snapshot;
pub mod state;

pub use offset_encoding::{OFFSET_LIMIT, decode_offset, encode_offset};
