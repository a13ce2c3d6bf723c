//! The client's side of the wire: commands to bytes.
//!
//! Strings are quoted where they can be, else sent as literals; what is written as it is, such as a [`Tag`] or an
//! [`Atom`](crate::Atom), was checked when it was made. So whatever a command holds, it is written as one command. What is
//! written is read back by [`Decoder`] as the same command, apart from search keys that IMAP cannot tell apart (a list of
//! one key is that key), and from what no command may hold: NUL, an empty list or set.
//!
//! [`Decoder`]: crate::Decoder

use mailtypes::{Flag, SearchKey, SequenceBound, SequenceSet, SortCriterion};

use crate::{
    AppendMessage, Command, Fetch, FetchItem, FlagList, List, ListMailbox, ListReturn, ListSelection, Mailbox,
    MessageSet, Partial, Qresync, Search, SearchReturn, Section, SelectParams, Sort, SpecialUse, StatusItem, Store,
    StoreAction, Tag, Thread,
    date::{write_date, write_date_time},
    write::{self, number},
};

/// How literals are announced.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Literals {
    /// The client waits for a continuation before each.
    Synchronizing,
    /// The client does not wait; the server must have LITERAL+ (RFC 7888).
    NonSynchronizing,
}

/// A command as bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// The command, its line end included.
    pub bytes: Vec<u8>,
    /// Offsets at which to wait for a continuation before sending on; ascending.
    pub pauses: Vec<usize>,
}

/// Writes one command.
pub fn command(tag: &Tag, command: &Command, literals: Literals) -> Encoded {
    let mut encoder = Encoder::new(literals);
    encoder.raw(tag.as_str());
    encoder.raw(" ");
    encoder.command(command);
    encoder.raw("\r\n");
    encoder.encoded
}

/// Writes an APPEND of whole messages. `len` and `synchronizing` of each are set by its text and by `literals`.
pub fn append<'m>(
    tag: &Tag,
    mailbox: &Mailbox,
    messages: impl IntoIterator<Item = (&'m AppendMessage, &'m [u8])>,
    literals: Literals,
) -> Encoded {
    let mut encoder = Encoder::new(literals);
    encoder.raw(tag.as_str());
    encoder.raw(" APPEND ");
    encoder.astring(mailbox.as_wire());
    for (message, text) in messages {
        encoder.append_message(message, text);
    }
    encoder.raw("\r\n");
    encoder.encoded
}

struct Encoder {
    encoded: Encoded,
    literals: Literals,
}

impl Encoder {
    fn new(literals: Literals) -> Self {
        Self { encoded: Encoded { bytes: Vec::new(), pauses: Vec::new() }, literals }
    }

    fn out(&mut self) -> &mut Vec<u8> {
        &mut self.encoded.bytes
    }

    fn raw(&mut self, text: &str) {
        self.out().extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, n: impl Into<u64>) {
        number(self.out(), n);
    }

