//! Commands to bytes and back; any bytes at all; input cut anywhere.

use std::num::{NonZeroU32, NonZeroU64};

use imap_proto::{
    AppendMessage, Atom, Command, CommandError, Decoder, Event, Fetch, FetchItem, FlagList, InitialResponse, Limits,
    List, ListMailbox, ListReturn, ListSelection, Mailbox, MessageSet, Partial, Qresync, Search, SearchReturn, Secret,
    Section, SectionText, SelectParams, Sort, SpecialUse, StatusItem, Store, StoreAction, Tag, Thread,
    encode::{self, Encoded, Literals},
    response::{ResponseDecoder, ResponseLimits},
};
use mailtypes::{
    CalendarDate, Flag, Flags, InternalDate, Keyword, ModSeq, SearchKey, SequenceBound, SequenceSet, SortCriterion,
    SortKey, ThreadAlgorithm, UidValidity,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(1u8.., 0..12), "[a-zA-Z0-9 \"\\\\{}+%*/&-]{0,12}".prop_map(String::into_bytes)]
}

fn text() -> impl Strategy<Value = String> {
    "[^\0]{0,12}"
}

fn mailbox() -> impl Strategy<Value = Mailbox> {
    bytes().prop_map(Mailbox::from_wire)
}

fn pattern() -> impl Strategy<Value = ListMailbox> {
    bytes().prop_map(ListMailbox::from_wire)
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let bound = || prop_oneof![Just(SequenceBound::Star), (1u32..).prop_map(SequenceBound::Number)];
    vec((bound(), bound()), 1..5).prop_map(SequenceSet)
}

fn messages() -> impl Strategy<Value = MessageSet> {
    prop_oneof![4 => set().prop_map(MessageSet::Numbers), 1 => Just(MessageSet::SavedResult)]
}

/// Ranges ascending, without `*`, that hold so many numbers each.
fn ascending(counts: &[u32], gap: u32) -> SequenceSet {
    let mut next = gap;
    let ranges = counts.iter().map(|&count| {
        let range = (SequenceBound::Number(next), SequenceBound::Number(next + count - 1));
        next += count + gap;
        range
    });
    SequenceSet(ranges.collect())
}

fn select_params() -> impl Strategy<Value = SelectParams> {
    let known = option::of(vec(1u32..9, 1..4).prop_map(|counts| ascending(&counts, 3)));
    let seq_match = option::of(vec(1u32..9, 1..4).prop_map(|counts| (ascending(&counts, 1), ascending(&counts, 5))));
    let qresync = (1u32.., 1u64.., known, seq_match).prop_map(|(uid_validity, mod_seq, known_uids, seq_match)| {
        let (uid_validity, mod_seq) = (UidValidity::new(uid_validity), ModSeq::new(mod_seq));
        Qresync { uid_validity: uid_validity.expect("not 0"), mod_seq: mod_seq.expect("not 0"), known_uids, seq_match }
    });
    (any::<bool>(), option::of(qresync)).prop_map(|(condstore, qresync)| SelectParams { condstore, qresync })
}

fn keyword() -> impl Strategy<Value = Keyword> {
    "[$A-Za-z0-9_.+\\[-]{1,8}".prop_map(|name| Keyword::new(&name).expect("an atom"))
}

fn flag_list() -> impl Strategy<Value = FlagList> {
    let distinct = |keywords: Vec<Keyword>| {
        let mut kept: Vec<Keyword> = Vec::new();
        keywords.into_iter().for_each(|keyword| {
            if !kept.contains(&keyword) {
                kept.push(keyword)
            }
        });
        kept
    };
    (0u8..0x20, vec(keyword(), 0..4))
        .prop_map(move |(bits, keywords)| FlagList { flags: Flags::from_bits(bits), keywords: distinct(keywords) })
}

fn status_items() -> impl Strategy<Value = Vec<StatusItem>> {
    vec(select(&StatusItem::ALL[..]), 1..9)
}

