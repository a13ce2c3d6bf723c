//! mailmime.

use std::hint::black_box;

use mailmime::{Envelope, Limits, Scanner, decode_header_text, header_len};

use crate::{Work, messages};

const MESSAGES: u64 = 100;

pub(crate) fn all() -> Vec<Work> {
    vec![
        Work {
            name: "mailmime/structure of 100 messages",
            prepare: || {
                let messages = messages(MESSAGES);
                let mut out = Vec::new();
                Box::new(move || {
                    for message in &messages {
                        let mut scanner = Scanner::new(Limits::default());
                        scanner.write(message);
                        out.clear();
                        scanner.finish().write_body(&mut out);
                        black_box(&out);
                    }
                })
            },
        },
        Work {
            name: "mailmime/envelope of 100 messages",
            prepare: || {
                let messages = messages(MESSAGES);
                Box::new(move || {
                    for message in &messages {
                        black_box(Envelope::from_header(&message[..header_len(message)]));
                    }
                })
            },
        },
        Work {
            name: "mailmime/encoded words of a subject",
            prepare: || {
                Box::new(|| {
                    black_box(decode_header_text(black_box(
                        b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?iso-8859-1?B?S/ZsbiE=?=",
                    )));
                })
            },
        },
    ]
}
