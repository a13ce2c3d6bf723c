//! Commands of the RFCs' examples and of real clients, as values; and lines that are no commands.

use std::num::{NonZeroU32, NonZeroU64};

use imap_proto::{
    Atom, Command, Decoder, ErrorKind, Event, Fetch, FetchItem, FlagList, InitialResponse, Limits, List, ListMailbox,
    ListReturn, ListSelection, Mailbox, MessageSet, Partial, Qresync, Search, SearchReturn, Secret, Section,
    SectionText, SelectParams, Sort, SpecialUse, StatusItem, Store, StoreAction, Thread,
};
use mailtypes::{
    CalendarDate, Flag, Flags, Keyword, ModSeq, SearchKey, SequenceBound, SequenceSet, SortCriterion, SortKey,
    ThreadAlgorithm, UidValidity,
};

fn atom(atom: &str) -> Atom {
    Atom::new(atom).expect("an atom")
}

fn decode(line: &[u8]) -> Result<Command, ErrorKind> {
    let mut decoder = Decoder::new(Limits::default());
    let mut input = line;
    let event = loop {
        match decoder.next(&mut input) {
            Ok(Some(Event::Continue)) => assert!(decoder.accept_literal()),
            event => break event,
        }
    };
    assert!(input.is_empty(), "{} is not all of the command", line.escape_ascii());
    match event {
        Ok(Some(Event::Command { tag, command })) => {
            assert_eq!(tag.as_str(), "a");
            Ok(command)
        }
        Err(error) => {
            assert_eq!(error.tag.as_ref().map(|tag| tag.as_str()), Some("a"), "{error}");
            assert!(!error.is_fatal());
            Err(error.kind)
        }
        other => panic!("{other:?} of {}", line.escape_ascii()),
    }
}

#[track_caller]
fn check(arguments: &str, expected: Command) {
    assert_eq!(decode(format!("a {arguments}\r\n").as_bytes()), Ok(expected), "{arguments}");
}

#[track_caller]
fn check_error(arguments: &str, expected: ErrorKind) {
    assert_eq!(decode(format!("a {arguments}\r\n").as_bytes()), Err(expected), "{arguments}");
}

fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    let bound = |n| if n == 0 { SequenceBound::Star } else { SequenceBound::Number(n) };
    SequenceSet(ranges.iter().map(|&(first, last)| (bound(first), bound(last))).collect())
}

fn messages(ranges: &[(u32, u32)]) -> MessageSet {
    MessageSet::Numbers(set(ranges))
}

fn mailbox(name: &str) -> Mailbox {
    Mailbox::from_wire(name)
}

fn pattern(name: &str) -> ListMailbox {
    ListMailbox::from_wire(name)
}