    /// ` (` items separated by spaces `)`
    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        self.raw("(");
        for (i, each) in items.into_iter().enumerate() {
            if i > 0 {
                self.raw(" ");
            }
            item(self, each);
        }
        self.raw(")");
    }

    fn literal(&mut self, bytes: &[u8]) {
        self.raw("{");
        self.number(bytes.len() as u64);
        match self.literals {
            Literals::Synchronizing => {
                self.raw("}\r\n");
                let at = self.encoded.bytes.len();
                self.encoded.pauses.push(at);
            }
            Literals::NonSynchronizing => self.raw("+}\r\n"),
        }
        self.out().extend_from_slice(bytes);
    }

    fn string(&mut self, bytes: &[u8]) {
        if write::is_quotable(bytes) { write::quoted(self.out(), bytes) } else { self.literal(bytes) }
    }

    fn astring(&mut self, bytes: &[u8]) {
        if write::is_plain_astring(bytes) { self.out().extend_from_slice(bytes) } else { self.string(bytes) }
    }

    fn mailbox(&mut self, mailbox: &Mailbox) {
        self.raw(" ");
        self.astring(mailbox.as_wire());
    }

    fn pattern(&mut self, pattern: &ListMailbox) {
        self.string(pattern.as_wire());
    }

    fn message_set(&mut self, set: &MessageSet) {
        match set {
            MessageSet::Numbers(set) => self.set(set),
            MessageSet::SavedResult => self.raw("$"),
        }
    }

    fn set(&mut self, set: &SequenceSet) {
        let bound = |this: &mut Self, bound| match bound {
            SequenceBound::Number(n) => this.number(n),
            SequenceBound::Star => this.raw("*"),
        };
        for (i, &(first, last)) in set.0.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            bound(self, first);
            if first != last {
                self.raw(":");
                bound(self, last);
            }
        }
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Capability => self.raw("CAPABILITY"),
            Command::Noop => self.raw("NOOP"),
            Command::Logout => self.raw("LOGOUT"),
            Command::StartTls => self.raw("STARTTLS"),
            Command::Namespace => self.raw("NAMESPACE"),
            Command::Idle => self.raw("IDLE"),
            Command::Check => self.raw("CHECK"),
            Command::Close => self.raw("CLOSE"),
            Command::Unselect => self.raw("UNSELECT"),
            Command::Expunge => self.raw("EXPUNGE"),
            Command::Compress { algorithm } => {
                self.raw("COMPRESS ");
                self.raw(algorithm);
            }
            Command::Login { user, password } => {
                self.raw("LOGIN ");
                self.astring(user);
                self.raw(" ");
                self.astring(&password.0);
            }
            Command::Authenticate { mechanism, initial } => {
                self.raw("AUTHENTICATE ");
                self.raw(mechanism);
                if let Some(initial) = initial {
                    self.raw(" ");
                    self.out().extend_from_slice(initial.as_wire());
                }
            }
            Command::Enable { capabilities } => {
                self.raw("ENABLE");
                for capability in capabilities {
                    self.raw(" ");
                    self.raw(capability);
                }
            }
            Command::Id { params } => self.id(params),
            Command::Select { mailbox, params } => self.select("SELECT", mailbox, params),
            Command::Examine { mailbox, params } => self.select("EXAMINE", mailbox, params),
            Command::Create { mailbox, uses } => self.create(mailbox, uses),
            Command::Delete { mailbox } => self.on_mailbox("DELETE", mailbox),
            Command::Subscribe { mailbox } => self.on_mailbox("SUBSCRIBE", mailbox),
            Command::Unsubscribe { mailbox } => self.on_mailbox("UNSUBSCRIBE", mailbox),
            Command::Rename { from, to } => {
                self.on_mailbox("RENAME", from);
                self.mailbox(to);
            }
            Command::List(list) => self.list_command(list),
            Command::Lsub { reference, pattern } => {
                self.raw("LSUB ");
                self.pattern(reference);
                self.raw(" ");
                self.pattern(pattern);
            }
            Command::Status { mailbox, items } => {
                self.on_mailbox("STATUS", mailbox);
                self.raw(" ");
                self.status_items(items);
            }
            Command::UidExpunge { set } => self.on_set(true, "EXPUNGE ", set),
            Command::Search(search) => self.search(search),
            Command::Sort(sort) => self.sort(sort),
            Command::Thread(thread) => self.thread(thread),
            Command::Fetch(fetch) => self.fetch(fetch),
            Command::Store(store) => self.store(store),
            Command::Copy { uid, set, mailbox } => {
                self.on_set(*uid, "COPY ", set);
                self.mailbox(mailbox);
            }
            Command::Move { uid, set, mailbox } => {
                self.on_set(*uid, "MOVE ", set);
                self.mailbox(mailbox);
            }
        }
    }

    fn on_mailbox(&mut self, name: &str, mailbox: &Mailbox) {
        self.raw(name);
        self.mailbox(mailbox);
    }

    fn on_set(&mut self, uid: bool, name: &str, set: &MessageSet) {
        self.raw(if uid { "UID " } else { "" });
        self.raw(name);
        self.message_set(set);
    }

    fn create(&mut self, mailbox: &Mailbox, uses: &[SpecialUse]) {
        self.on_mailbox("CREATE", mailbox);
        if !uses.is_empty() {
            self.raw(" (USE ");
            self.list(uses, |this, named| this.raw(named.name()));
            self.raw(")");
        }
    }

    fn id(&mut self, params: &[(Vec<u8>, Option<Vec<u8>>)]) {
        self.raw("ID ");
        if params.is_empty() {
            return self.raw("NIL");
        }
        self.list(params, |this, (field, value)| {
            this.string(field);
            this.raw(" ");
            match value {
                Some(value) => this.string(value),
                None => this.raw("NIL"),
            }
        });
    }

    fn select(&mut self, name: &str, mailbox: &Mailbox, params: &SelectParams) {
        self.on_mailbox(name, mailbox);
        let SelectParams { condstore, qresync } = params;
        match (condstore, qresync) {
            (false, None) => {}
            (true, None) => self.raw(" (CONDSTORE)"),
            (condstore, Some(qresync)) => {
                self.raw(if *condstore { " (CONDSTORE QRESYNC (" } else { " (QRESYNC (" });
                self.qresync(qresync);
                self.raw("))");
            }
        }
    }

    fn qresync(&mut self, qresync: &Qresync) {
        self.number(qresync.uid_validity.value());
        self.raw(" ");
        self.number(qresync.mod_seq.value());
        if let Some(known) = &qresync.known_uids {
            self.raw(" ");
            self.set(known);
        }
        if let Some((seqs, uids)) = &qresync.seq_match {
            self.raw(" (");
            self.set(seqs);
            self.raw(" ");
            self.set(uids);
            self.raw(")");
        }
    }

    fn list_command(&mut self, list: &List) {
        self.raw("LIST ");
        if !list.selection.is_empty() {
            self.list(&list.selection, |this, option| {
                this.raw(match option {
                    ListSelection::Subscribed => "SUBSCRIBED",
                    ListSelection::Remote => "REMOTE",
                    ListSelection::RecursiveMatch => "RECURSIVEMATCH",
                    ListSelection::SpecialUse => "SPECIAL-USE",
                });
            });
            self.raw(" ");
        }
        self.pattern(&list.reference);
        self.raw(" ");
        match list.patterns.as_slice() {
            [pattern] => self.pattern(pattern),
            patterns => self.list(patterns, Self::pattern),
        }
        let Some(returns) = &list.returns else { return };
        self.raw(" RETURN ");
        self.list(returns, |this, option| match option {
            ListReturn::Subscribed => this.raw("SUBSCRIBED"),
            ListReturn::Children => this.raw("CHILDREN"),
            ListReturn::SpecialUse => this.raw("SPECIAL-USE"),
            ListReturn::Status(items) => {
                this.raw("STATUS ");
                this.status_items(items);
            }
        });
    }

    fn status_items(&mut self, items: &[StatusItem]) {
        self.list(items, |this, item| this.raw(item.name()));
    }

    fn fetch(&mut self, fetch: &Fetch) {
        self.on_set(fetch.uid, "FETCH ", &fetch.set);
        self.raw(" ");
        self.list(&fetch.items, Self::fetch_att);
        if let Some(mod_seq) = fetch.changed_since {
            self.raw(" (CHANGEDSINCE ");
            self.number(mod_seq);
            self.raw(if fetch.vanished { " VANISHED)" } else { ")" });
        }
    }

    fn fetch_att(&mut self, item: &FetchItem) {
        match item {
            FetchItem::Flags => self.raw("FLAGS"),
            FetchItem::Uid => self.raw("UID"),
            FetchItem::InternalDate => self.raw("INTERNALDATE"),
            FetchItem::Rfc822 => self.raw("RFC822"),
            FetchItem::Rfc822Header => self.raw("RFC822.HEADER"),
            FetchItem::Rfc822Text => self.raw("RFC822.TEXT"),
            FetchItem::Rfc822Size => self.raw("RFC822.SIZE"),
            FetchItem::Envelope => self.raw("ENVELOPE"),
            FetchItem::Body => self.raw("BODY"),
            FetchItem::BodyStructure => self.raw("BODYSTRUCTURE"),
            FetchItem::ModSeq => self.raw("MODSEQ"),
            FetchItem::SaveDate => self.raw("SAVEDATE"),
            FetchItem::EmailId => self.raw("EMAILID"),
            FetchItem::ThreadId => self.raw("THREADID"),
            FetchItem::Preview { lazy } => self.raw(if *lazy { "PREVIEW (LAZY)" } else { "PREVIEW" }),
            FetchItem::BodySection { peek, section, partial } => {
                self.raw(if *peek { "BODY.PEEK[" } else { "BODY[" });
                self.section(section);
                self.end_section(*partial);
            }
            FetchItem::Binary { peek, part, partial } => {
                self.raw(if *peek { "BINARY.PEEK[" } else { "BINARY[" });
                write::section_part(self.out(), part);
                self.end_section(*partial);
            }
            FetchItem::BinarySize { part } => {
                self.raw("BINARY.SIZE[");
                write::section_part(self.out(), part);
                self.end_section(None);
            }
        }
    }

    fn section(&mut self, section: &Section) {
        let Some(names) = write::section_head(self.out(), section) else { return };
        self.list(names, |this, name| {
            // A bracket would look like the section's end to many a server.
            if name.contains(']') { this.string(name.as_bytes()) } else { this.astring(name.as_bytes()) }
        });
    }

    fn end_section(&mut self, partial: Option<Partial>) {
        self.raw("]");
        if let Some(Partial { offset, len }) = partial {
            self.raw("<");
            self.number(offset);
            self.raw(".");
            self.number(len.get());
            self.raw(">");
        }
    }

    fn store(&mut self, store: &Store) {
        self.on_set(store.uid, "STORE ", &store.set);
        if let Some(mod_seq) = store.unchanged_since {
            self.raw(" (UNCHANGEDSINCE ");
            self.number(mod_seq);
            self.raw(")");
        }
        self.raw(match store.action {
            StoreAction::Replace => " FLAGS",
            StoreAction::Add => " +FLAGS",
            StoreAction::Remove => " -FLAGS",
        });
        self.raw(if store.silent { ".SILENT " } else { " " });
        self.flags(&store.flags);
    }

    fn flags(&mut self, list: &FlagList) {
        write::flag_list(self.out(), list.flags, &list.keywords);
    }

    fn append_message(&mut self, message: &AppendMessage, text: &[u8]) {
        self.raw(" ");
        if message.flags != FlagList::default() {
            self.flags(&message.flags);
            self.raw(" ");
        }
        if let Some(date) = message.date {
            self.raw("\"");
            write_date_time(self.out(), date);
            self.raw("\" ");
        }
        if message.binary {
            self.raw("~");
        }
        self.literal(text);
    }

    fn search(&mut self, search: &Search) {
        self.raw(if search.uid { "UID SEARCH " } else { "SEARCH " });
        if let Some(returns) = search.returns {
            self.search_return(returns);
        }
        if search.charset {
            self.raw("CHARSET UTF-8 ");
        }
        self.search_keys(&search.key);
    }

    fn sort(&mut self, sort: &Sort) {
        self.raw(if sort.uid { "UID SORT " } else { "SORT " });
        if let Some(returns) = sort.returns {
            self.search_return(returns);
        }
        self.list(&sort.criteria, |this, SortCriterion { key, reverse }| {
            this.raw(if *reverse { "REVERSE " } else { "" });
            this.raw(key.name());
        });
        self.raw(" UTF-8 ");
        self.search_keys(&sort.key);
    }

    fn thread(&mut self, thread: &Thread) {
        self.raw(if thread.uid { "UID THREAD " } else { "THREAD " });
        self.raw(thread.algorithm.name());
        self.raw(" UTF-8 ");
        self.search_keys(&thread.key);
    }

    /// 1*(SP `search-key`)
    fn search_keys(&mut self, key: &SearchKey) {
        match key {
            SearchKey::And(keys) if keys.len() > 1 => {
                for (i, key) in keys.iter().enumerate() {
                    if i > 0 {
                        self.raw(" ");
                    }
                    self.search_key(key);
                }
            }
            key => self.search_key(key),
        }
    }

    fn search_return(&mut self, returns: SearchReturn) {
        let SearchReturn { min, max, all, count, save } = returns;
        let named = [(min, "MIN"), (max, "MAX"), (all, "ALL"), (count, "COUNT"), (save, "SAVE")];
        self.raw("RETURN ");
        self.list(named.into_iter().filter(|(is_asked, _)| *is_asked), |this, (_, name)| this.raw(name));
        self.raw(" ");
    }

    /// One `search-key`. Recurses as deep as the key, which whoever built it has bounded. A key that IMAP has no word
    /// for is written as `ALL`.
    fn search_key(&mut self, key: &SearchKey) {
        match key {
            SearchKey::And(keys) => match keys.as_slice() {
                [] => self.raw("ALL"),
                [key] => self.search_key(key),
                keys => self.list(keys, Self::search_key),
            },
            SearchKey::Or(first, second) => {
                self.raw("OR ");
                self.search_key(first);
                self.raw(" ");
                self.search_key(second);
            }
            SearchKey::Not(key) => {
                self.raw("NOT ");
                self.search_key(key);
            }
            SearchKey::Sequence(set) => self.set(set),
            SearchKey::Uid(set) => {
                self.raw("UID ");
                self.set(set);
            }
            SearchKey::Flag(flag) => self.raw(flag_key(*flag)),
            SearchKey::Keyword(keyword) => {
                self.raw("KEYWORD ");
                self.raw(keyword.as_str());
            }
            SearchKey::Recent => self.raw("RECENT"),
            SearchKey::Before(date) => self.date_key("BEFORE ", *date),
            SearchKey::On(date) => self.date_key("ON ", *date),
            SearchKey::Since(date) => self.date_key("SINCE ", *date),
            SearchKey::SentBefore(date) => self.date_key("SENTBEFORE ", *date),
            SearchKey::SentOn(date) => self.date_key("SENTON ", *date),
            SearchKey::SentSince(date) => self.date_key("SENTSINCE ", *date),
            SearchKey::Larger(len) => self.number_key("LARGER ", *len),
            SearchKey::Smaller(len) => self.number_key("SMALLER ", *len),
            SearchKey::ModSeq(mod_seq) => self.number_key("MODSEQ ", mod_seq.value()),
            SearchKey::Address(field, text) => match ADDRESS_KEYS.iter().find(|key| key.eq_ignore_ascii_case(field)) {
                Some(key) => {
                    self.raw(key);
                    self.text_key(" ", text);
                }
                None => self.header_key(field, text),
            },
            SearchKey::Header(field, text) => self.header_key(field, text),
            SearchKey::Older(seconds) => self.number_key("OLDER ", (*seconds).into()),
            SearchKey::Younger(seconds) => self.number_key("YOUNGER ", (*seconds).into()),
            SearchKey::SavedBefore(date) => self.date_key("SAVEDBEFORE ", *date),
            SearchKey::SavedOn(date) => self.date_key("SAVEDON ", *date),
            SearchKey::SavedSince(date) => self.date_key("SAVEDSINCE ", *date),
            SearchKey::SaveDateSupported => self.raw("SAVEDATESUPPORTED"),
            SearchKey::EmailId(id) => self.text_key("EMAILID ", id),
            SearchKey::ThreadId(id) => self.text_key("THREADID ", id),
            SearchKey::SavedResult => self.raw("$"),
            SearchKey::Body(text) => self.text_key("BODY ", text),
            SearchKey::Text(text) => self.text_key("TEXT ", text),
            _ => self.raw("ALL"),
        }
    }

    fn date_key(&mut self, name: &str, date: mailtypes::CalendarDate) {
        self.raw(name);
        write_date(self.out(), date);
    }

    fn number_key(&mut self, name: &str, n: u64) {
        self.raw(name);
        self.number(n);
    }

    fn header_key(&mut self, field: &str, text: &str) {
        self.text_key("HEADER ", field);
        self.text_key(" ", text);
    }

    fn text_key(&mut self, name: &str, text: &str) {
        self.raw(name);
        self.astring(text.as_bytes());
    }
}

/// The fields that have a key of their own; others are looked into with HEADER.
const ADDRESS_KEYS: [&str; 4] = ["BCC", "CC", "FROM", "TO"];

const fn flag_key(flag: Flag) -> &'static str {
    match flag {
        Flag::Answered => "ANSWERED",
        Flag::Flagged => "FLAGGED",
        Flag::Deleted => "DELETED",
        Flag::Seen => "SEEN",
        Flag::Draft => "DRAFT",
    }
}
