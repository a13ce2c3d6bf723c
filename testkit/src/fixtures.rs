//! The stores that a real Dovecot wrote (`testkit/fixtures`), and what must be read out of them.

mod collect;
mod script;
pub mod write;

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

/// What a real Dovecot read out of a store.
#[derive(Debug, Deserialize)]
pub struct Expected {
    /// By name in UTF-8.
    pub mailboxes: BTreeMap<String, ExpectedMailbox>,
    /// As listed by LSUB.
    pub subscriptions: Vec<String>,
}

/// One mailbox. Levels that cannot be selected have no numbers.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names of the JSON file, told in fixtures/dovecot-2.3/README.md")]
pub struct ExpectedMailbox {
    pub selectable: bool,
    pub messages: Option<u32>,
    pub uidnext: Option<u32>,
    pub uidvalidity: Option<u32>,
    pub unseen: Option<u32>,
    pub size: Option<u64>,
    pub highestmodseq: Option<u64>,
    pub guid: Option<String>,
    pub flags_list: Option<Vec<String>>,
    pub messages_list: Option<Vec<ExpectedMessage>>,
}

/// One message.
#[derive(Debug, Deserialize)]
#[allow(missing_docs, reason = "the names of the JSON file, told in fixtures/dovecot-2.3/README.md")]
pub struct ExpectedMessage {
    pub uid: u32,
    pub seq: u32,
    pub flags: Vec<String>,
    pub keywords: Vec<String>,
    pub modseq: u64,
    pub internaldate: String,
    pub rfc822_size: u64,
    pub guid: String,
    pub body_octets: u64,
    pub sha256: String,
    pub envelope: String,
    pub bodystructure: String,
}

/// The bytes that a text of the JSON file stands for: code points up to U+00FF, one a byte.
pub fn bytes_of(latin1: &str) -> Vec<u8> {
    latin1.chars().map(|c| c as u8).collect()
}

/// A name as the tests have it: `NAME` is of 2.3, `2.4/NAME` of 2.4.
fn file(name: &str, ending: &str) -> PathBuf {
    let (release, name) = match name.strip_prefix("2.4/") {
        Some(name) => ("dovecot-2.4", name),
        None => ("dovecot-2.3", name),
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(release).join(format!("{name}.{ending}"))
}

/// What must be read out of a fixture.
pub fn expected(name: &str) -> anyhow::Result<Expected> {
    let path = file(name, "expected.json");
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(serde_json::from_reader(BufReader::new(file))?)
}

fn kind(name: &str) -> &str {
    name.strip_prefix("2.4/").unwrap_or(name)
}

/// Where the store of an unpacked fixture lies.
pub fn store_in(name: &str, home: &Path) -> PathBuf {
    home.join(match kind(name).split('-').next() {
        Some("maildir") => "Maildir",
        Some("mbox") => "mail",
        Some("mdbox") => "mdbox",
        _ => "sdbox",
    })
}

/// Dovecot's `mail_location` for the store of a fixture that lies at a path.
pub fn mail_location(name: &str, store: &Path) -> String {
    let store = store.display();
    match kind(name) {
        "maildir-fs" => format!("maildir:{store}:LAYOUT=fs"),
        "mbox" => format!("mbox:{store}:INBOX={store}/inbox"),
        "mdbox-alt" => format!("mdbox:{store}:ALT={store}-alt"),
        "sdbox-layoutindex" => format!("sdbox:{store}:LAYOUT=index"),
        name => format!("{}:{store}", name.split('-').next().unwrap_or(name)),
    }
}

/// Unpacks a fixture into a folder, modification times kept. The folder becomes the user's home.
pub fn unpack(name: &str, into: &Path) -> anyhow::Result<()> {
    let path = file(name, "tar.zst");
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let plain = ruzstd::decoding::StreamingDecoder::new(file)?;
    tar::Archive::new(plain).unpack(into).with_context(|| format!("unpacking {}", path.display()))
}
