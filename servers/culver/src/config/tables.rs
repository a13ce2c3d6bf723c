//! The tables: every section and key of the configuration file. `docs/configuration.md` is written from them.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    section::{Key, Section, section},
    template::Template,
    value::{ByteSize, Mode, Time, choice},
};

choice! {
    /// What is spoken on a listener.
    Protocol {
        /// IMAP4rev1 (RFC 3501).
        Imap = "imap",
        /// POP3 (RFC 1939).
        Pop3 = "pop3",
        /// LMTP (RFC 2033).
        Lmtp = "lmtp",
        /// Figures for Prometheus, over HTTP.
        Metrics = "metrics",
    }
}

choice! {
    /// How a listener's connections are encrypted.
    ListenerTls {
        /// Not at all.
        None = "none",
        /// When the client asks for it (STARTTLS, STLS).
        StartTls = "starttls",
        /// From the first byte on.
        Implicit = "implicit",
    }
}

choice! {
    /// How mail is stored.
    Format {
        /// What is found in a user's folder; sdbox for a new one.
        Auto = "auto",
        /// One file a message (Dovecot's single-dbox).
        Sdbox = "sdbox",
        /// Many messages in a file (Dovecot's multi-dbox).
        Mdbox = "mdbox",
        /// Maildir++.
        Maildir = "maildir",
        /// Maildir, folders within folders (Dovecot's `LAYOUT=fs`).
        MaildirFs = "maildir-fs",
        /// One file a mailbox.
        Mbox = "mbox",
    }
}

choice! {
    /// A lock of mbox files.
    MboxLock {
        /// A file with `.lock` behind the name.
        Dotlock = "dotlock",
        /// The same, passed over where the folder may not be written.
        DotlockTry = "dotlock_try",
        /// A record lock; `lockf` is the same.
        Fcntl = "fcntl",
        /// flock(2).
        Flock = "flock",
    }
}

choice! {
    /// What tells messages of mbox files from each other that have no UIDs.
    MboxMd5 {
        /// Date, Message-ID, Received, Delivered-To and X-Delivery-ID.
        Apop3d = "apop3d",
        /// All fields that clients see.
        All = "all",
    }
}

choice! {
    /// What clients see between the levels of names.
    Separator {
        /// What stands there on disk: `.` for Maildir++, `/` for all others.
        AsOnDisk = "as-on-disk",
        /// `/`.
        Slash = "/",
        /// `.`. Names with a dot in a level are not shown then.
        Dot = ".",
        /// A backslash.
        Backslash = "\\",
        /// `|`.
        Bar = "|",
        /// `^`.
        Caret = "^",
        /// `~`.
        Tilde = "~",
    }
}

choice! {
    /// Where names of mailboxes are kept.
    ListLayout {
        /// As it is found, and in folders for a new store.
        Auto = "auto",
        /// As names of folders.
        Folders = "folders",
        /// In the list index alone (Dovecot's `LAYOUT=index`).
        Index = "index",
    }
}

choice! {
    /// Whose mail lies in a namespace.
    NamespaceKind {
        /// The user's own.
        Private = "private",
        /// Other users'.
        Shared = "shared",
        /// Nobody's in particular.
        Public = "public",
    }
}

choice! {
    /// Whether LIST tells of a namespace.
    NamespaceList {
        /// Of its mailboxes and of its prefix.
        Yes = "yes",
        /// Of the prefix only if there are mailboxes below it.
        Children = "children",
        /// Only to who asks for the prefix by its name.
        No = "no",
    }
}

choice! {
    /// What becomes of messages that a POP3 client deletes.
    Pop3Delete {
        /// They are expunged.
        Expunge = "expunge",
        /// They get a keyword.
        Flag = "flag",
    }
}

choice! {
    /// Where mail for `user+detail` goes.
    LmtpDetail {
        /// To INBOX.
        Ignore = "ignore",
        /// To the mailbox, if there is one.
        IfExists = "if-exists",
        /// To the mailbox, which is made.
        Create = "create",
    }
}

