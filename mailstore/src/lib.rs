//! A mail store on disk, compatible with Dovecot, as a library.
//!
//! The [`traits`] are the boundary at which a backend can be exchanged: object safe, blocking or by ticket, speaking of
//! mail, never of files. Everything above them (search, envelopes, copying between stores) is written once for every
//! backend.

#![forbid(unsafe_code)]

pub mod copy;
pub mod memory;
pub mod search;
pub mod traits;

pub use traits::*;
