//! The scan: bytes in as they come, a [`Structure`] out.
//!
//! The message is read line by line, but a line is never held: only its first bytes, and those only where they decide
//! something (is it a boundary? does the header go on?) and are cut by the end of a [`Scanner::write`]. All else is
//! counted as it passes. Sizes are kept per part; a part's own are added to its parent's body when it ends.
//!
//! Rules that follow Dovecot rather than RFC 2046:
//! - The line end before a boundary line belongs to the boundary. This holds within headers too: a boundary may cut a
//!   header, or come right behind the empty line that ends it, and takes that line end away from the header.
//! - A boundary matches lines of which it is a prefix; of several that match the longest wins, the innermost first.
//! - A multipart that does not say its boundary, or whose header was cut, has no children.

use memchr::memchr;

use crate::content::Content;
use crate::envelope::Envelope;
use crate::header::{Field, unfold_value};
use crate::limits::{Budget, Limits};
use crate::part::{PartFlags, PartIndex, PartTree, Size};
use crate::structure::{Structure, held_for_parts};

/// Boundaries are cut to this length (RFC 2046 allows 70).
const BOUNDARY_LEN_MAX: usize = 80;

/// So many bytes of a line suffice to tell whether it is a boundary: two dashes, the boundary, two dashes, and two more
/// so that a longer line is seen to be longer.
const PROBE_LEN_MAX: usize = 2 + BOUNDARY_LEN_MAX + 2 + 2;

/// A boundary to look for, and the multipart it belongs to.
#[derive(Debug)]
struct Boundary {
    part: PartIndex,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In a header.
    Header,
    /// Behind the empty line of a header: a boundary here would still take that line's end.
    HeaderEnded,
    /// In a body, a preamble or an epilogue.
    Body,
    /// In a boundary line.
    BoundaryLine,
}

/// What the beginning of a line says about boundaries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Probe {
    /// Not enough bytes to say.
    Undecided,
    Plain,
    /// It is the boundary at this place of the stack, the closing one or not.
    Boundary {
        place: usize,
        closes: bool,
    },
}

/// Reads one message. Push the bytes with [`Scanner::write`], in any pieces, then [`Scanner::finish`].
///
/// Line ends may be LF, CRLF or mixed. Memory is bounded by the [`Limits`]; time is linear in the bytes, and for
/// lines beginning with `--` in the number of open multiparts, of which there are at most [`Limits::nesting_max`].
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    budget: Budget,
    state: State,
    /// The next byte is the first of a line, and it has not been decided yet what the line is.
    at_line_start: bool,
    /// First bytes of a line that did not suffice to decide.
    probe: Vec<u8>,
    /// The byte before the next one; LF where a header or a boundary line ended.
    last_byte: u8,
    /// Length of the line end just passed, where a boundary would claim it; else 0.
    newline_len: u64,
    /// The lines so far of the header field being read, to [`Limits::field_len_max`].
    field: Vec<u8>,
    in_field: bool,
    /// The boundary that the header being read announced.
    announced_boundary: Option<Vec<u8>>,
    seen_content_type: bool,
    /// The header being read is that of a multipart whose boundary is on the stack already.
    opened_multipart: bool,
    /// Open multiparts, outermost first.
    boundaries: Vec<Boundary>,
    part: PartIndex,
    depth: usize,
    /// The child that ended last in each open part, by depth.
    last_child: Vec<Option<PartIndex>>,
    tree: PartTree,
    contents: Vec<Content>,
    envelopes: Vec<(PartIndex, Envelope)>,
    date: Option<Vec<u8>>,
    header: Vec<u8>,
}

impl Scanner {
    /// A scan at the beginning of a message.
    #[must_use]
    pub fn new(mut limits: Limits) -> Self {
        limits.nesting_max = limits.nesting_max.min(Limits::NESTING_CEILING);
        Self {
            budget: Budget::new(limits.content_len_max),
            limits,
            state: State::Header,
            at_line_start: true,
            probe: Vec::new(),
            last_byte: b'\n',
            newline_len: 0,
            field: Vec::new(),
            in_field: false,
            announced_boundary: None,
            seen_content_type: false,
            opened_multipart: false,
            boundaries: Vec::new(),
            part: PartIndex::ROOT,
            depth: 0,
            last_child: vec![None],
            tree: PartTree::new(),
            contents: vec![Content::default()],
            envelopes: vec![(PartIndex::ROOT, Envelope::default())],
            date: None,
            header: Vec::new(),
        }
    }