fn part(len_min: usize) -> impl Strategy<Value = Vec<NonZeroU32>> {
    vec((1u32..).prop_map(|n| NonZeroU32::new(n).expect("not 0")), len_min..4)
}

fn section() -> impl Strategy<Value = Section> {
    let names = || vec("[!-~][ -~]{0,8}", 1..4);
    let text = prop_oneof![
        Just(None),
        Just(Some(SectionText::Header)),
        Just(Some(SectionText::Text)),
        names().prop_map(|names| Some(SectionText::HeaderFields(names))),
        names().prop_map(|names| Some(SectionText::HeaderFieldsNot(names))),
    ];
    prop_oneof![
        (part(0), text).prop_map(|(part, text)| Section { part, text }),
        part(1).prop_map(|part| Section { part, text: Some(SectionText::Mime) }),
    ]
}

fn fetch_item() -> impl Strategy<Value = FetchItem> {
    let partial = || {
        option::of((any::<u64>(), 1u64..))
            .prop_map(|p| p.and_then(|(offset, len)| Some(Partial { offset, len: NonZeroU64::new(len)? })))
    };
    prop_oneof![
        select(vec![
            FetchItem::Flags,
            FetchItem::Uid,
            FetchItem::InternalDate,
            FetchItem::Rfc822,
            FetchItem::Rfc822Header,
            FetchItem::Rfc822Text,
            FetchItem::Rfc822Size,
            FetchItem::Envelope,
            FetchItem::Body,
            FetchItem::BodyStructure,
            FetchItem::ModSeq,
            FetchItem::SaveDate,
            FetchItem::EmailId,
            FetchItem::ThreadId,
            FetchItem::Preview { lazy: false },
            FetchItem::Preview { lazy: true },
        ]),
        (any::<bool>(), section(), partial()).prop_map(|(peek, section, partial)| FetchItem::BodySection {
            peek,
            section,
            partial
        }),
        (any::<bool>(), part(0), partial()).prop_map(|(peek, part, partial)| FetchItem::Binary { peek, part, partial }),
        part(0).prop_map(|part| FetchItem::BinarySize { part }),
    ]
}

