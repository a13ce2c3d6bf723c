//! The time that each layer's common work takes.

#![allow(missing_docs, reason = "criterion's macros document nothing")]

use criterion::{Criterion, criterion_group, criterion_main};

fn layers(criterion: &mut Criterion) {
    for work in layers::all() {
        let mut run = (work.prepare)();
        criterion.bench_function(work.name, |bencher| bencher.iter(&mut run));
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
