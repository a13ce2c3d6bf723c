//! The types that settings have: how each is written, read and shown.
//!
//! Invariant: what [`Value::show`] writes is TOML that [`Value::read`] takes to the same value; tested for all defaults.

use std::{net::SocketAddr, ops::Range, path::PathBuf, time::Duration};

use toml::de::DeValue;

use super::problem::{Wrong, did_you_mean};

/// A type of settings.
pub(crate) trait Value: Sized {
    /// What it is called in the documentation.
    fn type_name() -> String;
    /// Reads a value; `span` is where it stands.
    fn read(value: &DeValue<'_>, span: Range<usize>) -> Result<Self, Wrong>;
    /// The value as TOML.
    fn show(&self) -> String;
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A span of time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Time(pub(crate) Duration);

/// The mode of a socket's file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mode(pub(crate) u32);

const SIZE_UNITS: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Milliseconds of each unit; the first of a length is the one that is shown.
const TIME_UNITS: [(&str, u64); 14] = [
    ("days", 86_400_000),
    ("day", 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("hours", 3_600_000),
    ("hour", 3_600_000),
    ("min", 60_000),
    ("minutes", 60_000),
    ("minute", 60_000),
    ("m", 60_000),
    ("s", 1_000),
    ("seconds", 1_000),
    ("second", 1_000),
    ("ms", 1),
];

/// Reads `NUMBER UNIT`.
fn amount(text: &str, units: &[(&'static str, u64)], what: &str, example: &str) -> Result<u64, Wrong> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let number: u64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| Wrong::new(format!("{text:?} is no {what}")).meant(format!("write it like {example:?}")))?;
    if unit.is_empty() {
        if number == 0 {
            return Ok(0);
        }
        return Err(Wrong::new(format!("{text:?} lacks a unit")).meant(format!("write it like {example:?}")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let mut names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        let near = names.iter().find(|name| name.eq_ignore_ascii_case(unit)).copied();
        let near = near.or_else(|| did_you_mean(unit, names.iter().copied()));
        names.dedup();
        let meant = match near {
            Some(near) => format!("did you mean \"{number} {near}\"?"),
            None => format!("the units of a {what} are {}", names.join(", ")),
        };
        return Err(Wrong::new(format!("unknown unit {unit:?} of a {what}")).meant(meant));
    };
    number.checked_mul(*factor).ok_or_else(|| Wrong::new(format!("{text:?} is too much")))
}

fn show_amount(number: u64, units: &[(&str, u64)], zero: &str) -> String {
    let unit = units.iter().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    let (unit, factor) = unit.copied().unwrap_or((zero, 1));
    format!("\"{} {unit}\"", number / factor)
}

/// That a value is of another type than it should be.
fn other_type(value: &DeValue<'_>, expected: &str, example: &str) -> Wrong {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Wrong::new(format!("this should be {expected}, and is {found}")).meant(format!("write it like {example}"))
}

fn text_of<'a>(value: &'a DeValue<'_>, expected: &str, example: &str) -> Result<&'a str, Wrong> {
    value.as_str().ok_or_else(|| other_type(value, expected, example))
}

/// A text as TOML.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Value for ByteSize {
    fn type_name() -> String {
        "size".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        if let DeValue::Integer(number) = value {
            let (number, example) = (number.as_str(), "\"50 MiB\"");
            return Err(Wrong::new(format!("{number} lacks a unit")).meant(format!("write a size like {example}")));
        }
        let text = text_of(value, "a size", "\"50 MiB\"")?;
        amount(text, &SIZE_UNITS, "size", "50 MiB").map(Self)
    }
    fn show(&self) -> String {
        let binary = SIZE_UNITS.map(|(name, factor)| if factor.is_power_of_two() { (name, factor) } else { ("", 0) });
        let binary: Vec<_> = binary.into_iter().filter(|(_, factor)| *factor > 0).collect();
        show_amount(self.0, &binary, "B")
    }
}

impl Value for Time {
    fn type_name() -> String {
        "time".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        if let DeValue::Integer(number) = value {
            let (number, example) = (number.as_str(), "\"30 min\"");
            return Err(Wrong::new(format!("{number} lacks a unit")).meant(format!("write a time like {example}")));
        }
        let text = text_of(value, "a time", "\"30 min\"")?;
        amount(text, &TIME_UNITS, "time", "30 min").map(|millis| Self(Duration::from_millis(millis)))
    }
    fn show(&self) -> String {
        show_amount(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS, "s")
    }
}

impl Value for Mode {
    fn type_name() -> String {
        "mode".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let text = text_of(value, "a file's mode in octal, as text", "\"0660\"")?;
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(Wrong::new(format!("{text:?} is no mode")).meant("write it in octal, like \"0660\"")),
        }
    }
    fn show(&self) -> String {
        format!("\"{:04o}\"", self.0)
    }
}

impl Value for bool {
    fn type_name() -> String {
        "true or false".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        value.as_bool().ok_or_else(|| other_type(value, "true or false", "true"))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// How many.
impl Value for usize {
    fn type_name() -> String {
        "number".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let Some(number) = value.as_integer() else { return Err(other_type(value, "a number", "100")) };
        let digits = number.as_str().replace('_', "");
        Self::from_str_radix(&digits, number.radix())
            .map_err(|_| Wrong::new(format!("{digits} is out of range")).meant("it is a whole number from 0 on"))
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn type_name() -> String {
        "text".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let text = text_of(value, "a text", "\"text\"")?;
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(Wrong::new(format!("the text has the control character {c:?}"))),
            None => Ok(text.to_owned()),
        }
    }
    fn show(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    fn type_name() -> String {
        "path".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let text = text_of(value, "a path", "\"/etc/culver/users\"")?;
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::new("this is no path"));
        }
        Ok(Self::from(text))
    }
    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for SocketAddr {
    fn type_name() -> String {
        "address".to_owned()
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let text = text_of(value, "an address with a port", "\"127.0.0.1:143\"")?;
        text.parse().map_err(|_| address_meant(text))
    }
    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

fn address_meant(text: &str) -> Wrong {
    let wrong = Wrong::new(format!("{text:?} is no address with a port"));
    if let Ok(ip) = text.parse::<std::net::IpAddr>() {
        return wrong.meant(format!("did you mean \"{}\"?", SocketAddr::new(ip, 143)));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => wrong.meant(format!("did you mean \"127.0.0.1:{port}\"? Names are not looked up")),
        Some(("*" | "", port)) => wrong.meant(format!("did you mean \"0.0.0.0:{port}\" or \"[::]:{port}\"?")),
        _ => wrong.meant("write it like \"127.0.0.1:143\" or \"[::1]:143\""),
    }
}

/// `""` is nothing.
impl<T: Value> Value for Option<T> {
    fn type_name() -> String {
        format!("{} or \"\"", T::type_name())
    }
    fn read(value: &DeValue<'_>, span: Range<usize>) -> Result<Self, Wrong> {
        if value.as_str() == Some("") {
            return Ok(None);
        }
        T::read(value, span).map(Some)
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".to_owned(), T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }
    fn read(value: &DeValue<'_>, _: Range<usize>) -> Result<Self, Wrong> {
        let Some(items) = value.as_array() else { return Err(other_type(value, "a list", "[\"one\", \"two\"]")) };
        let read = |item: &toml::Spanned<DeValue<'_>>| {
            let span = item.span();
            T::read(item.get_ref(), span.clone()).map_err(|wrong| Wrong { span: wrong.span.or(Some(span)), ..wrong })
        };
        items.iter().map(read).collect()
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }
}

/// An enum whose values are words of the configuration.
macro_rules! choice {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub(crate) enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// As it is written.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::value::Value for $name {
            fn type_name() -> String {
                [$($word),+].map(|word| format!("\"{word}\"")).join(", ")
            }
            fn read(
                value: &toml::de::DeValue<'_>,
                _: std::ops::Range<usize>,
            ) -> Result<Self, $crate::config::problem::Wrong> {
                match $crate::config::value::word_of(value, &[$($word),+])? {
                    $($word => Ok(Self::$variant),)+
                    word => Err($crate::config::problem::Wrong::new(format!("unknown word {word:?}"))),
                }
            }
            fn show(&self) -> String {
                format!("\"{}\"", self.word())
            }
        }
    };
}
pub(crate) use choice;

/// A value that is one of a few words.
pub(crate) fn word_of<'w>(value: &DeValue<'_>, words: &[&'w str]) -> Result<&'w str, Wrong> {
    let list = words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let text = text_of(value, "a word", &list)?;
    words.iter().copied().find(|word| *word == text).ok_or_else(|| {
        let meant = match did_you_mean(text, words.iter().copied()) {
            Some(word) => format!("did you mean {word:?}? It can be {list}"),
            None => format!("it can be {list}"),
        };
        Wrong::new(format!("{text:?} is not possible here")).meant(meant)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Value>(text: &str) -> Result<T, Wrong> {
        let value = DeValue::parse(text).unwrap();
        T::read(value.get_ref(), value.span())
    }

    #[test]
    fn amounts_have_units() {
        for (text, bytes) in [("64 KiB", 65_536), ("50MiB", 52_428_800), ("1 kB", 1_000), ("7 B", 7), ("0", 0)] {
            assert_eq!(read::<ByteSize>(&quoted(text)), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, millis) in [("30 min", 1_800_000), ("100 ms", 100), ("2 days", 172_800_000), ("1_000 s", 1_000_000)]
        {
            assert_eq!(read::<Time>(&quoted(text)), Ok(Time(Duration::from_millis(millis))), "{text}");
        }
        let meant = |text: &str| read::<ByteSize>(text).unwrap_err().meant.unwrap();
        assert_eq!(meant("\"50 mib\""), "did you mean \"50 MiB\"?");
        assert!(meant("50").contains("50 MiB"));
        assert!(meant("\"50\"").contains("50 MiB"));
        assert!(meant("\"5 furlongs\"").contains("units"));
        assert!(read::<ByteSize>("\"99999999999999 GiB\"").unwrap_err().message.contains("too much"));
        assert!(read::<ByteSize>("\"-1 B\"").is_err());
        assert!(read::<Time>("\"1.5 h\"").is_err());
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [0, 1, 1_000, 1_024, 65_536, 50 << 20, (1 << 30) + 1, u64::MAX] {
            assert_eq!(read::<ByteSize>(&ByteSize(bytes).show()), Ok(ByteSize(bytes)));
        }
        for millis in [0, 1, 1_500, 60_000, 86_400_000, 90_000_000] {
            let time = Time(Duration::from_millis(millis));
            assert_eq!(read::<Time>(&time.show()), Ok(time));
        }
        for text in ["", "a \"b\" \\c", "ü"] {
            assert_eq!(read::<String>(&quoted(text)), Ok(text.to_owned()));
        }
        assert_eq!(read::<Mode>(&Mode(0o660).show()), Ok(Mode(0o660)));
        assert_eq!(read::<Vec<usize>>("[1, 2]").unwrap().show(), "[1, 2]");
        assert_eq!(read::<Option<usize>>("\"\""), Ok(None));
    }

    #[test]
    fn addresses_say_what_was_meant() {
        let meant = |text: &str| read::<SocketAddr>(text).unwrap_err().meant.unwrap();
        assert_eq!(meant("\"127.0.0.1\""), "did you mean \"127.0.0.1:143\"?");
        assert!(meant("\"localhost:143\"").starts_with("did you mean \"127.0.0.1:143\"?"));
        assert!(meant("\"*:143\"").contains("0.0.0.0:143"));
    }

    #[test]
    fn a_list_points_at_the_item_that_is_wrong() {
        let wrong = read::<Vec<ByteSize>>("[\"1 B\", 7]").unwrap_err();
        assert_eq!(wrong.span, Some(8..9));
    }
}
