//! imap-proto.

use std::hint::black_box;

use imap_proto::{Decoder, Limits, write::FetchWriter};
use mailtypes::{Flag, Flags, InternalDate, Keyword, ModSeq, SeqNum, Uid};

use crate::Work;

const COMMANDS: &str = "a1 UID FETCH 1:100,200,300:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM TO)])\r\n\
    a2 UID SEARCH RETURN (MIN MAX COUNT) OR FROM \"ann\" (UNSEEN SINCE 1-Jan-2024 NOT BODY \"text\")\r\n\
    a3 STORE 1:* +FLAGS.SILENT (\\Seen $Junk)\r\n\
    a4 LIST \"\" \"*\" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))\r\n\
    a5 NOOP\r\n";

pub(crate) fn all() -> Vec<Work> {
    vec![
        Work {
            name: "imap-proto/decode 5 commands",
            prepare: || {
                Box::new(|| {
                    let mut decoder = Decoder::new(Limits::default());
                    let mut input = black_box(COMMANDS.as_bytes());
                    while let Some(event) = decoder.next(&mut input).unwrap() {
                        black_box(event);
                    }
                })
            },
        },
        Work {
            name: "imap-proto/write 1000 FETCH lines of flags",
            prepare: || {
                let keywords = [Keyword::new("$Junk").unwrap(), Keyword::new("work").unwrap()];
                let flags: Flags = [Flag::Seen, Flag::Answered].into_iter().collect();
                let mut out = Vec::new();
                Box::new(move || {
                    out.clear();
                    for number in 1..=1000 {
                        let mut fetch = FetchWriter::begin(&mut out, SeqNum::new(number).unwrap());
                        fetch.uid(Uid::new(number * 3).unwrap());
                        fetch.flags(flags, false, &keywords);
                        fetch.internal_date(InternalDate::utc(1_700_000_000 + i64::from(number)));
                        fetch.size(12_345);
                        fetch.mod_seq(ModSeq::new(u64::from(number)).unwrap());
                        fetch.end();
                    }
                    black_box(&out);
                })
            },
        },
    ]
}
