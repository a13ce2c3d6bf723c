//! FETCH responses, item by item.

use mailtypes::{InternalDate, ModSeq, SeqNum, Uid};

use super::{Response, Token};
use crate::date::parse_date_time;

/// The data of a FETCH response.
#[derive(Clone, Copy, Debug)]
pub struct FetchData<'r> {
    /// The message's sequence number.
    pub seq: SeqNum,
    items: &'r [Token],
}

impl<'r> FetchData<'r> {
    /// `None` for a response that is not a FETCH.
    pub fn of(response: &'r Response) -> Option<Self> {
        let seq = SeqNum::new(response.counted("FETCH")?)?;
        match response {
            Response::Data(tokens) => Some(Self { seq, items: tokens.get(2)?.list()? }),
            _ => None,
        }
    }

    /// Names and values, in the server's order.
    pub fn items(self) -> impl Iterator<Item = (&'r [u8], &'r Token)> {
        self.items.chunks_exact(2).filter_map(|pair| match pair {
            [name, value] => Some((name.bytes()?, value)),
            _ => None,
        })
    }

    /// The value of an item: `ENVELOPE`, `BODY[TEXT]`, `BODY[]<0>`.
    pub fn item(self, name: &str) -> Option<&'r Token> {
        self.items().find(|(item, _)| item.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The bytes of an item that is a string; `None` for NIL too.
    pub fn bytes(self, name: &str) -> Option<&'r [u8]> {
        self.item(name)?.bytes()
    }

    /// `UID`
    pub fn uid(self) -> Option<Uid> {
        Uid::new(u32::try_from(self.item("UID")?.number()?).ok()?)
    }

    /// `FLAGS`: names of flags and keywords.
    pub fn flags(self) -> Option<impl Iterator<Item = &'r [u8]>> {
        Some(self.item("FLAGS")?.list()?.iter().filter_map(Token::bytes))
    }

    /// `RFC822.SIZE`
    pub fn size(self) -> Option<u64> {
        self.item("RFC822.SIZE")?.number()
    }

    /// `INTERNALDATE`
    pub fn internal_date(self) -> Option<InternalDate> {
        parse_date_time(self.bytes("INTERNALDATE")?).ok()
    }

    /// `MODSEQ`
    pub fn mod_seq(self) -> Option<ModSeq> {
        ModSeq::new(self.item("MODSEQ")?.list()?.first()?.number()?)
    }
}