choice! {
    /// What to do with two messages that have the same unique id.
    Pop3Duplicates {
        /// Both have it.
        Allow = "allow",
        /// The second gets another.
        Rename = "rename",
    }
}

choice! {
    /// When data is made durable.
    FsyncMode {
        /// Messages before they are acknowledged, flags a moment later.
        Optimized = "optimized",
        /// Everything before it is acknowledged.
        Always = "always",
        /// Nothing.
        Never = "never",
    }
}

choice! {
    /// Line ends in the files of messages.
    LineEnds {
        /// LF.
        Lf = "lf",
        /// CR LF.
        CrLf = "crlf",
    }
}

choice! {
    /// How the bodies of new messages are compressed.
    BodyCompression {
        /// Not at all.
        None = "none",
        /// By zstd.
        Zstd = "zstd",
    }
}

choice! {
    /// A version of TLS.
    TlsVersion {
        /// RFC 5246.
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }
}

choice! {
    /// A SASL mechanism.
    Mechanism {
        /// RFC 4616: the password.
        Plain = "PLAIN",
        /// The password, in two steps.
        Login = "LOGIN",
        /// RFC 7677: no password goes over the wire.
        ScramSha256 = "SCRAM-SHA-256",
        /// The same, bound to the TLS connection.
        ScramSha256Plus = "SCRAM-SHA-256-PLUS",
    }
}

choice! {
    /// How lines of the log look.
    LogFormat {
        /// For people.
        Text = "text",
        /// An object a line.
        Json = "json",
    }
}

section! {
    /// Keys before the first section.
    General = "" {
        /// The folder that relative paths of this file begin at. Itself, where relative, it begins at the folder of this
        /// file, and as `--data` at the working directory. It is made if it is not there.
        data: PathBuf = "./culver-data", Restart;
        /// What the host calls itself in greetings. Empty: the system's name.
        host_name: Option<String> = "", Restart;
    }
}

section! {
    /// One table `[[listener]]` for each address or socket. Without any, there are IMAP on 127.0.0.1:1143, IMAP in TLS on
    /// 1993, POP3 on 1110, POP3 in TLS on 1995 and LMTP on 1024. Options of the command line such as `--imap` take the
    /// place of all of them.
    Listener = "listener" {
        /// What is spoken there. Required.
        protocol: Option<Protocol> = "", Now;
        /// Address and port. Port 0 lets the system choose one, which is logged. Names are not looked up.
        address: Option<SocketAddr> = "", Now;
        /// Path of a unix socket, instead of an address. What a dead server left there is removed; a living one is not
        /// disturbed.
        socket: Option<PathBuf> = "", Now;
        /// Mode of the socket's file: who may write to it may connect.
        mode: Option<Mode> = "", Now;
        /// Empty: `starttls` for IMAP, POP3 and LMTP on an address, `none` for sockets and metrics.
        tls: Option<ListenerTls> = "", Now;
        /// LMTP and metrics ask for no password: they are refused on addresses that other hosts can reach, unless this
        /// says that a firewall or a private network stands before them.
        allow_remote: bool = false, Now;
        /// The name under which systemd passes this socket (`FileDescriptorName=`). Empty: what systemd passes is known by
        /// its address.
        systemd_name: Option<String> = "", Restart;
    }
}

section! {
    /// One table `[[namespace]]` for each place whose mailboxes appear below a prefix. Without any, all of a user's mail is
    /// where `[storage]` says, without a prefix. With some, exactly one has INBOX.
    Namespace = "namespace" {
        /// What names in it begin with, with the separator at the end, such as `"Archive/"`. Empty: what all other names lie
        /// in.
        prefix: String = "", Restart;
        /// Where its mail lies, in the words of Dovecot's `mail_location`, such as `"sdbox:~/archive"`. Empty: where
        /// `[storage]` or the user's `userdb_mail` says.
        location: Option<String> = "", Restart;
        /// It has INBOX.
        inbox: bool = false, Restart;
        /// Whose mail it is, for clients that ask.
        kind: NamespaceKind = "private", Restart;
        /// Clients that ask for namespaces are not told of it.
        hidden: bool = false, Restart;
        /// Whether LIST tells of its mailboxes.
        list: NamespaceList = "yes", Restart;
        /// It keeps its own subscriptions. Otherwise they stand in those of the namespace that its prefix lies in.
        subscriptions: bool = true, Restart;
    }
}

