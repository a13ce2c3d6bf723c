//! PREVIEW (RFC 8970).

use crate::common::Host;
use mailtypes::Flags;

#[tokio::test]
async fn first_words_are_told() {
    let host = Host::new();
    for text in [
        "\n> quoted\nHello there,\nhow are you?\n",
        "Content-Type: text/html; charset=utf-8\n\n<style>x</style><p>gr&uuml;&szlig;e</p>\n",
        "Content-Type: application/pdf\n\n%PDF\n",
        "Content-Transfer-Encoding: base64\n\naGVsbG8gIndvcmxkIg==\n",
    ] {
        host.put("INBOX", text.as_bytes(), Flags::NONE);
    }
    let mut client = host.select().await;
    for (seq, expected) in
        [(1, "\"Hello there, how are you?\""), (2, "{7}\r\ngrüße"), (3, "\"\""), (4, "\"hello \\\"world\\\"\"")]
    {
        for item in ["PREVIEW", "PREVIEW (LAZY)"] {
            let told = client.ok(format!("FETCH {seq} ({item})")).await;
            assert_eq!(told, format!("* {seq} FETCH (PREVIEW {expected})\r\ntag OK Fetch completed.\r\n"));
        }
    }
    assert!(client.command("FETCH 1 (PREVIEW (SOON))").await.starts_with("tag BAD"));
    assert!(client.ok("FETCH 1 FLAGS").await.contains("FLAGS (\\Recent)"), "a preview does not set \\Seen");
}
