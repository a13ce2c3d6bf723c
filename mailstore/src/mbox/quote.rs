//! Quoting of lines that look like separators, as mboxrd has it: a line of any number of `>` and then `From ` gets one
//! more `>` on its way into the file, and loses one on its way out.

const FROM: &[u8] = b"From ";

/// Where a text is in relation to a line that may have to be changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// At a line's beginning, behind so many `>` that are not passed on yet.
    Marks(usize),
    /// Behind marks and so many bytes of `From `, none of them passed on yet.
    From(usize, usize),
    /// Further on in a line.
    Text,
}

/// What is done with a line that was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Add,
    Take,
}

#[derive(Clone, Debug)]
struct Lines {
    change: Change,
    place: Place,
}

/// Adds marks to a text that is given piece by piece.
#[derive(Clone, Debug)]
pub struct Quoting(Lines);

/// Takes marks off a text that is given piece by piece.
#[derive(Clone, Debug)]
pub struct Unquoting(Lines);

impl Default for Quoting {
    fn default() -> Self {
        Self(Lines { change: Change::Add, place: Place::Marks(0) })
    }
}

impl Default for Unquoting {
    fn default() -> Self {
        Self(Lines { change: Change::Take, place: Place::Marks(0) })
    }
}

impl Quoting {
    /// Passes a piece on, as far as it can be judged.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.0.write(piece, out);
    }

    /// Passes on what was held back.
    pub fn finish(self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

impl Unquoting {
    /// Passes a piece on, as far as it can be judged.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.0.write(piece, out);
    }

    /// Passes on what was held back.
    pub fn finish(self, out: &mut Vec<u8>) {
        self.0.finish(out);
    }
}

impl Lines {
    fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = piece.split_first() {
            match self.place {
                Place::Text => {
                    let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
                    let (line, behind) = piece.split_at(end);
                    out.extend_from_slice(line);
                    if line.ends_with(b"\n") {
                        self.place = Place::Marks(0);
                    }
                    piece = behind;
                }
                Place::Marks(marks) if byte == b'>' => {
                    self.place = Place::Marks(marks + 1);
                    piece = rest;
                }
                Place::Marks(marks) => self.place = Place::From(marks, 0),
                Place::From(marks, matched) if FROM.get(matched) == Some(&byte) => {
                    piece = rest;
                    if matched + 1 < FROM.len() {
                        self.place = Place::From(marks, matched + 1);
                    } else {
                        let marks = match self.change {
                            Change::Add => marks + 1,
                            Change::Take => marks.saturating_sub(1),
                        };
                        pass_on(marks, FROM.len(), out);
                        self.place = Place::Text;
                    }
                }
                Place::From(marks, matched) => {
                    pass_on(marks, matched, out);
                    self.place = Place::Text;
                }
            }
        }
    }

    fn finish(self, out: &mut Vec<u8>) {
        match self.place {
            Place::Marks(marks) => pass_on(marks, 0, out),
            Place::From(marks, matched) => pass_on(marks, matched, out),
            Place::Text => {}
        }
    }
}

fn pass_on(marks: usize, matched: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + marks, b'>');
    out.extend_from_slice(FROM.get(..matched).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut quoting, mut out) = (Quoting::default(), Vec::new());
        pieces.iter().for_each(|piece| quoting.write(piece, &mut out));
        quoting.finish(&mut out);
        out
    }

    #[test]
    fn only_lines_that_could_be_separators_change() {
        let text = b"From a\n>From b\n>>From c\n From d\n> From e\nFrom\nx From y\n>";
        let expect = b">From a\n>>From b\n>>>From c\n From d\n> From e\nFrom\nx From y\n>";
        assert_eq!(quoted(&[text]), expect);
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was_however_it_is_cut(
            lines in proptest::collection::vec("[>]{0,3}(From |Fro|x)?[a>\r]{0,3}", 0..8),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let text = lines.join("\n").into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let quoted = quoted(&pieces);
            prop_assert!(!quoted.starts_with(b"From ") && memchr::memmem::find(&quoted, b"\nFrom ").is_none());
            let (mut unquoting, mut out) = (Unquoting::default(), Vec::new());
            quoted.chunks(3).for_each(|piece| unquoting.write(piece, &mut out));
            unquoting.finish(&mut out);
            prop_assert_eq!(out, text);
        }
    }
}
