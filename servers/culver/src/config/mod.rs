//! The configuration: one TOML file, options of the command line over it, defaults below it.
//!
//! Everything that is wrong is found at once: the syntax, unknown keys, values of other types or units, settings that do
//! not go together, files that cannot be read. [`Problems`] has all of it with places.

pub(crate) mod arguments;
pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod docs;
pub(crate) mod problem;
pub(crate) mod section;
pub(crate) mod show;
pub(crate) mod tables;
pub(crate) mod template;
pub(crate) mod value;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::{
    check::Purpose,
    problem::{Document, Problems, Severity, Wrong, did_you_mean},
    section::{Documents, Place, Section},
    tables::{
        General, Imap, Limits, Listener, ListenerTls, Lmtp, Log, Login, Metrics, Namespace, Pop3, Protocol, SpecialUse,
        Storage, Tls, TlsName, Users,
    },
};

/// Largest configuration file that is read, in bytes.
const FILE_LEN_MAX: u64 = 4 << 20;

/// What the command line says of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// `--imap` and its like: the only listeners then.
    pub(crate) listeners: Vec<(Protocol, ListenerTls, SocketAddr)>,
    /// `--set KEY=VALUE`.
    pub(crate) set: Vec<String>,
}

/// All settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// Keys before the first section.
    pub(crate) general: General,
    /// Addresses and sockets.
    pub(crate) listeners: Vec<Listener>,
    /// Places below prefixes.
    pub(crate) namespaces: Vec<Namespace>,
    /// Where mail lies.
    pub(crate) storage: Storage,
    /// Who has mail.
    pub(crate) users: Users,
    /// Certificates.
    pub(crate) tls: Tls,
    /// Further ones.
    pub(crate) tls_names: Vec<TlsName>,
    /// Logging in.
    pub(crate) login: Login,
    /// Names of mailboxes.
    pub(crate) special_use: SpecialUse,
    /// IMAP.
    pub(crate) imap: Imap,
    /// POP3.
    pub(crate) pop3: Pop3,
    /// LMTP.
    pub(crate) lmtp: Lmtp,
    /// What can be taken.
    pub(crate) limits: Limits,
    /// The log.
    pub(crate) log: Log,
    /// Figures.
    pub(crate) metrics: Metrics,
    documents: Vec<Document>,
    /// It is no TOML, somewhere.
    is_broken: bool,
}

impl Config {
    /// Reads the file and the command line; what is wrong is in the problems, and has its default in the settings.
    pub(crate) fn load(overlay: &Overlay) -> (Self, Problems) {
        Self::load_for(Purpose::Serving, overlay)
    }

    /// The same, and looks only at what is needed for something.
    pub(crate) fn load_for(purpose: Purpose, overlay: &Overlay) -> (Self, Problems) {
        let mut problems = Problems::default();
        let mut config = Self::defaults();
        if let Some(path) = &overlay.file {
            match read_text(path) {
                Ok(text) => config.read(Document::file(path, text), &mut problems),
                Err(wrong) => problems.nowhere(&path.display().to_string(), "", Severity::Error, wrong),
            }
            config.file = Some(path.clone());
        }
        config.overlay(overlay, &mut problems);
        if config.listeners.is_empty() {
            config.listeners = default_listeners();
        }
        // What a broken file seems to say is not worth looking at together.
        if !config.is_broken {
            check::check(&config, purpose, &mut problems);
        }
        (config, problems)
    }

    fn defaults() -> Self {
        Self {
            file: None,
            general: General::defaults(),
            listeners: Vec::new(),
            namespaces: Vec::new(),
            storage: Storage::defaults(),
            users: Users::defaults(),
            tls: Tls::defaults(),
            tls_names: Vec::new(),
            login: Login::defaults(),
            special_use: SpecialUse::defaults(),
            imap: Imap::defaults(),
            pop3: Pop3::defaults(),
            lmtp: Lmtp::defaults(),
            limits: Limits::defaults(),
            log: Log::defaults(),
            metrics: Metrics::defaults(),
            documents: Vec::new(),
            is_broken: false,
        }
    }

