//! A file of any bytes among an mdbox's files of messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, OnceLock},
};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Format, ListPattern, Section, Store, StoreOptions, ViewAs,
    check::{CheckOptions, check_storage},
    dbox::{FileHeader, MessageHeader, Metadata, MetadataKey},
};
use mailtypes::{Guid, Uid};

const ROOT: &str = "/mail";
const STORAGE: &str = "/mail/storage";

/// What stands between a body and its metadata.
const METADATA_START: &[u8] = b"\n\x01\x03\n";

/// What a message's header begins with, up to the size.
const HEADER_START: &[u8] = b"\x01\x02";

/// The messages of the store, which has each of them in the file that it was given.
const TEXTS: [&[u8]; 2] = [b"Subject: one\r\n\r\nbody\r\n", b"Subject: two\r\n\r\nanother body\r\n"];

/// By mailbox and UID: the text, or why there is none.
type Shown = BTreeMap<(String, Uid), Result<Vec<u8>, String>>;

/// The first byte says what becomes of the store's own file and of its map, the rest is the file. The repair comes to an end;
/// the messages of files that nobody touched are what they were; messages that lie behind each other from the beginning of
/// the new file, whole but for their metadata, are in a mailbox, as they lie there; and a second repair changes nothing.
pub fn mdbox_files(data: &[u8]) {
    static STORE: OnceLock<SimDisk> = OnceLock::new();
    let Some((&choice, file)) = data.split_first() else { return };
    let disk = STORE.get_or_init(filled).fork();
    let fs = disk.as_file_system();
    let before = fs.read_all(&Path::new(STORAGE).join("m.1"), 1 << 20).expect("the store's file");
    let (name, bytes, is_kept) = match choice & 3 {
        0 => ("m.1", file.to_vec(), false),
        1 => ("m.1", [&before, file].concat(), true),
        2 => ("m.7", file.to_vec(), true),
        _ => ("m.2", [&before, file].concat(), true),
    };
    fs.write_atomic(&Path::new(STORAGE).join(name), &bytes, 0o600, false).expect("a disk in memory");
    if choice & 4 != 0 {
        lose_map(&fs);
    }
    repair(&fs);
    let after = show(&fs);
    if is_kept {
        for (uid, text) in (1..).filter_map(Uid::new).zip(TEXTS) {
            let shown = after.get(&("INBOX".to_owned(), uid));
            assert_eq!(shown, Some(&Ok(text.to_vec())), "a message that nobody touched stays");
        }
    }
    check_whole(&bytes, &after);
    let files = files(&fs);
    repair(&fs);
    assert_eq!(show(&fs), after, "a second repair changes nothing");
    assert_eq!(self::files(&fs), files, "a second repair finds nothing to put aside");
}

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

/// A disk with a store on it.
fn filled() -> SimDisk {
    let disk = SimDisk::new();
    let (env, options) =
        (env(&disk.as_file_system()), StoreOptions { format: Some(Format::Mdbox), ..StoreOptions::default() });
    let store = Store::create_in(&env, ROOT, &options).expect("a disk in memory");
    let inbox = store.mailbox("INBOX").expect("INBOX");
    for text in TEXTS {
        inbox.append(Append::new(text)).expect("a message");
    }
    drop((inbox, store));
    env.drain();
    disk
}

fn lose_map(fs: &Arc<dyn FileSystem>) {
    for name in files(fs).iter().filter(|name| name.contains("dovecot.map.index")) {
        fs.unlink(&Path::new(STORAGE).join(name)).expect("a disk in memory");
    }
}

fn files(fs: &Arc<dyn FileSystem>) -> BTreeSet<String> {
    let entries = fs.read_dir(Path::new(STORAGE)).expect("the storage");
    entries.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}

fn repair(fs: &Arc<dyn FileSystem>) {
    let env = env(fs);
    let what = CheckOptions { repair: true, ..CheckOptions::default() };
    check_storage(&env, Path::new(ROOT), &StoreOptions::default(), &what, &mut |_| {}).expect("a repair ends");
    env.drain();
}

fn show(fs: &Arc<dyn FileSystem>) -> Shown {
    let store = Store::open_in(&env(fs), ROOT, &StoreOptions::default()).expect("it opens");
    let mut shown = BTreeMap::new();
    for info in store.storage().list(&ListPattern::all()).expect("the list").iter().filter(|info| info.selectable) {
        let mailbox = store.storage().mailbox(&info.name).expect("a mailbox of the list");
        let view = mailbox.view(&ViewAs::default()).expect("a view");
        for uid in view.uids().iter() {
            let text = view.body(uid).and_then(|mut body| {
                let mut text = vec![0; usize::try_from(body.size()).unwrap_or_default()];
                let len = body.read_at(Section::WHOLE, 0, &mut text)?;
                text.truncate(len);
                Ok(text)
            });
            shown.insert((info.name.to_string(), uid), text.map_err(|error| error.client_text().to_string()));
        }
    }
    shown
}

