//! A process that has used a cache forks two workers.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, exit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_runtime::{Cache, Event, Lock, LockGuard, cached, key};
use cache_tests::{Peer, RedisServer, patient};
use fork::{Fork, fork};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::database::Database;
use crate::figure::Figure;

/// Begins the arguments of the process that forks.
pub(crate) const COMMAND: &str = "forks";

pub(crate) const STALE: &str = "stale rows";
pub(crate) const LOADS: &str = "loads of rows that both workers read";
pub(crate) const LOCKS: &str = "times that a worker held its parent's lock, or gave it back";

const ROWS: u32 = 20;

/// What a worker and its parent say to each other.
const LOADS_NOW: &str = "loads";
const WATCHES: &str = "watches";
const GO_ON: &str = "go on";
const HELD: &str = "held";
const NOT_HELD: &str = "not held";

/// Longer than the scenario takes.
const LOCKED: Duration = Duration::from_secs(600);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    stale: u64,
    loads: u64,
    locks: u64,
}

pub(crate) fn workers() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let server = RedisServer::start();
    let mut command = Command::new(std::env::current_exe().expect("our own program"));
    command.args([COMMAND, &server.url()]).arg(folder.path());
    let answer = Peer::start(&mut command).answer();
    let seen: Seen = serde_json::from_str(&answer).expect("plain data");
    vec![
        Figure::none(STALE, seen.stale).of(ROWS.into()),
        Figure::at_most(LOADS, seen.loads, ROWS.into()),
        Figure::none(LOCKS, seen.locks).of(3),
    ]
}

/// The process that forks. It has used its cache once before, and taken a lock, on a runtime that has ended by
/// then.
pub(crate) fn serve(mut arguments: impl Iterator<Item = String>) {
    let url = arguments.next().expect("a URL");
    let folder = arguments.next().expect("a folder");
    let rows = Rows::new(&url, Path::new(&folder));
    runtime().block_on(async {
        assert_eq!(rows.find(u32::MAX >> 8).await, Ok(0));
        *rows.guard() = rows.lock().try_lock().await.expect("the server answers");
    });
    let mut one = Worker::start(&rows);
    let mut other = Worker::start(&rows);
    let runtime = runtime();
    let mut seen = Seen::default();
    for worker in [&mut one, &mut other] {
        seen.locks += u64::from(worker.hears() == HELD);
    }
    for row in 0..ROWS {
        seen.stale += u64::from(runtime.block_on(is_stale(&rows, row, &mut one, &mut other)));
    }
    for row in ROWS..ROWS * 2 {
        seen.loads += loads(row, &mut one, &mut other);
    }
    // The workers gave back theirs before they read a row.
    let taken = runtime.block_on(rows.lock().try_lock());
    seen.locks += u64::from(taken.expect("the server answers").is_some());
    println!("{}", serde_json::to_string(&seen).expect("plain data"));
}

/// Both workers load the row, one before an invalidation and the other after it. The first load
/// ends first. Whether the row is then read as it was before the invalidation.
async fn is_stale(rows: &Rows, row: u32, one: &mut Worker, other: &mut Worker) -> bool {
    one.reads(row);
    one.says(LOADS_NOW);
    let version = rows.database.commit(row);
    let invalidated = rows.cache.invalidate([key!("row:<row>")]).await;
    invalidated.expect("the server answers");
    other.reads(row);
    other.says(LOADS_NOW);
    one.goes_on();
    one.says("0");
    other.goes_on();
    other.says(&version.to_string());
    rows.find(row).await != Ok(version)
}

/// One worker reads the row while the other loads it. Returns how often it is loaded.
fn loads(row: u32, one: &mut Worker, other: &mut Worker) -> u64 {
    one.reads(row);
    one.says(LOADS_NOW);
    other.reads(row);
    let does = other.hears();
    one.goes_on();
    one.says("0");
    if does == WATCHES {
        other.says("0");
        return 1;
    }
    assert_eq!(does, LOADS_NOW);
    other.goes_on();
    other.says("0");
    2
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// A forked process, as its parent sees it.
struct Worker(Dialog);

impl Worker {
    /// Forks. The worker reads rows until its parent ends.
    fn start(rows: &Rows) -> Self {
        let (here, there) = UnixStream::pair().expect("a pair of sockets");
        match fork().expect("a second process") {
            Fork::Parent(_) => Self(Dialog::new(here)),
            Fork::Child => {
                drop(here);
                *rows.parent() = Some(Dialog::new(there));
                let runtime = runtime();
                let guard = rows.guard().take().expect("a copy of the parent's");
                rows.says(if guard.is_held() { HELD } else { NOT_HELD });
                runtime.block_on(guard.release()).expect("an answer");
                loop {
                    let Some(order) = rows.hears() else { exit(0) };
                    let row = order.parse().expect("a row");
                    let Ok(version) = runtime.block_on(rows.find(row));
                    rows.says(&version.to_string());
                }
            }
        }
    }

    fn reads(&mut self, row: u32) {
        self.0.say(&row.to_string());
    }

    fn goes_on(&mut self) {
        self.0.say(GO_ON);
    }

    fn hears(&mut self) -> String {
        self.0.hear().expect("the worker lives")
    }

    #[track_caller]
    fn says(&mut self, line: &str) {
        assert_eq!(self.hears(), line);
    }
}

/// The rows, as each of the processes reads them.
struct Rows {
    cache: Cache,
    database: Database,
    /// In a worker: the way to its parent.
    parent: Arc<Mutex<Option<Dialog>>>,
    guard: Mutex<Option<LockGuard>>,
}

impl Rows {
    fn new(url: &str, folder: &Path) -> Self {
        let parent = Arc::<Mutex<Option<Dialog>>>::default();
        let told = parent.clone();
        let tell = move |event: &Event<'_>| {
            if let (Event::Watch { .. }, Some(parent)) = (event, &mut *lock(&told)) {
                parent.say(WATCHES);
            }
        };
        Self {
            cache: patient(url).on_event(tell).build().expect("a cache"),
            database: Database::open(folder),
            parent,
            guard: Mutex::default(),
        }
    }

    fn lock(&self) -> Lock {
        self.cache.lock("rows", LOCKED)
    }

    /// The lock that the parent holds.
    fn guard(&self) -> MutexGuard<'_, Option<LockGuard>> {
        lock(&self.guard)
    }

    /// In a worker, the load reads the row, and ends when the parent says so.
    #[cached(key = "row:<row>", ttl = 600, cache = self.cache)]
    async fn find(&self, row: u32) -> Result<u64, Infallible> {
        let version = self.database.version(row);
        if self.parent().is_some() {
            self.says(LOADS_NOW);
            assert_eq!(self.hears().as_deref(), Some(GO_ON));
        }
        Ok(version)
    }

    fn says(&self, line: &str) {
        self.parent().as_mut().expect("a worker").say(line);
    }

    fn hears(&self) -> Option<String> {
        self.parent().as_mut().expect("a worker").hear()
    }

    fn parent(&self) -> MutexGuard<'_, Option<Dialog>> {
        lock(&self.parent)
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines, from one process to another and back.
struct Dialog {
    says: UnixStream,
    hears: BufReader<UnixStream>,
}

impl Dialog {
    fn new(socket: UnixStream) -> Self {
        Self {
            says: socket.try_clone().expect("a second handle"),
            hears: BufReader::new(socket),
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.says, "{line}").expect("the other process lives");
    }

    /// `None` if the other process has ended.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.hears.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    }
}