section! {
    /// Where mail lies, and how.
    Storage = "storage" {
        /// The format of users' stores. `auto`: what is found in a user's folder, and `sdbox` for a new one.
        format: Format = "auto", Restart;
        /// A user's folder. `{user}` is the whole name, `{local}` what stands before the `@`, `{domain}` what stands after
        /// it; a name that would lead out of the path is refused. `{home}`, at the beginning, is the home that `passwd_file`
        /// has for the user, as in `{home}/mail`. A user with a `userdb_mail` of his own there has his mail where that says.
        path: Template = "mail/{user}", Restart;
        /// Where indexes lie (Dovecot's `INDEX=`). Empty: with the mail.
        index: Option<Template> = "", Restart;
        /// Where subscriptions, and a Maildir's UID lists and keywords lie (Dovecot's `CONTROL=`). Empty: with the mail.
        control: Option<Template> = "", Restart;
        /// Where messages of a dbox go that `culver altmove` moves to cheaper storage (Dovecot's `ALT=`). Empty: nowhere. They
        /// are looked for in both places.
        alt: Option<Template> = "", Restart;
        /// Where Dovecot has put attachments that it detached from messages of a dbox (its `mail_attachment_dir`). They are
        /// read there; Culver detaches none. Empty: nowhere.
        attachments: Option<PathBuf> = "", Restart;
        /// Where a user's INBOX lies with `format = "mbox"` (Dovecot's `INBOX=`), such as `/var/mail/{local}`. Empty: the file
        /// `inbox` in the user's folder.
        inbox: Option<Template> = "", Restart;
        /// The locks that are taken of an mbox file to read it, in this order (Dovecot's `mbox_read_locks`). All programs of
        /// the host that touch the files must agree.
        mbox_read_locks: Vec<MboxLock> = ["fcntl"], Restart;
        /// The same to write it (Dovecot's `mbox_write_locks`).
        mbox_write_locks: Vec<MboxLock> = ["fcntl", "dotlock"], Restart;
        /// How long another program's lock of an mbox file is waited for.
        mbox_lock_timeout: Time = "5 min", Restart;
        /// A `.lock` file that tells of no living process, and whose mbox file does not change, is overridden after so long.
        mbox_dotlock_change_timeout: Time = "2 min", Restart;
        /// By which header fields messages of mbox files that have no UIDs are told from each other (Dovecot's `mbox_md5`).
        mbox_md5: MboxMd5 = "apop3d", Restart;
        /// What clients see between the levels of names. `as-on-disk`: `.` for Maildir++, `/` for all others. With another,
        /// mailboxes in whose names it stands within a level are not shown.
        separator: Separator = "as-on-disk", Restart;
        /// Where names of mailboxes are kept. `auto`: as it is found, and as names of folders in a new store. `index`: in the
        /// list index alone (Dovecot's `LAYOUT=index`).
        list_layout: ListLayout = "auto", Restart;
        /// Names on disk are UTF-8, not modified UTF-7 (Dovecot's `UTF-8`). A store is all one or all the other.
        utf8_names: bool = false, Restart;
        /// One character: what a layout cannot hold is written as this and two hex digits, as Dovecot's plugin `listescape`
        /// does with a backslash. Empty: such names are refused.
        escape: Option<String> = "", Restart;
        /// `optimized`: messages are on disk before they are acknowledged, changed flags within `flag_flush_interval`.
        /// `always`: flags are too. `never`: the system writes when it likes; for imports that can be run again.
        fsync: FsyncMode = "optimized", Restart;
        /// How long changed flags may be in memory only, with `fsync = "optimized"`.
        flag_flush_interval: Time = "1 s", Restart;
        /// Line ends of new messages' files in sdbox and mdbox. Both kinds are read. `crlf` makes reading faster and files larger.
        line_ends: LineEnds = "lf", Restart;
        /// Whether the bodies of new messages are compressed, as Dovecot's `zlib_save` does. All that Dovecot writes are read
        /// (gz, bz2, lz4, zstd, xz). A Dovecot beside it needs its plugin: `mail_plugins = $mail_plugins zlib`.
        compression: BodyCompression = "none", Restart;
        /// How hard zstd tries, from 1 to 19.
        compression_level: usize = 3, Restart;
        /// No file of an mdbox is made larger than that, unless by a single message.
        mdbox_rotate_size: ByteSize = "10 MiB", Restart;
        /// Files of an mdbox made longer ago than that get no more messages, counted from the end of the day (UTC) that is
        /// under way, of shorter intervals from that of the hour or minute: with `1 day` those made yesterday. Empty: however
        /// old they are.
        mdbox_rotate_interval: Option<Time> = "", Restart;
        /// Whether mail is only read: no byte and no time of a file changes, no lock is taken, no store is made, and clients
        /// are told that their mailboxes are read-only. For disks mounted so, and for looking at stores of others.
        read_only: bool = false, Restart;
        /// Whether all stores are looked over at the start for what a crash left.
        check_at_start: bool = true, Restart;
        /// Threads that do storage work. 0: four for each core, at least 8 and at most 64.
        threads: usize = 0, Restart;
        /// Threads that carry commits nobody waits for.
        commit_threads: usize = 4, Restart;
        /// How long a change waits for a mailbox that another program holds.
        lock_timeout: Time = "180 s", Restart;
        /// How long a reader waits to write what it found out into the cache; then it is not cached.
        cache_lock_timeout: Time = "10 s", Restart;
        /// Memory for mailboxes that nobody has open.
        state_cache_len_max: ByteSize = "64 MiB", Restart;
        /// Memory for cache values of one mailbox that wait to be written.
        cache_fill_len_max: ByteSize = "1 MiB", Restart;
        /// A log of this length is rotated once it is `rotate_age_min` old.
        rotate_len_min: ByteSize = "32 KiB", Restart;
        /// See `rotate_len_min`.
        rotate_age_min: Time = "5 min", Restart;
        /// A log of this length is rotated whatever its age.
        rotate_len_max: ByteSize = "1 MiB", Restart;
        /// A rotated log is removed when it is older.
        log2_age_max: Time = "2 days", Restart;
    }
}

