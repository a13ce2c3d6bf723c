//! Commands on mailboxes.

use super::cursor::{Cursor, Parsed};
use crate::{
    Command, ErrorKind, Limits, List, ListMailbox, ListReturn, ListSelection, Mailbox, SpecialUse, StatusItem,
    error::Fault, parse::select::select,
};

/// The commands whose first argument is a mailbox or a pattern.
pub(super) fn mailbox_command(name: &[u8], cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    Ok(match name {
        b"SELECT" => {
            let (mailbox, params) = select(cursor, limits)?;
            Command::Select { mailbox, params }
        }
        b"EXAMINE" => {
            let (mailbox, params) = select(cursor, limits)?;
            Command::Examine { mailbox, params }
        }
        b"CREATE" => create(cursor, limits)?,
        b"DELETE" => Command::Delete { mailbox: mailbox(cursor)? },
        b"RENAME" => Command::Rename { from: mailbox(cursor)?, to: mailbox(cursor)? },
        b"SUBSCRIBE" => Command::Subscribe { mailbox: mailbox(cursor)? },
        b"UNSUBSCRIBE" => Command::Unsubscribe { mailbox: mailbox(cursor)? },
        b"LIST" => Command::List(list(cursor, limits)?),
        b"LSUB" => {
            cursor.space()?;
            let reference = ListMailbox::from_wire(cursor.astring()?);
            cursor.space()?;
            Command::Lsub { reference, pattern: ListMailbox::from_wire(cursor.list_mailbox()?) }
        }
        b"STATUS" => {
            let mailbox = mailbox(cursor)?;
            cursor.space()?;
            Command::Status { mailbox, items: status_items(cursor, limits)? }
        }
        _ => return Err(Fault { kind: ErrorKind::UnknownCommand, text: "Unknown command." }),
    })
}

/// SP `mailbox`
pub(super) fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<Mailbox> {
    cursor.space()?;
    Ok(Mailbox::from_wire(cursor.astring()?))
}

/// `create`, with the parameters of RFC 6154.
fn create(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    let mailbox = mailbox(cursor)?;
    let mut uses = Vec::new();
    if cursor.eat(b' ') && cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| {
            if cursor.word()?.as_bytes() != b"USE" {
                return Err(Fault::syntax("Unknown CREATE parameter."));
            }
            cursor.space()?;
            cursor.list(limits.list_items_max, |cursor| {
                let named = special_use(cursor)?;
                if !uses.contains(&named) {
                    uses.push(named);
                }
                Ok(())
            })
        })?;
    }
    Ok(Command::Create { mailbox, uses })
}

/// `use-attr`
fn special_use(cursor: &mut Cursor<'_>) -> Parsed<SpecialUse> {
    cursor.expect(b'\\', "Expected a special use.")?;
    let name = cursor.atom()?;
    let is_it = |known: &SpecialUse| known.name().as_bytes().get(1..).is_some_and(|it| it.eq_ignore_ascii_case(name));
    let known = SpecialUse::ALL.into_iter().find(is_it);
    known.ok_or(Fault { kind: ErrorKind::UnknownUse, text: "Unknown special use." })
}

/// `list` (RFC 5258 §6)
fn list(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<List> {
    cursor.space()?;
    let mut selection = Vec::new();
    let is_extended = cursor.peek() == Some(b'(');
    if is_extended {
        cursor.list(limits.list_items_max, |cursor| {
            selection.push(list_selection(cursor)?);
            Ok(())
        })?;
        cursor.space()?;
    }
    let is_base = |option: &ListSelection| !matches!(option, ListSelection::RecursiveMatch | ListSelection::Remote);
    if selection.contains(&ListSelection::RecursiveMatch) && !selection.iter().any(is_base) {
        return Err(Fault::syntax("RECURSIVEMATCH needs another selection option."));
    }
    let reference = ListMailbox::from_wire(cursor.astring()?);
    cursor.space()?;
    let mut patterns = Vec::new();
    if cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| {
            patterns.push(ListMailbox::from_wire(cursor.list_mailbox()?));
            Ok(())
        })?;
        if patterns.is_empty() {
            return Err(Fault::syntax("Expected a pattern."));
        }
    } else {
        patterns.push(ListMailbox::from_wire(cursor.list_mailbox()?));
    }
    let returns = if cursor.eat(b' ') { list_returns(cursor, limits)? } else { None };
    // Options that are none make it an extended LIST all the same, which returns what it is asked to.
    let returns = returns.or_else(|| (is_extended && selection.is_empty()).then(Vec::new));
    Ok(List { selection, reference, patterns, returns })
}

/// `list-select-opt`
fn list_selection(cursor: &mut Cursor<'_>) -> Parsed<ListSelection> {
    Ok(match cursor.word()?.as_bytes() {
        b"SUBSCRIBED" => ListSelection::Subscribed,
        b"REMOTE" => ListSelection::Remote,
        b"RECURSIVEMATCH" => ListSelection::RecursiveMatch,
        b"SPECIAL-USE" => ListSelection::SpecialUse,
        _ => return Err(Fault::syntax("Unknown LIST selection option.")),
    })
}

/// `list-return-opts`; nothing but spaces is none.
fn list_returns(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Option<Vec<ListReturn>>> {
    if !cursor.peek().is_some_and(|b| b.is_ascii_alphabetic()) {
        return Ok(None);
    }
    if cursor.word()?.as_bytes() != b"RETURN" {
        return Err(Fault::syntax("Expected RETURN."));
    }
    cursor.space()?;
    let mut returns = Vec::new();
    cursor.list(limits.list_items_max, |cursor| {
        returns.push(match cursor.word()?.as_bytes() {
            b"SUBSCRIBED" => ListReturn::Subscribed,
            b"CHILDREN" => ListReturn::Children,
            b"SPECIAL-USE" => ListReturn::SpecialUse,
            b"STATUS" => {
                cursor.space()?;
                ListReturn::Status(status_items(cursor, limits)?)
            }
            _ => return Err(Fault::syntax("Unknown LIST return option.")),
        });
        Ok(())
    })?;
    Ok(Some(returns))
}

/// `(` `status-att`s `)`
fn status_items(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Vec<StatusItem>> {
    let mut items = Vec::new();
    cursor.list(limits.list_items_max, |cursor| {
        let word = cursor.word()?;
        let item = StatusItem::ALL.into_iter().find(|item| item.name().as_bytes() == word.as_bytes());
        items.push(item.ok_or(Fault::syntax("Unknown STATUS item."))?);
        Ok(())
    })?;
    if items.is_empty() { Err(Fault::syntax("Expected a STATUS item.")) } else { Ok(items) }
}
