//! One command's bytes to a [`Command`]: the grammar of RFC 9051 §9, one function for each production that has
//! something to say. Bounded: recursion in `search` alone, by a limit; allocation by the bytes read.

pub(crate) mod append;
pub(crate) mod chars;
pub(crate) mod cursor;
mod fetch;
mod mailbox;
mod message;
mod search;
mod select;

use self::cursor::{Cursor, Parsed, Word};
use crate::{Atom, Command, CommandError, ErrorKind, InitialResponse, Limits, Secret, Tag, error::Fault};

/// The tag with which these bytes begin, if they do.
pub(crate) fn leading_tag(command: &[u8]) -> Option<Tag> {
    let head = command.get(..=Tag::LEN_MAX).unwrap_or(command);
    Tag::new(Cursor::new(head).take_while(chars::is_tag_char))
}

/// `command`
pub(crate) fn command(bytes: &[u8], limits: &Limits) -> Result<(Tag, Command), CommandError> {
    let mut cursor = Cursor::new(bytes);
    let Some(tag) = Tag::new(cursor.take_while(chars::is_tag_char)) else {
        return Err(Fault::syntax("Expected a tag.").of(None));
    };
    match after_tag(&mut cursor, limits) {
        Ok(command) => Ok((tag, command)),
        Err(fault) => Err(fault.of(Some(tag))),
    }
}

fn after_tag(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    cursor.expect(b' ', "Expected a tag and a command.")?;
    let mut word = cursor.word().map_err(|_| Fault::syntax("Expected a command."))?;
    let uid = word.as_bytes() == b"UID";
    if uid {
        cursor.space()?;
        word = cursor.word()?;
    }
    let command = arguments(&word, uid, cursor, limits)?;
    cursor.end()?;
    Ok(command)
}

fn arguments(word: &Word, uid: bool, cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    Ok(match (uid, word.as_bytes()) {
        (_, b"FETCH") => Command::Fetch(fetch::fetch(cursor, uid, limits)?),
        (_, b"STORE") => Command::Store(message::store(cursor, uid, limits)?),
        (_, b"SEARCH") => Command::Search(search::search(cursor, uid, limits)?),
        (_, b"SORT") => Command::Sort(search::sort(cursor, uid, limits)?),
        (_, b"THREAD") => Command::Thread(search::thread(cursor, uid, limits)?),
        (_, b"COPY") => {
            let (set, mailbox) = message::set_and_mailbox(cursor, limits)?;
            Command::Copy { uid, set, mailbox }
        }
        (_, b"MOVE") => {
            let (set, mailbox) = message::set_and_mailbox(cursor, limits)?;
            Command::Move { uid, set, mailbox }
        }
        (true, b"EXPUNGE") => {
            cursor.space()?;
            Command::UidExpunge { set: cursor.message_set(limits)? }
        }
        (true, _) => {
            return Err(Fault { kind: ErrorKind::UnknownCommand, text: "Unknown UID command." });
        }
        (false, b"EXPUNGE") => Command::Expunge,
        (false, b"NOOP") => Command::Noop,
        (false, b"IDLE") => Command::Idle,
        (false, b"CHECK") => Command::Check,
        (false, b"CLOSE") => Command::Close,
        (false, b"UNSELECT") => Command::Unselect,
        (false, b"LOGOUT") => Command::Logout,
        (false, b"CAPABILITY") => Command::Capability,
        (false, b"STARTTLS") => Command::StartTls,
        (false, b"NAMESPACE") => Command::Namespace,
        (false, b"COMPRESS") => {
            cursor.space()?;
            Command::Compress { algorithm: capitals(cursor)? }
        }
        (false, b"LOGIN") => login(cursor)?,
        (false, b"AUTHENTICATE") => authenticate(cursor)?,
        (false, b"ENABLE") => enable(cursor, limits)?,
        (false, b"ID") => id(cursor, limits)?,
        (false, b"APPEND") => return Err(Fault::syntax("APPEND needs a literal.")),
        (false, name) => return mailbox::mailbox_command(name, cursor, limits),
    })
}

/// `login`
fn login(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let user = cursor.astring()?.into_owned();
    cursor.space()?;
    Ok(Command::Login { user, password: Secret(cursor.astring()?.into_owned()) })
}

/// `authenticate`, with the initial response of RFC 4959.
fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let mechanism = capitals(cursor)?;
    let initial = match cursor.eat(b' ') {
        true => InitialResponse::from_wire(cursor.take_while(InitialResponse::is_wire_char)),
        false => None,
    };
    Ok(Command::Authenticate { mechanism, initial })
}

/// `enable` (RFC 5161)
fn enable(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    cursor.space()?;
    let mut capabilities = vec![capitals(cursor)?];
    while cursor.eat(b' ') {
        if capabilities.len() >= limits.list_items_max {
            return Err(Fault::limit("Too many capabilities."));
        }
        capabilities.push(capitals(cursor)?);
    }
    Ok(Command::Enable { capabilities })
}

/// `id` (RFC 2971)
fn id(cursor: &mut Cursor<'_>, limits: &Limits) -> Parsed<Command> {
    cursor.space()?;
    let mut params = Vec::new();
    if cursor.peek() == Some(b'(') {
        cursor.list(limits.list_items_max, |cursor| {
            let field = cursor.string()?.into_owned();
            cursor.space()?;
            params.push((field, cursor.nstring()?.map(|value| value.into_owned())));
            Ok(())
        })?;
    } else if cursor.nstring()?.is_some() {
        return Err(Fault::syntax("Expected a list or NIL."));
    }
    Ok(Command::Id { params })
}

/// An `atom` whose case does not matter.
fn capitals(cursor: &mut Cursor<'_>) -> Parsed<Atom> {
    Atom::of_bytes(cursor.atom()?).ok_or(Fault::syntax("Expected an atom."))
}