section! {
    /// Who has mail here.
    Users = "users" {
        /// Users and passwords, in the syntax of Dovecot's passwd-file. Changes are seen at the next login; another home or
        /// `userdb_mail` once nobody has had that user's mail open for a while, or after a restart. Of the extra fields
        /// `user`, `allow_nets`, `nopassword`, `nologin`, `userdb_home` and `userdb_mail` count; the last is `FORMAT:PATH` with
        /// the formats `sdbox`, `mdbox`, `maildir` and `mbox`, `INDEX=`, `CONTROL=` and `LAYOUT=fs`, `~/`, `%u`, `%n`, `%d` and
        /// `%h`; `INBOX=` for mbox. The log names
        /// what else there is and is not looked at.
        passwd_file: PathBuf = "users", Restart;
        /// The scheme of passwords that stand in the file without one (`{SCHEME}`), such as `PLAIN` or `SHA512-CRYPT`. `CRYPT`
        /// takes whatever crypt(3) writes, as in Dovecot.
        default_scheme: String = "CRYPT", Restart;
        /// The user that is made, with a password that is printed once, where the file has none. Empty: nobody.
        first_user: Option<String> = "culver", Restart;
    }
}

section! {
    /// Certificates. Where no listener has TLS, none is read.
    Tls = "tls" {
        /// The certificate in PEM, followed by those of the authorities between it and a root. Empty: one is made, and kept
        /// in the folder `tls` of `data`; clients ask their users whether to trust it.
        certificate: Option<PathBuf> = "", Now;
        /// Its private key in PEM, without a pass phrase. Empty: it is in the certificate's file.
        key: Option<PathBuf> = "", Now;
        /// The oldest version that is spoken.
        oldest_version: TlsVersion = "1.2", Now;
        /// How long a handshake may take.
        handshake_timeout: Time = "15 s", Now;
    }
}

