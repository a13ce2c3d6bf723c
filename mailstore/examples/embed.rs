//! A mail store inside a program: opens (or makes) one, appends a message, lists what is there, and waits for more.
//!
//! `cargo run -p culver-mailstore --example embed -- FOLDER [SECONDS]`

use std::{env, error::Error, sync::mpsc, time::Duration};

use mailstore::{Append, Columns, Store, mailtypes::Flag};

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: embed FOLDER [SECONDS]")?;
    let seconds = env::args().nth(2).map_or(Ok(60), |text| text.parse())?;

    let store = Store::create(folder)?;
    let inbox = store.mailbox("INBOX")?;
    let uid = inbox.append(Append::new(b"Subject: hello\r\n\r\nfrom a program\r\n").flag(Flag::Seen))?.uid;
    println!("appended {uid}, and it is on disk");

    let mut view = inbox.view()?;
    for message in view.messages().with(Columns::envelope()) {
        let message = message?;
        println!("{} ({}) {}", message.uid(), message.flags(), message.envelope()?.subject());
    }
    view.update_one(uid).add(Flag::Flagged).commit()?;

    let (tell, told) = mpsc::channel();
    let _watch = inbox.watch(move || tell.send(()).unwrap_or_default())?;
    while told.recv_timeout(Duration::from_secs(seconds)).is_ok() {
        let changes = view.sync()?;
        println!(
            "{} came, {} changed, {} went",
            changes.appended.count(),
            changes.flags.count(),
            changes.expunged.len()
        );
    }
    Ok(())
}
