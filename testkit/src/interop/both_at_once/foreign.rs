//! What a third party does to the files of a Maildir meanwhile.

use std::{collections::BTreeMap, time::Instant};

use fastrand::Rng;

use super::{MAILBOXES, WORKERS};
use crate::{interop::third_party::ThirdParty, messages::message, observe::sha256};

/// What the third party has done: messages that it delivered and let be, by the hash of their bodies.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    pub(super) delivered: BTreeMap<(&'static str, String), String>,
    pub(super) changes: u64,
}

impl Foreign {
    pub(super) fn run(mut third: ThirdParty, seed: u64, deadline: Instant, touches_all: bool) -> anyhow::Result<Self> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(999));
        let mut foreign = Self::default();
        while Instant::now() < deadline {
            foreign.changes += 1;
            let mailbox = MAILBOXES[rng.usize(..MAILBOXES.len())];
            let own: Vec<_> = foreign.delivered.iter().filter(|((at, _), _)| *at == mailbox).collect();
            match rng.u8(..10) {
                0..3 if foreign.delivered.len() < 60 => {
                    let body = message(&mut rng, WORKERS << 32 | foreign.changes);
                    let base = third.deliver(&mut rng, mailbox, &body)?;
                    foreign.delivered.insert((mailbox, sha256(&body)), base);
                }
                0..6 if !own.is_empty() => {
                    let ((_, body), base) = own[rng.usize(..own.len())];
                    let (body, base) = (body.clone(), base.clone());
                    match rng.u8(..3) {
                        0 if third.remove(mailbox, &base)? => {
                            foreign.delivered.remove(&(mailbox, body));
                        }
                        1 => {
                            let to = MAILBOXES[rng.usize(..MAILBOXES.len())];
                            if to != mailbox && third.relocate(mailbox, &base, to)? {
                                foreign.delivered.remove(&(mailbox, body.clone()));
                                foreign.delivered.insert((to, body), base);
                            }
                        }
                        _ => {}
                    }
                }
                _ if touches_all => third.flag_any(&mut rng, mailbox, "")?,
                _ => third.flag_any(&mut rng, mailbox, ".third")?,
            }
        }
        Ok(foreign)
    }
}