    /// The folder of all that is relative.
    pub(crate) fn data(&self) -> PathBuf {
        let is_of_file = matches!(self.general.data.source, problem::Source::File { .. });
        match self.file.as_deref().and_then(Path::parent).filter(|_| is_of_file) {
            Some(folder) => folder.join(&*self.general.data),
            None => self.general.data.to_path_buf(),
        }
    }

    /// A path of the configuration, made whole.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.data().join(path)
    }

    /// The document that a place is in.
    pub(crate) fn document(&self, place: &Place) -> Option<&Document> {
        self.documents.get(place.document)
    }

    fn overlay(&mut self, overlay: &Overlay, problems: &mut Problems) {
        for setting in &overlay.set {
            let text = match setting.split_once('=') {
                // A value that is no TOML is a text: so that nobody has to quote twice.
                Some((key, value)) if DeValue::parse(value.trim()).is_err() => {
                    format!("{key} = {}", value::quoted(value.trim()))
                }
                _ => setting.clone(),
            };
            self.read(Document::command_line(text), problems);
        }
        if let Some(data) = &overlay.data {
            let text = format!("data = {}", value::quoted(&data.to_string_lossy()));
            self.read(Document::command_line(text), problems);
        }
        if !overlay.listeners.is_empty() {
            self.listeners.clear();
            let listener = |(protocol, tls, address): &(Protocol, ListenerTls, SocketAddr)| {
                let (protocol, tls) = (protocol.word(), tls.word());
                format!("[[listener]]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\ntls = \"{tls}\"\n")
            };
            let text: String = overlay.listeners.iter().map(listener).collect();
            self.read(Document::command_line(text), problems);
        }
    }

    fn read(&mut self, document: Document, problems: &mut Problems) {
        self.documents.push(document);
        let documents = std::mem::take(&mut self.documents);
        let reading = Documents::new(&documents, documents.len() - 1);
        let (table, errors) = DeTable::parse_recoverable(&reading.current().text);
        self.is_broken |= !errors.is_empty();
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            problems.at(reading.current(), span, "", Severity::Error, Wrong::new(error.message()));
        }
        self.read_root(table.get_ref(), &reading, problems);
        self.documents = documents;
    }

    fn read_root(&mut self, root: &DeTable<'_>, documents: &Documents<'_>, problems: &mut Problems) {
        let names: Vec<_> = tables::all().iter().map(|section| section.path).filter(|path| !path.is_empty()).collect();
        for (key, value) in root {
            let name: &str = key.get_ref();
            match (name, value.get_ref()) {
                ("listener", list) => {
                    self.listeners.extend(read_list(value, documents, problems));
                    for table in list.as_array().into_iter().flatten() {
                        if table.get_ref().as_table().is_some_and(|keys| !keys.contains_key(PROTOCOL)) {
                            let wrong = Wrong::new("a listener without a protocol");
                            let wrong = wrong.meant("it can be \"imap\", \"pop3\", \"lmtp\" or \"metrics\"");
                            let key = Listener::full_name(PROTOCOL);
                            problems.at(documents.current(), table.span(), &key, Severity::Error, wrong);
                        }
                    }
                }
                (Namespace::PATH, _) => self.namespaces.extend(read_list(value, documents, problems)),
                (_, DeValue::Table(table)) if names.contains(&name) => {
                    self.read_section(name, table, documents, problems);
                }
                (_, _) if names.contains(&name) => {
                    let wrong = Wrong::new("this is a section").meant(format!("write [{name}]"));
                    problems.at(documents.current(), key.span(), name, Severity::Error, wrong);
                }
                (_, DeValue::Table(_) | DeValue::Array(_)) => {
                    let wrong = Wrong::new("unknown section");
                    let wrong = match did_you_mean(name, names.iter().copied()) {
                        Some(meant) => wrong.meant(format!("did you mean [{meant}]?")),
                        None => wrong.meant(format!("there are {}", names.join(", "))),
                    };
                    problems.at(documents.current(), key.span(), name, Severity::Error, wrong);
                }
                _ => {}
            }
        }
        let is_key = |value: &Spanned<DeValue<'_>>| !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
        let sections: Vec<_> = root
            .iter()
            .filter(|(key, value)| names.contains(&&**key.get_ref()) || !is_key(value))
            .map(|(key, _)| &**key.get_ref())
            .collect();
        self.general.read(root, &sections, documents, problems);
    }

    fn read_section(&mut self, name: &str, keys: &DeTable<'_>, documents: &Documents<'_>, problems: &mut Problems) {
        match name {
            Storage::PATH => self.storage.read(keys, &[], documents, problems),
            Users::PATH => self.users.read(keys, &[], documents, problems),
            Tls::PATH => {
                self.tls.read(keys, &[TLS_NAME], documents, problems);
                if let Some(names) = keys.get(TLS_NAME) {
                    self.tls_names.extend(read_list(names, documents, problems));
                }
            }
            Login::PATH => self.login.read(keys, &[], documents, problems),
            SpecialUse::PATH => self.special_use.read(keys, &[], documents, problems),
            Imap::PATH => self.imap.read(keys, &[], documents, problems),
            Pop3::PATH => self.pop3.read(keys, &[], documents, problems),
            Lmtp::PATH => self.lmtp.read(keys, &[], documents, problems),
            Limits::PATH => self.limits.read(keys, &[], documents, problems),
            Log::PATH => self.log.read(keys, &[], documents, problems),
            Metrics::PATH => self.metrics.read(keys, &[], documents, problems),
            _ => {}
        }
    }
}

