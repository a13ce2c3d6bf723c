//! The short forms of `interop hostile` (`docs/hostile-clients.md`): bounds of memory, answers, and that everybody else is
//! served meanwhile.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and tells its figures")]

use std::path::Path;

use testkit::interop::{
    StoreFormat,
    hostile::{self, Scale},
};

fn withstands(name: &str, format: StoreFormat) {
    let case = hostile::cases().into_iter().find(|case| case.name == name).unwrap();
    let figures = hostile::run(Path::new(env!("CARGO_BIN_EXE_culver")), &case, format, Scale::Short);
    println!("{}", figures.unwrap_or_else(|error| panic!("{error:#}")));
}

macro_rules! cases {
    ($($test:ident: $name:literal),+ $(,)?) => {
        $(#[test] fn $test() { withstands($name, StoreFormat::Sdbox); })+

        #[test]
        fn every_case_has_its_short_form() {
            let tested = [$($name),+];
            let names: Vec<_> = hostile::cases().iter().map(|case| case.name).collect();
            assert_eq!(names, tested);
        }
    };
}

cases! {
    connections: "connections",
    connections_beyond_the_limit: "connections-beyond",
    failed_logins: "failed-logins",
    slow_readers: "slow-readers",
    slow_writers: "slow-writers",
    pipelines: "pipelines",
    literals_announced: "literals-announced",
    literals_begun: "literals-begun",
    compress_bombs: "compress-bombs",
    search: "search",
    sort_and_thread: "sort-thread",
    mime_parts: "mime-parts",
    mime_nesting: "mime-nesting",
    headers: "headers",
    pop3: "pop3",
    lmtp: "lmtp",
}

/// Those that have to do with how mail lies, on Maildir.
#[test]
fn on_maildir() {
    for name in ["literals-begun", "slow-readers", "search", "mime-parts", "lmtp"] {
        withstands(name, StoreFormat::Maildir);
    }
}
