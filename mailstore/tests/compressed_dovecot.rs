//! Compressed bodies beside a real Dovecot 2.3 with its `zlib` plugin: what either compresses the other one reads, and
//! Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{fs, path::Path, sync::Arc};

use beside_dovecot::Kind;
use mailfs::{FileSystem, OpenMode, RealDisk};
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    MailStorage, Section, ViewAs,
    compressed::{BodyCompression, Compression, ZstdLevel},
    dbox::{self, DboxMessage},
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
    sdbox::{SdboxOptions, SdboxStorage},
};
use sample_mail::{messages, name};

/// The plugin, which Debian's dovecot-core has.
const PLUGIN: &str = "/usr/lib/dovecot/modules/lib20_zlib_plugin.so";

const ZSTD: BodyCompression = BodyCompression::Zstd(ZstdLevel::DEFAULT);

/// A format whose Dovecot has the plugin, and saves as is said.
macro_rules! kind {
    ($format:literal, $save:literal, $open:expr) => {
        Kind {
            location: |root| {
                let save =
                    if $save.is_empty() { String::new() } else { format!("plugin {{\n  zlib_save = {}\n}}\n", $save) };
                format!("{}:{}\nmail_plugins = zlib\n{save}", $format, root.display())
            },
            open: $open,
        }
    };
}

fn sdbox(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let options = SdboxOptions { compression: ZSTD, ..SdboxOptions::default() };
    Arc::new(SdboxStorage::create(env, root, options).unwrap())
}

fn maildir(env: &Env, root: &Path) -> Arc<dyn MailStorage> {
    let options = MaildirOptions { compression: ZSTD, ..MaildirOptions::default() };
    Arc::new(MaildirStorage::create(env, root, &MaildirPlaces::default(), options).unwrap())
}

fn is_installed() -> bool {
    dovecot::is_installed() && Path::new(PLUGIN).exists()
}

#[test]
fn we_read_what_dovecot_writes() {
    if !is_installed() {
        return;
    }
    for kind in [
        kind!("sdbox", "gz", sdbox),
        kind!("sdbox", "bz2", sdbox),
        kind!("sdbox", "lz4", sdbox),
        kind!("sdbox", "zstd", sdbox),
        kind!("maildir", "gz", maildir),
        kind!("maildir", "bz2", maildir),
        kind!("maildir", "lz4", maildir),
        kind!("maildir", "zstd", maildir),
    ] {
        beside_dovecot::we_read_what_dovecot_writes(&kind);
    }
}

#[test]
fn dovecot_reads_what_we_write() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&kind!("sdbox", "", sdbox));
        beside_dovecot::dovecot_reads_what_we_write(&kind!("maildir", "", maildir));
    }
}

#[test]
fn turn_about() {
    if is_installed() {
        beside_dovecot::turn_about(&kind!("sdbox", "lz4", sdbox), 60, 20_261_122, None);
        beside_dovecot::turn_about(&kind!("maildir", "gz", maildir), 60, 20_261_123, None);
    }
}

/// The first bytes of bodies in the files below a folder.
fn compressions(dir: &Path, found: &mut Vec<Option<Compression>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file_name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            compressions(&path, found);
        } else if file_name.starts_with("u.") {
            let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
            let mut start = [0; Compression::MAGIC_LEN];
            let len = message.read_body(0, &mut start).unwrap();
            found.push(Compression::of(&start[..len]));
            let verified = dbox::verify(message).unwrap();
            assert_eq!(verified.compression, found.last().copied().flatten());
        } else if file_name.contains(",S=") {
            let mut start = [0; Compression::MAGIC_LEN];
            let file = RealDisk::new().open(&path, OpenMode::Read).unwrap();
            let len = file.read_at(&mut start, 0).unwrap();
            found.push(Compression::of(&start[..len]));
        }
    }
}

/// Both really compress; ranges of a long message are the same, read here and there, in any order.
#[test]
fn ranges_of_a_compressed_message() {
    if !is_installed() {
        return;
    }
    for kind in [kind!("sdbox", "bz2", sdbox), kind!("maildir", "lz4", maildir)] {
        let shared = kind.shared();
        let mut long = b"Subject: long\r\n\r\n".to_vec();
        (0..60_000).for_each(|n| long.extend_from_slice(format!("{n} {} of {}\r\n", n * 7919, n % 13).as_bytes()));
        let mut imap = shared.imap();
        imap.append("INBOX", "", &long);
        let store = (kind.open)(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), &shared.root());
        let inbox = store.mailbox(&name("INBOX")).unwrap();
        beside_dovecot::append(&*inbox, &long, mailtypes::Flags::NONE, &[], 1_700_000_000);
        beside_dovecot::append(&*inbox, &messages()[0], mailtypes::Flags::NONE, &[], 1_700_000_000);
        let mut found = Vec::new();
        compressions(&shared.root(), &mut found);
        assert!(found.len() == 3 && found.iter().all(Option::is_some), "{found:?}");
        assert_eq!(found.iter().filter(|kind| **kind == Some(Compression::Zstd)).count(), 2);
        shared.own();
        imap.run("SELECT INBOX");
        let view = inbox.view(&ViewAs::default()).unwrap();
        for uid in view.uids().iter().take(2) {
            let mut body = view.body(uid).unwrap();
            assert_eq!(body.size(), long.len() as u64);
            for (from, len) in [(0, 100), (1_000_000, 5000), (10, 30), (300_000, 200_000), (long.len() - 9, 100)] {
                let mut buf = vec![0; len];
                let read = body.read_at(Section::WHOLE, from as u64, &mut buf).unwrap();
                assert!(buf[..read] == long[from..long.len().min(from + len)], "{len} from {from}");
                let theirs = imap.run(format!("UID FETCH {uid} BODY.PEEK[]<{from}.{len}>"));
                assert!(theirs.iter().any(|line| memchr::memmem::find(line, &buf[..read]).is_some()));
            }
        }
        assert_eq!(shared.complaints(), [""; 0]);
    }
}
