//! What search keys find. The expectations marked as Dovecot's were measured with `doveadm search` of 2.3.19 on the same
//! messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use mailstore::{
    Batch, MailStorage, Mailbox, SaveMeta, View, ViewAs,
    memory::MemoryStorage,
    search::{Search, search},
};
use mailtypes::{
    CalendarDate, Flag, Flags, InternalDate, Keyword, MailboxName, SearchKey, SequenceBound, SequenceSet, Uid, UidSet,
};

const OUTER: &str = "From: a@example.org (John \"Q\" Smith)\r\n\
    To: \"Doe, Jane\" <jane@example.com>\r\n\
    Subject: outer =?utf-8?Q?caf=C3=A9_na?=\r\n =?utf-8?Q?me?= folded\r\n   line\r\n\
    X-Odd: one\r\n\ttwo\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\n\
    Date: Mon, 1 Jan 2024 23:30:00 -0500\r\n\
    \r\n\
    preamble word\r\n\
    --b\r\n\
    Content-Type: text/plain; name=mimeheadname\r\n\
    Content-Transfer-Encoding: quoted-printable\r\n\
    \r\n\
    hello w=C3=B6rld soft=\r\nbreak\r\nnext line\r\n\
    --b\r\n\
    Content-Type: message/rfc822\r\n\
    \r\n\
    Subject: embeddedsubj\r\nFrom: emb@x\r\n\
    \r\n\
    embeddedbody\r\n\
    --b\r\n\
    Content-Type: application/octet-stream\r\n\
    \r\n\
    binword\r\n\
    --b--\r\n\
    epilogue epiword\r\n";

fn save(mailbox: &dyn Mailbox, raw: &[u8], date: i64, flags: Flags, keywords: &[&str]) {
    let meta = SaveMeta { internal_date: Some(InternalDate::utc(date)), guid: None, ..SaveMeta::default() };
    let mut save = mailbox.begin_save(meta, None).unwrap();
    save.write(raw).unwrap();
    let keywords = keywords.iter().map(|name| Keyword::new(name).unwrap()).collect();
    mailbox.submit(Batch::new().save(save.finish().unwrap(), flags, keywords)).unwrap().wait().unwrap();
}

fn mailbox_of(messages: &[&[u8]]) -> Arc<dyn Mailbox> {
    let storage = MemoryStorage::default();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    messages.iter().for_each(|raw| save(&*inbox, raw, 0, Flags::NONE, &[]));
    inbox
}

fn view(mailbox: &dyn Mailbox) -> Box<dyn View> {
    mailbox.view(&ViewAs::default()).unwrap()
}

fn finds(view: &dyn View, key: SearchKey) -> String {
    search(key, view).unwrap().to_string()
}

fn header(name: &str, text: &str) -> SearchKey {
    SearchKey::Header(name.to_owned(), text.to_owned())
}

#[test]
fn body_and_text_look_where_dovecot_looks() {
    let view = view(&*mailbox_of(&[OUTER.as_bytes()]));
    // text, found by BODY, found by TEXT
    for (text, body, whole) in [
        ("embeddedsubj", false, true),
        ("embeddedbody", true, true),
        ("mimeheadname", false, true),
        ("binword", false, false),
        ("preamble", false, false),
        ("epiword", false, false),
        ("softbreak", true, true),
        ("wörld", true, true),
        ("WÖRLD", true, true),
        ("world", false, false),
        ("softbreak next", false, false),
        ("softbreak\r\nnext", true, true),
        ("subject: outer", false, true),
        ("rfc822", false, true),
        ("", true, true),
    ] {
        let shown = |found| if found { "1" } else { "" };
        assert_eq!(finds(&*view, SearchKey::Body(text.to_owned())), shown(body), "BODY {text}");
        assert_eq!(finds(&*view, SearchKey::Text(text.to_owned())), shown(whole), "TEXT {text}");
    }
}

#[test]
fn header_fields_match_as_dovecot_matches() {
    let view = view(&*mailbox_of(&[OUTER.as_bytes()]));
    for (name, text, found) in [
        ("subject", "subject", false),
        ("subject", "cafe", true),
        ("SUBJECT", "CAFÉ", true),
        ("subject", "café name folded   line", true),
        ("subject", "name folded", true),
        ("subject", "name folded line", false),
        ("x-odd", "one two", true),
        ("x-odd", "one\ttwo", false),
        ("x-odd", "onetwo", false),
        ("from", "john", true),
        ("from", "(John", true),
        ("to", "\"Doe, Jane\" <", true),
        ("to", "Doe, Jane", true),
        ("x-none", "", false),
        ("subject", "", true),
        ("content-type", "mixed; boundary=b", true),
        ("message-id", "", false),
    ] {
        assert_eq!(finds(&*view, header(name, text)), if found { "1" } else { "" }, "{name} {text}");
    }
}

#[test]
fn dates_go_by_utc_and_by_what_the_date_field_says() {
    let storage = MemoryStorage::default();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    // 2024-01-02T04:30Z, written as the first of January five hours west.
    save(&*inbox, OUTER.as_bytes(), 1_704_169_800, Flags::NONE, &[]);
    save(&*inbox, b"Subject: no date\r\n\r\n", 1_704_067_199, Flags::NONE, &[]);
    let view = view(&*inbox);
    let day = |year, month, day| CalendarDate::from_ymd(year, month, day).unwrap();
    let check = |key, expect: &str| assert_eq!(finds(&*view, key), expect);
    check(SearchKey::On(day(2024, 1, 2)), "1");
    check(SearchKey::On(day(2024, 1, 1)), "");
    check(SearchKey::Before(day(2024, 1, 1)), "2");
    check(SearchKey::Since(day(2023, 12, 31)), "1:2");
    check(SearchKey::SentOn(day(2024, 1, 1)), "1");
    check(SearchKey::SentSince(day(2024, 1, 2)), "");
    // A message without a Date counts as sent on the first day of Unix time, as in Dovecot.
    check(SearchKey::SentBefore(day(2024, 1, 2)), "1:2");
    check(SearchKey::SentBefore(day(2030, 1, 1)), "1:2");
    check(SearchKey::Not(Box::new(SearchKey::SentSince(day(1990, 1, 1)))), "2");
}

