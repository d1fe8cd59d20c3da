//! Scans, as streams.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;
use std::vec;

use futures_core::Stream;
use futures_util::stream;

use super::{Argument, Command, FromReply, Raw, Reply};
use crate::clock;
use crate::error::Error;
use crate::tier::shared::ScannedServers;

/// A stream of what a scan finds, from [`Raw::scan`] and [`Raw::scan_of`].
///
/// It asks the server for the next page when it is polled and the page before it was yielded. So it has one
/// page in memory, of about [`count`](Self::count) elements, and between two pages the server answers its other
/// callers. In a cluster it goes from node to node.
///
/// # What it promises
///
/// * What is there from the beginning of the scan to its end is yielded.
/// * What is added or removed meanwhile may be yielded, or not.
/// * An element may be yielded more than once.
///
/// # Errors
///
/// An error ends the stream: the next element is `None`. It is an error if the server fails, also if it is
/// restarted or replaced while it is scanned, or if hash slots move from node to node meanwhile
/// ([`Error::is_unavailable`]): elements would be missing.
///
/// # Cancellation
///
/// It may be dropped at any time.
#[must_use = "streams do nothing unless polled"]
pub struct Scan<T> {
    state: State<T>,
}

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

enum State<T> {
    Unbegun {
        raw: Raw,
        command: Command,
        is_gentle: bool,
    },
    Begun(Pages<T>),
    Ended,
}

/// What is left of a scan.
struct Rest<T> {
    raw: Raw,
    command: Command,
    servers: Option<ScannedServers>,
    /// `None` before the first page of a server; 0 after its last.
    cursor: Option<Vec<u8>>,
    page: vec::IntoIter<T>,
    is_gentle: bool,
}

impl<T> Scan<T> {
    pub(super) fn new(raw: Raw, command: Command) -> Self {
        let state = State::Unbegun {
            raw,
            command,
            is_gentle: false,
        };
        Self { state }
    }

    /// Pauses after each page for as long as it has taken, so that the server has as much time for its other
    /// callers.
    pub(in crate::toolkit) fn gently(mut self) -> Self {
        if let State::Unbegun { is_gentle, .. } = &mut self.state {
            *is_gentle = true;
        }
        self
    }

    /// Has the server look at about so many elements for each page; its default is 10. A larger page takes
    /// fewer round trips and more time of the server at once: 1,000 take it about a millisecond. To be called
    /// before the stream is polled.
    ///
    /// ```
    /// # fn show(raw: &cache_runtime::raw::Raw) {
    /// let keys = raw.scan("user:*").count(1_000);
    /// # drop(keys); }
    /// ```
    pub fn count(self, count: usize) -> Self {
        self.with("COUNT", count.max(1))
    }

    fn with(mut self, name: &str, option: impl Argument) -> Self {
        if let State::Unbegun { command, .. } = &mut self.state {
            *command = command.clone().arg(name).arg(option);
        }
        self
    }
}

impl Scan<String> {
    /// Yields the keys as bytes, for keys that may be no text.
    ///
    /// ```
    /// # fn show(raw: &cache_runtime::raw::Raw) {
    /// let keys: cache_runtime::raw::Scan<Vec<u8>> = raw.scan("*").bytes();
    /// # drop(keys); }
    /// ```
    pub fn bytes(self) -> Scan<Vec<u8>> {
        let state = match self.state {
            State::Unbegun {
                raw,
                command,
                is_gentle,
            } => State::Unbegun {
                raw,
                command,
                is_gentle,
            },
            // It yields texts already.
            State::Begun(_) | State::Ended => State::Ended,
        };
        Scan { state }
    }
}

impl<T: FromReply + Send + 'static> Stream for Scan<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let state = &mut self.get_mut().state;
        if let State::Unbegun {
            raw,
            command,
            is_gentle,
        } = state
        {
            let rest = Rest {
                raw: raw.clone(),
                command: command.clone(),
                servers: None,
                cursor: None,
                page: Vec::new().into_iter(),
                is_gentle: *is_gentle,
            };
            *state = State::Begun(Box::pin(stream::try_unfold(rest, next)));
        }
        let State::Begun(pages) = state else {
            return Poll::Ready(None);
        };
        let polled = pages.as_mut().poll_next(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            *state = State::Ended;
        }
        polled
    }
}

/// The next element, if there is one.
async fn next<T: FromReply>(mut rest: Rest<T>) -> Result<Option<(T, Rest<T>)>, Error> {
    loop {
        if let Some(element) = rest.page.next() {
            return Ok(Some((element, rest)));
        }
        let began = Instant::now();
        let asked = rest.ask().await;
        let goes_on = rest.raw.core.failed(asked)?;
        if rest.is_gentle {
            clock::pause(began.elapsed()).await;
        }
        if !goes_on {
            return Ok(None);
        }
    }
}

impl<T: FromReply> Rest<T> {
    /// Asks for the next page. False if all were asked for.
    async fn ask(&mut self) -> Result<bool, Error> {
        let server = self.raw.server()?;
        let servers = match &mut self.servers {
            Some(servers) => servers,
            begun @ None => {
                let key = self.command.keys().next();
                begun.insert(server.begin_scan(key).await?)
            }
        };
        let is_done = self.cursor.as_ref().is_some_and(|cursor| *cursor == b"0");
        if is_done {
            self.cursor = None;
            return server.scan_next(servers).await;
        }
        let cursor = self.cursor.as_deref().unwrap_or(b"0");
        let words = self.command.with_cursor(cursor).checked()?;
        let reply = server.scan_on(servers, words).await?;
        let name = format!("`{}`", self.command.name());
        let read = <(Vec<u8>, Reply)>::from_reply(reply);
        let page = read.and_then(|(cursor, page)| Ok((cursor, Vec::from_reply(page)?)));
        let (cursor, page) = page.map_err(|mismatch| mismatch.of(&name))?;
        self.cursor = Some(cursor);
        self.page = page.into_iter();
        Ok(true)
    }
}

impl<T> fmt::Debug for Scan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}