section! {
    /// One table `[[tls.name]]` for each further certificate. Clients that ask for a name that is in it (SNI) get it; all
    /// others get the one of `[tls]`.
    TlsName = "tls.name" {
        /// The certificate in PEM, as in `[tls]`. Required.
        certificate: Option<PathBuf> = "", Now;
        /// Its private key. Empty: it is in the certificate's file.
        key: Option<PathBuf> = "", Now;
    }
}

section! {
    /// Logging in.
    Login = "login" {
        /// Whether a password may come without TLS from an address of this host. From elsewhere it never may.
        plaintext_from_loopback: bool = true, Sessions;
        /// The mechanisms offered, preferred ones first. Empty: all that the passwords of `[users]` allow. Those that send
        /// the password are offered only where it may be sent, `SCRAM-SHA-256-PLUS` only within TLS.
        mechanisms: Vec<Mechanism> = [], Restart;
        /// How long an address waits after its first failed login before its next attempt is looked at; twice as long after
        /// each next.
        penalty_first: Time = "4 s", Restart;
        /// The longest such wait.
        penalty_longest: Time = "15 s", Restart;
        /// After so long without a failure an address has no penalty.
        penalty_forget_after: Time = "120 s", Restart;
        /// Addresses whose failures are remembered.
        penalty_addresses_max: usize = 10_000, Restart;
    }
}

section! {
    /// Names of mailboxes that clients are told the use of (RFC 6154), so that they need not guess. Naming one here does not
    /// make it; where a mailbox is named for two uses, the first one here counts.
    SpecialUse = "special_use" {
        /// Drafts.
        drafts: Vec<String> = ["Drafts"], Sessions;
        /// Copies of sent messages.
        sent: Vec<String> = ["Sent"], Sessions;
        /// Spam.
        junk: Vec<String> = ["Junk"], Sessions;
        /// Deleted messages.
        trash: Vec<String> = ["Trash"], Sessions;
        /// Messages put aside.
        archive: Vec<String> = ["Archive"], Sessions;
        /// All messages.
        all: Vec<String> = [], Sessions;
        /// Messages marked as important.
        flagged: Vec<String> = [], Sessions;
    }
}

section! {
    /// IMAP. The names in parentheses are Dovecot's.
    Imap = "imap" {
        /// How often a client in IDLE without news is told that the connection lives (`imap_idle_notify_interval`): translators
        /// of addresses forget silent ones.
        idle_notify_interval: Time = "2 min", Sessions;
        /// How often a client whose search takes long is told that it goes on. Who is gone is noticed by that.
        search_notify_interval: Time = "10 s", Sessions;
        /// Capabilities that clients are not told of, in any case of letters, for those that get one wrong, as in
        /// `["COMPRESS=DEFLATE"]` (`imap_capability`). A client that does not ask what there is can use them nevertheless.
        hidden_capabilities: Vec<String> = [], Sessions;
        /// What the server says of itself in answer to ID, as `field=value` (`imap_id_send`). Empty: nothing.
        id: Vec<String> = ["name=Culver"], Sessions;
    }
}

section! {
    /// POP3. The names in parentheses are Dovecot's.
    Pop3 = "pop3" {
        /// How unique ids are made (`pop3_uidl_format`): of `%u`, the UID, `%v`, UIDVALIDITY, and `%g`, the GUID. A store that
        /// was Dovecot's needs what Dovecot had, or its clients fetch everything again.
        uidl_format: String = "%08Xu%08Xv", Sessions;
        /// What to do where two messages have the same unique id (`pop3_uidl_duplicates`).
        uidl_duplicates: Pop3Duplicates = "allow", Sessions;
        /// Leave `\Seen` and `\Recent` alone (`pop3_no_flag_updates`).
        no_flag_updates: bool = false, Sessions;
        /// `flag`: deleted messages stay for IMAP clients, with the keyword `deleted_flag` (`pop3_delete_type`).
        delete: Pop3Delete = "expunge", Sessions;
        /// The keyword for `delete = "flag"` (`pop3_deleted_flag`).
        deleted_flag: String = "$POP3Deleted", Sessions;
        /// One session of a user at a time (`pop3_lock_session`).
        lock_session: bool = false, Sessions;
        /// Time that must pass between a user's logins. 0: none.
        login_delay: Time = "0 s", Sessions;
        /// Answer the old command LAST (`pop3_enable_last`).
        enable_last: bool = false, Sessions;
    }
}