/// What every listener needs.
const PROTOCOL: &str = "protocol";

/// Within `[tls]`, further tables.
const TLS_NAME: &str = "name";

/// Reads the tables `[[PATH]]`.
fn read_list<S: Section>(list: &Spanned<DeValue<'_>>, documents: &Documents<'_>, problems: &mut Problems) -> Vec<S> {
    let mut wrong = |span| {
        let wrong = Wrong::new("these are tables of their own").meant(format!("write [[{}]]", S::PATH));
        problems.at(documents.current(), span, S::PATH, Severity::Error, wrong);
    };
    let DeValue::Array(tables) = list.get_ref() else {
        wrong(list.span());
        return Vec::new();
    };
    let mut sections = Vec::with_capacity(tables.len());
    for table in tables {
        let DeValue::Table(keys) = table.get_ref() else {
            wrong(table.span());
            continue;
        };
        sections.push((S::defaults(), keys));
    }
    let read = |(mut section, keys): (S, &DeTable<'_>)| {
        section.read(keys, &[], documents, problems);
        section
    };
    sections.into_iter().map(read).collect()
}

/// The listeners where nobody named any.
fn default_listeners() -> Vec<Listener> {
    let listener = |(protocol, port, tls): (Protocol, u16, ListenerTls)| {
        let mut listener = Listener::defaults();
        listener.protocol.replace_default(Some(protocol));
        listener.address.replace_default(Some(([127, 0, 0, 1], port).into()));
        listener.tls.replace_default(Some(tls));
        listener
    };
    DEFAULT_LISTENERS.map(listener).into()
}

/// Protocol, port on loopback and TLS of the listeners where nobody named any.
const DEFAULT_LISTENERS: [(Protocol, u16, ListenerTls); 5] = [
    (Protocol::Imap, 1143, ListenerTls::StartTls),
    (Protocol::Imap, 1993, ListenerTls::Implicit),
    (Protocol::Pop3, 1110, ListenerTls::StartTls),
    (Protocol::Pop3, 1995, ListenerTls::Implicit),
    (Protocol::Lmtp, 1024, ListenerTls::None),
];

fn read_text(path: &Path) -> Result<String, Wrong> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Wrong::new(format!("cannot be opened: {error}")))?;
    file.take(FILE_LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Wrong::new(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(Wrong::new(format!("is longer than {FILE_LEN_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|&&b| b == b'\n').count() + 1;
        Wrong::new(format!("is no UTF-8, from line {line} on"))
    })
}
