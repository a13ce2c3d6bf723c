//! Many threads: syncs are shared, nobody is forgotten, two writers do not harm each other.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::common::*;
use mailfs::{DirEntry, File, FileHandle, FileSystem, LockKind, Metadata, OpenMode, RealDisk, Result, Wake, Watch};
use mailindex::engine::{Env, EnvOptions, MailboxIndex};
use mailtypes::Flag;

/// The real disk with syncs that take a while and are counted.
#[derive(Debug)]
struct SlowSyncs {
    disk: RealDisk,
    delay: Duration,
    log_syncs: Arc<AtomicU64>,
    many: AtomicU64,
}

#[derive(Debug)]
struct SlowFile {
    file: FileHandle,
    delay: Duration,
    syncs: Option<Arc<AtomicU64>>,
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.file.write_at(data, offset)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> Result<()> {
        thread::sleep(self.delay);
        if let Some(syncs) = &self.syncs {
            syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
    fn metadata(&self) -> Result<Metadata> {
        self.file.metadata()
    }
    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        self.file.try_lock(kind)
    }
    fn unlock(&self) -> Result<()> {
        self.file.unlock()
    }
    fn try_flock(&self) -> Result<bool> {
        self.file.try_flock()
    }
    fn unflock(&self) -> Result<()> {
        self.file.unflock()
    }
    fn set_permissions(&self, mode: u32, gid: Option<u32>) -> Result<()> {
        self.file.set_permissions(mode, gid)
    }
    fn set_modified(&self, time: std::time::SystemTime) -> Result<()> {
        self.file.set_modified(time)
    }
}

impl SlowSyncs {
    fn new(delay: Duration) -> Arc<Self> {
        Arc::new(Self { disk: RealDisk::new(), delay, log_syncs: Arc::default(), many: AtomicU64::new(0) })
    }
}

impl FileSystem for SlowSyncs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle> {
        let is_log = path.to_string_lossy().contains(".log");
        let syncs = is_log.then(|| Arc::clone(&self.log_syncs));
        Ok(Arc::new(SlowFile { file: self.disk.open(path, mode)?, delay: self.delay, syncs }))
    }
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        self.disk.metadata(path)
    }
    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }
    fn create_dir_as(&self, path: &Path, access: mailfs::Access) -> Result<()> {
        self.disk.create_dir_as(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.rename_new(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.disk.hard_link(from, to)
    }
    fn unlink(&self, path: &Path) -> Result<()> {
        self.disk.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }
    fn sync_many(&self, files: &[FileHandle]) -> Result<()> {
        self.many.fetch_add(1, Ordering::Relaxed);
        thread::sleep(if files.is_empty() { Duration::ZERO } else { self.delay });
        Ok(())
    }
    fn now(&self) -> SystemTime {
        self.disk.now()
    }
    fn monotonic(&self) -> Duration {
        self.disk.monotonic()
    }
    fn sleep(&self, duration: Duration) {
        self.disk.sleep(duration);
    }
    fn random(&self, buf: &mut [u8]) {
        self.disk.random(buf);
    }
    fn watch_dir(&self, path: &Path, wake: Wake) -> Result<Box<dyn Watch>> {
        self.disk.watch_dir(path, wake)
    }
}

#[test]
fn threads_share_syncs() {
    const THREADS: u32 = 32;
    const EACH: u32 = 10;
    let fs = SlowSyncs::new(Duration::from_millis(2));
    let dir = tempfile::tempdir().unwrap();
    let env = Env::new(fs.clone(), EnvOptions::default());
    let index = create(&env, dir.path());
    let uids = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (index, uids) = (&index, &uids);
            scope.spawn(move || {
                for _ in 0..EACH {
                    let uid = save(index, "text").unwrap();
                    assert!(uids.lock().unwrap().insert(uid), "UID {uid} was given twice");
                    assert!(index.state().contains(crate::common::uid(uid)), "acknowledged and not there");
                    if n % 4 == 0 {
                        flag(index, &set(&[uid]), Flag::Seen).unwrap();
                    }
                }
            });
        }
    });
    let commits = u64::from(THREADS * EACH);
    let syncs = fs.log_syncs.load(Ordering::Relaxed);
    println!("{commits} commits, {syncs} syncs of the log");
    assert_eq!(index.state().message_count(), THREADS * EACH);
    assert!(syncs * 4 < commits, "{syncs} syncs for {commits} commits");
}

