//! THREAD and UID THREAD (RFC 5256), by the store's own threading, in steps.

use std::time::Instant;

use imap_proto::{Tag, Thread as ThreadCommand, write};
use mailstore::{
    Result as StorageResult,
    thread::{Thread, ThreadProgress, ThreadToken, Threads},
};
use mailtypes::{SearchKey, ThreadAlgorithm};

use crate::{
    codes::Target,
    course::Course,
    end::End,
    search::{sync_after, with_saved_result},
    selected::Selected,
    session::Session,
};

impl Session {
    pub(crate) async fn thread(&mut self, tag: &Tag, command: ThreadCommand) -> Result<(), End> {
        let ThreadCommand { uid, algorithm, key } = command;
        let sync = sync_after(uid, &key);
        let mut threaded = self.run_thread(key.clone(), algorithm).await?;
        if let Err(error) = &threaded
            && self.has_followed(error).await?
        {
            threaded = self.run_thread(key, algorithm).await?;
        }
        match threaded {
            Ok(threads) => self.tell_threads(uid, threads).await?,
            Err(error) => return self.storage_error(tag, "THREAD", &error, Target::Other),
        }
        self.finish(tag, sync, "Thread completed.").await
    }

    async fn run_thread(&mut self, key: SearchKey, algorithm: ThreadAlgorithm) -> Result<StorageResult<Threads>, End> {
        let mut course = Course::new(&key, &self.ctx.limits);
        let thread =
            self.here(|selected, _| Thread::new(with_saved_result(key, selected), algorithm, &*selected.view))?;
        let mut thread = match thread {
            Ok(thread) => Box::new(thread),
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let budget = course.budget();
            let step = move |selected: &mut Selected, _: &mut Vec<u8>| {
                let began = Instant::now();
                let progress = thread.step(&*selected.view, budget());
                (thread, progress, began.elapsed())
            };
            let (back, progress, took) = self.on_selected(step).await?;
            thread = back;
            match progress {
                Ok(ThreadProgress::Done) => return Ok(Ok(thread.into_threads())),
                Ok(ThreadProgress::Running) => {}
                Err(error) => return Ok(Err(error)),
            }
            if let Err(error) = self.go_on(&mut course, took).await? {
                return Ok(Err(error));
            }
        }
    }

    /// `* THREAD`, sent in pieces where it is long.
    async fn tell_threads(&mut self, uid: bool, threads: Threads) -> Result<(), End> {
        self.wire.output.extend_from_slice(b"* THREAD");
        // A space is due before the first thread, and between a number and what follows it.
        let mut space = true;
        for token in threads {
            let out = &mut self.wire.output;
            if space && token != ThreadToken::Close {
                out.push(b' ');
            }
            space = false;
            match token {
                ThreadToken::Open => out.push(b'('),
                ThreadToken::Close => out.push(b')'),
                ThreadToken::Message { uid: id, seq } => {
                    write::number(out, if uid { id.value() } else { seq.value() });
                    space = true;
                }
            }
            if self.wire.output.len() >= self.ctx.limits.output_step_len {
                self.wire.flush().await.map_err(End::midway)?;
            }
        }
        self.wire.output.extend_from_slice(b"\r\n");
        Ok(())
    }
}
