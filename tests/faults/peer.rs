//! Another process on the same server and the same rows: this program, started again.
//!
//! It reads orders line by line, and answers each with a line. It ends when its standard input
//! does.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::copies;
use crate::rows::{Mix, Row, Rows, Tally};
use crate::scenarios::locks;

/// Begins the arguments of a peer.
pub(crate) const COMMAND: &str = "peer";

/// Ends the arguments of a peer with longer limits than a program has by default.
const PATIENT: &str = "patient";

/// What a peer is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    Read(Range<u32>),
    Write(Range<u32>),
    Mix(Mix),
    /// Commit an update of each row, and never reach its invalidation. The peer answers when all
    /// of them have committed.
    CommitAndHang(Range<u32>),
    /// Count the rows that are not read as they are now.
    Stuck(Range<u32>),
    /// Take a lock of this ttl, answer with its token, and write for as long as it is held.
    HoldLock(Duration),
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    tally: Tally,
    /// The answer to orders that ask for a number.
    number: u64,
}

/// Another process, as seen from this one.
#[derive(Debug)]
pub(crate) struct Peer(cache_tests::Peer);

impl Peer {
    /// Starts a peer. It lacks the same mechanisms as this process.
    pub(crate) fn start(url: &str, folder: &Path) -> Self {
        Self::launch(url, folder, "")
    }

    /// Starts a peer for scenarios in which the server does not fail.
    pub(crate) fn patient(url: &str, folder: &Path) -> Self {
        Self::launch(url, folder, PATIENT)
    }

    fn launch(url: &str, folder: &Path, limits: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("our own program"));
        command.args([COMMAND, url]).arg(folder).arg(limits);
        if copies::are_kept() {
            command.env(copies::VARIABLE, "1");
        }
        Self(cache_tests::Peer::start(&mut command))
    }

    /// Gives the peer an order, and does not wait.
    pub(crate) fn tell(&mut self, order: &Order) {
        let order = serde_json::to_string(order).expect("plain data");
        self.0.tell(&order);
    }

    /// Waits for the answer: what the peer has counted since it was started.
    pub(crate) fn tally(&mut self) -> Tally {
        self.answer().tally
    }

    /// Waits for the answer to [`Order::Stuck`].
    pub(crate) fn stuck(&mut self) -> u64 {
        self.answer().number
    }

    /// Waits for the answer to [`Order::HoldLock`].
    pub(crate) fn token(&mut self) -> u64 {
        self.answer().number
    }

    /// Stops the peer, until it is told to go on.
    pub(crate) fn stop(&self) {
        self.0.stop();
    }

    /// Has a peer that was stopped go on.
    pub(crate) fn go_on(&self) {
        self.0.go_on();
    }

    /// Ends the peer as `kill -9` does.
    pub(crate) fn kill(self) {
        self.0.kill();
    }

    fn answer(&mut self) -> Answer {
        let line = self.0.answer();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}
/// What the process of a peer does.
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
        // The process that has started this one has ended.
        std::process::exit(0);
    });
    while let Some(order) = orders.recv().await {
        let number = obey(&rows, &url, order).await;
        let answer = Answer {
            tally: rows.tally(),
            number,
        };
        println!("{}", serde_json::to_string(&answer).expect("plain data"));
    }
}

async fn obey(rows: &Arc<Rows>, url: &str, order: Order) -> u64 {
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
        Order::HoldLock(ttl) => return locks::hold(&rows.cache, url, ttl).await,
    }
    0
}
