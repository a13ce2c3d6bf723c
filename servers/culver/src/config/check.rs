//! What can only be seen of settings together, or by looking at the disk.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use culver_runtime::Scheme;
use mailstore::{
    compressed::ZstdLevel,
    mailtypes::{Keyword, MailboxName},
};
use tracing_subscriber::EnvFilter;

use super::{
    Config,
    problem::{Problems, Severity, Wrong},
    section::{Place, Section as _, Setting},
    tables::{
        Imap, Limits, Listener, ListenerTls, Log, Namespace, Pop3, Protocol, SpecialUse, Storage, Tls, TlsName, Users,
    },
};
use crate::{
    serve::{imap::id_field, special_use, tls},
    stores::{self, location_of},
};

/// RFC 3501 §5.4.
const IMAP_IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(30 * 60);
/// RFC 1939 §3.
const POP3_IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(10 * 60);

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// To serve by it.
    Serving,
    /// To look after users and mail: who does may be unable to read the server's keys, or have none yet.
    Commands,
    /// To serve by it on another machine: no file that it names is looked at.
    Elsewhere,
}

/// Notes everything that does not go together.
pub(crate) fn check(config: &Config, purpose: Purpose, problems: &mut Problems) {
    let mut check = Check { config, purpose, problems };
    for listener in &config.listeners {
        check.listener(listener);
    }
    check.conflicts();
    check.storage();
    check.namespaces();
    check.users();
    if purpose != Purpose::Commands {
        check.tls();
    }
    check.special_use();
    check.imap();
    check.pop3();
    check.limits();
    check.log();
}

struct Check<'a> {
    config: &'a Config,
    purpose: Purpose,
    problems: &'a mut Problems,
}

