//! mailtypes.

use std::hint::black_box;

use mailtypes::{Uid, UidSet, mutf7};

use crate::Work;

pub(crate) fn all() -> Vec<Work> {
    vec![
        Work {
            name: "mailtypes/uid sets of 1000 ranges, intersection and union",
            prepare: || {
                let set = |step: u32| (1..3000).filter(|n| n % step != 0).filter_map(Uid::new).collect::<UidSet>();
                let (a, b) = (set(3), set(5));
                Box::new(move || {
                    black_box(a.intersection(&b).union(&a));
                })
            },
        },
        Work {
            name: "mailtypes/mailbox name to modified UTF-7 and back",
            prepare: || {
                Box::new(|| {
                    let encoded = mutf7::encode(black_box("Entwürfe & Ablage 2024 日本語"));
                    black_box(mutf7::decode(encoded.as_bytes()).unwrap());
                })
            },
        },
    ]
}
