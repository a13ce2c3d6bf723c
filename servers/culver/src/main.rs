//! The Culver mail host.

fn main() {}
