//! A session over a pipe, with the backend in memory, and a client that reads with the protocol crate's own decoder.

#[cfg(test)]
mod ages;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod common;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod held_back;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod mod_sequences;
#[cfg(test)]
mod pipelining;
#[cfg(test)]
mod preview;
#[cfg(test)]
mod renamed;
#[cfg(test)]
mod saved_results;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod session;
#[cfg(test)]
mod sort;
#[cfg(test)]
mod storms;
#[cfg(test)]
mod thread;
#[cfg(test)]
mod two_sessions;
