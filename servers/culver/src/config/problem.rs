//! What is wrong with a configuration: all of it at once, each with its place, its key and what was meant.

use std::{fmt, ops::Range, path::Path};

/// Where a setting, or a mistake, stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// Nobody said anything.
    Default,
    /// In the configuration file, on this line.
    File {
        /// Counted from 1.
        line: usize,
    },
    /// An option of the command line.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "line {line}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A text that settings are read from, and its name.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The file's name as it was given, or `command line`.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
    is_file: bool,
}

impl Document {
    /// A configuration file.
    pub(crate) fn file(path: &Path, text: String) -> Self {
        Self { name: path.display().to_string(), text, is_file: true }
    }

    /// One setting of the command line, as TOML.
    pub(crate) fn command_line(text: String) -> Self {
        Self { name: "command line".to_owned(), text, is_file: false }
    }

    /// Line and column of a byte, counted from 1; columns are characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// The source of what stands at a byte.
    pub(crate) fn source(&self, offset: usize) -> Source {
        if self.is_file { Source::File { line: self.position(offset).0 } } else { Source::CommandLine }
    }

    fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.saturating_sub(1)).unwrap_or_default()
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Severity {
    /// Nothing is served with such a configuration.
    Error,
    /// It works, and probably not as was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// How bad.
    pub(crate) severity: Severity,
    /// `FILE:LINE:COLUMN`, or what else names the place.
    pub(crate) place: String,
    /// The key, as `section.key`; empty where it is no key's.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What was probably meant, or what would be right.
    pub(crate) meant: Option<String>,
    /// The line of the file with a mark under what is meant.
    excerpt: Option<String>,
    order: (usize, usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            write!(f, "\n{excerpt}")?;
        }
        if let Some(meant) = &self.meant {
            write!(f, "\n    = {meant}")?;
        }
        Ok(())
    }
}

impl Problem {
    /// Without the excerpt, for the log.
    pub(crate) fn on_one_line(&self) -> String {
        let short = Self { excerpt: None, meant: None, ..self.clone() };
        match &self.meant {
            Some(meant) => format!("{short}; {meant}"),
            None => short.to_string(),
        }
    }
}

/// What a value or a key is refused with, before its place is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wrong {
    /// What is wrong.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) meant: Option<String>,
    /// Where within the document, if it is not the whole value.
    pub(crate) span: Option<Range<usize>>,
}

impl Wrong {
    /// Without a hint.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), meant: None, span: None }
    }

    /// With what would be right.
    pub(crate) fn meant(mut self, meant: impl Into<String>) -> Self {
        self.meant = Some(meant.into());
        self
    }
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Notes something at a place of a document.
    pub(crate) fn at(&mut self, document: &Document, span: Range<usize>, key: &str, severity: Severity, wrong: Wrong) {
        let span = wrong.span.unwrap_or(span);
        let (line, column) = document.position(span.start);
        let excerpt = document.is_file.then(|| excerpt(document.line(line), column, span.len()));
        let place = if document.is_file { format!("{}:{line}:{column}", document.name) } else { document.name.clone() };
        let (message, meant) = (wrong.message, wrong.meant);
        let key = key.to_owned();
        self.list.push(Problem { severity, place, key, message, meant, excerpt, order: (line, column) });
    }

    /// Notes something that stands nowhere.
    pub(crate) fn nowhere(&mut self, place: &str, key: &str, severity: Severity, wrong: Wrong) {
        let (message, meant) = (wrong.message, wrong.meant);
        let (place, key) = (place.to_owned(), key.to_owned());
        self.list.push(Problem { severity, place, key, message, meant, excerpt: None, order: (0, 0) });
    }

    /// Whether nothing can be served.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// Whether anything was noted of a key.
    pub(crate) fn mention(&self, key: &str) -> bool {
        self.list.iter().any(|problem| problem.key == key)
    }

    /// The errors, without the warnings.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| problem.severity == Severity::Error)
    }

    /// The warnings.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter().filter(|problem| problem.severity == Severity::Warning)
    }

    /// Everything, in the order of the file.
    pub(crate) fn in_order(&self) -> Vec<&Problem> {
        let mut list: Vec<_> = self.list.iter().collect();
        list.sort_by_key(|problem| problem.order);
        list
    }
}

/// Longest part of a line that is shown.
const EXCERPT_LEN_MAX: usize = 160;

/// The line and a mark under it. Control characters are not passed on to a terminal.
fn excerpt(line: &str, column: usize, len: usize) -> String {
    let shown: String = line.chars().take(EXCERPT_LEN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let width = shown.chars().count();
    let indent = (column - 1).min(width);
    let mark = "^".repeat(len.clamp(1, (width - indent).max(1)));
    format!("    {shown}\n    {}{mark}", " ".repeat(indent))
}

/// The candidate that a misspelt word was meant to be, if one is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &str| distance(&word.to_ascii_lowercase(), candidate);
    let (candidate, off) = candidates.into_iter().map(|c| (c, near(c))).min_by_key(|&(_, off)| off)?;
    (off <= (word.chars().count().max(candidate.len()) / 3).max(1)).then_some(candidate)
}

/// Edits between two words: inserted, removed, replaced and swapped letters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["line_len_max", "literal_len_max", "connections_max", "connections_per_user_max"];
        assert_eq!(did_you_mean("line_length_max", keys), Some("line_len_max"));
        assert_eq!(did_you_mean("conections_max", keys), Some("connections_max"));
        assert_eq!(did_you_mean("connectoins_max", keys), Some("connections_max"));
        assert_eq!(did_you_mean("certificate", keys), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn a_problem_shows_its_place() {
        let document = Document::file(Path::new("a.toml"), "one = 1\ntwo = \"ü\" x\n".to_owned());
        let mut problems = Problems::default();
        let at = document.text.find('x').unwrap();
        problems.at(&document, at..at + 1, "two", Severity::Error, Wrong::new("no").meant("yes"));
        assert_eq!(
            problems.in_order()[0].to_string(),
            "a.toml:2:11: error: two: no\n    two = \"ü\" x\n              ^\n    = yes"
        );
    }
}
