//! `culver serve` as those who run it meet it: the first start, what it serves and counts, its limits, reloading, stopping.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod program;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod serving;