impl Check<'_> {
    /// Notes something at a setting's place; a default's place is the word itself.
    fn note(&mut self, place: Option<&Place>, key: &str, severity: Severity, wrong: Wrong) {
        match place.and_then(|place| Some((self.config.document(place)?, place.span.clone()))) {
            Some((document, span)) => self.problems.at(document, span, key, severity, wrong),
            None => self.problems.nowhere("default", key, severity, wrong),
        }
    }

    fn error(&mut self, place: Option<&Place>, key: &str, wrong: Wrong) {
        self.note(place, key, Severity::Error, wrong);
    }

    fn warning(&mut self, place: Option<&Place>, key: &str, wrong: Wrong) {
        self.note(place, key, Severity::Warning, wrong);
    }

    fn listener(&mut self, listener: &Listener) {
        let key = Listener::full_name;
        // Said already, where it was read.
        let Some(protocol) = *listener.protocol else { return };
        match (*listener.address, &*listener.socket) {
            // One that could not be read was said already.
            (None, None) if self.problems.mention(&key("address")) || self.problems.mention(&key("socket")) => {}
            (None, None) => {
                let wrong = Wrong::new(format!("the listener for {} has no place to listen", protocol.word()));
                self.error(listener.protocol.place.as_ref(), "listener", wrong.meant("give it an address or a socket"));
            }
            (Some(_), Some(_)) => {
                let wrong = Wrong::new("a listener has either an address or a socket, not both");
                self.error(listener.socket.place.as_ref(), &key("socket"), wrong.meant("make it two listeners"));
            }
            (Some(address), None) => self.address(listener, protocol, address),
            (None, Some(socket)) => self.socket(listener, &self.config.path(socket)),
        }
        if protocol == Protocol::Metrics && listener.tls_mode() != ListenerTls::None {
            let wrong = Wrong::new("metrics are served without TLS only").meant("tls = \"none\"");
            self.error(listener.tls.place.as_ref(), &key("tls"), wrong);
        }
    }

    fn address(&mut self, listener: &Listener, protocol: Protocol, address: SocketAddr) {
        if listener.mode.is_some() {
            let wrong = Wrong::new("only a socket's file has a mode");
            self.error(listener.mode.place.as_ref(), &Listener::full_name("mode"), wrong);
        }
        if address.ip().is_loopback() {
            return;
        }
        let (place, key) = (listener.address.place.as_ref(), Listener::full_name("address"));
        match protocol {
            Protocol::Imap | Protocol::Pop3 if listener.tls_mode() == ListenerTls::None => {
                let text =
                    format!("{address} is not a loopback address, and there is no TLS on it: no password may come");
                let wrong = Wrong::new(text).meant("say tls = \"starttls\" or tls = \"implicit\"");
                self.error(place, &key, wrong);
            }
            Protocol::Imap | Protocol::Pop3 => {}
            Protocol::Lmtp | Protocol::Metrics if !*listener.allow_remote => {
                let what = match protocol {
                    Protocol::Lmtp => "whoever reaches it may deliver mail without a password",
                    _ => "whoever reaches it may read the figures",
                };
                let wrong = Wrong::new(format!("{address} is not a loopback address: {what}"));
                self.error(place, &key, wrong.meant("if that is meant, say allow_remote = true"));
            }
            Protocol::Lmtp | Protocol::Metrics => {}
        }
    }

    fn socket(&mut self, listener: &Listener, path: &Path) {
        let (place, key) = (listener.socket.place.as_ref(), Listener::full_name("socket"));
        if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
            let wrong = Wrong::new(format!("a socket's path can have {SOCKET_PATH_LEN_MAX} bytes"));
            return self.error(place, &key, wrong);
        }
        if self.looks_at_files()
            && let Ok(metadata) = std::fs::symlink_metadata(path)
        {
            use std::os::unix::fs::FileTypeExt as _;
            if !metadata.file_type().is_socket() {
                let wrong = Wrong::new(format!("{} is there and is no socket", path.display()));
                self.error(place, &key, wrong.meant("it would not be removed"));
            }
        }
        if listener.tls_mode() == ListenerTls::Implicit {
            let wrong = Wrong::new("what goes through a unix socket does not leave the machine");
            self.warning(listener.tls.place.as_ref(), &Listener::full_name("tls"), wrong.meant("tls = \"none\""));
        }
    }

    /// Two listeners at one place.
    fn conflicts(&mut self) {
        let config = self.config;
        for (at, listener) in config.listeners.iter().enumerate() {
            let earlier = || config.listeners.iter().take(at);
            if let Some(address) = *listener.address
                && let Some(other) = earlier().filter_map(|l| *l.address).find(|other| conflict(address, *other))
            {
                let wrong = Wrong::new(format!("{address} conflicts with the listener on {other}"));
                self.error(listener.address.place.as_ref(), &Listener::full_name("address"), wrong);
            }
            if let Some(socket) = &*listener.socket
                && earlier().any(|other| other.socket.as_ref() == Some(socket))
            {
                let wrong = Wrong::new(format!("another listener has the socket {}", socket.display()));
                self.error(listener.socket.place.as_ref(), &Listener::full_name("socket"), wrong);
            }
        }
    }

    fn storage(&mut self) {
        let storage = &self.config.storage;
        if storage.path.joins_domains() {
            let wrong = Wrong::new("users of two domains with the same name would have the same mail");
            let wrong = wrong.meant("name {domain} too, or {user}");
            self.warning(storage.path.place.as_ref(), &Storage::full_name("path"), wrong);
        }
        for (setting, name) in [(&storage.threads, "threads"), (&storage.commit_threads, "commit_threads")] {
            if **setting > THREADS_MAX || (name == "commit_threads" && **setting == 0) {
                let wrong =
                    Wrong::new(format!("{} threads", **setting)).meant(format!("at least 1, at most {THREADS_MAX}"));
                self.error(setting.place.as_ref(), &Storage::full_name(name), wrong);
            }
        }
        let level = i32::try_from(*storage.compression_level).ok().and_then(ZstdLevel::new);
        if level.is_none() {
            let wrong = Wrong::new(format!("level {}", *storage.compression_level));
            let wrong = wrong.meant(format!("from {} to {}", ZstdLevel::MIN, ZstdLevel::MAX));
            self.error(storage.compression_level.place.as_ref(), &Storage::full_name("compression_level"), wrong);
        }
    }

    fn looks_at_files(&self) -> bool {
        self.purpose != Purpose::Elsewhere
    }

    /// Whether they go together, as they will be put together for each user.
    fn namespaces(&mut self) {
        for namespace in &self.config.namespaces {
            if let Some(location) = &*namespace.location
                && let Err(error) = location_of(location)
            {
                let key = Namespace::full_name("location");
                self.error(namespace.location.place.as_ref(), &key, Wrong::new(error));
            }
        }
        if let Err((at, error)) = stores::check_namespaces(self.config) {
            let place = self.config.namespaces.get(at).and_then(|namespace| namespace.prefix.place.as_ref());
            self.error(place, Namespace::PATH, Wrong::new(error));
        }
        let escape = &self.config.storage.escape;
        let is_one = |text: &String| text.len() == 1 && text.bytes().all(|b| b.is_ascii_punctuation() && b != b'/');
        if escape.as_ref().is_some_and(|text| !is_one(text)) {
            let wrong = Wrong::new("names are escaped with one character of punctuation in ASCII").meant("\"\\\\\"");
            self.error(escape.place.as_ref(), &Storage::full_name("escape"), wrong);
        }
    }

    fn users(&mut self) {
        let users = &self.config.users;
        let file = self.config.path(&users.passwd_file);
        let opened = if self.looks_at_files() { std::fs::File::open(&file).map(drop) } else { Ok(()) };
        match opened {
            Ok(()) => {}
            // The first start makes it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && users.first_user.is_some() => {}
            // `culver user add` makes it: it must be possible to say so before there is anybody.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.can_be_made(&file) => {
                let wrong = Wrong::new(format!("there is no {} yet, so nobody has mail here", file.display()));
                let wrong = wrong.meant("`culver user add NAME`, with this configuration, makes it");
                self.warning(users.passwd_file.place.as_ref(), &Users::full_name("passwd_file"), wrong);
            }
            Err(error) => {
                let wrong = Wrong::new(format!("{} cannot be read: {error}", file.display()));
                self.error(users.passwd_file.place.as_ref(), &Users::full_name("passwd_file"), wrong);
            }
        }
        if Scheme::from_name(&users.default_scheme).is_none() {
            let wrong = Wrong::new(format!("{:?} is no scheme of passwords", *users.default_scheme));
            let wrong = wrong.meant(format!("there are {}", Scheme::names().collect::<Vec<_>>().join(", ")));
            self.error(users.default_scheme.place.as_ref(), &Users::full_name("default_scheme"), wrong);
        }
        if let Some(name) = &*users.first_user
            && let Err(error) = culver_runtime::UserName::new(name)
        {
            let wrong = Wrong::new(error.to_string());
            self.error(users.first_user.place.as_ref(), &Users::full_name("first_user"), wrong);
        }
    }

    /// Whether the folder of a file is there, or is the one that is made.
    fn can_be_made(&self, file: &Path) -> bool {
        file.parent().is_some_and(|folder| folder == self.config.data() || folder.is_dir())
    }

    /// Every certificate is read, with its key.
    fn tls(&mut self) {
        let config = self.config;
        let tls = &config.tls;
        if tls.certificate.is_none() && tls.key.is_some() {
            let wrong = Wrong::new("a key without a certificate").meant("name the certificate too");
            self.error(tls.key.place.as_ref(), &Tls::full_name("key"), wrong);
        }
        self.certificate(&tls.certificate, &tls.key, Tls::PATH);
        for name in &config.tls_names {
            if name.certificate.is_none() {
                let place = name.place_of("key");
                self.error(place, &TlsName::full_name("certificate"), Wrong::new("[[tls.name]] without a certificate"));
            }
            self.certificate(&name.certificate, &name.key, TlsName::PATH);
        }
    }

    fn certificate(&mut self, certificate: &Setting<Option<PathBuf>>, key: &Setting<Option<PathBuf>>, path: &str) {
        let Some(files) = tls::files(self.config, certificate.as_deref(), key.as_deref()) else { return };
        if !self.looks_at_files() {
            return;
        }
        let mut is_missing = false;
        for (file, setting, name) in [(&files.certificate, certificate, "certificate"), (&files.key, key, "key")] {
            if setting.is_some() && std::fs::symlink_metadata(file).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                is_missing = true;
                let wrong = Wrong::new(format!("{} does not exist on this machine", file.display()));
                let wrong = wrong.meant("for a file that is meant for another: culver config check --without-files");
                self.error(setting.place.as_ref(), &format!("{path}.{name}"), wrong);
            }
        }
        if is_missing {
            return;
        }
        let options = tls::with_certificates(self.config, vec![files.clone()]);
        let Err(error) = culver_runtime::Tls::new(&options) else { return };
        let is_keys = key.is_some() && error.to_string().contains(&files.key.display().to_string());
        let (place, name) = if is_keys { (&key.place, "key") } else { (&certificate.place, "certificate") };
        self.error(place.as_ref(), &format!("{path}.{name}"), Wrong::new(error.to_string()));
    }

    fn special_use(&mut self) {
        for (key, names, _) in special_use::named(&self.config.special_use) {
            for name in names.iter() {
                if let Err(error) = MailboxName::new(name) {
                    let wrong = Wrong::new(format!("{name:?} is no name of a mailbox: {error}"));
                    self.error(names.place.as_ref(), &SpecialUse::full_name(key), wrong);
                }
            }
        }
    }

    fn imap(&mut self) {
        let imap = &self.config.imap;
        for field in imap.id.iter().filter(|field| id_field(field).is_none()) {
            let wrong = Wrong::new(format!("{field:?} is no field of ID"));
            let wrong = wrong
                .meant("write \"field=value\" in ASCII, the field of at most 30 bytes, the value of at most 1,024");
            self.error(imap.id.place.as_ref(), &Imap::full_name("id"), wrong);
        }
        for (key, time) in [
            ("idle_notify_interval", &imap.idle_notify_interval),
            ("search_notify_interval", &imap.search_notify_interval),
        ] {
            if time.0 < NOTIFY_INTERVAL_MIN {
                let wrong = Wrong::new("a client that is told something all the time can do nothing else");
                let wrong = wrong.meant("it can be \"1 s\" and longer");
                self.error(time.place.as_ref(), &Imap::full_name(key), wrong);
            }
        }
    }

    fn pop3(&mut self) {
        let pop3 = &self.config.pop3;
        if let Err(error) = culver_pop3::UidlFormat::parse(&pop3.uidl_format) {
            let wrong = Wrong::new(error.to_string()).meant("the default is \"%08Xu%08Xv\"");
            self.error(pop3.uidl_format.place.as_ref(), &Pop3::full_name("uidl_format"), wrong);
        }
        if let Err(error) = Keyword::new(&pop3.deleted_flag) {
            let wrong = Wrong::new(format!("{error:?}")).meant("a keyword is one word, such as \"$POP3Deleted\"");
            self.error(pop3.deleted_flag.place.as_ref(), &Pop3::full_name("deleted_flag"), wrong);
        }
    }

    fn limits(&mut self) {
        let limits = &self.config.limits;
        for (protocol, min, wrong) in [
            (Protocol::Imap, IMAP_IDLE_TIMEOUT_MIN, "RFC 3501 §5.4 asks IMAP servers for at least 30 minutes"),
            (Protocol::Pop3, POP3_IDLE_TIMEOUT_MIN, "RFC 1939 §3 asks POP3 servers for at least 10 minutes"),
        ] {
            let is_spoken = self.config.listeners.iter().any(|listener| *listener.protocol == Some(protocol));
            if is_spoken && limits.idle_timeout.0 < min {
                let place = limits.idle_timeout.place.as_ref();
                self.warning(place, &Limits::full_name("idle_timeout"), Wrong::new(wrong));
            }
        }
        let zeros = limits.entries().into_iter().filter(|entry| entry.value == "0" || entry.value == "\"0 B\"");
        for entry in zeros.filter(|entry| !MAY_BE_ZERO.contains(&entry.key.name)) {
            let wrong =
                Wrong::new("with 0 nothing could be done").meant(format!("the default is {}", entry.key.default));
            self.error(limits.place_of(entry.key.name), &Limits::full_name(entry.key.name), wrong);
        }
    }

    fn log(&mut self) {
        let log = &self.config.log;
        if let Err(error) = EnvFilter::builder().parse(&**log.level) {
            let wrong = Wrong::new(format!("{:?} is no level: {error}", *log.level));
            let wrong = wrong.meant("it can be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"");
            self.error(log.level.place.as_ref(), &Log::full_name("level"), wrong);
        }
    }
}

/// The shortest of `imap.idle_notify_interval` and the like.
const NOTIFY_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Limits of which 0 makes sense.
const MAY_BE_ZERO: [&str; 1] = ["open_storages_max"];
/// Most threads of a pool.
const THREADS_MAX: usize = 1_024;
/// What fits into a `sockaddr_un`, its NUL left out.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// Whether both cannot be bound. A wildcard of IPv6 may or may not take IPv4 along; it is bound so that it does not.
fn conflict(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = matches!((a.ip(), b.ip()), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)));
    let one_is_all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_family && (a.ip() == b.ip() || one_is_all)
}
