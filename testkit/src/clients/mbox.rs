//! Takes an mbox apart.

/// The messages of an mbox as they are in it, without their `From ` lines and the empty line behind each.
pub fn split_mbox(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty = true;
    for line in mbox.split_inclusive(|&b| b == b'\n') {
        if after_empty && line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            message.extend_from_slice(line);
        }
        after_empty = line == b"\n";
    }
    for message in &mut messages {
        if message.ends_with(b"\n\n") {
            message.pop();
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_from_behind_an_empty_line_begins_a_message() {
        let mbox = b"From a\nSubject: 1\n\nx\nFrom here\n\nFrom b\nSubject: 2\n\ny\n\n";
        let messages = split_mbox(mbox);
        assert_eq!(messages, [b"Subject: 1\n\nx\nFrom here\n".to_vec(), b"Subject: 2\n\ny\n".to_vec()]);
    }
}
