//! The payload of ATTRIBUTE_UPDATE: which mailbox attributes were set or unset. It only announces; the values live
//! in a dictionary elsewhere.

/// One attribute that changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttributeChange<'a> {
    /// Set; otherwise unset.
    pub set: bool,
    /// Shared between users; otherwise private.
    pub shared: bool,
    /// The attribute's name.
    pub name: &'a [u8],
    /// When, Unix seconds.
    pub timestamp: u32,
    /// Bytes of the value; 0 when unset.
    pub value_len: u32,
}

/// The attributes in one record.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    names: &'a [u8],
    numbers: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// `None` if the names or the numbers do not come out even.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let end = payload.windows(2).position(|pair| pair == [0, 0])?;
        // Up to and including the last name's own NUL; the extra one ends the list.
        let names = payload.get(..=end)?;
        let numbers = payload.get((end + 2).next_multiple_of(4)..)?;
        let all = Self { names, numbers };
        let mut walk = all;
        while walk.next().is_some() {}
        (walk.names.is_empty() && walk.numbers.is_empty()).then_some(all)
    }

    fn split(self) -> Option<(AttributeChange<'a>, Self)> {
        let end = self.names.iter().position(|&b| b == 0)?;
        let (set, shared, name) = match self.names.get(..end)? {
            [action @ (b'+' | b'-'), kind @ (b'p' | b's'), name @ ..] => (*action == b'+', *kind == b's', name),
            _ => return None,
        };
        let names = self.names.get(end + 1..)?;
        let (stamp, mut numbers) = self.numbers.split_first_chunk::<4>()?;
        let mut value_len = [0; 4];
        if set {
            let (len, rest) = numbers.split_first_chunk::<4>()?;
            (value_len, numbers) = (*len, rest);
        }
        let (timestamp, value_len) = (u32::from_le_bytes(*stamp), u32::from_le_bytes(value_len));
        Some((AttributeChange { set, shared, name, timestamp, value_len }, Self { names, numbers }))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = AttributeChange<'a>;
    fn next(&mut self) -> Option<Self::Item> {
        let (change, rest) = self.split()?;
        *self = rest;
        Some(change)
    }
}

/// Appends the payload for these changes.
pub(super) fn encode<'a>(changes: impl Iterator<Item = AttributeChange<'a>> + Clone, out: &mut Vec<u8>) {
    let start = out.len();
    for change in changes.clone() {
        out.extend([if change.set { b'+' } else { b'-' }, if change.shared { b's' } else { b'p' }]);
        out.extend(change.name);
        out.push(0);
    }
    out.push(0);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    for change in changes {
        out.extend(change.timestamp.to_le_bytes());
        if change.set {
            out.extend(change.value_len.to_le_bytes());
        }
    }
}