fn search_key() -> impl Strategy<Value = SearchKey> {
    let date = || (-700_000i64..2_900_000).prop_map(|days| CalendarDate { days });
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::Recent),
        select(&Flag::ALL[..]).prop_map(SearchKey::Flag),
        keyword().prop_map(SearchKey::Keyword),
        set().prop_map(SearchKey::Sequence),
        set().prop_map(SearchKey::Uid),
        date().prop_map(SearchKey::Before),
        date().prop_map(SearchKey::On),
        date().prop_map(SearchKey::Since),
        date().prop_map(SearchKey::SentBefore),
        date().prop_map(SearchKey::SentOn),
        date().prop_map(SearchKey::SentSince),
        any::<u64>().prop_map(SearchKey::Larger),
        any::<u64>().prop_map(SearchKey::Smaller),
        (text(), text()).prop_map(|(field, text)| SearchKey::Header(field, text)),
        text().prop_map(SearchKey::Body),
        (1u32..).prop_map(SearchKey::Older),
        (1u32..).prop_map(SearchKey::Younger),
        date().prop_map(SearchKey::SavedBefore),
        date().prop_map(SearchKey::SavedOn),
        date().prop_map(SearchKey::SavedSince),
        Just(SearchKey::SaveDateSupported),
        Just(SearchKey::SavedResult),
        "[A-Za-z0-9_-]{1,9}".prop_map(SearchKey::EmailId),
        "[A-Za-z0-9_-]{1,9}".prop_map(SearchKey::ThreadId),
        text().prop_map(SearchKey::Text),
        (1u64..).prop_map(|n| SearchKey::ModSeq(ModSeq::new(n).expect("not 0"))),
    ];
    leaf.prop_recursive(5, 20, 4, |key| {
        prop_oneof![
            vec(key.clone(), 2..4).prop_map(SearchKey::And),
            key.clone().prop_map(|key| SearchKey::Not(Box::new(key))),
            (key.clone(), key).prop_map(|(a, b)| SearchKey::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn search_return() -> impl Strategy<Value = SearchReturn> {
    any::<[bool; 5]>().prop_map(|[min, max, all, count, save]| {
        let all = all || !(min || max || count || save);
        SearchReturn { min, max, all, count, save }
    })
}

fn sort() -> impl Strategy<Value = Sort> {
    let criterion =
        (select(&SortKey::ALL[..]), any::<bool>()).prop_map(|(key, reverse)| SortCriterion { key, reverse });
    (any::<bool>(), option::of(search_return()), vec(criterion, 1..4), search_key())
        .prop_map(|(uid, returns, criteria, key)| Sort { uid, returns, criteria, key })
}

fn thread() -> impl Strategy<Value = Thread> {
    (any::<bool>(), select(&ThreadAlgorithm::ALL[..]), search_key()).prop_map(|(uid, algorithm, key)| Thread {
        uid,
        algorithm,
        key,
    })
}

fn search() -> impl Strategy<Value = Search> {
    (any::<bool>(), option::of(search_return()), any::<bool>(), search_key())
        .prop_map(|(uid, returns, charset, key)| Search { uid, returns, charset, key })
}

fn list() -> impl Strategy<Value = List> {
    use ListSelection::{RecursiveMatch, Remote, SpecialUse, Subscribed};
    let selection =
        select(vec![vec![], vec![Subscribed], vec![Remote], vec![RecursiveMatch, SpecialUse, Remote, Subscribed]]);
    let returned = prop_oneof![
        Just(ListReturn::Subscribed),
        Just(ListReturn::Children),
        Just(ListReturn::SpecialUse),
        status_items().prop_map(ListReturn::Status),
    ];
    (selection, pattern(), vec(pattern(), 1..4), option::of(vec(returned, 0..4)))
        .prop_map(|(selection, reference, patterns, returns)| List { selection, reference, patterns, returns })
}

fn atom() -> impl Strategy<Value = Atom> {
    "[a-zA-Z0-9=+-]{1,9}".prop_map(|atom| Atom::new(&atom).expect("an atom"))
}

/// What somebody would hand over who wants a second command to be read.
fn hostile() -> impl Strategy<Value = String> {
    let pieces =
        select(vec!["\r\n", "\n", "\r", "z NOOP", " ", "\"", "\\", "{3}", "{3+}", ")", "(", "]", "\0", "\u{e9}", "a"]);
    vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

/// Commands with such text wherever text can be put.
fn hostile_command() -> impl Strategy<Value = Command> {
    let header_names = vec(hostile(), 0..3)
        .prop_map(|names| Section { part: Vec::new(), text: Some(SectionText::HeaderFields(names)) });
    let key = (hostile(), hostile(), 0..6).prop_map(|(a, b, which)| match which {
        0 => SearchKey::Address(a, b),
        1 => SearchKey::Header(a, b),
        2 => SearchKey::And(vec![SearchKey::Body(a), SearchKey::Text(b)]),
        3 => SearchKey::EmailId(a),
        4 => SearchKey::ThreadId(a),
        _ => SearchKey::Or(Box::new(SearchKey::Address("to".into(), a)), Box::new(SearchKey::Text(b))),
    });
    let bytes = || hostile().prop_map(String::into_bytes);
    let mailbox = || bytes().prop_map(Mailbox::from_wire);
    let pattern = || bytes().prop_map(ListMailbox::from_wire);
    let all = || MessageSet::Numbers(SequenceSet(vec![(SequenceBound::Number(1), SequenceBound::Star)]));
    prop_oneof![
        (bytes(), bytes()).prop_map(|(user, password)| Command::Login { user, password: Secret(password) }),
        (hostile(), bytes()).prop_map(|(mechanism, initial)| Command::Authenticate {
            mechanism: Atom::new(&mechanism).or(Atom::new("X")).expect("an atom"),
            initial: InitialResponse::from_wire(&initial).or(Some(InitialResponse::new(&initial))),
        }),
        vec(hostile(), 0..4).prop_map(|names| Command::Enable {
            capabilities: names.iter().filter_map(|name| Atom::new(name)).collect()
        }),
        vec((bytes(), option::of(bytes())), 0..3).prop_map(|params| Command::Id { params }),
        (mailbox(), mailbox()).prop_map(|(from, to)| Command::Rename { from, to }),
        (pattern(), pattern()).prop_map(|(reference, pattern)| Command::Lsub { reference, pattern }),
        key.prop_map(|key| Command::Search(Search { uid: false, returns: None, charset: true, key })),
        header_names.prop_map(move |section| Command::Fetch(Fetch {
            uid: false,
            set: all(),
            items: vec![FetchItem::BodySection { peek: true, section, partial: None }],
            changed_since: None,
            vanished: false,
        })),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let bare = select(vec![
        Command::Capability,
        Command::Noop,
        Command::Logout,
        Command::StartTls,
        Command::Namespace,
        Command::Idle,
        Command::Check,
        Command::Close,
        Command::Unselect,
        Command::Expunge,
    ]);
    let initial = vec(any::<u8>(), 0..9).prop_map(|response| InitialResponse::new(&response));
    let uses = vec(select(&SpecialUse::ALL[..]), 0..3).prop_map(|mut uses| {
        uses.sort();
        uses.dedup();
        uses
    });
    let since = || option::of(any::<u64>());
    let session = prop_oneof![
        bare,
        (bytes(), bytes()).prop_map(|(user, password)| Command::Login { user, password: Secret(password) }),
        atom().prop_map(|algorithm| Command::Compress { algorithm }),
        (atom(), option::of(initial)).prop_map(|(mechanism, initial)| Command::Authenticate { mechanism, initial }),
        vec(atom(), 1..4).prop_map(|capabilities| Command::Enable { capabilities }),
        vec((bytes(), option::of(bytes())), 0..4).prop_map(|params| Command::Id { params }),
    ];
    let mailboxes = prop_oneof![
        (mailbox(), select_params()).prop_map(|(mailbox, params)| Command::Select { mailbox, params }),
        (mailbox(), select_params()).prop_map(|(mailbox, params)| Command::Examine { mailbox, params }),
        (mailbox(), uses).prop_map(|(mailbox, uses)| Command::Create { mailbox, uses }),
        mailbox().prop_map(|mailbox| Command::Delete { mailbox }),
        mailbox().prop_map(|mailbox| Command::Subscribe { mailbox }),
        mailbox().prop_map(|mailbox| Command::Unsubscribe { mailbox }),
        (mailbox(), mailbox()).prop_map(|(from, to)| Command::Rename { from, to }),
        list().prop_map(Command::List),
        (pattern(), pattern()).prop_map(|(reference, pattern)| Command::Lsub { reference, pattern }),
        (mailbox(), status_items()).prop_map(|(mailbox, items)| Command::Status { mailbox, items }),
    ];
    let fetch = (any::<bool>(), messages(), vec(fetch_item(), 1..6), since(), any::<bool>()).prop_map(
        |(uid, set, items, changed_since, vanished)| {
            let vanished = vanished && uid && changed_since.is_some();
            Command::Fetch(Fetch { uid, set, items, changed_since, vanished })
        },
    );
    let actions = select(vec![StoreAction::Replace, StoreAction::Add, StoreAction::Remove]);
    let store = (any::<bool>(), messages(), since(), actions, any::<bool>(), flag_list()).prop_map(
        |(uid, set, unchanged_since, action, silent, flags)| {
            Command::Store(Store { uid, set, unchanged_since, action, silent, flags })
        },
    );
    let messages = prop_oneof![
        messages().prop_map(|set| Command::UidExpunge { set }),
        (any::<bool>(), messages(), mailbox()).prop_map(|(uid, set, mailbox)| Command::Copy { uid, set, mailbox }),
        (any::<bool>(), messages(), mailbox()).prop_map(|(uid, set, mailbox)| Command::Move { uid, set, mailbox }),
        search().prop_map(Command::Search),
        sort().prop_map(Command::Sort),
        thread().prop_map(Command::Thread),
        fetch,
        store,
    ];
    prop_oneof![session, mailboxes, messages]
}

fn literals() -> impl Strategy<Value = Literals> {
    select(vec![Literals::Synchronizing, Literals::NonSynchronizing])
}

/// An event without a lifetime; chunks of a text are joined, as their sizes depend on the input's.
#[derive(Debug, PartialEq)]
enum Seen {
    Command(Tag, Command),
    Continue,
    AppendStart(Tag, Mailbox),
    AppendMessage(AppendMessage),
    Text(Vec<u8>),
    Other(String),
    Error(CommandError),
}

/// Feeds chunks to a decoder, accepting every literal or, given so, rejecting each third.
fn seen<'c>(chunks: impl IntoIterator<Item = &'c [u8]>, rejecting: bool) -> Vec<Seen> {
    let limits = Limits { line_len_max: 4096, literal_len_max: 200, message_len_max: 500, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let (mut seen, mut asked) = (Vec::new(), 0);
    for mut input in chunks {
        loop {
            let event = decoder.next(&mut input);
            if matches!(event, Ok(Some(Event::Continue | Event::AppendMessage(_)))) {
                asked += 1;
                if rejecting && asked % 3 == 0 {
                    decoder.reject_literal()
                } else {
                    let _ = decoder.accept_literal();
                }
            }
            let next = match event {
                Ok(None) => break,
                Ok(Some(Event::Command { tag, command })) => Seen::Command(tag, command),
                Ok(Some(Event::Continue)) => Seen::Continue,
                Ok(Some(Event::AppendStart { tag, mailbox })) => Seen::AppendStart(tag, mailbox),
                Ok(Some(Event::AppendMessage(message))) => Seen::AppendMessage(message),
                Ok(Some(Event::LiteralData(data))) => {
                    if let Some(Seen::Text(text)) = seen.last_mut() {
                        text.extend_from_slice(data);
                        continue;
                    }
                    Seen::Text(data.to_vec())
                }
                Ok(Some(other)) => Seen::Other(format!("{other:?}")),
                Err(error) => Seen::Error(error),
            };
            seen.push(next);
        }
    }
    seen
}

fn tag() -> Tag {
    Tag::new(b"A1").expect("a tag")
}

/// Something like what clients send, right and wrong.
fn wire_like() -> impl Strategy<Value = Vec<u8>> {
    let words = vec![
        "a ",
        "b2 ",
        "APPEND ",
        "INBOX",
        " ",
        "(\\Seen) ",
        "{3}\r\n",
        "{3+}\r\n",
        "~{2+}\r\n",
        "{600+}\r\n",
        "{201}\r\n",
        "{9999999999+}\r\n",
        "abc",
        "\r\n",
        "\n",
        "\"",
        "LOGIN ",
        "SEARCH ",
        "NOT ",
        "(",
        ")",
        "OR ",
        "TEXT ",
        "NOOP",
        "a NOOP\r\n",
        "a APPEND x {3+}\r\n",
        "a APPEND {1+}\r\nx {3}\r\n",
        "UID ",
        "FETCH ",
        "1:*",
        ",",
        "BODY[",
        "]",
        "HEADER.FIELDS ",
        "<0.1>",
        "STORE ",
        "+FLAGS ",
        "DONE\r\n",
        "\0",
        "\u{fc}",
        "}",
    ];
    vec(prop_oneof![9 => select(words).prop_map(|word| word.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..6)], 0..40)
        .prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_command_survives(command in command(), literals in literals()) {
        let Encoded { bytes, pauses } = encode::command(&tag(), &command, literals);
        // The client stops at each pause, and the server asks exactly there.
        let mut decoder = Decoder::new(Limits::default());
        let mut sent = 0;
        for pause in pauses {
            let mut input = &bytes[sent..pause];
            prop_assert_eq!(decoder.next(&mut input), Ok(Some(Event::Continue)));
            prop_assert!(input.is_empty());
            prop_assert!(decoder.accept_literal());
            sent = pause;
        }
        let mut input = &bytes[sent..];
        let decoded = decoder.next(&mut input);
        prop_assert!(input.is_empty());
        prop_assert_eq!(decoded, Ok(Some(Event::Command { tag: tag(), command })), "{}", bytes.escape_ascii());
    }

    #[test]
    fn whatever_is_in_it_it_is_one_command(command in hostile_command()) {
        let Encoded { mut bytes, .. } = encode::command(&tag(), &command, Literals::NonSynchronizing);
        let shown = bytes.escape_ascii().to_string();
        bytes.extend_from_slice(b"B2 NOOP\r\n");
        let events = seen([bytes.as_slice()], false);
        let next = Seen::Command(Tag::new(b"B2").expect("a tag"), Command::Noop);
        prop_assert!(events.len() == 2 && events[1] == next, "{} is {:?}", shown, events);
        let is_refused = matches!(&events[0], Seen::Error(error) if error.tag == Some(tag()));
        prop_assert!(is_refused || matches!(&events[0], Seen::Command(..)), "{} is {:?}", shown, events);
    }

    #[test]
    fn an_append_survives(
        mailbox in mailbox(),
        messages in vec((flag_list(), option::of((-60_000_000_000i64..250_000_000_000, -1439i16..=1439)), any::<bool>(), vec(any::<u8>(), 0..40)), 1..4),
        literals in literals(),
    ) {
        let messages: Vec<_> = messages.into_iter().map(|(flags, date, binary, text)| {
            let date = date.map(|(unix, zone)| InternalDate { unix, zone });
            let synchronizing = literals == Literals::Synchronizing;
            (AppendMessage { flags, date, len: text.len() as u64, synchronizing, binary }, text)
        }).collect();
        let given = messages.iter().map(|(message, text)| (message, text.as_slice()));
        let encoded = encode::append(&tag(), &mailbox, given, literals);
        let mut expected = vec![Seen::AppendStart(tag(), mailbox)];
        for (message, text) in messages {
            expected.push(Seen::AppendMessage(message));
            if !text.is_empty() {
                expected.push(Seen::Text(text));
            }
            expected.push(Seen::Other("AppendMessageEnd".into()));
        }
        expected.push(Seen::Other("AppendEnd".into()));
        let mut events = seen([encoded.bytes.as_slice()], false);
        events.retain(|event| *event != Seen::Continue);
        prop_assert_eq!(events, expected);
    }

    #[test]
    fn events_do_not_depend_on_how_input_is_cut(
        input in wire_like(),
        chunk_len in 1usize..9,
        cut: prop::sample::Index,
        rejecting: bool,
    ) {
        let whole = seen([input.as_slice()], rejecting);
        let (a, b) = input.split_at(cut.index(input.len() + 1));
        prop_assert_eq!(&seen([a, b], rejecting), &whole);
        prop_assert_eq!(&seen(input.chunks(chunk_len), rejecting), &whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(input in vec(any::<u8>(), 0..300)) {
        seen([input.as_slice()], false);
        let mut decoder = ResponseDecoder::new(ResponseLimits::default());
        let mut rest = input.as_slice();
        while !matches!(decoder.next(&mut rest), Ok(None)) {}
    }

    #[test]
    fn responses_do_not_depend_on_how_input_is_cut(input in wire_like(), chunk_len in 1usize..9) {
        let input = [b"* ", input.as_slice()].concat();
        let responses = |chunks: Vec<&[u8]>| {
            let mut decoder = ResponseDecoder::new(ResponseLimits { literal_len_max: 300, ..ResponseLimits::default() });
            let mut all = Vec::new();
            for mut chunk in chunks {
                loop {
                    match decoder.next(&mut chunk) {
                        Ok(None) => break,
                        response => all.push(response),
                    }
                }
            }
            all
        };
        prop_assert_eq!(responses(input.chunks(chunk_len).collect()), responses(vec![&input]));
    }
}