section! {
    /// LMTP. The names in parentheses are Dovecot's.
    Lmtp = "lmtp" {
        /// Characters of which the first in a local part begins the detail (`recipient_delimiter`). Empty: none. A user whose
        /// whole name has such a character is found first.
        recipient_delimiter: String = "+", Sessions;
        /// Where mail for `user+detail` goes (`lmtp_save_to_detail_mailbox`). `if-exists`: to the mailbox `detail` if there
        /// is one, else to INBOX; `create`: it is made if there is none (`lda_mailbox_autocreate`).
        detail: LmtpDetail = "if-exists", Sessions;
        /// Put a Received field on top (`lmtp_add_received_header`).
        received_header: bool = true, Sessions;
        /// Put a Return-Path field on top.
        return_path_header: bool = true, Sessions;
        /// Put a Delivered-To field on top of a message that has one recipient (`lmtp_hdr_delivery_address`).
        delivered_to_header: bool = true, Sessions;
    }
}

section! {
    /// What a client or a user can take. All are for this process.
    Limits = "limits" {
        /// Longest command line without its literals.
        line_len_max: ByteSize = "64 KiB", Sessions;
        /// All literals of one command outside of APPEND.
        literal_len_max: ByteSize = "1 MiB", Sessions;
        /// Longest literal before login.
        prelogin_literal_len_max: ByteSize = "4 KiB", Sessions;
        /// Largest message taken, by APPEND and by LMTP.
        message_len_max: ByteSize = "50 MiB", Sessions;
        /// Most messages of one APPEND.
        multiappend_count_max: usize = 10_000, Sessions;
        /// Parts of one message that are told apart; the rest of a message with more is one part.
        mime_parts_max: usize = 10_000, Restart;
        /// Deepest nesting of parts, of which the inner ones are told apart; at most 256.
        mime_nesting_max: usize = 100, Restart;
        /// Longest header field; the rest of a longer one is not looked at, but for ENVELOPE.
        header_field_len_max: ByteSize = "1 MiB", Restart;
        /// Longest header of a message that is kept while it is looked at; of a longer one the rest is read from the disk.
        header_len_max: ByteSize = "1 MiB", Restart;
        /// All that is kept of the headers of a message's parts while it is looked at; fields beyond are as if absent.
        header_content_len_max: ByteSize = "16 MiB", Restart;
        /// Deepest nesting of SEARCH keys.
        search_depth_max: usize = 64, Sessions;
        /// Connections at once to one protocol.
        connections_max: usize = 20_000, Now;
        /// Connections at once from one address to one protocol.
        connections_per_address_max: usize = 4_000, Now;
        /// Connections at once of one user to one protocol.
        connections_per_user_max: usize = 1_000, Now;
        /// How long a connection may stay without logging in, its TLS handshake included, however busy it is.
        login_timeout: Time = "60 s", Sessions;
        /// How long a session may be silent between commands. RFC 3501 §5.4 asks IMAP servers for at least 30 minutes, RFC
        /// 1939 §3 POP3 servers for 10.
        idle_timeout: Time = "30 min", Sessions;
        /// How long a client may take no byte of a response, or send none of a message.
        stall_timeout: Time = "5 min", Sessions;
        /// How long an IMAP client's SEARCH, SORT or THREAD may compute and read, in all; waiting for its turn is not counted.
        /// 0: as long as it takes.
        search_timeout: Time = "2 min", Sessions;
        /// Bytes of output made before the client has taken them.
        output_step_len: ByteSize = "128 KiB", Sessions;
        /// Bytes read from a client at once. What it sends ahead of that waits until the commands before it are answered.
        input_step_len: ByteSize = "64 KiB", Sessions;
        /// Refused commands in a row until the connection is closed.
        bad_commands_max: usize = 10, Sessions;
        /// Failed logins until the connection is closed.
        failed_logins_max: usize = 5, Sessions;
        /// How long the answer to a failed login takes.
        failed_login_delay: Time = "2 s", Restart;
        /// How long sessions may take to end when the server stops.
        stop_timeout: Time = "10 s", Now;
        /// Memory of one session after login: what it read and has not used, what it made and the client has not taken, what is
        /// kept of messages that come by APPEND. Above it the session ends; an APPEND of many messages may have half of it.
        session_memory_max: ByteSize = "32 MiB", Now;
        /// The same of all sessions of one user to one protocol.
        user_memory_max: ByteSize = "256 MiB", Now;
        /// Commands of an IMAP client that sends ahead which are carried out before it has taken the answers so far.
        pipelined_commands_max: usize = 1_000, Sessions;
        /// Recipients of one message by LMTP.
        recipients_max: usize = 1_000, Sessions;
        /// Users whose stores are kept open without a session.
        open_storages_max: usize = 1_000, Restart;
    }
}

