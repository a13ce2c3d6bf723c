//! DATA and BDAT: a message's bytes, up to the replies for its recipients.

use jiff::Zoned;
use mailstore::Result as StorageResult;

use crate::{
    data::DataDecoder,
    delivery::Delivery,
    headers::Trace,
    reply::Reply,
    session::{Chunks, End, Session},
};

impl Session {
    /// Why no message can come now.
    fn refusal_of_message(&self) -> Option<Reply> {
        if self.envelope.sender.is_none() {
            Some(Reply::MAIL_FIRST)
        } else if self.envelope.recipients.is_empty() {
            Some(Reply::NO_RECIPIENT)
        } else {
            None
        }
    }

    fn begin_delivery(&mut self) -> Delivery {
        self.messages += 1;
        let id = format!("{}:T{}", self.id, self.messages);
        let trace = Trace {
            context: &self.context,
            client_name: self.client_name.as_deref().unwrap_or_default(),
            sender: &self.envelope.sender.clone().unwrap_or_default(),
            utf8: self.envelope.utf8,
            recipient: self.envelope.only_recipient(),
            id: &id,
        };
        let fields = trace.fields(&Zoned::now());
        Delivery::new(&self.context, id, self.envelope.targets.clone(), fields)
    }

    /// DATA (RFC 5321 §4.1.1.4).
    pub(crate) async fn data(&mut self) -> Result<(), End> {
        match self.chunks {
            Chunks::None => {}
            Chunks::Open(_) => return self.refuse(Reply::IN_CHUNKS),
            Chunks::Failed => return self.refuse(Reply::CHUNK_FAILED),
        }
        if let Some(reply) = self.refusal_of_message() {
            return self.refuse(reply);
        }
        self.reply(Reply::GO_AHEAD);
        let mut delivery = self.begin_delivery();
        let mut decoder = DataDecoder::default();
        loop {
            let used = decoder.decode(self.lines.input(), delivery.spool());
            self.lines.consume(used);
            delivery.flush_if_full().await;
            if decoder.is_end() {
                self.deliver(delivery).await;
                return Ok(());
            }
            if delivery.is_far_too_large() {
                return Err(End::Said(Reply::FAR_TOO_LARGE));
            }
            self.lines.fill(self.context.limits.stall_timeout).await?;
        }
    }

    /// BDAT (RFC 3030): a chunk of so many bytes, whatever they are. They are taken off the stream in any case.
    pub(crate) async fn bdat(&mut self, len: u64, last: bool) -> Result<(), End> {
        let delivery = match std::mem::replace(&mut self.chunks, Chunks::Failed) {
            Chunks::Open(delivery) => Ok(delivery),
            Chunks::Failed => Err(Reply::CHUNK_FAILED),
            Chunks::None => match self.refusal_of_message() {
                Some(reply) => {
                    self.chunks = Chunks::None;
                    Err(reply)
                }
                None => Ok(Box::new(self.begin_delivery())),
            },
        };
        let mut delivery = match delivery {
            Ok(delivery) => delivery,
            Err(reply) => {
                self.skip_chunk(len).await?;
                // The rest of a message that a client sent ahead is no error of its own.
                if reply != Reply::CHUNK_FAILED {
                    return self.refuse(reply);
                }
                self.reply(reply);
                return Ok(());
            }
        };
        if delivery.len().saturating_add(len) > self.context.limits.message_len_max {
            // What was written before is forgotten.
            drop(delivery);
            self.skip_chunk(len).await?;
            self.refuse_large_chunk(last);
            return Ok(());
        }
        self.take_chunk(len, &mut delivery).await?;
        if last {
            self.deliver(*delivery).await;
        } else {
            self.reply(Reply::CHUNK_OK);
            self.chunks = Chunks::Open(delivery);
        }
        Ok(())
    }

    /// The last chunk has a reply for each recipient, any other has one.
    fn refuse_large_chunk(&mut self, last: bool) {
        if !last {
            return self.reply(Reply::TOO_LARGE);
        }
        for (address, _) in &self.envelope.recipients {
            Reply::TOO_LARGE.write_for(address, &self.id, &mut self.lines.output);
        }
        self.reset();
    }

    async fn take_chunk(&mut self, mut left: u64, delivery: &mut Delivery) -> Result<(), End> {
        while left > 0 {
            if self.lines.input().is_empty() {
                self.lines.fill(self.context.limits.stall_timeout).await?;
            }
            let input = self.lines.input();
            let piece = input.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(input);
            let len = piece.len();
            delivery.spool().extend_from_slice(piece);
            self.lines.consume(len);
            left -= len as u64;
            delivery.flush_if_full().await;
        }
        Ok(())
    }

    /// Takes a chunk that is refused off the stream. One that would never end ends the session.
    async fn skip_chunk(&mut self, mut left: u64) -> Result<(), End> {
        if left / 2 > self.context.limits.message_len_max {
            return Err(End::Said(Reply::FAR_TOO_LARGE));
        }
        while left > 0 {
            if self.lines.input().is_empty() {
                self.lines.fill(self.context.limits.stall_timeout).await?;
            }
            let len = self.lines.input().len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.lines.consume(len);
            left -= len as u64;
        }
        Ok(())
    }

    /// The message is whole: a reply for each recipient, in the order of RCPT (RFC 2033 §4.2).
    async fn deliver(&mut self, delivery: Delivery) {
        let id = delivery.id().to_owned();
        let outcomes: Option<Vec<StorageResult<()>>> = match delivery.is_too_large() {
            true => None,
            false => Some(delivery.finish().await),
        };
        for (address, target) in &self.envelope.recipients {
            let reply = match outcomes.as_ref().map(|outcomes| outcomes.get(*target)) {
                None => Reply::TOO_LARGE,
                Some(Some(Ok(()))) => Reply::DELIVERED,
                Some(Some(Err(error))) => Reply::for_error(error),
                Some(None) => Reply::TRY_LATER,
            };
            reply.write_for(address, &id, &mut self.lines.output);
        }
        self.reset();
    }
}
