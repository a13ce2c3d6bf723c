//! Does one piece of work, or lists all: for `scripts/instructions`, which runs it under callgrind.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its report is its output")]

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        layers::all().iter().for_each(|work| println!("{}", work.name));
        return ExitCode::SUCCESS;
    };
    let Some(work) = layers::all().into_iter().find(|work| work.name == wanted) else {
        eprintln!("there is no work called {wanted:?}");
        return ExitCode::FAILURE;
    };
    let mut run = (work.prepare)();
    // What is made at the first use of anything is not what the work costs.
    run();
    layers::layers_measured(&mut *run);
    ExitCode::SUCCESS
}
