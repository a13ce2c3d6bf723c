//! One table for each section: name, type, default, effect of a reload and meaning of each key. Reading, defaults,
//! `culver config` and `docs/configuration.md` all come from it.

use std::{ops::Deref, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::{Document, Problems, Severity, Source, Wrong, did_you_mean},
    value::Value,
};

/// When a changed setting takes effect after SIGHUP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reload {
    /// At once.
    Now,
    /// For sessions that begin afterwards.
    Sessions,
    /// When the program is started again.
    Restart,
}

impl Reload {
    /// For the documentation.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Now => "at once",
            Self::Sessions => "new sessions",
            Self::Restart => "restart",
        }
    }
}

/// What the table says of a key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its name within the section.
    pub(crate) name: &'static str,
    /// Its type's name.
    pub(crate) type_name: String,
    /// Its default, as TOML.
    pub(crate) default: &'static str,
    /// When a change takes effect.
    pub(crate) reload: Reload,
    /// What it means, by line.
    pub(crate) doc: &'static [&'static str],
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What the table says.
    pub(crate) key: Key,
    /// The value as TOML.
    pub(crate) value: String,
    /// Who said so.
    pub(crate) source: Source,
}

/// Where a setting stands: which document, which bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Index among the documents.
    pub(crate) document: usize,
    /// Bytes of the value.
    pub(crate) span: Range<usize>,
}

/// A value and who said so.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T> {
    value: T,
    /// Who said so.
    pub(crate) source: Source,
    /// Where, unless it is a default.
    pub(crate) place: Option<Place>,
}

impl<T> Deref for Setting<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Value> Setting<T> {
    /// From the table.
    pub(crate) fn default_of(toml: &str) -> Self {
        let value = DeValue::parse(toml).expect("the defaults of the tables are TOML; tested");
        let value = T::read(value.get_ref(), value.span()).expect("the defaults of the tables are valid; tested");
        Self { value, source: Source::Default, place: None }
    }

    /// A value that takes the place of a default, and is not shown as anything else.
    pub(crate) fn replace_default(&mut self, value: T) {
        self.value = value;
    }

    /// From a document.
    pub(crate) fn read(value: &Spanned<DeValue<'_>>, documents: &Documents<'_>) -> Result<Self, Wrong> {
        let span = value.span();
        let source = documents.current().source(span.start);
        let place = Some(Place { document: documents.index, span: span.clone() });
        Ok(Self { value: T::read(value.get_ref(), span)?, source, place })
    }
}

/// The documents read so far, the last of which is being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documents<'a> {
    all: &'a [Document],
    index: usize,
}

impl<'a> Documents<'a> {
    /// The one with that index is being read.
    pub(crate) fn new(all: &'a [Document], index: usize) -> Self {
        Self { all, index }
    }

    /// The one that is being read.
    pub(crate) fn current(&self) -> &'a Document {
        &self.all[self.index]
    }
}

/// A section's table.
pub(crate) trait Section: Sized {
    /// Its name in the file, empty for the keys before the first section.
    const PATH: &'static str;
    /// What it is about, by line.
    const DOC: &'static [&'static str];
    /// All of its keys, in order.
    fn keys() -> Vec<Key>;
    /// As it is if nobody says anything.
    fn defaults() -> Self;
    /// Takes one key's value; `None` where there is no such key.
    fn set(&mut self, key: &str, value: &Spanned<DeValue<'_>>, documents: &Documents<'_>) -> Option<Result<(), Wrong>>;
    /// Where a key's value stands; `None` for a default.
    fn place_of(&self, key: &str) -> Option<&Place>;
    /// All keys with their values.
    fn entries(&self) -> Vec<Entry>;

    /// `section.key`.
    fn full_name(key: &str) -> String {
        if Self::PATH.is_empty() { key.to_owned() } else { format!("{}.{key}", Self::PATH) }
    }

    /// Reads a table; keys in `nested` are somebody else's.
    fn read(&mut self, table: &DeTable<'_>, nested: &[&str], documents: &Documents<'_>, problems: &mut Problems) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            if nested.contains(&name) {
                continue;
            }
            let (span, wrong) = match self.set(name, value, documents) {
                Some(Ok(())) => continue,
                Some(Err(wrong)) => (value.span(), wrong),
                None => (key.span(), unknown_key(name, &Self::keys(), nested, Self::PATH)),
            };
            problems.at(documents.current(), span, &Self::full_name(name), Severity::Error, wrong);
        }
    }
}

fn unknown_key(name: &str, keys: &[Key], nested: &[&str], path: &str) -> Wrong {
    let wrong = Wrong::new(if path.is_empty() { "unknown key".to_owned() } else { format!("unknown key in [{path}]") });
    let candidates = keys.iter().map(|key| key.name).chain(nested.iter().copied());
    if let Some(meant) = did_you_mean(name, candidates) {
        return wrong.meant(format!("did you mean {meant:?}?"));
    }
    match super::tables::sections_with(name).first() {
        Some(section) => wrong.meant(format!("there is such a key in [{section}]")),
        None => wrong,
    }
}

/// Makes a section's struct of its table.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident = $path:literal {
            $($(#[doc = $key_doc:literal])+ $key:ident: $type:ty = $default:tt, $reload:ident;)*
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $($(#[doc = $key_doc])+ pub(crate) $key: $crate::config::section::Setting<$type>,)*
        }

        impl $crate::config::section::Section for $name {
            const PATH: &'static str = $path;
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn keys() -> Vec<$crate::config::section::Key> {
                vec![$($crate::config::section::Key {
                    name: stringify!($key),
                    type_name: <$type as $crate::config::value::Value>::type_name(),
                    default: stringify!($default),
                    reload: $crate::config::section::Reload::$reload,
                    doc: &[$($key_doc),+],
                },)*]
            }

            fn defaults() -> Self {
                Self { $($key: $crate::config::section::Setting::default_of(stringify!($default)),)* }
            }

            fn set(
                &mut self,
                key: &str,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                documents: &$crate::config::section::Documents<'_>,
            ) -> Option<Result<(), $crate::config::problem::Wrong>> {
                match key {
                    $(stringify!($key) => {
                        Some($crate::config::section::Setting::read(value, documents).map(|read| self.$key = read))
                    })*
                    _ => None,
                }
            }

            fn place_of(&self, key: &str) -> Option<&$crate::config::section::Place> {
                match key {
                    $(stringify!($key) => self.$key.place.as_ref(),)*
                    _ => None,
                }
            }

            fn entries(&self) -> Vec<$crate::config::section::Entry> {
                let values = [$(($crate::config::value::Value::show(&*self.$key), self.$key.source.clone()),)*];
                let with_value = |(key, (value, source))| $crate::config::section::Entry { key, value, source };
                Self::keys().into_iter().zip(values).map(with_value).collect()
            }
        }
    };
}
pub(crate) use section;
