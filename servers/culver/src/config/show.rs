//! `culver config`: the effective settings with their sources, as TOML that can be read again.

use super::{
    Config,
    section::{Entry, Section},
    tables::Tls,
};

/// Column at which sources begin.
const SOURCE_COLUMN: usize = 48;

/// All settings.
pub(crate) fn show(config: &Config) -> String {
    let mut out = String::new();
    if let Some(file) = &config.file {
        out.push_str(&format!("# {}\n", file.display()));
    }
    put(&mut out, "", config.general.entries());
    for listener in &config.listeners {
        put(&mut out, "[[listener]]", listener.entries());
    }
    for namespace in &config.namespaces {
        put(&mut out, "[[namespace]]", namespace.entries());
    }
    for (path, entries) in sections(config).into_iter().filter(|(path, _)| !path.is_empty()) {
        put(&mut out, &format!("[{path}]"), entries);
        for name in config.tls_names.iter().filter(|_| path == Tls::PATH) {
            put(&mut out, "[[tls.name]]", name.entries());
        }
    }
    out
}

/// The sections of which there is one, with their entries; the keys before the first section first.
pub(crate) fn sections(config: &Config) -> Vec<(&'static str, Vec<Entry>)> {
    fn of<S: Section>(section: &S) -> (&'static str, Vec<Entry>) {
        (S::PATH, section.entries())
    }
    vec![
        of(&config.general),
        of(&config.storage),
        of(&config.users),
        of(&config.tls),
        of(&config.login),
        of(&config.special_use),
        of(&config.imap),
        of(&config.pop3),
        of(&config.lmtp),
        of(&config.limits),
        of(&config.log),
        of(&config.metrics),
    ]
}

fn put(out: &mut String, header: &str, entries: Vec<Entry>) {
    if !header.is_empty() {
        out.push_str(&format!("\n{header}\n"));
    }
    for Entry { key, value, source } in entries {
        let setting = format!("{} = {value}", key.name);
        out.push_str(&format!("{setting:SOURCE_COLUMN$} # {source}\n"));
    }
}
