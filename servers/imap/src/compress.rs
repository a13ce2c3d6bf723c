//! COMPRESS=DEFLATE (RFC 4978): the command.

use imap_proto::{Tag, write::Code};

use crate::{end::End, session::Session, sync::Sync};

impl Session {
    pub(crate) async fn compress(&mut self, tag: &Tag, algorithm: &str) -> Result<(), End> {
        if self.state.account().is_none() {
            return self.bad(tag, "Please login first.");
        }
        if algorithm != "DEFLATE" {
            return self.bad(tag, "Unknown compression mechanism.");
        }
        if self.wire.is_compressed() {
            return self.no(tag, Some(Code::CompressionActive), "DEFLATE is active already.");
        }
        self.finish(tag, Sync::ALL, "DEFLATE active.").await?;
        // The answer itself is not compressed; all that follows it is, both ways.
        self.wire.flush().await?;
        self.wire.start_compression();
        Ok(())
    }
}
