//! LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819), SPECIAL-USE (RFC 6154), MAILBOXID and EMAILID (RFC 8474).

use std::collections::BTreeSet;

use crate::common::{Client, Host};
use mailtypes::Flags;

async fn host() -> (Host, Client) {
    let host = Host::new();
    let mut client = host.log_in().await;
    for name in ["Drafts", "Sent", "a/b/c", "Fruit/Apple", "Fruit/Banana", "Tofu", "Gone"] {
        client.ok(format!("CREATE {name}")).await;
    }
    for name in ["a/b", "a/b/c", "Fruit/Banana", "Gone", "INBOX"] {
        client.ok(format!("SUBSCRIBE {name}")).await;
    }
    client.ok("DELETE Gone").await;
    (host, client)
}

/// The lines of a LIST, without what is the same in all.
async fn list(client: &mut Client, arguments: &str) -> BTreeSet<String> {
    let answer = client.ok(format!("LIST {arguments}")).await;
    answer.lines().filter_map(|line| line.strip_prefix("* LIST ")).map(|line| line.replace(" \"/\" ", " ")).collect()
}

fn lines(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[tokio::test]
async fn what_is_subscribed() {
    let (_host, mut client) = host().await;
    assert_eq!(
        list(&mut client, "(SUBSCRIBED) \"\" *").await,
        lines(&[
            "(\\Subscribed) INBOX",
            "(\\Subscribed) Fruit/Banana",
            "(\\Subscribed \\NonExistent) Gone",
            "(\\Subscribed \\Noselect) a/b",
            "(\\Subscribed) a/b/c",
        ])
    );
    let all = list(&mut client, "\"\" * RETURN (SUBSCRIBED CHILDREN)").await;
    for line in ["(\\HasNoChildren) Tofu", "(\\Noselect \\HasChildren) Fruit", "(\\Subscribed \\HasNoChildren) INBOX"] {
        assert!(all.contains(line), "{line} in {all:?}");
    }
    assert!(!all.iter().any(|line| line.contains("Gone")), "{all:?}");
}

/// As Dovecot answers.
#[tokio::test]
async fn parents_of_what_is_subscribed() {
    let (_host, mut client) = host().await;
    assert_eq!(
        list(&mut client, "(SUBSCRIBED RECURSIVEMATCH) \"\" %").await,
        lines(&[
            "(\\Subscribed) INBOX",
            "(\\Subscribed \\NonExistent) Gone",
            "(\\Noselect) Fruit (CHILDINFO (\"SUBSCRIBED\"))",
            "(\\Noselect) a (CHILDINFO (\"SUBSCRIBED\"))",
        ])
    );
    // What is told itself needs no mention with its parent, but for one that is told anyway.
    assert_eq!(
        list(&mut client, "(SUBSCRIBED RECURSIVEMATCH) \"\" a*").await,
        lines(&["(\\Subscribed \\Noselect) a/b (CHILDINFO (\"SUBSCRIBED\"))", "(\\Subscribed) a/b/c"])
    );
    assert!(client.command("LIST (RECURSIVEMATCH) \"\" *").await.starts_with("tag BAD"));
    assert!(client.command("LIST (RECURSIVEMATCH REMOTE) \"\" *").await.starts_with("tag BAD"));
    client.ok("CREATE Lost/Child").await;
    client.ok("SUBSCRIBE Lost/Child").await;
    client.ok("DELETE Lost/Child").await;
    assert_eq!(
        list(&mut client, "(SUBSCRIBED RECURSIVEMATCH) \"\" L%").await,
        lines(&["(\\NonExistent) Lost (CHILDINFO (\"SUBSCRIBED\"))"])
    );
}

#[tokio::test]
async fn several_patterns_each_name_once() {
    let (_host, mut client) = host().await;
    let told = client.ok("LIST \"\" (T* Fruit/% *ofu) RETURN ()").await;
    assert_eq!(told.matches("Tofu").count(), 1, "{told}");
    assert_eq!(list(&mut client, "\"\" (T* Fruit/%)").await, lines(&["() Tofu", "() Fruit/Apple", "() Fruit/Banana"]));
}

#[tokio::test]
async fn special_uses() {
    let (_host, mut client) = host().await;
    let special = lines(&["(\\Drafts) Drafts", "(\\Sent) Sent"]);
    assert_eq!(list(&mut client, "(SPECIAL-USE) \"\" *").await, special);
    assert_eq!(list(&mut client, "(SPECIAL-USE SUBSCRIBED) \"\" *").await, lines(&[]));
    assert!(list(&mut client, "\"\" *").await.contains("(\\HasNoChildren \\Drafts) Drafts"));
    assert!(list(&mut client, "\"\" * RETURN (SPECIAL-USE)").await.is_superset(&special));
    client.ok("SUBSCRIBE Sent").await;
    assert!(client.ok("LSUB \"\" S*").await.starts_with("* LSUB (\\Sent) \"/\" Sent\r\n"));
    assert!(list(&mut client, "\"\" * RETURN (CHILDREN)").await.contains("(\\HasNoChildren) Drafts"));
    client.ok("DELETE Sent").await;
    assert_eq!(list(&mut client, "(SPECIAL-USE) \"\" *").await, lines(&["(\\Drafts) Drafts"]), "only what is there");
    // A use that the name has not cannot be given to it.
    client.ok("CREATE Trash (USE (\\Trash))").await;
    assert!(client.command("CREATE Rubbish (USE (\\Trash))").await.starts_with("tag NO [USEATTR]"));
    assert!(client.command("CREATE Rubbish (USE (\\Attic))").await.starts_with("tag NO [USEATTR]"));
    assert!(client.command("STATUS Rubbish (MESSAGES)").await.starts_with("tag NO [NONEXISTENT]"));
}

#[tokio::test]
async fn with_status() {
    let (host, mut client) = host().await;
    host.put("Tofu", b"Subject: x\n\nbody\n", Flags::NONE);
    let told = client.ok("LIST \"\" (Tofu Fruit) RETURN (STATUS (MESSAGES SIZE) CHILDREN)").await;
    assert_eq!(
        told,
        "* LIST (\\HasNoChildren) \"/\" Tofu\r\n* STATUS Tofu (MESSAGES 1 SIZE 20)\r\n\
         * LIST (\\Noselect \\HasChildren) \"/\" Fruit\r\ntag OK List completed.\r\n"
    );
    let told = client.ok("LIST (SUBSCRIBED) \"\" * RETURN (STATUS (MESSAGES))").await;
    assert_eq!(told.matches("* STATUS").count(), 3, "INBOX, a/b/c, Fruit/Banana: {told}");
}

#[tokio::test]
async fn identities() {
    let host = Host::new();
    let mut client = host.log_in().await;
    let created = client.ok("CREATE x").await;
    let id = created.split_once("[MAILBOXID (").and_then(|(_, rest)| rest.split_once(')')).unwrap().0.to_owned();
    assert_eq!(
        client.ok("STATUS x (MAILBOXID)").await.lines().next().unwrap(),
        format!("* STATUS x (MAILBOXID ({id}))")
    );
    client.ok("RENAME x y").await;
    assert!(client.ok("SELECT y").await.contains(&format!("* OK [MAILBOXID ({id})] Ok\r\n")), "a rename keeps it");
    host.put("y", b"Subject: one\n\nbody\n", Flags::NONE);
    host.put("y", b"Subject: two\n\nbody\n", Flags::NONE);
    client.ok("NOOP").await;
    let told = client.ok("FETCH 1:2 (EMAILID THREADID)").await;
    let ids: BTreeSet<&str> = told.split("EMAILID (").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert_eq!(ids.len(), 2, "{told}");
    assert_eq!(told.matches("THREADID NIL").count(), 2, "{told}");
    client.ok("COPY 1 INBOX").await;
    client.ok("SELECT INBOX").await;
    let copy = client.ok("FETCH 1 EMAILID").await;
    assert!(ids.iter().any(|id| copy.contains(id)), "a copy keeps it: {copy} {ids:?}");
}

#[tokio::test]
async fn another_separator() {
    let host = Host::on_maildir();
    let mut client = host.log_in().await;
    assert!(client.ok("NAMESPACE").await.starts_with("* NAMESPACE ((\"\" \".\")) NIL NIL\r\n"));
    assert!(client.ok("LIST \"\" \"\"").await.starts_with("* LIST (\\Noselect) \".\" \"\"\r\n"));
    client.ok("CREATE a.b").await;
    client.ok("SUBSCRIBE a.b").await;
    assert_eq!(client.ok("LIST \"\" a.%").await, "* LIST (\\HasNoChildren) \".\" a.b\r\ntag OK List completed.\r\n");
    assert_eq!(client.ok("LSUB a. *").await, "* LSUB () \".\" a.b\r\ntag OK Lsub completed.\r\n");
    assert_eq!(client.ok("LIST \"\" a/%").await, "tag OK List completed.\r\n");
    client.ok("RENAME a.b c.d.e").await;
    assert!(client.ok("STATUS c.d.e (MESSAGES)").await.starts_with("* STATUS c.d.e (MESSAGES 0)\r\n"));
    assert!(client.command("CREATE c/d").await.starts_with("tag NO [CANNOT] Invalid mailbox name"));
    client.ok("APPEND c.d.e {12+}\r\nSubject: y\r\n").await;
    assert!(client.ok("SELECT c.d.e").await.contains("* 1 EXISTS\r\n"));
}
