//! Every name below a folder, links not followed.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// With what each is, in no order.
pub fn names_below(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let (mut all, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let there = fs::symlink_metadata(&path).unwrap();
            if there.is_dir() {
                open.push(path.clone());
            }
            all.push((path, there));
        }
    }
    all
}
