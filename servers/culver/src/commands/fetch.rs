//! `culver fetch`.

use std::io;

use clap::ValueEnum;
use imap_proto::write_date_time;
use mailstore::{
    Body, Column, Columns, Cursor, Row, Rows, ScanBudget, Section, StorageError, View, ViewAs,
    mailmime::{Address, Envelope, decode_header_text},
    mailtypes::UidSet,
    search::search,
};
use serde_json::{Map, Value, json};

use super::{
    output::{Output, OutputArguments, enough, printable},
    query::search_key,
    store::UserStore,
};
use crate::config::arguments::ConfigArguments;

/// Bytes of a message printed at a time.
const PIECE_LEN: usize = 256 << 10;

/// What to show of which messages.
#[derive(clap::Args, Debug)]
pub(crate) struct FetchArguments {
    /// Whose mail.
    user: String,
    /// The mailbox.
    mailbox: String,
    /// Which messages, by IMAP's SEARCH keys, such as `UID 5:9` or `UNSEEN`; all if nothing is said.
    query: Vec<String>,
    /// What to show, separated by commas.
    #[arg(long, value_delimiter = ',', default_values = ["uid", "date", "flags", "size", "from", "subject"])]
    fields: Vec<Field>,
    /// Print the messages as they are, one after the other, and nothing else.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Field {
    Uid,
    Date,
    Flags,
    Size,
    Guid,
    Modseq,
    From,
    To,
    Subject,
    MessageId,
}

/// Prints the messages. None of them becomes seen.
pub(super) fn run(config: &ConfigArguments, arguments: &FetchArguments) -> anyhow::Result<()> {
    let key = search_key(&arguments.query)?;
    let store = UserStore::open(config, &arguments.user)?;
    let mailbox = store.mailbox(&arguments.mailbox)?;
    let view = mailbox.view(&ViewAs::default())?;
    let found = search(key, &*view)?;
    let mut out = arguments.output.open();
    if arguments.raw {
        for uid in found.iter() {
            enough(raw(&mut *view.body(uid)?, &mut out)?)?;
        }
        return out.finish();
    }
    rows(&*view, &found, &arguments.fields, &mut out)?;
    view.flush_cache();
    out.finish()
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Date => "date",
            Self::Flags => "flags",
            Self::Size => "size",
            Self::Guid => "guid",
            Self::Modseq => "modseq",
            Self::From => "from",
            Self::To => "to",
            Self::Subject => "subject",
            Self::MessageId => "message_id",
        }
    }

    fn value(self, row: &Row, rows: &Rows, envelope: &Envelope) -> Value {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(decode_header_text);
        match self {
            Self::Uid => json!(row.uid.value()),
            Self::Date => json!(row.internal_date.map(|date| {
                let mut text = Vec::new();
                write_date_time(&mut text, date);
                String::from_utf8_lossy(&text).into_owned()
            })),
            Self::Flags => {
                let flags = row.flags.iter().map(|flag| flag.name().to_owned());
                json!(flags.chain(rows.keywords(row).iter().map(ToString::to_string)).collect::<Vec<_>>())
            }
            Self::Size => json!(row.size),
            Self::Guid => json!(row.guid.map(|guid| guid.to_string())),
            Self::Modseq => json!(row.modseq.value()),
            Self::From => addresses(&envelope.from),
            Self::To => addresses(&envelope.to),
            Self::Subject => json!(text(&envelope.subject)),
            Self::MessageId => json!(text(&envelope.message_id)),
        }
    }
}

fn addresses(addresses: &[Address]) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let one = |address: &Address| {
        let (mailbox, domain) = (address.mailbox.as_deref()?, address.domain.as_deref()?);
        let address_spec = format!("{}@{}", text(mailbox), text(domain));
        Some(match address.name.as_deref().map(decode_header_text).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} <{address_spec}>"),
            None => address_spec,
        })
    };
    json!(addresses.iter().filter_map(one).collect::<Vec<_>>())
}

fn columns(fields: &[Field]) -> Columns {
    fields.iter().fold(Columns::flags(), |columns, field| match field {
        Field::Uid | Field::Flags | Field::Modseq => columns,
        Field::Date => columns.with(Column::InternalDate),
        Field::Size => columns.with(Column::Size),
        Field::Guid => columns.with(Column::Guid),
        Field::From => columns.with_header("From"),
        Field::To => columns.with_header("To"),
        Field::Subject => columns.with_header("Subject"),
        Field::MessageId => columns.with_header("Message-ID"),
    })
}

fn rows(view: &dyn View, found: &UidSet, fields: &[Field], out: &mut Output) -> anyhow::Result<()> {
    let columns = columns(fields);
    let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        rows.clear();
        at = view.scan(found, cursor, &columns, ScanBudget::default(), &mut rows)?;
        for row in rows.rows.iter().filter(|row| !row.expunged) {
            let lines: Vec<u8> = (0..columns.headers.len()).flat_map(|n| rows.header(row, n)).copied().collect();
            let envelope = Envelope::from_header(&lines);
            let values = fields.iter().map(|field| (field.name().to_owned(), field.value(row, &rows, &envelope)));
            let values: Vec<_> = values.collect();
            let text = || values.iter().map(|(_, value)| words(value)).collect::<Vec<_>>().join("\t");
            enough(out.item(text, || Value::Object(values.iter().cloned().collect::<Map<_, _>>())))?;
        }
    }
    Ok(())
}

/// A value for people.
fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Prints a message as it is; the outer failure is of reading, the inner one of printing.
fn raw(body: &mut dyn Body, out: &mut Output) -> Result<io::Result<()>, StorageError> {
    let (mut buffer, mut offset) = (vec![0; PIECE_LEN], 0);
    loop {
        let read = body.read_at(Section::WHOLE, offset, &mut buffer)?;
        if let Err(error) = out.raw(buffer.get(..read).unwrap_or_default()) {
            return Ok(Err(error));
        }
        if read < buffer.len() {
            return Ok(Ok(()));
        }
        offset += read as u64;
    }
}
