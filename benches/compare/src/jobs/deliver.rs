//! Delivery by LMTP.

use std::thread;

use anyhow::ensure;
use testkit::lmtp::Lmtp;

use super::{Outcome, mail};
use crate::servers::{Kind, Pair};

const DELIVERIES: usize = 400;

pub(super) fn deliver(pair: &Pair, kind: Kind, connections: usize, users: &[&str]) -> anyhow::Result<Outcome> {
    let each = if connections == 1 { DELIVERIES } else { 4 * DELIVERIES / connections };
    let address = pair.lmtp(kind);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|connection| {
                let user = users[connection % users.len()];
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut lmtp = Lmtp::connect(address)?;
                    for number in 0..each {
                        let replies = lmtp.deliver(&[user], &mail((connection * each + number) as u64))?;
                        ensure!(replies.iter().all(|(code, _)| *code == 250), "{replies:?}");
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(Outcome::default())
}