    /// The next bytes of the message.
    pub fn write(&mut self, mut bytes: &[u8]) {
        if !self.probe.is_empty() {
            let mut probe = std::mem::take(&mut self.probe);
            let wanted = PROBE_LEN_MAX.saturating_sub(probe.len()).min(bytes.len());
            let (head, _) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            let head_len = memchr(b'\n', head).map_or(head.len(), |lf| lf + 1);
            let (head, rest) = bytes.split_at_checked(head_len).unwrap_or((bytes, &[]));
            probe.extend_from_slice(head);
            self.run(&probe, false);
            bytes = rest;
        }
        if !bytes.is_empty() {
            self.run(bytes, false);
        }
    }

    /// About how many bytes of memory it holds: what of the headers is kept, and what is known of each part.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let parts = held_for_parts(&self.tree, self.envelopes.len());
        self.header.capacity() + self.field.capacity() + self.content_len() + parts
    }

    /// What was taken of the budget for contents.
    fn content_len(&self) -> usize {
        self.limits.content_len_max.saturating_sub(self.budget.left())
    }

    /// The end of the message.
    #[must_use]
    pub fn finish(mut self) -> Structure {
        let probe = std::mem::take(&mut self.probe);
        self.run(&probe, true);
        self.flush_field();
        while matches!(self.state, State::Header | State::HeaderEnded) {
            self.end_header();
        }
        while self.close_part() {}
        let content_len = self.content_len();
        Structure::new(self.tree, self.contents, self.envelopes, self.date, self.header, content_len)
    }

    /// Takes in `data`. Unless this is the end, what cannot be decided yet goes into the (empty) probe.
    fn run(&mut self, data: &[u8], at_end: bool) {
        let mut pos = 0;
        while let Some(rest) = data.get(pos..).filter(|rest| !rest.is_empty()) {
            if self.at_line_start && !self.begin_line(rest, at_end) {
                self.probe.extend_from_slice(rest);
                return;
            }
            if !self.at_line_start {
                pos += match self.state {
                    State::Header => self.header_bytes(rest),
                    State::HeaderEnded => 0,
                    State::Body => self.body_bytes(rest),
                    State::BoundaryLine => self.boundary_line_bytes(rest),
                };
            }
        }
    }

    /// Decides what the line at the beginning of `rest` is and prepares the state for it, in one step of several
    /// perhaps: while `at_line_start` stays set there is more to decide. False if more bytes are needed.
    fn begin_line(&mut self, rest: &[u8], at_end: bool) -> bool {
        if self.state == State::Header {
            if rest == b"\r" && !at_end {
                return false;
            }
            let continues = self.in_field && matches!(rest.first(), Some(b' ' | b'\t'));
            if !continues {
                self.flush_field();
            }
        }
        let (place, closes) = match self.probe(rest, at_end) {
            Probe::Undecided => return false,
            Probe::Boundary { place, closes } => (place, closes),
            Probe::Plain => {
                if self.state == State::HeaderEnded {
                    self.end_header();
                } else {
                    self.at_line_start = false;
                }
                return true;
            }
        };
        match self.state {
            State::Header | State::HeaderEnded => {
                let own = self.boundaries.get(place).is_some_and(|boundary| boundary.part == self.part);
                if !own {
                    self.return_header_newline();
                }
                self.end_header();
            }
            State::Body | State::BoundaryLine => self.begin_boundary_line(place, closes),
        }
        true
    }

    /// Whether the line at the beginning of `rest` is a boundary of an open multipart.
    fn probe(&mut self, rest: &[u8], at_end: bool) -> Probe {
        if self.boundaries.is_empty() {
            return Probe::Plain;
        }
        let line = match rest {
            [b'-'] if !at_end => return Probe::Undecided,
            [b'-', b'-', line @ ..] => line,
            _ => return Probe::Plain,
        };
        let shown = line.get(..line.len().min(PROBE_LEN_MAX - 2)).unwrap_or_default();
        let lf = memchr(b'\n', shown);
        if lf.is_none() && shown.len() < PROBE_LEN_MAX - 2 && !at_end {
            return Probe::Undecided;
        }
        if self.tree.count() >= self.limits.part_count_max {
            self.tree.part_mut(self.part).flags |= PartFlags::OVERFLOW;
            return Probe::Plain;
        }
        let shown = match lf {
            None => shown,
            Some(lf) => {
                let text = shown.get(..lf).unwrap_or_default();
                text.strip_suffix(b"\r").unwrap_or(text)
            }
        };
        let dashed = lf.is_some() && shown.len() > 2 && shown.ends_with(b"--");
        match find_boundary(&self.boundaries, shown, dashed) {
            None => Probe::Plain,
            Some((place, len)) => {
                let closes = line.get(len..).is_some_and(|rest| rest.starts_with(b"--"));
                Probe::Boundary { place, closes }
            }
        }
    }

    /// A boundary ends the header here: its last line end is the boundary's and so the parent's.
    fn return_header_newline(&mut self) {
        let newline_len = std::mem::take(&mut self.newline_len);
        if newline_len > 0 {
            self.tree.part_mut(self.part).header.remove_newline(newline_len);
            if let Some(parent) = self.tree.parent(self.part) {
                self.tree.part_mut(parent).body.add_newline(newline_len);
            }
        }
    }

    /// The rest of a line of a header, at most to its end.
    fn header_bytes(&mut self, rest: &[u8]) -> usize {
        let line_end = memchr(b'\n', rest);
        let len = line_end.map_or(rest.len(), |lf| lf + 1);
        let bytes = rest.get(..len).unwrap_or_default();
        let ends_header = !self.in_field && matches!(bytes, b"\n" | b"\r\n");
        if ends_header {
            self.open_announced_multipart();
        }
        if self.part == PartIndex::ROOT {
            let room = self.limits.header_len_max.saturating_sub(self.header.len()).min(len);
            self.header.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        let part = self.tree.part_mut(self.part);
        let newline_len = count_bytes(&mut part.header, &mut part.flags, bytes, self.last_byte);
        self.last_byte = bytes.last().copied().unwrap_or_default();
        if ends_header {
            self.state = State::HeaderEnded;
        } else {
            self.in_field = true;
            let room = self.limits.field_len_max.saturating_sub(self.field.len()).min(len);
            self.field.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        if line_end.is_some() {
            self.newline_len = newline_len;
            self.at_line_start = true;
        } else {
            self.newline_len = 0;
        }
        len
    }

    /// At the empty line that ends the header of a multipart: from here on its boundary counts.
    fn open_announced_multipart(&mut self) {
        if !self.tree.part(self.part).flags.has(PartFlags::IS_MIME) {
            return;
        }
        let Some(text) = self.announced_boundary.take() else { return };
        if self.nested_too_deep() {
            let flags = &mut self.tree.part_mut(self.part).flags;
            *flags |= PartFlags::OVERFLOW;
            flags.remove(PartFlags::MULTIPART);
        } else {
            self.boundaries.push(Boundary { part: self.part, text });
            self.opened_multipart = true;
        }
    }

    fn nested_too_deep(&self) -> bool {
        self.depth + 1 >= self.limits.nesting_max
    }

    /// The field whose lines have been collected is complete.
    fn flush_field(&mut self) {
        if !std::mem::take(&mut self.in_field) {
            return;
        }
        let mut raw = std::mem::take(&mut self.field);
        self.read_field(&Field::parse(&raw));
        raw.clear();
        // Keep the allocation for the next field unless it is a monster.
        if raw.capacity() <= 1 << 16 {
            self.field = raw;
        }
    }

    fn read_field(&mut self, field: &Field<'_>) {
        let name = field.name_to_nul();
        if name.eq_ignore_ascii_case(b"Mime-Version") {
            self.tree.part_mut(self.part).flags |= PartFlags::IS_MIME;
        }
        if let Some((prefix, content_name)) = name.split_at_checked(8)
            && prefix.eq_ignore_ascii_case(b"Content-")
            && let Some(content) = self.contents.get_mut(self.part.0)
        {
            let is_type = content_name.eq_ignore_ascii_case(b"type");
            let boundary = content.read_field(content_name, &unfold_value(field.raw_value), &mut self.budget);
            if is_type {
                self.set_type_flags(boundary);
            }
            return;
        }
        if let Some((part, envelope)) = self.envelopes.last_mut()
            && *part == self.part
        {
            let value = unfold_value(field.raw_value);
            if self.part == PartIndex::ROOT && self.date.is_none() && name.eq_ignore_ascii_case(b"Date") {
                self.date = Some(value.to_vec());
            }
            envelope.read_field(name, &value, &mut self.budget);
        }
    }

    fn set_type_flags(&mut self, boundary: Option<Vec<u8>>) {
        let flags = &mut self.tree.part_mut(self.part).flags;
        *flags |= PartFlags::IS_MIME;
        if std::mem::replace(&mut self.seen_content_type, true) {
            return;
        }
        let Some(content) = self.contents.get(self.part.0) else { return };
        let Some((_, sub)) = &content.media_type else { return };
        if content.is_type("message", "rfc822") {
            *flags |= PartFlags::MESSAGE_RFC822;
        } else if content.main_type_is("text") {
            *flags |= PartFlags::TEXT;
        } else if content.main_type_is("multipart") && !sub.is_empty() {
            *flags |= PartFlags::MULTIPART;
            if content.is_type("multipart", "digest") {
                *flags |= PartFlags::MULTIPART_DIGEST;
            }
            self.announced_boundary = boundary.map(|mut text| {
                text.truncate(BOUNDARY_LEN_MAX);
                text
            });
        }
    }

    /// The header is over: by its empty line, a boundary or the end of the message.
    fn end_header(&mut self) {
        let parent_is_digest = self
            .tree
            .parent(self.part)
            .is_some_and(|parent| self.tree.part(parent).flags.has(PartFlags::MULTIPART_DIGEST));
        let flags = &mut self.tree.part_mut(self.part).flags;
        let is_mime = flags.has(PartFlags::IS_MIME);
        if !is_mime {
            // Without MIME fields nothing that Content-* says counts. NULs are no matter of MIME.
            let has_nuls = flags.has(PartFlags::HAS_NULS);
            *flags = if has_nuls { PartFlags::HAS_NULS } else { PartFlags::default() };
            if let Some(content) = self.contents.get_mut(self.part.0) {
                *content = Content::default();
            }
        }
        if !self.seen_content_type || !is_mime {
            *flags |= if parent_is_digest { PartFlags::MESSAGE_RFC822 } else { PartFlags::TEXT };
        }
        self.announced_boundary = None;
        self.seen_content_type = false;
        self.newline_len = 0;
        self.last_byte = b'\n';
        self.at_line_start = true;
        self.state = State::Body;
        if std::mem::take(&mut self.opened_multipart) || !flags.has(PartFlags::MESSAGE_RFC822) {
            return;
        }
        if self.nested_too_deep() || self.tree.count() >= self.limits.part_count_max {
            let flags = &mut self.tree.part_mut(self.part).flags;
            *flags |= PartFlags::OVERFLOW;
            flags.remove(PartFlags::MESSAGE_RFC822);
        } else {
            self.open_part();
            self.envelopes.push((self.part, Envelope::default()));
        }
    }

    /// Begins the next child of the current part with its header.
    fn open_part(&mut self) {
        let header_offset = self.tree.part(self.part).end_offset();
        let previous = self.last_child.last().copied().flatten();
        self.part = self.tree.push(self.part, previous, header_offset);
        if let Some(last) = self.last_child.last_mut() {
            *last = Some(self.part);
        }
        self.last_child.push(None);
        self.contents.push(Content::default());
        self.depth += 1;
        self.state = State::Header;
        self.at_line_start = true;
        self.newline_len = 0;
    }

    /// Ends the current part and goes back to its parent; false if this is the message itself.
    fn close_part(&mut self) -> bool {
        let part = *self.tree.part(self.part);
        let Some(parent) = part.parent else { return false };
        let parent_body = &mut self.tree.part_mut(parent).body;
        parent_body.add(part.header);
        parent_body.add(part.body);
        self.part = parent;
        self.depth = self.depth.saturating_sub(1);
        self.last_child.pop();
        true
    }

    /// Bytes of a body, up to where the next line has to be looked at.
    fn body_bytes(&mut self, rest: &[u8]) -> usize {
        let part = self.tree.part_mut(self.part);
        if self.boundaries.is_empty() {
            count_bytes(&mut part.body, &mut part.flags, rest, self.last_byte);
            self.last_byte = rest.last().copied().unwrap_or_default();
            return rest.len();
        }
        let mut len = rest.len();
        for lf in memchr::memchr_iter(b'\n', rest) {
            if matches!(rest.get(lf + 1), None | Some(b'-')) {
                len = lf + 1;
                self.at_line_start = true;
                break;
            }
        }
        let bytes = rest.get(..len).unwrap_or_default();
        let newline_len = count_bytes(&mut part.body, &mut part.flags, bytes, self.last_byte);
        self.newline_len = if self.at_line_start { newline_len } else { 0 };
        self.last_byte = bytes.last().copied().unwrap_or_default();
        len
    }

    /// A boundary of the multipart at `place` was found: whatever is open within it ends.
    fn begin_boundary_line(&mut self, place: usize, closes: bool) {
        let Some(multipart) = self.boundaries.get(place).map(|boundary| boundary.part) else { return };
        let newline_len = std::mem::take(&mut self.newline_len);
        if newline_len > 0 {
            self.tree.part_mut(self.part).body.remove_newline(newline_len);
        }
        while self.part != multipart && self.close_part() {}
        if newline_len > 0 {
            self.tree.part_mut(self.part).body.add_newline(newline_len);
        }
        self.boundaries.truncate(if closes { place } else { place + 1 });
        self.state = State::BoundaryLine;
        self.at_line_start = false;
    }

    /// The rest of a boundary line; behind it a part begins, or an epilogue.
    fn boundary_line_bytes(&mut self, rest: &[u8]) -> usize {
        let line_end = memchr(b'\n', rest);
        let len = line_end.map_or(rest.len(), |lf| lf + 1);
        let bytes = rest.get(..len).unwrap_or_default();
        let part = self.tree.part_mut(self.part);
        count_bytes(&mut part.body, &mut part.flags, bytes, self.last_byte);
        self.last_byte = bytes.last().copied().unwrap_or_default();
        if line_end.is_some() {
            self.newline_len = 0;
            if self.boundaries.last().is_some_and(|boundary| boundary.part == self.part) {
                self.open_part();
                self.tree.part_mut(self.part).flags |= PartFlags::IS_MIME;
            } else {
                self.state = State::Body;
                self.at_line_start = true;
            }
        }
        len
    }
}

/// Of the boundaries that `line` begins with the longest, the innermost of equals; an innermost exact one at once.
/// Gives its place and length. `dashed`: the line ends with two dashes, which may be part of a boundary or not.
fn find_boundary(boundaries: &[Boundary], line: &[u8], dashed: bool) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for (place, boundary) in boundaries.iter().enumerate().rev() {
        let len = boundary.text.len();
        if line.starts_with(&boundary.text) && best.is_none_or(|(_, best_len)| best_len < len) {
            best = Some((place, len));
            if len == line.len() || (dashed && len + 2 == line.len()) {
                break;
            }
        }
    }
    best
}

/// Adds `bytes` to `size`. Gives the length of the line end that `bytes` end with, 0 if they end within a line.
fn count_bytes(size: &mut Size, flags: &mut PartFlags, bytes: &[u8], last_byte: u8) -> u64 {
    if !flags.has(PartFlags::HAS_NULS) && memchr(0, bytes).is_some() {
        *flags |= PartFlags::HAS_NULS;
    }
    let mut lines = 0u64;
    let mut with_cr = 0u64;
    for lf in memchr::memchr_iter(b'\n', bytes) {
        lines += 1;
        let before = lf.checked_sub(1).and_then(|i| bytes.get(i)).copied().unwrap_or(last_byte);
        with_cr += u64::from(before == b'\r');
    }
    let physical_len = bytes.len() as u64;
    size.add(Size {
        physical_len,
        virtual_len: physical_len + lines - with_cr,
        lines: u32::try_from(lines).unwrap_or(u32::MAX),
    });
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [b'\n'] if last_byte == b'\r' => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}