#[test]
fn callbacks_come_for_all_of_many_mailboxes() {
    const BOXES: usize = 40;
    const EACH: usize = 25;
    let fs = SlowSyncs::new(Duration::from_millis(5));
    let root = tempfile::tempdir().unwrap();
    let env = Env::new(fs.clone(), EnvOptions::default());
    let boxes: Vec<Arc<MailboxIndex>> = (0..BOXES)
        .map(|n| {
            let dir: PathBuf = root.path().join(format!("box{n}"));
            fs.create_dir(&dir, 0o700).unwrap();
            create(&env, &dir)
        })
        .collect();
    let (tell, told) = mpsc::channel();
    let start = Instant::now();
    for _ in 0..EACH {
        for index in &boxes {
            let (completion, _) = begin_save(index, "text").unwrap();
            let tell = tell.clone();
            completion.on_done(move |done| tell.send(done).unwrap());
        }
    }
    drop(tell);
    let mut count = 0;
    while let Ok(done) = told.recv_timeout(Duration::from_secs(60)) {
        done.expect("not lost").expect("committed");
        count += 1;
    }
    println!("{count} commits in {:?}, {} rounds of syncs", start.elapsed(), fs.many.load(Ordering::Relaxed));
    assert_eq!(count, BOXES * EACH);
    for index in &boxes {
        assert_eq!(index.state().message_count() as usize, EACH);
    }
}

#[test]
fn two_processes_worth_of_writers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = || EnvOptions { rotate_len_max: 8192, snapshot_log_len_min: 4096, ..EnvOptions::default() };
    let envs: Vec<Env> = (0..3).map(|_| Env::new(Arc::new(RealDisk::new()), options())).collect();
    create(&envs[0], dir.path());
    let uids = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for (n, env) in envs.iter().enumerate() {
            for _ in 0..3 {
                let (uids, dir) = (&uids, dir.path());
                scope.spawn(move || {
                    let index = open(env, dir).unwrap();
                    for round in 0..40 {
                        let uid = save(&index, "text").unwrap();
                        assert!(uids.lock().unwrap().insert(uid), "UID {uid} was given twice");
                        flag(&index, &set(&[uid]), Flag::Seen).unwrap();
                        if round % 10 == 9 && n == 0 {
                            expunge(&index, &set(&[uid])).unwrap();
                            uids.lock().unwrap().remove(&uid);
                        }
                        index.refresh().unwrap();
                    }
                });
            }
        }
    });
    let state = open(&Env::new(Arc::new(RealDisk::new()), manual()), dir.path()).unwrap().state();
    let expected = uids.into_inner().unwrap();
    let found: BTreeSet<u32> = state.uids().iter().map(mailtypes::Uid::value).collect();
    assert_eq!(found, expected);
    assert_eq!(state.seen_count() as usize, expected.len());
    assert!(state.position().unwrap().file_seq > 2, "not rotated: {:?}", state.position());
}

#[test]
fn a_watch_wakes_for_others_and_freshness_knows() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        Env::new(Arc::new(RealDisk::new()), EnvOptions::default()),
        Env::new(Arc::new(RealDisk::new()), EnvOptions::default()),
    );
    let (mine, others) = (create(&a, dir.path()), open(&b, dir.path()).unwrap());
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let _watch = mine.watch(Arc::new(move || tell.lock().unwrap().send(()).unwrap_or_default())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    save(&others, "new").unwrap();
    while mine.state().message_count() == 0 {
        told.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("woken");
        mine.refresh().unwrap();
    }
    // When the last event has been looked at, a view at this place is known to be fresh.
    let fresh = || {
        mine.refresh().unwrap();
        mine.freshness(mine.log_position().unwrap()) == mailindex::engine::Freshness::Same
    };
    while !fresh() {
        assert!(Instant::now() < deadline, "never fresh");
        thread::sleep(Duration::from_millis(5));
    }
}
