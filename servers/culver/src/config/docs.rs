//! `culver config docs`: `docs/configuration.md`, from the tables.

use super::{
    section::Key,
    tables::{self, Documented},
};

const HEAD: &str = "\
# Configuration

This page is written by `culver config docs`; a test holds the two together.

`culver serve --config FILE` reads one file in [TOML](https://toml.io). Without a file everything has its default.
Options of the command line go before the file: `--data`, the listeners (`--imap`, `--lmtp` and so on), and
`--set SECTION.KEY=VALUE` for everything else. `culver config check FILE` tells all that is wrong with a file at once, and
`culver config --config FILE` shows every setting with where it comes from.

On SIGHUP the file is read again. A file with an error changes nothing, and all its errors are logged. The column *changes*
tells when a changed setting takes effect: `at once`; for `new sessions`; or after a `restart`, which the log then names.

## How values are written

| type | written | examples |
|---|---|---|
| size | number and unit, as text: `B`, `KiB`, `MiB`, `GiB` (of 1024), `kB`, `MB`, `GB` (of 1000) | `\"50 MiB\"` |
| time | number and unit, as text: `ms`, `s`, `min`, `h`, `days` | `\"30 min\"` |
| number | a whole number, `_` between digits as one likes | `20_000` |
| path | text; one that is relative begins at `data` | `\"/etc/culver/users\"` |
| path template | a path with `{user}`, `{local}`, `{domain}` or `{home}` in it | `\"/var/mail/{domain}/{local}\"` |
| address | IP address and port, as text | `\"127.0.0.1:1143\"`, `\"[::]:993\"` |
| mode | a file's mode in octal, as text | `\"0660\"` |

";

/// The whole page.
pub(crate) fn docs() -> String {
    let mut out = HEAD.to_owned();
    for section in tables::all() {
        put_section(&mut out, &section);
    }
    out
}

fn put_section(out: &mut String, section: &Documented) {
    let title = match (section.path, section.is_list) {
        ("", _) => "Before the first section".to_owned(),
        (path, true) => format!("`[[{path}]]`"),
        (path, false) => format!("`[{path}]`"),
    };
    out.push_str(&format!("## {title}\n\n{}\n\n", joined(section.doc)));
    out.push_str("| key | type | default | changes | meaning |\n|---|---|---|---|---|\n");
    for Key { name, type_name, default, reload, doc } in &section.keys {
        let (type_name, doc) = (cell(type_name), cell(&joined(doc)));
        out.push_str(&format!("| `{name}` | {type_name} | `{default}` | {} | {doc} |\n", reload.word()));
    }
    out.push('\n');
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
