//! Where reads go, and what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::driver::{Answers, Elsewhere, ReadKeys};
use crate::error::Error;
use crate::tier::shared::entry::{SharedDecode, Version};

/// A server, behind connections. In tests, a fake that answers when the test says so.
pub(crate) trait Source: Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    /// Reads all keys in one round trip, at most until then; the values are in the keys' order.
    fn read(
        self: &Arc<Self>,
        keys: &ReadKeys,
        until: Instant,
    ) -> impl Future<Output = Values<Self::Connection>> + Send;

    /// The deadline of a read that begins now.
    fn deadline(&self) -> Instant;

    /// The longest time that a read may take.
    fn limit(&self) -> Duration;

    /// Awaits a future, at most until then.
    fn within<T: Send>(
        &self,
        until: Instant,
        future: impl Future<Output = Result<T, Error>> + Send,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// The error of a caller one of whose keys is elsewhere.
    fn elsewhere(&self, elsewhere: &Elsewhere) -> Error;

    /// The error of a caller whose runtime was shut down before its answer came.
    fn runtime_shut_down(&self) -> Error;
}

/// The values of some keys, and the connection that they came over.
pub(crate) type Values<C> = Result<(Arc<C>, Answers), Error>;

/// What a slot and some versions held at one moment after the caller began.
#[derive(Debug)]
pub(crate) struct SlotRead<C> {
    /// The connection that the answer came over, and so the server that gave it.
    pub(crate) connection: Arc<C>,
    pub(crate) slot: Option<Bytes>,
    /// Set where other callers of the batch got the same slot.
    pub(crate) shared_decode: Option<SharedDecode>,
    /// In the order in which they were asked for.
    pub(crate) versions: Arc<[Version]>,
}
