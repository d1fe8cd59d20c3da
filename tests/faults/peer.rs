//! Another process on the same server and the same rows: this program, started again.
//!
//! It is told what to do line by line, and answers each with a line; it ends when
//! nobody is left to tell it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::rows::{Mix, Row, Rows, Tally};

/// Begins the arguments of a peer.
pub(crate) const COMMAND: &str = "peer";

/// Ends the arguments of one with longer limits than a program has by default.
const PATIENT: &str = "patient";

/// What a peer does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    Read(Range<u32>),
    Write(Range<u32>),
    Mix(Mix),
    /// Commit an update of each row, and never get to its invalidation. Nothing is
    /// answered before all of them have committed.
    CommitAndHang(Range<u32>),
    /// Count the rows that are not the newest.
    Stuck(Range<u32>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    tally: Tally,
    stuck: u64,
}

/// Another process, as seen from this one.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it. It lacks the same mechanism as this process.
    pub(crate) fn start(url: &str, folder: &Path) -> Self {
        Self::launch(url, folder, "")
    }

    /// The same, for scenarios in which the server does not fail: a busy machine is not to
    /// look as if it did.
    pub(crate) fn patient(url: &str, folder: &Path) -> Self {
        Self::launch(url, folder, PATIENT)
    }

    fn launch(url: &str, folder: &Path, limits: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("our own program"))
            .args([COMMAND, url])
            .arg(folder)
            .arg(limits)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program starts");
        Self {
            orders: process.stdin.take().expect("it is piped"),
            answers: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
        }
    }

    /// Tells it what to do, and does not wait.
    pub(crate) fn tell(&mut self, order: &Order) {
        let order = serde_json::to_string(order).expect("plain data");
        writeln!(self.orders, "{order}").expect("the peer listens");
    }

    /// Waits for it; what it has seen since it was started.
    pub(crate) fn tally(&mut self) -> Tally {
        self.answer().tally
    }

    /// The same for [`Order::Stuck`].
    pub(crate) fn stuck(&mut self) -> u64 {
        self.answer().stuck
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer speaks");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}
impl Peer {
    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("our own child");
        self.process.wait().expect("our own child");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The peer's own side.
pub(crate) async fn serve(mut arguments: impl Iterator<Item = String>) {
    let url = arguments.next().expect("a URL");
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let cache = if arguments.next().as_deref() == Some(PATIENT) {
        crate::rows::patient(&url)
    } else {
        crate::rows::cache(&url).build().expect("a cache")
    };
    let rows = Rows::new(cache, &folder);
    let (heard, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            let order: Order = serde_json::from_str(&line).expect("an order");
            if heard.send(order).is_err() {
                break;
            }
        }
        // Whoever started this is gone, so nobody waits for what is under way.
        std::process::exit(0);
    });
    while let Some(order) = orders.recv().await {
        let stuck = obey(&rows, order).await;
        let answer = Answer {
            tally: rows.tally(),
            stuck,
        };
        println!("{}", serde_json::to_string(&answer).expect("plain data"));
    }
}

async fn obey(rows: &Arc<Rows>, order: Order) -> u64 {
    match order {
        Order::Read(range) => {
            for row in range {
                rows.read(row).await;
            }
        }
        Order::Write(range) => {
            for row in range {
                rows.write(row).await;
            }
        }
        Order::Mix(mix) => rows.mix(mix).await,
        Order::CommitAndHang(range) => {
            let committed = Arc::new(Semaphore::new(0));
            let count = range.end - range.start;
            for row in range {
                let (rows, committed) = (rows.clone(), committed.clone());
                tokio::spawn(async move { rows.update_and_hang(Row(row), &committed).await });
            }
            committed.acquire_many(count).await.expect("open").forget();
        }
        Order::Stuck(range) => return rows.stuck(range).await,
    }
    0
}
