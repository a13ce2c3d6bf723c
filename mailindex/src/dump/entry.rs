//! One thing found in a file: what, where, and its values in order.

use std::fmt;

use super::Format;

/// A value to print.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(u64),
    Signed(i64),
    Bool(bool),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(&'static str, Value)>),
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Number(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Number(n.into())
    }
}

impl From<u16> for Value {
    fn from(n: u16) -> Self {
        Self::Number(n.into())
    }
}

impl From<u8> for Value {
    fn from(n: u8) -> Self {
        Self::Number(n.into())
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Self::Number(n as u64)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Self::Signed(n.into())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    /// Bytes that are most likely text.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Bytes as hex digits.
    pub(super) fn hex(bytes: &[u8]) -> Self {
        Self::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// One line of a dump.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    kind: &'static str,
    offset: Option<u64>,
    values: Vec<(&'static str, Value)>,
}

/// Where entries go.
pub(super) type Sink<'a> = dyn FnMut(Entry) -> fmt::Result + 'a;

impl Entry {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, offset: None, values: Vec::new() }
    }

    pub(super) fn at(kind: &'static str, offset: impl Into<u64>) -> Self {
        Self { kind, offset: Some(offset.into()), values: Vec::new() }
    }

    /// Says that something is wrong here.
    pub(super) fn problem(offset: impl Into<u64>, what: impl fmt::Display) -> Self {
        Self::at("problem", offset).with("what", what.to_string())
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.values.push((name, value.into()));
        self
    }

    pub(super) fn list(self, name: &'static str, values: impl IntoIterator<Item = Value>) -> Self {
        let values = Value::List(values.into_iter().collect());
        self.with(name, values)
    }

    pub(super) fn write(&self, format: Format, out: &mut impl fmt::Write) -> fmt::Result {
        match format {
            Format::Text => self.write_text(out),
            Format::Json => self.write_json(out),
        }
    }

    fn write_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(out, "{offset:>8}  {}", self.kind)?,
            None => write!(out, "          {}", self.kind)?,
        }
        for (name, value) in &self.values {
            write!(out, " {name}=")?;
            text(value, out)?;
        }
        out.write_char('\n')
    }

    fn write_json(&self, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str("{\"kind\":")?;
        json_string(self.kind, out)?;
        if let Some(offset) = self.offset {
            write!(out, ",\"offset\":{offset}")?;
        }
        for (name, value) in &self.values {
            out.write_char(',')?;
            json_string(name, out)?;
            out.write_char(':')?;
            json(value, out)?;
        }
        out.write_str("}\n")
    }
}

fn separated<T>(
    items: &[T],
    separator: &str,
    out: &mut impl fmt::Write,
    mut write: impl FnMut(&T, &mut dyn fmt::Write) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.write_str(separator)?;
        }
        write(item, out)?;
    }
    Ok(())
}

fn text(value: &Value, mut out: &mut dyn fmt::Write) -> fmt::Result {
    match value {
        Value::Number(n) => write!(out, "{n}"),
        Value::Signed(n) => write!(out, "{n}"),
        Value::Bool(b) => write!(out, "{b}"),
        // Nothing from a file may speak to the terminal.
        Value::Text(s) if s.is_empty() || s.chars().any(|c| c.is_control() || c == ' ' || c == '"') => {
            out.write_char('"')?;
            s.chars().try_for_each(|c| match c {
                '"' => out.write_str("\\\""),
                c if c.is_control() => write!(out, "{}", c.escape_default()),
                c => out.write_char(c),
            })?;
            out.write_char('"')
        }
        Value::Text(s) => out.write_str(s),
        Value::List(list) => separated(list, ",", &mut out, text),
        Value::Object(values) => separated(values, " ", &mut out, |(name, value), out| {
            write!(out, "{name}:")?;
            text(value, out)
        }),
    }
}

fn json(value: &Value, mut out: &mut dyn fmt::Write) -> fmt::Result {
    match value {
        Value::Number(n) => write!(out, "{n}"),
        Value::Signed(n) => write!(out, "{n}"),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Text(s) => json_string(s, &mut out),
        Value::List(list) => {
            out.write_char('[')?;
            separated(list, ",", &mut out, json)?;
            out.write_char(']')
        }
        Value::Object(values) => {
            out.write_char('{')?;
            separated(values, ",", &mut out, |(name, value), mut out| {
                json_string(name, &mut out)?;
                out.write_char(':')?;
                json(value, out)
            })?;
            out.write_char('}')
        }
    }
}

/// RFC 8259 §7.
fn json_string(s: &str, out: &mut impl fmt::Write) -> fmt::Result {
    out.write_char('"')?;
    for c in s.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() && (c as u32) < 0x1_0000 => write!(out, "\\u{:04x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}
