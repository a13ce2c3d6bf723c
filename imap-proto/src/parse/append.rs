//! APPEND (RFC 9051 §6.3.12, RFC 3502). Its lines are read one by one, as each ends with a message's literal.

use super::{
    chars,
    cursor::{Cursor, Parsed},
    message::flag_list,
};
use crate::{
    AppendMessage, CommandError, FlagList, InvalidDate, Limits, Mailbox, Tag, date, error::Fault, literal::Announcement,
};

/// What a line that announces a literal is to APPEND.
pub(crate) enum AppendLine {
    /// It belongs to another command.
    Other,
    /// The literal is the mailbox's name.
    MailboxLiteral,
    /// The literal is the first message.
    Message(Tag, Mailbox, AppendMessage),
}

/// Reads a command up to the literal that it announces, the announcement not included.
pub(crate) fn append_line(bytes: &[u8], announced: &Announcement, limits: &Limits) -> Result<AppendLine, CommandError> {
    let mut cursor = Cursor::new(bytes);
    let Some(tag) = Tag::new(cursor.take_while(chars::is_tag_char)) else { return Ok(AppendLine::Other) };
    let is_append = cursor.eat(b' ') && cursor.word().is_ok_and(|word| word.as_bytes() == b"APPEND");
    if !(is_append && cursor.eat(b' ')) {
        return Ok(AppendLine::Other);
    }
    if cursor.is_empty() {
        return Ok(AppendLine::MailboxLiteral);
    }
    let rest = |cursor: &mut Cursor<'_>| {
        let mailbox = Mailbox::from_wire(cursor.astring()?);
        Ok((mailbox, append_message(cursor, announced, limits)?))
    };
    match rest(&mut cursor) {
        Ok((mailbox, message)) => Ok(AppendLine::Message(tag, mailbox, message)),
        Err(fault) => Err(Fault::of(fault, Some(tag))),
    }
}

/// `append-message` up to its literal: SP [`flag-list` SP] [`date-time` SP].
pub(crate) fn append_message(
    cursor: &mut Cursor<'_>,
    announced: &Announcement,
    limits: &Limits,
) -> Parsed<AppendMessage> {
    cursor.space()?;
    let mut flags = FlagList::default();
    if cursor.peek() == Some(b'(') {
        flags = flag_list(cursor, limits)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        let text = cursor.quoted()?;
        let invalid = |_: InvalidDate| Fault::syntax("Invalid internal date.");
        date = Some(date::parse_date_time(&text).map_err(invalid)?);
        cursor.space()?;
    }
    if !cursor.is_empty() {
        return Err(Fault::syntax("Invalid APPEND arguments."));
    }
    let &Announcement { len, synchronizing, binary, .. } = announced;
    Ok(AppendMessage { flags, date, len, synchronizing, binary })
}
