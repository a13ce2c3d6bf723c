//! Stopping: one side says so once, any number of tasks hear it.

use std::sync::Arc;

use tokio::sync::watch;

/// Says when to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper {
    sender: Arc<watch::Sender<bool>>,
}

/// Hears when to stop. Cheap to clone; never stops if all its [`Stopper`]s are gone.
#[derive(Clone, Debug)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
}

impl Stopper {
    /// A pair that belongs together.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self { sender: Arc::new(sender) }, Stop { receiver })
    }

    /// One more that hears of it.
    pub fn listen(&self) -> Stop {
        Stop { receiver: self.sender.subscribe() }
    }

    /// Tells everyone to stop. Cannot be taken back.
    pub fn stop(&self) {
        self.sender.send_replace(true);
    }
}

impl Stop {
    /// Whether it is time.
    pub fn is_stopping(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until it is time. May be dropped and called again.
    pub async fn stopping(&mut self) {
        if self.receiver.wait_for(|&stop| stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
