//! Commands that are sent ahead are carried out only as far as the client takes the answers.

use std::time::Duration;

use culver_runtime::Limits;
use mailstore::memory::MemoryOptions;
use mailtypes::MailboxName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, join, simplex},
    time::{sleep, timeout},
};

use crate::common::{Host, PATIENCE};

#[tokio::test]
async fn commands_sent_ahead_wait_for_a_client_that_takes_nothing() {
    let limits = Limits { pipelined_commands_max: 3, ..Limits::default() };
    let host = Host::with(limits, MemoryOptions::default());
    // There is room for all that the client says, and for less than three answers.
    let (server_reads, mut client_writes) = simplex(64 * 1024);
    let (mut client_reads, server_writes) = simplex(48);
    let session = tokio::spawn(culver_imap::serve(join(server_reads, server_writes), host.ctx.clone()));
    client_writes.write_all(b"a LOGIN ann secret\r\n").await.unwrap();
    let mut said = String::new();
    while !(said.contains("a OK") && said.ends_with("\r\n")) {
        said.push(char::from(timeout(PATIENCE, client_reads.read_u8()).await.unwrap().unwrap()));
    }
    let ahead: String = (0..20).map(|n| format!("c CREATE box{n}\r\n")).collect();
    client_writes.write_all(format!("{ahead}d LOGOUT\r\n").as_bytes()).await.unwrap();

    let exists = |n: u32| host.storage.mailbox(&MailboxName::new(&format!("box{n}")).unwrap()).is_ok();
    let third = async {
        while !exists(2) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, third).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(!exists(3), "the fourth was carried out before the first answers were taken");

    let mut rest = String::new();
    timeout(PATIENCE, client_reads.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest.matches("] Create completed.").count(), 20, "{rest}");
    assert!(exists(19));
    session.await.unwrap();
}
