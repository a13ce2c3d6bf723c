//! STORE, COPY, MOVE and lists of flags.

use mailtypes::{Flag, InvalidKeyword, Keyword};

use super::{
    cursor::{Cursor, Parsed},
    mailbox::mailbox,
};
use crate::{FlagList, Limits, Mailbox, MessageSet, Store, StoreAction, error::Fault};

/// The arguments of COPY and MOVE.
pub(super) fn set_and_mailbox(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<(MessageSet, Mailbox)> {
    cursor.space()?;
    let set = cursor.message_set(limits)?;
    Ok((set, mailbox(cursor)?))
}

/// `store`, with the modifiers of RFC 4466.
pub(super) fn store(cursor: &mut Cursor<'_>, uid: bool, limits: &Limits) -> Parsed<Store> {
    cursor.space()?;
    let set = cursor.message_set(limits)?;
    cursor.space()?;
    let mut unchanged_since = None;
    if cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| {
            if cursor.word()?.as_bytes() != b"UNCHANGEDSINCE" {
                return Err(Fault::syntax("Unknown STORE modifier."));
            }
            cursor.space()?;
            unchanged_since = Some(cursor.number64()?);
            Ok(())
        })?;
        cursor.space()?;
    }
    let (action, silent) = match cursor.word()?.as_bytes() {
        b"FLAGS" => (StoreAction::Replace, false),
        b"FLAGS.SILENT" => (StoreAction::Replace, true),
        b"+FLAGS" => (StoreAction::Add, false),
        b"+FLAGS.SILENT" => (StoreAction::Add, true),
        b"-FLAGS" => (StoreAction::Remove, false),
        b"-FLAGS.SILENT" => (StoreAction::Remove, true),
        _ => return Err(Fault::syntax("Expected FLAGS, +FLAGS or -FLAGS.")),
    };
    cursor.space()?;
    let flags = store_att_flags(cursor, limits)?;
    Ok(Store { uid, set, unchanged_since, action, silent, flags })
}

/// `flag-list`, or flags without parentheses.
fn store_att_flags(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<FlagList> {
    if cursor.peek() == Some(b'(') {
        return flag_list(cursor, limits);
    }
    let mut flags = FlagList::default();
    flag(cursor, &mut flags)?;
    for _ in 1..limits.flags_max {
        if !(cursor.eat(b' ') && cursor.peek().is_some_and(|b| b > b' ')) {
            return Ok(flags);
        }
        flag(cursor, &mut flags)?;
    }
    cursor.end().map_err(|_| Fault::limit("Too many flags."))?;
    Ok(flags)
}

/// `flag-list`
pub(super) fn flag_list(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<FlagList> {
    let mut flags = FlagList::default();
    cursor.list(limits.flags_max, |cursor| flag(cursor, &mut flags))?;
    Ok(flags)
}

/// `flag`. `\Recent` and flags of later RFCs cannot be stored and are refused.
fn flag(cursor: &mut Cursor<'_>, to: &mut FlagList) -> Parsed<()> {
    const UNKNOWN: Fault = Fault::syntax("Unknown system flag.");
    if cursor.eat(b'\\') {
        let name = cursor.atom()?;
        let is_it = |flag: &Flag| flag.name().as_bytes().get(1..).is_some_and(|it| it.eq_ignore_ascii_case(name));
        let flag = Flag::ALL.into_iter().find(is_it).ok_or(UNKNOWN)?;
        to.flags = to.flags | flag.into();
        return Ok(());
    }
    let keyword = keyword(cursor.take_while(super::chars::is_atom_char))?;
    if !to.keywords.contains(&keyword) {
        to.keywords.push(keyword);
    }
    Ok(())
}

/// `flag-keyword`
pub(super) fn keyword(name: &[u8]) -> Parsed<Keyword> {
    let name = std::str::from_utf8(name).map_err(|_| Fault::syntax("Invalid keyword."))?;
    Keyword::new(name).map_err(|invalid| match invalid {
        InvalidKeyword::Length if !name.is_empty() => Fault::limit("Keyword too long."),
        _ => Fault::syntax("Invalid keyword."),
    })
}