#[test]
fn index_keys() {
    let storage = MemoryStorage::default();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    for n in 0..10u8 {
        let flags = if n % 2 == 0 { Flag::Seen.into() } else { Flags::NONE };
        let keywords: &[&str] = if n % 3 == 0 { &["Three"] } else { &[] };
        save(&*inbox, format!("Subject: {n}\r\n\r\n{}", "x".repeat(n.into())).as_bytes(), 0, flags, keywords);
    }
    inbox.submit(Batch::new().expunge(Uid::new(1).into_iter().collect())).unwrap().wait().unwrap();
    let mut view = inbox.view(&ViewAs { takes_recent: true }).unwrap();
    let set = |a, b| SequenceSet(vec![(a, b)]);
    let (number, star) = (SequenceBound::Number, SequenceBound::Star);
    let not = |key| SearchKey::Not(Box::new(key));
    let or = |a, b| SearchKey::Or(Box::new(a), Box::new(b));
    let check = |key, expect: &str| assert_eq!(finds(&*view, key), expect);
    check(SearchKey::All, "2:10");
    check(SearchKey::And(vec![]), "2:10");
    check(SearchKey::Flag(Flag::Seen), "3,5,7,9");
    check(not(SearchKey::Flag(Flag::Seen)), "2,4,6,8,10");
    check(SearchKey::Keyword(Keyword::new("THREE").unwrap()), "4,7,10");
    check(or(SearchKey::Flag(Flag::Seen), SearchKey::Keyword(Keyword::new("three").unwrap())), "3:5,7,9:10");
    check(SearchKey::Sequence(set(number(1), number(2))), "2:3");
    check(SearchKey::Sequence(set(star, star)), "10");
    check(SearchKey::Uid(set(number(1), number(3))), "2:3");
    check(SearchKey::Uid(set(number(20), star)), "10");
    check(not(SearchKey::Uid(set(number(3), star))), "2");
    check(SearchKey::Recent, "2:10");
    check(SearchKey::Larger(17), "5:10");
    check(SearchKey::Smaller(17), "2:3");
    let modseq = view.highest_modseq();
    check(SearchKey::ModSeq(modseq), "");
    let mut found = Search::new(SearchKey::Flag(Flag::Seen), &*view).unwrap();
    while found.step(&*view, Default::default()).unwrap() != mailstore::search::SearchProgress::Done {}
    assert_eq!(found.seqs(&*view).to_string(), "2,4,6,8");
    assert_eq!(found.highest_modseq().map(|modseq| modseq.value()), Some(10));
    // Messages that are gone do not match, in the view or not.
    inbox.submit(Batch::new().expunge(Uid::new(3).into_iter().collect())).unwrap().wait().unwrap();
    view.sync(mailstore::Expunges::Hold).unwrap();
    assert_eq!(finds(&*view, SearchKey::All), "2,4:10");
    assert_eq!(finds(&*view, not(header("Subject", "x"))), "2,4:10");
    assert_eq!(finds(&*view, not(SearchKey::Body("zz".to_owned()))), "2,4:10");
    let uids: UidSet = view.uids();
    assert_eq!(uids.to_string(), "2:10");
}

#[test]
fn texts_are_decoded_whatever_they_are_sent_in() {
    let messages: [&[u8]; 6] = [
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe\r\n",
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nR3LDvMOf\r\nZQ==\r\n",
        b"Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=F0=D2=C9=D7=C5=D4\r\n",
        b"Subject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n",
        b"Content-Type: message/delivery-status\r\n\r\nAction: Gr\xc3\xbc\xc3\x9fe\r\n",
        b"Content-Type: application/pdf\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n",
    ];
    let view = view(&*mailbox_of(&messages));
    assert_eq!(finds(&*view, SearchKey::Body("grüße".to_owned())), "1:2,4:5");
    assert_eq!(finds(&*view, SearchKey::Body("ПРИВЕТ".to_owned())), "3");
    assert_eq!(finds(&*view, header("Subject", "GRÜßE")), "4");
    assert_eq!(finds(&*view, SearchKey::Body("gru\u{308}ße".to_owned())), "1:2,4:5", "decomposed is the same");
}

#[test]
fn odd_messages_are_searched() {
    let deep = (0..40).fold(String::from("Subject: core\r\n\r\ncorebody\r\n"), |inner, _| {
        format!("Content-Type: message/rfc822\r\n\r\n{inner}")
    });
    let messages: [&[u8]; 6] = [
        b"",
        b"\r\nneedle",
        b"needle without header",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nneedle",
        deep.as_bytes(),
        b"Content-Type: text/plain; charset=no-such\r\nContent-Transfer-Encoding: none-such\r\n\r\nneedle \xff",
    ];
    let view = view(&*mailbox_of(&messages));
    assert_eq!(finds(&*view, SearchKey::Body("needle".to_owned())), "2,4,6");
    assert_eq!(finds(&*view, SearchKey::Body("corebody".to_owned())), "5");
    assert_eq!(finds(&*view, SearchKey::Text("subject: core".to_owned())), "5");
}
