//! Watches on directories: one inotify descriptor and one thread for all, polling where the kernel will not help.
//!
//! # Invariants
//!
//! 1. A listener is in exactly one of `State::by_wd` (the kernel tells) and `State::polled` (woken at every interval).
//! 2. Kernel watches are added and removed under the state's mutex, so a watch cannot vanish below a new listener.
//! 3. Owners are woken without the mutex held: they may watch and unwatch from within.
//! 4. A listener whose directory is gone or renamed is polled from then on, and put under the kernel's watch again as
//!    soon as the path leads to a directory.

use std::{
    collections::HashMap,
    fmt, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::{Errno, write},
};

use crate::{FsError, Result, Wake, Watch};

/// Room for some hundred events in one read.
const EVENT_BUFFER_LEN: usize = 16 * 1024;

const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Number of a listener, never used twice.
type ListenerId = u64;

#[derive(Clone)]
struct Listener {
    path: PathBuf,
    wake: Wake,
}

#[derive(Default)]
struct State {
    next_id: ListenerId,
    by_wd: HashMap<i32, HashMap<ListenerId, Listener>>,
    wd_of: HashMap<ListenerId, i32>,
    polled: HashMap<ListenerId, Listener>,
    /// The kernel's queue could not be read any more.
    kernel_failed: bool,
    kernel_thread: bool,
    poll_thread: bool,
    stopping: bool,
}

/// The kernel's side: the event queue, and a descriptor that ends the thread reading it.
struct Kernel {
    queue: OwnedFd,
    stop: OwnedFd,
}

struct Shared {
    state: Mutex<State>,
    polled_changed: Condvar,
    /// `None` where descriptors or inotify are not to be had: everything is polled.
    kernel: Option<Kernel>,
    poll_interval: Duration,
}

/// All watches of one disk. Ends its threads when the disk and the last watch are gone.
pub(super) struct Watcher {
    shared: Arc<Shared>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Watcher").field("listeners", &state.wd_of.len()).field("polled", &state.polled.len()).finish()
    }
}

struct DirWatch {
    id: ListenerId,
    watcher: Arc<Watcher>,
}

impl fmt::Debug for DirWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirWatch").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Watch for DirWatch {}

impl Drop for DirWatch {
    fn drop(&mut self) {
        self.watcher.shared.remove(self.id);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.state().stopping = true;
        self.shared.polled_changed.notify_all();
        if let Some(kernel) = &self.shared.kernel {
            // A counter above zero in any byte order. Fails only when it is full, and then the thread is awake anyway.
            let _ = write(&kernel.stop, &[1; 8]);
        }
        // Not joined: whoever drops the last watch may hold a lock that a wake, under way just now, is waiting for.
    }
}

impl Watcher {
    pub(super) fn new(poll_interval: Duration) -> Arc<Self> {
        Self::with_kernel(poll_interval, Kernel::open().ok())
    }

    fn with_kernel(poll_interval: Duration, kernel: Option<Kernel>) -> Arc<Self> {
        let state = Mutex::new(State::default());
        Arc::new(Self { shared: Arc::new(Shared { state, polled_changed: Condvar::new(), kernel, poll_interval }) })
    }

    pub(super) fn watch(self: &Arc<Self>, path: &Path, wake: Wake) -> Result<Box<dyn Watch>> {
        let failed = |e| FsError::new("watch", path, e);
        let mut state = self.shared.state();
        let wd = self.shared.kernel_watch(&state, path).map_err(failed)?;
        let id = state.next_id;
        state.next_id += 1;
        state.place(id, Listener { path: path.to_owned(), wake }, wd);
        let started = self.shared.start_threads(&mut state);
        drop(state);
        let watch = DirWatch { id, watcher: Arc::clone(self) };
        started.map_err(failed)?; // which drops the watch
        self.shared.polled_changed.notify_all();
        Ok(Box::new(watch))
    }
}

impl Kernel {
    fn open() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { queue, stop })
    }
}

impl State {
    fn place(&mut self, id: ListenerId, listener: Listener, wd: Option<i32>) {
        match wd {
            Some(wd) => {
                self.by_wd.entry(wd).or_default().insert(id, listener);
                self.wd_of.insert(id, wd);
            }
            None => {
                self.polled.insert(id, listener);
            }
        }
    }

    /// The kernel's watch has ended or follows a directory that has another path now.
    fn lose_wd(&mut self, wd: i32) {
        for (id, listener) in self.by_wd.remove(&wd).unwrap_or_default() {
            self.wd_of.remove(&id);
            self.polled.insert(id, listener);
        }
    }
}

