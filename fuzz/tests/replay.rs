//! Every seed and every finding of the fuzzer, replayed: what once broke stays mended.
//!
//! `seeds/<target>/` holds small inputs to begin with, `findings/<target>/` those that made a target panic.

use std::{
    collections::BTreeSet,
    fs, io,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use culver_fuzz::TARGETS;

fn dir(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind)
}

/// The files of a folder in order; none if it is not there.
fn files(dir: &Path) -> Vec<PathBuf> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let mut files: Vec<_> = entries.map(|entry| entry.expect("a folder can be read").path()).collect();
            files.sort();
            files
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => panic!("{}: {e}", dir.display()),
    }
}

#[test]
fn seeds_and_findings_hold() {
    let mut broken = Vec::new();
    for (name, body) in TARGETS {
        let seeds = files(&dir("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has seeds");
        for file in seeds.into_iter().chain(files(&dir("findings").join(name))) {
            let input = fs::read(&file).expect("a seed can be read");
            if catch_unwind(|| body(&input)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break what must hold for any: {broken:#?}");
}

/// A target that is not in the table would never be replayed.
#[test]
fn the_table_has_every_target() {
    let in_table: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let name = |path: &Path| path.file_stem().expect("files have names").to_string_lossy().into_owned();
    let programs: BTreeSet<String> = files(&dir("fuzz_targets")).iter().map(|path| name(path)).collect();
    assert_eq!(in_table, programs, "each target has a program");
    let listed = fs::read_to_string(dir("Cargo.toml")).expect("a manifest");
    for target in &in_table {
        assert!(listed.contains(&format!("\nname = \"{target}\"\n")), "{target} is built");
        assert!(files(&dir("seeds")).iter().any(|path| name(path) == *target), "{target} has seeds");
    }
    let strays: Vec<_> = files(&dir("seeds")).into_iter().chain(files(&dir("findings"))).collect();
    let strays: Vec<_> = strays.iter().filter(|path| path.is_dir() && !in_table.contains(&name(path))).collect();
    assert!(strays.is_empty(), "seeds and findings belong to targets: {strays:?}");
}
