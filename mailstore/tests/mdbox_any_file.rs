//! A file of any bytes among an mdbox's files of messages: the rebuild comes to an end, what nobody touched stays, whole
//! messages are found, and doing it twice changes nothing. (The fuzz target `mdbox_files` does the same with bytes of its own.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use mailfs::{FileSystem, FileSystemExt, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Append, Format, ListPattern, Section, Store, StoreOptions, ViewAs,
    check::{CheckOptions, check_storage},
    dbox::{FileHeader, MessageHeader, Metadata},
};
use mailtypes::{Guid, Uid};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

/// A message as Dovecot writes it, with this GUID and first mailbox.
fn message(number: u8, mailbox: &str) -> Vec<u8> {
    let body = format!("Subject: number {number}\n\n{}", "text\n".repeat(usize::from(number)));
    let guid = format!("{number:032x}");
    let lines = format!("R6b0277ab\nV{:x}\nG{guid}\nB{mailbox}\n\n", body.len() + body.matches('\n').count());
    [b"\x01\x02N          ".to_vec(), format!("{:016X}\n{body}\n\x01\x03\n{lines}", body.len()).into_bytes()].concat()
}

/// What a file is made of: whole messages, torn ones, ones of which a byte is another, rubbish, a file's header.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let whole =
        (1u8..9, prop::sample::select(vec!["INBOX", "Work/x", ""])).prop_map(|(n, mailbox)| message(n, mailbox));
    prop_oneof![
        4 => whole.clone(),
        1 => (whole.clone(), any::<prop::sample::Index>()).prop_map(|(bytes, at)| bytes[..at.index(bytes.len())].to_vec()),
        1 => (whole, any::<prop::sample::Index>(), 1u8..=255).prop_map(|(mut bytes, at, other)| {
            let at = at.index(bytes.len());
            bytes[at] ^= other;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"2 M1e C6b0277ab\n".to_vec()),
    ]
}

proptest! {
    #![proptest_config(Config { cases: 96, rng_seed: RngSeed::Fixed(20_261_122), failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_file_is_made_of_what_it_can(
        choice in 0u8..8,
        has_header in any::<bool>(),
        pieces in prop::collection::vec(piece(), 0..6),
    ) {
        let mut data = vec![choice];
        if has_header && choice & 3 != 1 && choice & 3 != 3 {
            data.extend(b"2 M1e C6b0277ab\n");
        }
        data.extend(pieces.concat());
        mdbox_files(&data);
    }
}

const ROOT: &str = "/mail";
const STORAGE: &str = "/mail/storage";

/// What stands between a body and its metadata.
const METADATA_START: &[u8] = b"\n\x01\x03\n";

/// The messages of the store, which has each of them in the file that it was given.
const TEXTS: [&[u8]; 2] = [b"Subject: one\r\n\r\nbody\r\n", b"Subject: two\r\n\r\nanother body\r\n"];

/// By mailbox and UID: the text, or why there is none.
type Shown = BTreeMap<(String, Uid), Result<Vec<u8>, String>>;

/// The first byte says what becomes of the store's own file and of its map, the rest is the file. The repair comes to an end;
/// the messages of files that nobody touched are what they were, whole messages that lie behind each other from the
/// beginning of the new file are in a mailbox, and a second repair changes nothing.
fn mdbox_files(data: &[u8]) {
    let Some((&choice, file)) = data.split_first() else { return };
    let fs = SimDisk::new().as_file_system();
    fill(&fs);
    let own = Path::new(STORAGE).join("m.1");
    let before = fs.read_all(&own, 1 << 20).unwrap();
    let (name, bytes, is_kept) = match choice & 3 {
        0 => ("m.1", file.to_vec(), false),
        1 => ("m.1", [&before, file].concat(), true),
        2 => ("m.7", file.to_vec(), true),
        _ => ("m.2", [&before, file].concat(), true),
    };
    fs.write_atomic(&Path::new(STORAGE).join(name), &bytes, 0o600, false).unwrap();
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
    let whole = whole_messages(&bytes);
    assert!(after.len() >= whole.len(), "{} whole messages, and {} are there", whole.len(), after.len());
    repair(&fs);
    assert_eq!(show(&fs), after, "a second repair changes nothing");
}

fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

fn fill(fs: &Arc<dyn FileSystem>) {
    let (env, options) = (env(fs), StoreOptions { format: Some(Format::Mdbox), ..StoreOptions::default() });
    let store = Store::create_in(&env, ROOT, &options).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for text in TEXTS {
        inbox.append(Append::new(text)).unwrap();
    }
    drop((inbox, store));
    env.drain();
}

fn lose_map(fs: &Arc<dyn FileSystem>) {
    for entry in fs.read_dir(Path::new(STORAGE)).unwrap() {
        if entry.name.to_str().is_some_and(|name| name.contains("dovecot.map.index")) {
            fs.unlink(&Path::new(STORAGE).join(entry.name)).unwrap();
        }
    }
}

fn repair(fs: &Arc<dyn FileSystem>) {
    let env = env(fs);
    let what = CheckOptions { repair: true, ..CheckOptions::default() };
    check_storage(&env, Path::new(ROOT), &StoreOptions::default(), &what, &mut |_| {}).unwrap();
    env.drain();
}

fn show(fs: &Arc<dyn FileSystem>) -> Shown {
    let store = Store::open_in(&env(fs), ROOT, &StoreOptions::default()).unwrap();
    let mut shown = BTreeMap::new();
    for info in store.storage().list(&ListPattern::all()).unwrap() {
        if !info.selectable {
            continue;
        }
        let mailbox = store.storage().mailbox(&info.name).unwrap();
        let view = mailbox.view(&ViewAs::default()).unwrap();
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

/// The GUIDs of the messages that lie whole behind each other from the beginning of the file.
fn whole_messages(bytes: &[u8]) -> BTreeSet<Guid> {
    let mut guids = BTreeSet::new();
    let Ok((header, mut at)) = FileHeader::parse(bytes) else { return guids };
    loop {
        let Some((guid, end)) = whole_message(bytes, at, header.message_header_len as usize) else { return guids };
        guids.extend(guid.filter(|guid| !guid.is_zero()));
        at = end;
    }
}

fn whole_message(bytes: &[u8], at: usize, header_len: usize) -> Option<(Option<Guid>, usize)> {
    let header = MessageHeader::parse(bytes.get(at..)?, at as u64).ok()?;
    let body_end = at.checked_add(header_len)?.checked_add(usize::try_from(header.body_len).ok()?)?;
    let lines = bytes.get(body_end..)?.strip_prefix(METADATA_START)?;
    let (metadata, used) = Metadata::parse(lines, body_end as u64).ok()?;
    Some((metadata.guid(), body_end + METADATA_START.len() + used))
}