section! {
    /// What is written about it all.
    Log = "log" {
        /// `error`, `warn`, `info`, `debug` or `trace`; for one part, `info,culver_imap=debug`. The environment's
        /// `CULVER_LOG` goes before this.
        level: String = "info", Now;
        /// `json`: an object a line.
        format: LogFormat = "text", Restart;
        /// `stderr`, `stdout` or the path of a file. SIGHUP opens a file again, so that it can be rotated.
        target: String = "stderr", Restart;
    }
}

impl Listener {
    /// How its connections are encrypted, whoever decided that.
    pub(crate) fn tls_mode(&self) -> ListenerTls {
        match (*self.tls, *self.protocol, self.address.is_some()) {
            (Some(tls), ..) => tls,
            (None, Some(Protocol::Metrics), _) | (None, _, false) => ListenerTls::None,
            (None, _, true) => ListenerTls::StartTls,
        }
    }
}

section! {
    /// Figures for Prometheus, on listeners of `protocol = "metrics"`. What they are stands in `docs/metrics.md`.
    Metrics = "metrics" {
        /// The path that they are at.
        path: String = "/metrics", Now;
    }
}

/// The documentation of one section: name, text, keys, and whether there can be several.
pub(crate) struct Documented {
    /// Its name in the file.
    pub(crate) path: &'static str,
    /// What it is about.
    pub(crate) doc: &'static [&'static str],
    /// Its keys.
    pub(crate) keys: Vec<Key>,
    /// Whether it is written `[[path]]`.
    pub(crate) is_list: bool,
}

fn documented<S: Section>(is_list: bool) -> Documented {
    Documented { path: S::PATH, doc: S::DOC, keys: S::keys(), is_list }
}

/// All sections, in the order of the documentation.
pub(crate) fn all() -> Vec<Documented> {
    vec![
        documented::<General>(false),
        documented::<Listener>(true),
        documented::<Namespace>(true),
        documented::<Storage>(false),
        documented::<Users>(false),
        documented::<Tls>(false),
        documented::<TlsName>(true),
        documented::<Login>(false),
        documented::<SpecialUse>(false),
        documented::<Imap>(false),
        documented::<Pop3>(false),
        documented::<Lmtp>(false),
        documented::<Limits>(false),
        documented::<Log>(false),
        documented::<Metrics>(false),
    ]
}

/// The sections that have a key of that name.
pub(crate) fn sections_with(key: &str) -> Vec<&'static str> {
    let has = |section: &Documented| section.keys.iter().any(|known| known.name == key) && !section.path.is_empty();
    all().into_iter().filter(has).map(|section| section.path).collect()
}
