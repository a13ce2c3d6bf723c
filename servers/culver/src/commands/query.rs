//! Message sets and search keys in IMAP's words.

use anyhow::{anyhow, bail};
use imap_proto::{Command, Decoder, Event, Limits};
use mailstore::mailtypes::SearchKey;

/// Reads a search key such as `UNSEEN FROM bob`. One argument is a query as it is; of several, those with spaces in them
/// are texts, so that what a shell has unquoted needs no further quotes.
pub(super) fn search_key(arguments: &[String]) -> anyhow::Result<SearchKey> {
    let query = match arguments {
        [] => "ALL".to_owned(),
        [query] => query.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    if query.bytes().any(|byte| byte < b' ') {
        bail!("a query has no control characters");
    }
    let line = format!("a UID SEARCH CHARSET UTF-8 {query}\r\n");
    let wrong = |what: &dyn std::fmt::Display| anyhow!("the query {query:?}: {what}; see IMAP's SEARCH for the words");
    let mut decoder = Decoder::new(Limits::default());
    let mut input = line.as_bytes();
    match decoder.next(&mut input) {
        Ok(Some(Event::Command { command: Command::Search(search), .. })) => Ok(search.key),
        Ok(Some(Event::Continue)) => bail!("the query {query:?}: write texts in quotes, not as literals"),
        Ok(Some(_)) => Err(wrong(&"not understood")),
        Ok(None) => Err(wrong(&"it does not end")),
        Err(error) => Err(wrong(&error)),
    }
}

fn quoted(word: &str) -> String {
    let is_text = !word.is_ascii() || word.contains(' ') || word.is_empty();
    if is_text && !word.starts_with(['"', '(']) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        word.to_owned()
    }
}
