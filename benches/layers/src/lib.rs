//! What each layer does most, as pieces of work that can be timed (`cargo bench -p culver-layers`) or have their
//! instructions counted (`scripts/instructions`). Seeds are fixed, so that a piece is the same work in every run.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

mod mime;
mod proto;
mod store;
mod types;

/// A piece of work.
pub struct Work {
    /// `LAYER/WHAT`.
    pub name: &'static str,
    /// Makes what is worked on; what it gives does the work once a call.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All pieces, from the lowest layer up.
pub fn all() -> Vec<Work> {
    let layers = [types::all(), mime::all(), proto::all(), store::all()];
    layers.into_iter().flatten().collect()
}

/// Does the work once. Instructions are counted within this function only, by its name: it must not be inlined.
#[inline(never)]
pub fn layers_measured(work: &mut dyn FnMut()) {
    work();
    // Keeps the call above from becoming a jump out of this function.
    std::hint::black_box(());
}

/// Messages of every kind, with CRLF line ends.
fn messages(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| testkit::messages::message(&mut fastrand::Rng::with_seed(number), number)).collect()
}