/// A message whose header and body are whole.
struct Whole<'b> {
    body: &'b [u8],
    metadata: Metadata,
    /// Nothing that nobody writes stands in the metadata.
    is_sound: bool,
}

impl Whole<'_> {
    fn guid(&self) -> Option<Guid> {
        self.metadata.guid().filter(|guid| !guid.is_zero())
    }

    /// What is to be shown of it, if that stands in the file as it is.
    fn text(&self) -> Option<Vec<u8>> {
        let elsewhere = [MetadataKey::PHYSICAL_SIZE, MetadataKey::ATTACHMENTS];
        let mut text = Vec::with_capacity(self.body.len());
        for byte in self.body {
            if *byte == b'\n' && text.last() != Some(&b'\r') {
                text.push(b'\r');
            }
            text.push(*byte);
        }
        // What sound metadata say is believed.
        // Others may begin as compressed or encrypted ones do.
        if !self.body.starts_with(b"Subject") {
            return None;
        }
        let is_said = !self.is_sound || self.metadata.virtual_size() == Some(text.len() as u64);
        (is_said && elsewhere.iter().all(|key| self.metadata.value(*key).is_none())).then_some(text)
    }
}

/// Each is in a mailbox, once if several have its GUID; as it lies there.
fn check_whole(bytes: &[u8], after: &Shown) {
    let whole = whole_messages(bytes);
    let mut of_guid: BTreeMap<Guid, usize> = BTreeMap::new();
    whole.iter().filter_map(Whole::guid).for_each(|guid| *of_guid.entry(guid).or_default() += 1);
    let count = of_guid.len() + whole.iter().filter(|message| message.guid().is_none()).count();
    assert!(after.len() >= count, "{count} whole messages, and {} are there", after.len());
    for message in whole {
        let is_one = message.guid().is_none_or(|guid| of_guid.get(&guid) == Some(&1));
        if let Some(text) = message.text().filter(|_| is_one) {
            let is_there = after.values().any(|shown| shown.as_ref() == Ok(&text));
            assert!(is_there, "the message {:?} is there", text.escape_ascii().to_string());
        }
    }
}

/// Those that lie behind each other from the beginning of the file. Of the last one whose metadata are damaged nobody knows
/// whether it was ever finished.
fn whole_messages(bytes: &[u8]) -> Vec<Whole<'_>> {
    let mut all = Vec::new();
    let Ok((header, mut at)) = FileHeader::parse(bytes) else { return all };
    while let Some((message, end)) = whole_message(bytes, at, header.message_header_len as usize) {
        // Of nothing at all no message is made where something is damaged.
        if message.is_sound || message.body.iter().any(|byte| *byte != 0) {
            all.push(message);
        }
        at = end;
    }
    all
}

fn whole_message(bytes: &[u8], at: usize, header_len: usize) -> Option<(Whole<'_>, usize)> {
    let header = MessageHeader::parse(bytes.get(at..)?, at as u64).ok()?;
    let start = at.checked_add(header_len)?;
    let body = start..start.checked_add(usize::try_from(header.body_len).ok()?)?;
    let lines = bytes.get(body.end..)?.strip_prefix(METADATA_START)?;
    let lines_start = body.end + METADATA_START.len();
    let body = bytes.get(body)?;
    if let Some(len) = sound_len(lines) {
        let (metadata, _) = Metadata::parse(lines, 0).ok()?;
        return Some((Whole { body, metadata, is_sound: true }, lines_start + len));
    }
    let next = next_header(lines)?;
    let lines = lines.get(..next)?;
    let metadata = Metadata::parse(lines, 0).map(|(metadata, _)| metadata).unwrap_or_else(|_| rest(lines));
    Some((Whole { body, metadata, is_sound: false }, lines_start + next))
}

/// How long metadata are up to their empty line, if there are no control characters among them.
fn sound_len(lines: &[u8]) -> Option<usize> {
    let end = match lines.starts_with(b"\n") {
        true => 1,
        false => lines.windows(2).position(|window| window == b"\n\n")? + 2,
    };
    lines.get(..end)?.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()).then_some(end)
}

/// The whole lines with a known kind of letter.
fn rest(lines: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    let whole = lines.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    for line in lines.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
        if let Some((key, value)) = line.split_first().filter(|(key, _)| key.is_ascii_uppercase()) {
            metadata.push(MetadataKey(*key), value);
        }
    }
    metadata
}

/// Where the next message begins.
fn next_header(bytes: &[u8]) -> Option<usize> {
    let begins = bytes.windows(HEADER_START.len()).enumerate().filter(|(_, window)| *window == HEADER_START);
    let mut begins = begins.map(|(at, _)| at);
    begins.find(|at| {
        let header = bytes.get(*at..).unwrap_or_default();
        let is_blank = header.get(3..13).is_some_and(|blank| blank.iter().all(|byte| *byte == b' '));
        is_blank && MessageHeader::parse(header, 0).is_ok()
    })
}
