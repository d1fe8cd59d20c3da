//! The messages on a channel of a server.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

use crate::RedisServer;

/// Counts the messages on a channel, until the server ends.
#[derive(Debug, Clone)]
pub struct Messages(Arc<AtomicU64>);

impl Messages {
    /// Listens from now on.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn on(server: &RedisServer, channel: &str) -> Self {
        let client = redis::Client::open(server.url()).expect("a URL");
        let mut connection = client.get_connection().expect("the server answers");
        let (channel, count) = (channel.to_owned(), Arc::new(AtomicU64::new(0)));
        let counted = count.clone();
        let (listens, begins) = mpsc::channel();
        std::thread::spawn(move || {
            let mut messages = connection.as_pubsub();
            let listening = messages.subscribe(channel);
            listens.send(listening).expect("it is waited for");
            while messages.get_message().is_ok() {
                counted.fetch_add(1, SeqCst);
            }
        });
        let listening = begins.recv().expect("the thread tells");
        listening.expect("the server lets it listen");
        Self(count)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(SeqCst)
    }
}
