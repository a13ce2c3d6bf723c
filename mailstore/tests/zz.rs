#![allow(clippy::unwrap_used, missing_docs)]
#[path = "../../fuzz/src/mbox_store.rs"]
#[allow(unreachable_pub)]
mod mbox_store;
#[test]
fn seeds() {
    for file in std::fs::read_dir("../fuzz/seeds/mbox_store").unwrap() {
        mbox_store::mbox_store(&std::fs::read(file.unwrap().path()).unwrap());
    }
    for file in std::fs::read_dir("../fuzz/seeds/mbox").unwrap() {
        mbox_store::mbox_store(&[&[0x35], &std::fs::read(file.unwrap().path()).unwrap()[..]].concat());
    }
}