/// What one reading of the queue said.
#[derive(Default)]
struct Happened {
    changed: Vec<i32>,
    lost: Vec<i32>,
    overflow: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: to be polled. The same directory gives the same descriptor, however it is called.
    fn kernel_watch(&self, state: &State, path: &Path) -> io::Result<Option<i32>> {
        let Some(kernel) = self.kernel.as_ref().filter(|_| !state.kernel_failed) else {
            return if std::fs::metadata(path)?.is_dir() { Ok(None) } else { Err(Errno::NOTDIR.into()) };
        };
        loop {
            match inotify::add_watch(&kernel.queue, path, EVENTS) {
                Ok(wd) => return Ok(Some(wd)),
                Err(Errno::INTR) => {}
                Err(Errno::NOSPC | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn start_threads(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if self.kernel.is_some() && !state.kernel_thread {
            let shared = Arc::clone(self);
            spawn("mailfs-watch", move || shared.read_events())?;
            state.kernel_thread = true;
        }
        if !state.polled.is_empty() && !state.poll_thread {
            let shared = Arc::clone(self);
            spawn("mailfs-poll", move || shared.poll_listeners())?;
            state.poll_thread = true;
        }
        Ok(())
    }

    fn remove(&self, id: ListenerId) {
        let mut state = self.state();
        let gone = state.polled.remove(&id);
        if let Some(wd) = state.wd_of.remove(&id)
            && let Some(listeners) = state.by_wd.get_mut(&wd)
        {
            let gone = listeners.remove(&id);
            if listeners.is_empty() {
                state.by_wd.remove(&wd);
                self.forget_wd(wd);
            }
            drop(state);
            drop(gone); // owners' code may run in here
            return;
        }
        drop(state);
        drop(gone);
    }

    fn forget_wd(&self, wd: i32) {
        if let Some(kernel) = &self.kernel {
            // Fails when the directory is gone, and the watch with it.
            let _ = inotify::remove_watch(&kernel.queue, wd);
        }
    }

    /// The thread of the kernel's events.
    fn read_events(self: &Arc<Self>) {
        let Some(kernel) = &self.kernel else { return };
        let mut buffer = [MaybeUninit::uninit(); EVENT_BUFFER_LEN];
        loop {
            let mut fds = [PollFd::new(&kernel.queue, PollFlags::IN), PollFd::new(&kernel.stop, PollFlags::IN)];
            let polled = poll(&mut fds, None);
            if self.state().stopping {
                return;
            }
            match polled {
                Err(Errno::INTR) => continue,
                Err(_) => return self.poll_all(),
                Ok(_) => match read_queue(&kernel.queue, &mut buffer) {
                    Ok(happened) => self.handle_events(&happened),
                    Err(_) => return self.poll_all(),
                },
            }
        }
    }

    fn handle_events(self: &Arc<Self>, happened: &Happened) {
        let mut wakes = Vec::new();
        let mut state = self.state();
        if happened.overflow {
            wakes.extend(state.by_wd.values().flat_map(HashMap::values).map(|l| Arc::clone(&l.wake)));
        } else {
            for listeners in happened.changed.iter().filter_map(|wd| state.by_wd.get(wd)) {
                wakes.extend(listeners.values().map(|l| Arc::clone(&l.wake)));
            }
        }
        for wd in &happened.lost {
            if state.by_wd.contains_key(wd) {
                state.lose_wd(*wd);
                self.forget_wd(*wd);
            }
        }
        self.watch_again(&mut state);
        // Without a thread for it the listener would sleep for ever; waking it now at least tells it of the loss.
        let _ = self.start_threads(&mut state);
        drop(state);
        self.polled_changed.notify_all();
        for wake in wakes {
            wake();
        }
    }

    /// Puts polled listeners under the kernel's watch where that is possible (again).
    fn watch_again(&self, state: &mut State) {
        if self.kernel.is_none() {
            return;
        }
        let ids: Vec<ListenerId> = state.polled.keys().copied().collect();
        for id in ids {
            let found = state.polled.get(&id).and_then(|l| self.kernel_watch(state, &l.path).ok().flatten());
            if let Some(wd) = found
                && let Some(listener) = state.polled.remove(&id)
            {
                state.place(id, listener, Some(wd));
            }
        }
    }

    /// The kernel's queue cannot be read any more: everyone is polled.
    fn poll_all(self: &Arc<Self>) {
        let mut state = self.state();
        state.kernel_failed = true;
        let wds: Vec<i32> = state.by_wd.keys().copied().collect();
        for wd in wds {
            state.lose_wd(wd);
        }
        let _ = self.start_threads(&mut state);
        drop(state);
        self.polled_changed.notify_all();
    }

    /// The thread that wakes what the kernel does not watch, changed or not: looking is cheaper for the owner, who knows
    /// which file counts, than for us.
    fn poll_listeners(self: &Arc<Self>) {
        let mut state = self.state();
        loop {
            if state.stopping {
                return;
            }
            if state.polled.is_empty() {
                state = self.polled_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self
                .polled_changed
                .wait_timeout_while(state, self.poll_interval, |s| !s.stopping)
                .unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if state.stopping {
                return;
            }
            let wakes: Vec<Wake> = state.polled.values().map(|l| Arc::clone(&l.wake)).collect();
            // Before the wakes: a change after this is the kernel's to tell, one before it is found by the owner now.
            self.watch_again(&mut state);
            drop(state);
            for wake in wakes {
                wake();
            }
            state = self.state();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// Empties the queue, each directory told once.
fn read_queue(queue: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<Happened> {
    let mut happened = Happened::default();
    let mut reader = inotify::Reader::new(queue, buffer);
    loop {
        match reader.next() {
            Ok(event) => {
                let flags = event.events();
                happened.overflow |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
                if flags.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
                    happened.lost.push(event.wd());
                }
                happened.changed.push(event.wd());
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(e) => return Err(e.into()),
        }
    }
    happened.changed.sort_unstable();
    happened.changed.dedup();
    Ok(happened)
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsRawFd,
        sync::mpsc::{Receiver, channel},
        time::Instant,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn watch(watcher: &Arc<Watcher>, path: &Path) -> (Box<dyn Watch>, Receiver<()>) {
        let (tx, rx) = channel();
        let wake: Wake = Arc::new(move || tx.send(()).unwrap_or_default());
        (watcher.watch(path, wake).expect("watch"), rx)
    }

    #[test]
    fn without_the_kernel_listeners_are_woken_by_the_interval() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let watcher = Watcher::with_kernel(Duration::from_millis(10), None);
        let start = Instant::now();
        let (watch, rx) = watch(&watcher, temp.path());
        for _ in 0..3 {
            rx.recv_timeout(LONG).expect("polled");
        }
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(watcher.watch(&temp.path().join("none"), Arc::new(|| {})).expect_err("nothing").is_not_found());
        drop(watch);
        while rx.recv_timeout(LONG).is_ok() {} // until the closure is dropped
    }

    #[test]
    fn an_overflow_wakes_everybody() {
        let (a, b) = (tempfile::tempdir().expect("temporary"), tempfile::tempdir().expect("temporary"));
        let watcher = Watcher::new(LONG);
        let ((_a, a_rx), (_b, b_rx)) = (watch(&watcher, a.path()), watch(&watcher, b.path()));
        watcher.shared.handle_events(&Happened { overflow: true, ..Happened::default() });
        a_rx.try_recv().expect("woken");
        b_rx.try_recv().expect("woken");
    }

    #[test]
    fn when_the_queue_fails_everybody_is_polled() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let watcher = Watcher::new(Duration::from_millis(10));
        let (_first, first_rx) = watch(&watcher, temp.path());
        watcher.shared.poll_all();
        let (_second, second_rx) = watch(&watcher, temp.path());
        for rx in [first_rx, second_rx] {
            rx.recv_timeout(LONG).expect("polled");
            rx.recv_timeout(LONG).expect("polled");
        }
        assert!(watcher.shared.state().by_wd.is_empty());
    }

    #[test]
    fn one_directory_has_one_kernel_watch_which_ends_with_the_last_listener() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let watcher = Watcher::new(LONG);
        let (first, _rx) = watch(&watcher, temp.path());
        let (second, _rx2) = watch(&watcher, &temp.path().join("."));
        assert_eq!(watcher.shared.state().by_wd.len(), 1);
        drop(first);
        assert_eq!((watcher.shared.state().by_wd.len(), kernel_watches(&watcher)), (1, 1));
        drop(second);
        assert_eq!(kernel_watches(&watcher), 0);
        let state = watcher.shared.state();
        assert!(state.by_wd.is_empty() && state.wd_of.is_empty());
    }

    fn kernel_watches(watcher: &Watcher) -> usize {
        let queue = &watcher.shared.kernel.as_ref().expect("inotify").queue;
        let info = format!("/proc/self/fdinfo/{}", queue.as_raw_fd());
        std::fs::read_to_string(info).expect("proc").lines().filter(|l| l.starts_with("inotify ")).count()
    }

    #[test]
    fn both_threads_end_with_the_watcher() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let dir = temp.path().join("d");
        std::fs::create_dir(&dir).expect("mkdir");
        let watcher = Watcher::new(Duration::from_millis(10));
        let (watch, rx) = watch(&watcher, &dir);
        std::fs::remove_dir(&dir).expect("rmdir");
        rx.recv_timeout(LONG).expect("woken");
        rx.recv_timeout(LONG).expect("polled");
        let shared = Arc::downgrade(&watcher.shared);
        drop((watch, watcher));
        let start = Instant::now();
        while shared.strong_count() > 0 {
            assert!(start.elapsed() < LONG, "a thread goes on");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
