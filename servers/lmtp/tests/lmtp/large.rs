//! Large messages to many recipients: no more copies are open than may be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use culver_lmtp::{COPIES_AT_ONCE, SPOOL_LEN};
use culver_runtime::{Limits, StorageProvider, UserName};
use mailstore::{MailStorage, StorageError};

use crate::common::{Client, Stores, plain};

#[tokio::test]
async fn everybody_gets_the_whole_of_a_large_message() {
    let mut client = Client::hello().await;
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    // Exactly at the ends of pieces, and beside them.
    for len in [SPOOL_LEN * 2, SPOOL_LEN * 2 + 1, SPOOL_LEN * 3 - 1] {
        let mut message = format!("A: b\r\n\r\n{}", line.repeat(len / line.len() + 1));
        message.truncate(len - 2);
        message.push_str("\r\n");
        let count = COPIES_AT_ONCE * 2 + 3;
        let mut envelope = "MAIL FROM:<>\r\n".to_owned();
        (0..count).for_each(|n| envelope += &format!("RCPT TO:<user{n}>\r\n"));
        client.send(envelope + "RCPT TO:<broken>\r\nDATA\r\n").await;
        client.replies(&vec!["250"; count + 2]).await;
        client.replies(&["354"]).await;
        client.send(format!("{message}.\r\n")).await;
        client.replies(&vec!["250 2.0.0"; count]).await;
        client.replies(&["452 4.3.1 <broken>"]).await;
        for n in 0..count {
            let inbox = client.inbox(&format!("user{n}"));
            assert!(inbox.last() == Some(&message), "user{n}: {:?}", inbox.iter().map(String::len).collect::<Vec<_>>());
        }
    }
}

/// The first recipients' disks are full; the others' are not.
#[derive(Debug)]
struct FirstBroken {
    stores: Arc<Stores>,
    asked: AtomicUsize,
}

impl StorageProvider for FirstBroken {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let number: usize = user.as_str().trim_start_matches("user").parse().unwrap();
        match number < COPIES_AT_ONCE {
            true => Err(StorageError::NoSpace("test".into())),
            false => Ok(self.stores.of(user.as_str())),
        }
    }
}

#[tokio::test]
async fn without_a_copy_to_copy_from_the_others_are_asked_to_wait() {
    let stores = Arc::new(Stores::default());
    let provider = Arc::new(FirstBroken { stores, asked: AtomicUsize::new(0) });
    let storages = Arc::clone(&provider);
    let mut client = Client::with(Limits::default(), plain(), |context| context.storages = storages).await;
    client.send("LHLO x\r\nMAIL FROM:<>\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250-", "250-", "250 SIZE", "250"]).await;
    for n in 0..COPIES_AT_ONCE + 2 {
        client.send(format!("RCPT TO:<user{n}>\r\n")).await;
        client.replies(&["250"]).await;
    }
    client.send(format!("DATA\r\n{}.\r\n", "line\r\n".repeat(SPOOL_LEN))).await;
    client.replies(&["354"]).await;
    client.replies(&["452 4.3.1"; COPIES_AT_ONCE]).await;
    client.replies(&["451 4.3.0", "451 4.3.0"]).await;
    // A small message is not copied from anybody.
    client.send("MAIL FROM:<>\r\nRCPT TO:<user1>\r\nRCPT TO:<user9>\r\nDATA\r\nA: b\r\n\r\n.\r\n").await;
    client.replies(&["250", "250", "250", "354", "452 4.3.1", "250 2.0.0"]).await;
    assert_eq!(provider.stores.of("user9").list(&mailstore::ListPattern::all()).unwrap().len(), 1);
    assert!(provider.asked.load(Ordering::Relaxed) > 0);
}
