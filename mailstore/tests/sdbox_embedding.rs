//! The library is one that any program can take: no async runtime comes with it, and the example does what it says.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{path::Path, process::Command};

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    cargo
}

#[test]
fn no_async_runtime_is_in_the_tree() {
    let tree =
        cargo().args(["tree", "-p", "culver-mailstore", "--edges", "normal", "--prefix", "none"]).output().unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("culver-mailindex"), "the tree was not shown: {tree}");
    for runtime in ["tokio", "async-std", "smol ", "futures-executor"] {
        assert!(!tree.lines().any(|line| line.starts_with(runtime)), "{runtime} in {tree}");
    }
}

#[test]
fn the_example_runs() {
    let dir = tempfile::tempdir().unwrap();
    // Built with the tests, so it lies beside them.
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent().and_then(Path::parent).unwrap().join("examples/embed");
    assert!(example.exists(), "{} is not built: run all of the package's tests", example.display());
    for run in 1..=2 {
        let output = Command::new(&example).arg(dir.path().join("mail")).arg("0").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(&format!("appended {run}, ")), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with(") hello")).count(), run, "{text}");
        assert!(text.contains("1 (\\Flagged \\Seen) hello") || run == 1, "{text}");
    }
}
