//! WITHIN (RFC 5032), SAVEDATE (RFC 8514), SEARCH for identities (RFC 8474 §6).

use crate::common::Host;
use mailtypes::Flags;

/// One message of 1970, one of now.
async fn host() -> Host {
    let host = Host::new();
    host.put("INBOX", b"Subject: old\n\nbody\n", Flags::NONE);
    host.log_in().await.ok("APPEND INBOX {14+}\r\nSubject: new\r\n").await;
    host
}

#[tokio::test]
async fn ages() {
    let host = host().await;
    let mut client = host.select().await;
    for (key, found) in [
        ("OLDER 86400", " 1"),
        ("YOUNGER 86400", " 2"),
        ("NOT YOUNGER 86400", " 1"),
        ("OLDER 4294967295", ""),
        ("OR OLDER 86400 YOUNGER 86400", " 1 2"),
    ] {
        let told = client.ok(format!("SEARCH {key}")).await;
        assert!(told.starts_with(&format!("* SEARCH{found}\r\n")), "{key}: {told}");
    }
}

#[tokio::test]
async fn dates_of_saving() {
    let host = host().await;
    let mut client = host.select().await;
    let told = client.ok("FETCH 1:2 SAVEDATE").await;
    assert_eq!(told.matches("SAVEDATE \"").count(), 2, "{told}");
    assert!(!told.contains("1970"), "saved now, whatever the internal date: {told}");
    for (key, found) in [
        ("SAVEDSINCE 1-Jan-2020", " 1 2"),
        ("SAVEDBEFORE 1-Jan-2020", ""),
        ("SAVEDON 1-Jan-1970", ""),
        ("SAVEDATESUPPORTED", " 1 2"),
        ("NOT SAVEDATESUPPORTED", ""),
        ("BEFORE 2-Jan-1970 SAVEDSINCE 1-Jan-2020", " 1"),
    ] {
        let told = client.ok(format!("SEARCH {key}")).await;
        assert!(told.starts_with(&format!("* SEARCH{found}\r\n")), "{key}: {told}");
    }
}

#[tokio::test]
async fn identities() {
    let host = host().await;
    let mut client = host.select().await;
    let told = client.ok("FETCH 2 EMAILID").await;
    let id = told.split_once("EMAILID (").and_then(|(_, rest)| rest.split_once(')')).unwrap().0.to_owned();
    assert!(client.ok(format!("SEARCH EMAILID {id}")).await.starts_with("* SEARCH 2\r\n"));
    assert!(client.ok(format!("SEARCH NOT EMAILID \"{id}\"")).await.starts_with("* SEARCH 1\r\n"));
    assert!(client.ok("SEARCH EMAILID M1").await.starts_with("* SEARCH\r\n"));
    assert!(client.ok(format!("SEARCH THREADID {id}")).await.starts_with("* SEARCH\r\n"), "no threads are kept");
    assert!(client.command("SEARCH EMAILID a.b").await.starts_with("tag BAD"));
}
