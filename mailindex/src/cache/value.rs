//! Values with a structure of their own: dates and header fields (`docs/formats/cache.md`, "Fields").

/// The value of `date.sent`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SentDate {
    /// Unix seconds.
    pub time: u32,
    /// The zone, minutes east.
    pub zone: i32,
}

impl SentDate {
    /// As stored.
    pub fn encode(self) -> [u8; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (self.time.to_le_bytes(), self.zone.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// `None` if it is not 8 bytes.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let &[a, b, c, d, e, f, g, h] = <&[u8; 8]>::try_from(value).ok()?;
        Some(Self { time: u32::from_le_bytes([a, b, c, d]), zone: i32::from_le_bytes([e, f, g, h]) })
    }
}

/// The value of a header field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeaderValue<'a> {
    /// On which line of the message each of them begins, from 1; empty: the message has no such field.
    pub lines: Vec<u32>,
    /// The lines in file order, names and continuation lines included, each ended by LF.
    pub text: &'a [u8],
}

/// Splits a header field's value; `None` if its line numbers have no end.
pub fn decode_header(value: &[u8]) -> Option<HeaderValue<'_>> {
    let mut lines = Vec::new();
    let mut rest = value;
    while let Some((line, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        match u32::from_le_bytes(*line) {
            0 => return Some(HeaderValue { lines, text: rest }),
            line => lines.push(line),
        }
    }
    value.is_empty().then_some(HeaderValue { lines, text: rest })
}

/// The value for a header field; empty if the message has none.
pub fn encode_header(header: &HeaderValue<'_>) -> Vec<u8> {
    if header.lines.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::with_capacity((header.lines.len() + 1) * 4 + header.text.len());
    header.lines.iter().chain([&0]).for_each(|line| out.extend(line.to_le_bytes()));
    out.extend(header.text);
    out
}
