//! The server's side of IMAP: a client's bytes.

use imap_proto::{
    AppendMessage, Command, CommandError, Decoder, Event, Limits, Mailbox, Tag,
    encode::{self, Literals},
    write,
};

use crate::cuts::ways;

/// An event without a lifetime; chunks of a text are joined, as their sizes depend on the input's.
#[derive(Debug, PartialEq)]
enum Seen {
    Command(Tag, Command),
    Continue,
    AppendStart(Tag, Mailbox),
    AppendMessage(AppendMessage),
    Text(Vec<u8>),
    Other(String),
    Error(CommandError),
}

/// Small enough to be met.
fn limits() -> Limits {
    Limits {
        line_len_max: 4096,
        literal_len_max: 200,
        message_len_max: 500,
        search_depth_max: 20,
        search_keys_max: 50,
        set_ranges_max: 40,
        ..Limits::default()
    }
}

/// Any bytes, split anywhere, give the same events; at most the limits are held; each command that is read encodes to
/// bytes that are read as the same.
pub fn imap_command(data: &[u8]) {
    for rejecting in [false, true] {
        let whole = seen(&[data], rejecting);
        for chunks in ways(data) {
            assert_eq!(seen(&chunks, rejecting), whole, "how the input is cut does not matter");
        }
        if !rejecting {
            whole.iter().for_each(survives);
            appends_survive(&whole);
        }
    }
}

fn seen(chunks: &[&[u8]], rejecting: bool) -> Vec<Seen> {
    let limits = limits();
    let held_max = limits.line_len_max + limits.literal_len_max;
    let mut decoder = Decoder::new(limits);
    let (mut seen, mut asked) = (Vec::new(), 0);
    for chunk in chunks {
        let mut input = *chunk;
        loop {
            let event = decoder.next(&mut input);
            if matches!(event, Ok(Some(Event::Continue | Event::AppendMessage(_)))) {
                asked += 1;
                if rejecting && asked % 3 == 0 {
                    decoder.reject_literal();
                } else {
                    let _ = decoder.accept_literal();
                }
            }
            match &event {
                Ok(Some(Event::Command { command: Command::Idle, .. })) => decoder.begin_idle(),
                Ok(Some(Event::Command { command: Command::Authenticate { .. }, .. })) => decoder.begin_authenticate(),
                _ => {}
            }
            let next = match event {
                Ok(None) => break,
                Ok(Some(Event::Command { tag, command })) => Seen::Command(tag, command),
                Ok(Some(Event::Continue)) => Seen::Continue,
                Ok(Some(Event::AppendStart { tag, mailbox })) => Seen::AppendStart(tag, mailbox),
                Ok(Some(Event::AppendMessage(message))) => Seen::AppendMessage(message),
                Ok(Some(Event::LiteralData(data))) => {
                    assert!(!data.is_empty(), "there is never no text");
                    if let Some(Seen::Text(text)) = seen.last_mut() {
                        text.extend_from_slice(data);
                        continue;
                    }
                    Seen::Text(data.to_vec())
                }
                Ok(Some(other)) => Seen::Other(format!("{other:?}")),
                Err(error) => {
                    let mut out = Vec::new();
                    write::command_error(&mut out, &error);
                    assert!(out.ends_with(b"\r\n"), "an error is answered");
                    Seen::Error(error)
                }
            };
            seen.push(next);
        }
        assert!(input.is_empty(), "the input is used up");
        assert!(decoder.buffered_len() <= held_max, "no more is held than the limits say");
    }
    seen
}

/// A command that was read is written, and read again.
fn survives(seen: &Seen) {
    let Seen::Command(tag, command) = seen else { return };
    for literals in [Literals::Synchronizing, Literals::NonSynchronizing] {
        let encoded = encode::command(tag, command, literals);
        let mut decoder = Decoder::new(Limits::default());
        let mut sent = 0;
        for pause in encoded.pauses {
            let mut input = &encoded.bytes[sent..pause];
            assert_eq!(decoder.next(&mut input), Ok(Some(Event::Continue)), "the server asks where the client waits");
            assert!(decoder.accept_literal(), "the client waits");
            sent = pause;
        }
        let mut input = &encoded.bytes[sent..];
        let again = decoder.next(&mut input);
        let expected = Event::Command { tag: tag.clone(), command: command.clone() };
        assert_eq!(again, Ok(Some(expected)), "a command survives: {}", encoded.bytes.escape_ascii());
        assert!(input.is_empty(), "and nothing is left of it");
    }
}

/// An APPEND that was read whole is written, and read again.
fn appends_survive(seen: &[Seen]) {
    let mut rest = seen;
    while let Some(start) = rest.iter().position(|seen| matches!(seen, Seen::AppendStart(..))) {
        let Some(Seen::AppendStart(tag, mailbox)) = rest.get(start) else { return };
        rest = &rest[start + 1..];
        let end = |seen: &Seen| matches!(seen, Seen::Other(other) if other == "AppendEnd");
        let Some(end) =
            rest.iter().position(|seen| end(seen) || matches!(seen, Seen::Error(_) | Seen::AppendStart(..)))
        else {
            return;
        };
        if !matches!(&rest[end], Seen::Other(_)) || rest[..end].iter().any(|s| *s == Seen::Other("Rejected".into())) {
            continue;
        }
        let mut messages: Vec<(AppendMessage, Vec<u8>)> = Vec::new();
        for seen in &rest[..end] {
            match (seen, messages.last_mut()) {
                (Seen::AppendMessage(message), _) => messages.push((message.clone(), Vec::new())),
                (Seen::Text(more), Some((_, text))) => text.extend_from_slice(more),
                _ => {}
            }
        }
        for (message, text) in &mut messages {
            assert_eq!(message.len, text.len() as u64, "a message's text is as long as announced");
            message.synchronizing = false;
        }
        let given = messages.iter().map(|(message, text)| (message, text.as_slice()));
        let encoded = encode::append(tag, mailbox, given, Literals::NonSynchronizing);
        let again = self::seen(&[&encoded.bytes], false);
        let mut read = again.iter().filter_map(|seen| match seen {
            Seen::AppendMessage(message) => Some(message),
            _ => None,
        });
        assert_eq!(again.first(), Some(&Seen::AppendStart(tag.clone(), mailbox.clone())), "an APPEND survives");
        assert_eq!(again.last(), Some(&Seen::Other("AppendEnd".into())), "an APPEND survives to its end");
        assert!(messages.iter().all(|(message, _)| read.next() == Some(message)), "its messages survive");
    }
}