#[test]
fn commands_of_any_state() {
    check("CAPABILITY", Command::Capability);
    check("noop", Command::Noop);
    check("NOOP  ", Command::Noop);
    check("LOGOUT", Command::Logout);
    check("STARTTLS", Command::StartTls);
    check("NAMESPACE", Command::Namespace);
    check("IDLE", Command::Idle);
    check("CHECK", Command::Check);
    check("CLOSE", Command::Close);
    check("UNSELECT", Command::Unselect);
    check("EXPUNGE", Command::Expunge);
    let login = |user: &str, password: &str| Command::Login { user: user.into(), password: Secret(password.into()) };
    check("LOGIN SMITH SESAME", login("SMITH", "SESAME"));
    check(r#"LOGIN "a \"b\" \\" """#, login(r#"a "b" \"#, ""));
    check("LOGIN {11}\r\nFRED FOOBAR {7+}\r\nfat man", login("FRED FOOBAR", "fat man"));
    check("LOGIN {1+}\n\n {2}\nü", login("\n", "ü"));
    check("LOGIN \"ü\" b", login("ü", "b"));
    check("authenticate plain", Command::Authenticate { mechanism: atom("PLAIN"), initial: None });
    let initial = InitialResponse::from_wire(b"AHQAdA==");
    check("AUTHENTICATE PLAIN AHQAdA==", Command::Authenticate { mechanism: atom("PLAIN"), initial });
    check("ENABLE condstore X-Good", Command::Enable { capabilities: vec![atom("CONDSTORE"), atom("X-GOOD")] });
    check("ID NIL", Command::Id { params: vec![] });
    let params = vec![(b"name".to_vec(), Some(b"x".to_vec())), (b"os".to_vec(), None)];
    check("ID (\"name\" \"x\" \"os\" NIL)", Command::Id { params });
}

#[test]
fn a_line_may_end_in_a_bare_lf() {
    assert_eq!(decode(b"a NOOP\n"), Ok(Command::Noop));
}

#[test]
fn secrets_are_not_shown() {
    let login = decode(b"a LOGIN u hunter2\r\n");
    assert!(!format!("{login:?}").contains("hunter2"));
}

#[test]
fn commands_on_mailboxes() {
    let plain = SelectParams::default();
    check("SELECT INBOX", Command::Select { mailbox: mailbox("INBOX"), params: plain.clone() });
    check("EXAMINE {5+}\r\na\"b c", Command::Examine { mailbox: mailbox("a\"b c"), params: plain.clone() });
    check(
        "SELECT x (CONDSTORE)",
        Command::Select { mailbox: mailbox("x"), params: SelectParams { condstore: true, qresync: None } },
    );
    check("CREATE owatagusiam/", Command::Create { mailbox: mailbox("owatagusiam/"), uses: vec![] });
    check("DELETE \"[Gmail]/x\"", Command::Delete { mailbox: mailbox("[Gmail]/x") });
    check("DELETE [Gmail]/x", Command::Delete { mailbox: mailbox("[Gmail]/x") });
    check("RENAME foo \"b r\"", Command::Rename { from: mailbox("foo"), to: mailbox("b r") });
    check("SUBSCRIBE #news.x", Command::Subscribe { mailbox: mailbox("#news.x") });
    check("UNSUBSCRIBE &ANw-", Command::Unsubscribe { mailbox: mailbox("&ANw-") });
    let items = vec![StatusItem::UidNext, StatusItem::Messages, StatusItem::HighestModSeq];
    check("STATUS b (UIDNEXT messages HIGHESTMODSEQ)", Command::Status { mailbox: mailbox("b"), items });
    let lsub = Command::Lsub { reference: pattern("#news."), pattern: pattern("comp.*") };
    check("LSUB \"#news.\" comp.*", lsub);
}

#[test]
fn list_plain_and_extended() {
    let plain = |reference: &str, wanted: &str| {
        let (reference, patterns) = (pattern(reference), vec![pattern(wanted)]);
        Command::List(List { selection: vec![], reference, patterns, returns: None })
    };
    check("LIST \"\" \"\"", plain("", ""));
    check("LIST /usr/staff/jones %", plain("/usr/staff/jones", "%"));
    check("LIST \"\" *", plain("", "*"));
    check("LIST \"\" \"a %\" ", plain("", "a %"));
    check(
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"INBOX\" Drafts/%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))",
        Command::List(List {
            selection: vec![ListSelection::Subscribed, ListSelection::RecursiveMatch],
            reference: pattern(""),
            patterns: vec![pattern("INBOX"), pattern("Drafts/%")],
            returns: Some(vec![
                ListReturn::Children,
                ListReturn::Status(vec![StatusItem::Messages, StatusItem::Unseen]),
            ]),
        }),
    );
    // Extended, and asks for nothing.
    let nothing =
        List { selection: vec![], reference: pattern(""), patterns: vec![pattern("%")], returns: Some(vec![]) };
    check("LIST () \"\" %", Command::List(nothing));
    for bad in ["LIST (RECURSIVEMATCH) \"\" *", "LIST \"\" ()", "LIST \"\" * RETURN", "LIST (FOO) \"\" *", "LIST \"\""]
    {
        check_error(bad, ErrorKind::Syntax);
    }
}

#[test]
fn fetch_items() {
    let fetch = |ranges, items| {
        Command::Fetch(Fetch { uid: false, set: messages(ranges), items, changed_since: None, vanished: false })
    };
    let fast = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    let all = [fast.clone(), vec![FetchItem::Envelope]].concat();
    let full = [all.clone(), vec![FetchItem::Body]].concat();
    check("FETCH 1:* FAST", fetch(&[(1, 0)], fast));
    check("FETCH 1,3:2,* ALL", fetch(&[(1, 1), (3, 2), (0, 0)], all));
    check("FETCH 1 full", fetch(&[(1, 1)], full));
    let items = vec![FetchItem::Rfc822, FetchItem::Rfc822Header, FetchItem::Rfc822Text, FetchItem::BodyStructure];
    check("FETCH 1 (RFC822 RFC822.HEADER RFC822.TEXT BODYSTRUCTURE)", fetch(&[(1, 1)], items));
    check("FETCH 1 BODY", fetch(&[(1, 1)], vec![FetchItem::Body]));
    check("FETCH 1 MODSEQ", fetch(&[(1, 1)], vec![FetchItem::ModSeq]));
    check(
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
        Command::Fetch(Fetch {
            uid: true,
            set: messages(&[(1, 0)]),
            items: vec![FetchItem::Flags],
            changed_since: Some(12345),
            vanished: true,
        }),
    );
}

#[test]
fn fetch_sections() {
    let part = |numbers: &[u32]| numbers.iter().filter_map(|&n| NonZeroU32::new(n)).collect::<Vec<_>>();
    let check_section = |label: &str, peek, numbers: &[u32], text, partial| {
        let item = FetchItem::BodySection { peek, section: Section { part: part(numbers), text }, partial };
        let fetch =
            Fetch { uid: true, set: messages(&[(9, 9)]), items: vec![item], changed_since: None, vanished: false };
        check(&format!("UID FETCH 9 {label}"), Command::Fetch(fetch.clone()));
        check(&format!("UID FETCH 9 ({label})"), Command::Fetch(fetch));
    };
    let fields = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let partial = |offset, len| NonZeroU64::new(len).map(|len| Partial { offset, len });
    check_section("BODY[]", false, &[], None, None);
    check_section("body.peek[]<0.1024>", true, &[], None, partial(0, 1024));
    check_section("BODY[HEADER]", false, &[], Some(SectionText::Header), None);
    check_section("BODY[TEXT]<4294967296.1>", false, &[], Some(SectionText::Text), partial(1 << 32, 1));
    check_section("BODY[1]", false, &[1], None, None);
    check_section("BODY[4.2.2.1]", false, &[4, 2, 2, 1], None, None);
    check_section("BODY.PEEK[4.1.MIME]", true, &[4, 1], Some(SectionText::Mime), None);
    check_section("BODY[3.HEADER]", false, &[3], Some(SectionText::Header), None);
    let names = Some(SectionText::HeaderFields(fields(&["DATE", "From"])));
    check_section("BODY[HEADER.FIELDS (DATE From)]", false, &[], names, None);
    let names = Some(SectionText::HeaderFieldsNot(fields(&["x y"])));
    check_section("BODY[3.HEADER.FIELDS.NOT (\"x y\")]<1.2>", false, &[3], names, partial(1, 2));
    for bad in [
        "BODY[",
        "BODY[MIME]",
        "BODY[0]",
        "BODY[1.]",
        "BODY[1HEADER]",
        "BODY[.1]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS]",
        "BODY[]<0.0>",
        "BODY[]<1>",
        "BODY[HEADER",
        "BODY[]x",
        "BODY[4294967296]",
        "BINARY[TEXT]",
        "()",
        "(ALL)",
        "(FLAGS",
        "FLAGS UID",
        "FLAGZ",
        "",
    ] {
        check_error(&format!("UID FETCH 9 {bad}"), ErrorKind::Syntax);
    }
    for bad in ["0", "1:", ",1", "1,", "4294967296", "-1", "$1", "1:2:3", "a"] {
        check_error(&format!("FETCH {bad} FLAGS"), ErrorKind::Syntax);
    }
    check_error("FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)", ErrorKind::Syntax);
    check_error("UID FETCH 1 FLAGS (VANISHED)", ErrorKind::Syntax);
}

#[test]
fn store_copy_move() {
    let flags = FlagList {
        flags: Flags::from(Flag::Seen) | Flag::Deleted.into(),
        keywords: vec![Keyword::new("$Junk").expect("an atom")],
    };
    let store = Store {
        uid: true,
        set: messages(&[(2, 4)]),
        unchanged_since: None,
        action: StoreAction::Add,
        silent: false,
        flags,
    };
    check("UID STORE 2:4 +FLAGS (\\Deleted \\seen $Junk $JUNK)", Command::Store(store.clone()));
    check("UID STORE 2:4 +flags \\Deleted \\Seen $Junk", Command::Store(store.clone()));
    let conditional = Store { unchanged_since: Some(0), action: StoreAction::Replace, silent: true, ..store.clone() };
    check("UID STORE 2:4 (UNCHANGEDSINCE 0) FLAGS.SILENT ($Junk \\Deleted \\Seen)", Command::Store(conditional));
    let empty = Store { uid: false, flags: FlagList::default(), action: StoreAction::Remove, ..store };
    check("STORE 2:4 -FLAGS ()", Command::Store(empty));
    for bad in [
        "1 FLAGS \\Recent",
        "1 FLAGS \\*",
        "1 FLAGS",
        "1 FLAGS (a%)",
        "1 *FLAGS (a)",
        "1 FLAGS ((a))",
        "1 (X 1) FLAGS a",
    ] {
        check_error(&format!("STORE {bad}"), ErrorKind::Syntax);
    }
    check("COPY 2:4 MEETING", Command::Copy { uid: false, set: messages(&[(2, 4)]), mailbox: mailbox("MEETING") });
    check("UID MOVE 42:69 foo", Command::Move { uid: true, set: messages(&[(42, 69)]), mailbox: mailbox("foo") });
    check("UID EXPUNGE 3000:3002", Command::UidExpunge { set: messages(&[(3000, 3002)]) });
    check_error("UID NOOP", ErrorKind::UnknownCommand);
}

fn search(key: SearchKey) -> Command {
    Command::Search(Search { uid: false, returns: None, charset: false, key })
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

#[test]
fn search_keys() {
    use SearchKey::*;
    let day = |y, m, d| CalendarDate::from_ymd(y, m, d).expect("a day");
    let keyword = mailtypes::Keyword::new("$Junk").expect("an atom");
    for (text, key) in [
        ("ALL", All),
        ("new", And(vec![Recent, not(Flag(mailtypes::Flag::Seen))])),
        ("OLD", not(Recent)),
        ("UNDELETED", not(Flag(mailtypes::Flag::Deleted))),
        ("DRAFT", Flag(mailtypes::Flag::Draft)),
        ("KEYWORD $Junk", Keyword(keyword.clone())),
        ("UNKEYWORD $Junk", not(Keyword(keyword))),
        ("1:3,*", Sequence(set(&[(1, 3), (0, 0)]))),
        ("UID 7", Uid(set(&[(7, 7)]))),
        ("SINCE 1-Feb-1994", Since(day(1994, 2, 1))),
        ("BEFORE \"01-FEB-1994\"", Before(day(1994, 2, 1))),
        ("SENTON 29-Feb-2000", SentOn(day(2000, 2, 29))),
        ("LARGER 4294967296", Larger(1 << 32)),
        ("FROM \"Smith\"", Address("From".into(), "Smith".into())),
        ("HEADER Message-ID {3}\r\n<x>", Header("Message-ID".into(), "<x>".into())),
        ("HEADER X \"\"", Header("X".into(), String::new())),
        ("TEXT {2+}\r\nü", Text("ü".into())),
        ("BODY \"a%b\"", Body("a%b".into())),
        ("NOT NOT (SEEN)", not(not(Flag(mailtypes::Flag::Seen)))),
        (
            "OR SEEN OR 1 ALL",
            Or(Flag(mailtypes::Flag::Seen).into(), Or(Sequence(set(&[(1, 1)])).into(), All.into()).into()),
        ),
        (
            "(1 (2 ALL)) ALL",
            And(vec![And(vec![Sequence(set(&[(1, 1)])), And(vec![Sequence(set(&[(2, 2)])), All])]), All]),
        ),
        ("MODSEQ 620162338", ModSeq(mailtypes::ModSeq::new(620_162_338).expect("not 0"))),
        ("MODSEQ \"/flags/\\\\draft\" all 0", ModSeq(mailtypes::ModSeq::MIN)),
    ] {
        check(&format!("SEARCH {text}"), search(key));
    }
}

#[test]
fn search_options_and_charsets() {
    let key = SearchKey::Flag(Flag::Seen);
    let with = |returns, charset| Command::Search(Search { uid: true, returns, charset, key: key.clone() });
    check("UID SEARCH CHARSET utf-8 SEEN ", with(None, true));
    check("UID SEARCH CHARSET \"US-ASCII\" SEEN", with(None, true));
    check("UID SEARCH RETURN () SEEN", with(Some(SearchReturn { all: true, ..SearchReturn::default() }), false));
    let returns = SearchReturn { min: true, count: true, ..SearchReturn::default() };
    check("UID SEARCH RETURN (MIN COUNT) CHARSET UTF-8 SEEN", with(Some(returns), true));
    check_error("SEARCH CHARSET KLINGON ALL", ErrorKind::BadCharset { saves: false });
    for bad in [
        "",
        "FOO",
        "NOT",
        "OR 1",
        "(",
        "()",
        "(1",
        "1)",
        "SINCE 31-Feb-1994",
        "KEYWORD \\Seen",
        "LARGER -1",
        "BODY a%b",
    ] {
        check_error(&format!("SEARCH {bad}"), ErrorKind::Syntax);
    }
    assert_eq!(decode(b"a SEARCH TEXT {1+}\r\n\xff\r\n"), Err(ErrorKind::Syntax));
}

#[test]
fn lines_that_are_no_commands() {
    for bad in [
        "",
        "LOGIN",
        "LOGIN a",
        "LOGIN a b c",
        "NOOP x",
        "LOGIN \"a b",
        "LOGIN \"a\\b\" c",
        "SELECT \0",
        "SELECT (",
        "SELECT ü",
    ] {
        check_error(bad, ErrorKind::Syntax);
    }
    check_error("APPEND INBOX", ErrorKind::Syntax);
    check_error("LOGIN {2+}\r\na\0 b", ErrorKind::Syntax);
    for unknown in ["XYZZY", "FETCHALONGNAMEOFNOCOMMANDATALL 1", "GETQUOTAROOT INBOX"] {
        check_error(unknown, ErrorKind::UnknownCommand);
    }
    let mut decoder = Decoder::new(Limits::default());
    for bad in [&b"\r\n"[..], b"+ NOOP\r\n", b" NOOP\r\n", b"(\r\n", b"\x80 NOOP\r\n", b"\x16\x03\x01\n"] {
        let mut input = bad;
        let error = decoder.next(&mut input).expect_err("no tag");
        assert_eq!((error.tag, error.kind), (None, ErrorKind::Syntax));
    }
}

#[test]
fn quick_resync() {
    let params = |known_uids, seq_match| SelectParams {
        condstore: false,
        qresync: Some(Qresync {
            uid_validity: UidValidity::new(67_890_007).unwrap(),
            mod_seq: ModSeq::new(90_060_115_194_045_000).unwrap(),
            known_uids,
            seq_match,
        }),
    };
    let select = |params| Command::Select { mailbox: mailbox("INBOX"), params };
    let pairs = Some((set(&[(1, 2), (5, 5)]), set(&[(7, 8), (20, 20)])));
    let base = "SELECT INBOX (QRESYNC (67890007 90060115194045000";
    check(&format!("{base}))"), select(params(None, None)));
    check(&format!("{base} 41,43:211))"), select(params(Some(set(&[(41, 41), (43, 211)])), None)));
    check(&format!("{base} 1:29997 (1:2,5 7:8,20)))"), select(params(Some(set(&[(1, 29997)])), pairs.clone())));
    check(&format!("{base} (1:2,5 7:8,20)))"), select(params(None, pairs)));
    let both = SelectParams { condstore: true, ..params(None, None) };
    check(
        "EXAMINE x (QRESYNC (67890007 90060115194045000) CONDSTORE)",
        Command::Examine { mailbox: mailbox("x"), params: both },
    );
    for wrong in [
        "SELECT x (QRESYNC (0 1))",
        "SELECT x (QRESYNC (1 0))",
        "SELECT x (QRESYNC (1))",
        "SELECT x (QRESYNC (1 2 3:*))",
        "SELECT x (QRESYNC (1 2 3 (1 2) 4))",
        "SELECT x (QRESYNC (1 2 3 (1 2:3)))",
        "SELECT x (QRESYNC (1 2 3 (2,1 2:3)))",
        "SELECT x (QRESYNC 1 2)",
        "SELECT x (QRESYNC)",
    ] {
        check_error(wrong, ErrorKind::Syntax);
    }
}

#[test]
fn saved_results() {
    let saved = MessageSet::SavedResult;
    check("UID EXPUNGE $", Command::UidExpunge { set: saved.clone() });
    check("COPY $ x", Command::Copy { uid: false, set: saved.clone(), mailbox: mailbox("x") });
    check("UID MOVE $ x", Command::Move { uid: true, set: saved.clone(), mailbox: mailbox("x") });
    let items = vec![FetchItem::Flags];
    check(
        "FETCH $ FLAGS",
        Command::Fetch(Fetch { uid: false, set: saved, items, changed_since: None, vanished: false }),
    );
    let search = |key| Command::Search(Search { uid: false, returns: None, charset: false, key });
    check("SEARCH $", search(SearchKey::SavedResult));
    check("SEARCH UID $ SMALLER 4096", search(SearchKey::And(vec![SearchKey::SavedResult, SearchKey::Smaller(4096)])));
    check_error("SEARCH RETURN (SAVE) CHARSET KLINGON $", ErrorKind::BadCharset { saves: true });
    check_error("FETCH $,1 FLAGS", ErrorKind::Syntax);
    check_error("FETCH 1,$ FLAGS", ErrorKind::Syntax);
}

#[test]
fn sorting_and_threading() {
    let by = |key, reverse| SortCriterion { key, reverse };
    let sort = |uid, returns, criteria, key| Command::Sort(Sort { uid, returns, criteria, key });
    check(
        "SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994",
        sort(
            false,
            None,
            vec![by(SortKey::Subject, false)],
            SearchKey::Since(CalendarDate::from_ymd(1994, 2, 1).unwrap()),
        ),
    );
    let criteria = vec![by(SortKey::Subject, false), by(SortKey::Date, true), by(SortKey::DisplayFrom, false)];
    check("UID SORT (SUBJECT REVERSE DATE displayfrom) us-ascii ALL", sort(true, None, criteria, SearchKey::All));
    let returns = SearchReturn { all: true, ..SearchReturn::default() };
    check("SORT RETURN () (CC) UTF-8 ALL", sort(false, Some(returns), vec![by(SortKey::Cc, false)], SearchKey::All));
    let thread = |uid, algorithm, key| Command::Thread(Thread { uid, algorithm, key });
    check(
        "THREAD REFERENCES US-ASCII TEXT \"gewp\"",
        thread(false, ThreadAlgorithm::References, SearchKey::Text("gewp".into())),
    );
    check("UID THREAD refs UTF-8 ALL", thread(true, ThreadAlgorithm::Refs, SearchKey::All));
    for wrong in [
        "SORT () UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (SUBJECT REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE SUBJECT) UTF-8 ALL",
        "SORT (COLOUR) UTF-8 ALL",
        "SORT (SUBJECT) UTF-8",
        "THREAD XYZZY UTF-8 ALL",
        "THREAD REFERENCES UTF-8",
    ] {
        check_error(wrong, ErrorKind::Syntax);
    }
    check_error("SORT (SUBJECT) KLINGON ALL", ErrorKind::BadCharset { saves: false });
}

#[test]
fn keys_of_extensions() {
    use SearchKey::{EmailId, Older, SaveDateSupported, SavedBefore, SavedOn, SavedSince, ThreadId, Younger};
    let day = CalendarDate::from_ymd(2012, 1, 31).unwrap();
    for (key, expected) in [
        ("OLDER 259200", Older(259_200)),
        ("YOUNGER 1", Younger(1)),
        ("SAVEDBEFORE 31-Jan-2012", SavedBefore(day)),
        ("SAVEDON \"31-Jan-2012\"", SavedOn(day)),
        ("savedsince 31-Jan-2012", SavedSince(day)),
        ("SAVEDATESUPPORTED", SaveDateSupported),
        ("EMAILID M6d99ac3275bb4e", EmailId("M6d99ac3275bb4e".into())),
        ("THREADID \"T64b478a75b7ea9\"", ThreadId("T64b478a75b7ea9".into())),
        ("MODSEQ \"/flags/\\\\draft\" all 620162338", SearchKey::ModSeq(ModSeq::new(620_162_338).unwrap())),
    ] {
        let expected = Command::Search(Search { uid: false, returns: None, charset: false, key: expected });
        check(&format!("SEARCH {key}"), expected);
    }
    for wrong in ["SEARCH OLDER 0", "SEARCH YOUNGER x", "SEARCH EMAILID a.b", "SEARCH SAVEDON 1"] {
        check_error(wrong, ErrorKind::Syntax);
    }
}

#[test]
fn texts_in_other_charsets() {
    let search = |text: &str| {
        Ok(Command::Search(Search { uid: false, returns: None, charset: true, key: SearchKey::Body(text.into()) }))
    };
    assert_eq!(decode(b"a SEARCH CHARSET ISO-8859-1 BODY {3}\r\nM\xfcn\r\n"), search("Mün"));
    assert_eq!(decode(b"a SEARCH CHARSET koi8-r BODY {2+}\r\n\xc4\xc1\r\n"), search("да"));
    assert_eq!(decode(b"a SEARCH CHARSET Shift_JIS BODY \"\x93\xfa\x96\x7b\"\r\n"), search("日本"));
    assert_eq!(decode(b"a SEARCH CHARSET EUC-JP BODY {1}\r\n\xa4\r\n"), Err(ErrorKind::Syntax));
    assert_eq!(decode(b"a SEARCH CHARSET UTF-8 BODY {1}\r\n\xfc\r\n"), Err(ErrorKind::Syntax));
    assert_eq!(decode(b"a SEARCH CHARSET UTF-16 BODY {2}\r\n\0a\r\n"), Err(ErrorKind::BadCharset { saves: false }));
}

#[test]
fn items_and_parameters_of_extensions() {
    let fetch = |items| {
        Command::Fetch(Fetch { uid: false, set: messages(&[(1, 1)]), items, changed_since: None, vanished: false })
    };
    check(
        "FETCH 1 (EMAILID THREADID SAVEDATE)",
        fetch(vec![FetchItem::EmailId, FetchItem::ThreadId, FetchItem::SaveDate]),
    );
    check("FETCH 1 (RFC822.SIZE PREVIEW)", fetch(vec![FetchItem::Rfc822Size, FetchItem::Preview { lazy: false }]));
    check("FETCH 1 (PREVIEW (LAZY) UID)", fetch(vec![FetchItem::Preview { lazy: true }, FetchItem::Uid]));
    check("FETCH 1 PREVIEW (LAZY)", fetch(vec![FetchItem::Preview { lazy: true }]));
    check_error("FETCH 1 PREVIEW (EAGER)", ErrorKind::Syntax);
    check_error("FETCH 1 PREVIEW ()", ErrorKind::Syntax);
    check("COMPRESS deflate", Command::Compress { algorithm: atom("DEFLATE") });
    check_error("COMPRESS", ErrorKind::Syntax);
    let create = |uses: &[SpecialUse]| Command::Create { mailbox: mailbox("MySpecial"), uses: uses.to_vec() };
    check("CREATE MySpecial (USE (\\Drafts \\Sent \\drafts))", create(&[SpecialUse::Drafts, SpecialUse::Sent]));
    check("CREATE MySpecial (USE ())", create(&[]));
    check_error("CREATE MySpecial (USE (\\Attic))", ErrorKind::UnknownUse);
    check_error("CREATE MySpecial (COLOUR red)", ErrorKind::Syntax);
    check("STATUS x (MAILBOXID)", Command::Status { mailbox: mailbox("x"), items: vec![StatusItem::MailboxId] });
}
