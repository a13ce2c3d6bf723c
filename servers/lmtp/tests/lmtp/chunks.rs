//! BDAT (RFC 3030).

use culver_lmtp::SPOOL_LEN;
use culver_runtime::Limits;

use crate::common::{Client, plain};

#[tokio::test]
async fn chunks_make_a_message_whatever_they_hold() {
    let mut client = Client::hello().await;
    client
        .send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\nBDAT 6\r\nA: b\r\nBDAT 0\r\nBDAT 12 LAST\r\n\r\n.\r\n.x\r\n..\nNOOP\r\n")
        .await;
    client.replies(&["250", "250", "250", "250 2.0.0", "250 2.0.0", "250 2.0.0 <ann>", "250 2.0.0 <bob>", "250"]).await;
    assert_eq!(client.inbox("ann"), ["A: b\r\n\r\n.\r\n.x\r\n..\r\n"]);
    assert_eq!(client.inbox("bob").len(), 1);
}

#[tokio::test]
async fn an_empty_last_chunk_ends_a_message() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 6\r\nA: b\r\nBDAT 0 LAST\r\n").await;
    client.replies(&["250", "250", "250", "250 2.0.0 <ann>"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 0 LAST\r\nNOOP\r\n").await;
    client.replies(&["250", "250", "250 2.0.0 <ann>", "250"]).await;
    assert_eq!(client.inbox("ann"), ["A: b\r\n", ""]);
}

#[tokio::test]
async fn chunks_out_of_order_are_taken_off_the_stream() {
    let mut client = Client::hello().await;
    client.send("BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nRCPT TO:<ann>\r\n").await;
    client.replies(&["503", "503", "250", "503", "250"]).await;
    client.send("BDAT 2\r\nxxDATA\r\nMAIL FROM:<>\r\nRCPT TO:<bob>\r\nNOOP\r\nRSET\r\nDATA\r\nNOOP\r\n").await;
    client.replies(&["250", "503", "503", "503", "250", "250", "503", "250"]).await;
    assert_eq!(client.inbox("ann").len(), 0);
}

#[tokio::test]
async fn chunks_beyond_the_limit() {
    let mut client = Client::hello_with(Limits { message_len_max: 10, ..Limits::default() }, plain()).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 8\r\n12345678BDAT 3\r\nxxxBDAT 1 LAST\r\nxRSET\r\n").await;
    client.replies(&["250", "250", "250", "552 5.3.4", "503", "250"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\nBDAT 11 LAST\r\n12345678901NOOP\r\n").await;
    client.replies(&["250", "250", "250", "552 5.3.4 <ann>", "552 5.3.4 <bob>", "250"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 10 LAST\r\n1234567890").await;
    client.replies(&["250", "250", "250 2.0.0 <ann>"]).await;
    assert_eq!(client.inbox("ann").len(), 1);
}

#[tokio::test]
async fn sizes_that_lie() {
    // Too small: the rest is read as commands.
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 2 LAST\r\nA: b\r\nNOOP\r\n").await;
    client.replies(&["250", "250", "250 2.0.0", "500", "250"]).await;
    // Too large: nothing is delivered before it has come.
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT 1000 LAST\r\nA: b\r\nQUIT\r\n").await;
    client.replies(&["250", "250"]).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.write).await.unwrap();
    assert_eq!(client.rest().await, "");
    assert_eq!(client.inbox("ann").len(), 0);
    // Beyond everything, or no number: the session ends.
    for size in ["99999999999999999999", "18446744073709551615", "x", "-1", "5 FIRST"] {
        let mut client = Client::hello().await;
        client.send(format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nBDAT {size}\r\n")).await;
        client.replies(&["250", "250"]).await;
        let rest = client.rest().await;
        assert!(rest.starts_with("501 5.5.4") || rest.starts_with("421 5.3.4"), "{size}: {rest}");
    }
}

#[tokio::test]
async fn a_large_message_in_one_chunk_and_in_many() {
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let message = format!("A: b\r\n\r\n{}", line.repeat(3 * SPOOL_LEN / line.len()));
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\n").await;
    client.send(format!("BDAT {} LAST\r\n{message}", message.len())).await;
    client.replies(&["250", "250", "250 2.0.0 <ann>"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\n").await;
    client.replies(&["250", "250"]).await;
    for chunk in message.as_bytes().chunks(99_999) {
        client.send(format!("BDAT {}\r\n", chunk.len())).await;
        client.send(chunk).await;
        client.replies(&["250 2.0.0"]).await;
    }
    client.send("BDAT 0 LAST\r\n").await;
    client.replies(&["250 2.0.0 <ann>"]).await;
    assert_eq!(client.inbox("ann"), [message.clone(), message]);
}
