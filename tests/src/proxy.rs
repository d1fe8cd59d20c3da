//! A network between the cache and the server, with faults that a test chooses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::port;

/// A TCP proxy on the loopback address. It passes all bytes on, until a test tells it otherwise.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    flow: watch::Sender<Flow>,
    link: Arc<Link>,
    rewrites: Arc<AtomicU64>,
    /// `None` while cut.
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Listening {
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Flow {
    upstream: SocketAddr,
    to_server: Passage,
    to_client: Passage,
    rewrite: Option<Arc<Rewrite>>,
}

/// What the proxy does to bytes that go one way.
#[derive(Debug, Clone, Copy, Default)]
struct Passage {
    held: bool,
    delay: Duration,
    bandwidth: Option<Bandwidth>,
}

/// So many bytes in so much time.
#[derive(Debug, Clone, Copy)]
struct Bandwidth {
    bytes: usize,
    per: Duration,
}

impl Bandwidth {
    fn time_for(self, length: usize) -> Duration {
        let nanos = self.per.as_nanos() * length as u128 / self.bytes as u128;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The timer's precision.
const TICK: Duration = Duration::from_millis(1);

/// The network, which all connections share.
#[derive(Debug, Default)]
struct Link {
    to_server: Lane,
    to_client: Lane,
}

/// One way over the link: the moment when it has passed on all that was sent so far.
#[derive(Debug, Default)]
struct Lane(Mutex<Option<Instant>>);

impl Lane {
    /// Waits until the link has passed on `length` bytes, behind those that were sent before.
    async fn pass(&self, bandwidth: Bandwidth, length: usize) {
        let now = Instant::now();
        let passed = {
            let mut free = self.0.lock().expect("the lane");
            let start = free.map_or(now, |free| free.max(now - 2 * TICK));
            *free.insert(start + bandwidth.time_for(length))
        };
        // What takes less than a tick is added up, not rounded up. What a timer is late by is not
        // lost: the next bytes may begin in the past.
        if passed.duration_since(now) >= TICK {
            tokio::time::sleep_until(passed).await;
        }
    }
}

/// One of the two ways through a [`Proxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Commands, from the client to the server.
    ToServer,
    /// Answers, from the server to the client.
    ToClient,
}

impl Flow {
    fn passage(&self, way: Way) -> Passage {
        match way {
            Way::ToServer => self.to_server,
            Way::ToClient => self.to_client,
        }
    }

    fn passage_mut(&mut self, way: Way) -> &mut Passage {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }
}

const BOTH_WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

impl Proxy {
    /// A proxy in front of the server at `upstream_port`.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    pub async fn start(upstream_port: u16) -> Self {
        let mut proxy = Self {
            address: (Ipv4Addr::LOCALHOST, port::free()).into(),
            flow: watch::Sender::new(Flow {
                upstream: (Ipv4Addr::LOCALHOST, upstream_port).into(),
                to_server: Passage::default(),
                to_client: Passage::default(),
                rewrite: None,
            }),
            link: Arc::default(),
            rewrites: Arc::default(),
            listening: None,
        };
        proxy.listen().await;
        proxy
    }

    /// The URL that clients connect to.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Closes all connections and refuses new ones.
    ///
    /// # Panics
    ///
    /// If the proxy itself has panicked.
    pub async fn cut(&mut self) {
        if let Some(listening) = self.listening.take() {
            let _ = listening.stop.send(());
            listening.stopped.await.expect("the proxy runs");
        }
    }

    /// Keeps connections open and accepts new ones, but passes nothing on.
    pub fn black_hole(&self) {
        for way in BOTH_WAYS {
            self.hold(way);
        }
    }

    /// Passes nothing on in one direction. With [`Way::ToClient`] the server carries out all
    /// commands, and no answer arrives.
    pub fn hold(&self, way: Way) {
        self.flow
            .send_modify(|flow| flow.passage_mut(way).held = true);
    }

    /// Ends [`hold`](Self::hold) in one direction. The bytes that were held are passed on.
    pub fn release(&self, way: Way) {
        self.flow
            .send_modify(|flow| flow.passage_mut(way).held = false);
    }

    /// Leads the connections that are made from now on to another server, as after a failover.
    pub fn redirect(&self, upstream_port: u16) {
        let upstream = (Ipv4Addr::LOCALHOST, upstream_port).into();
        self.flow.send_modify(|flow| flow.upstream = upstream);
    }

    /// Ends [`cut`](Self::cut), [`black_hole`](Self::black_hole) and [`hold`](Self::hold). The
    /// bytes that were held are passed on.
    ///
    /// # Panics
    ///
    /// If another process has taken the port meanwhile.
    pub async fn heal(&mut self) {
        self.flow.send_modify(|flow| {
            for way in BOTH_WAYS {
                flow.passage_mut(way).held = false;
            }
        });
        if self.listening.is_none() {
            self.listen().await;
        }
    }

    /// Lets so many bytes pass in so much time, in each direction. All connections share it. A `per`
    /// of zero ends the limit.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero: [`black_hole`](Self::black_hole) passes nothing on.
    pub fn bandwidth(&self, bytes: usize, per: Duration) {
        assert!(bytes > 0, "a link that passes nothing on is a black hole");
        let bandwidth = (!per.is_zero()).then_some(Bandwidth { bytes, per });
        self.flow.send_modify(|flow| {
            for way in BOTH_WAYS {
                flow.passage_mut(way).bandwidth = bandwidth;
            }
        });
    }

    /// Delays the bytes in both directions. A connection passes on at most 64 KiB in each delay.
    pub fn delay(&self, delay: Duration) {
        for way in BOTH_WAYS {
            self.delay_way(way, delay);
        }
    }

    /// Delays the bytes in one direction.
    pub fn delay_way(&self, way: Way, delay: Duration) {
        self.flow
            .send_modify(|flow| flow.passage_mut(way).delay = delay);
    }

    /// Replaces `from` by `to` in what clients send. This is how a test takes a line out of a
    /// script that runs on the server.
    ///
    /// # Panics
    ///
    /// If the two differ in length: the protocol counts bytes.
    pub fn rewrite(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len(), "the protocol counts bytes");
        assert!(!from.is_empty(), "nothing to replace");
        let rewrite = Arc::new(Rewrite {
            from: from.into(),
            to: to.into(),
        });
        self.flow.send_modify(|flow| flow.rewrite = Some(rewrite));
    }

    /// How many times [`rewrite`](Self::rewrite) has replaced something.
    pub fn rewrites(&self) -> u64 {
        self.rewrites.load(Ordering::Relaxed)
    }

    async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address)
            .await
            .expect("a port to listen on");
        let (stop, stopping) = oneshot::channel();
        let stopped = tokio::spawn(serve(
            listener,
            self.flow.subscribe(),
            Arc::clone(&self.link),
            Arc::clone(&self.rewrites),
            stopping,
        ));
        self.listening = Some(Listening { stop, stopped });
    }
}

async fn serve(
    listener: TcpListener,
    flow: watch::Receiver<Flow>,
    link: Arc<Link>,
    rewrites: Arc<AtomicU64>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // `stop` is ready too when the `Proxy` is dropped.
            _ = &mut stop => break,
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(relay(
                    client,
                    flow.clone(),
                    Arc::clone(&link),
                    Arc::clone(&rewrites),
                ));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn relay(
    client: TcpStream,
    flow: watch::Receiver<Flow>,
    link: Arc<Link>,
    rewrites: Arc<AtomicU64>,
) {
    // If the server is down, the client sees a connection that is closed at once.
    let upstream = flow.borrow().upstream;
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut stream = Rewriter::default();
    let to_server = pump(
        Way::ToServer,
        from_client,
        to_server,
        flow.clone(),
        &link.to_server,
        |rewrite, chunk| {
            let (bytes, found) = stream.feed(rewrite, chunk);
            rewrites.fetch_add(found, Ordering::Relaxed);
            bytes
        },
    );
    let to_client = pump(
        Way::ToClient,
        from_server,
        to_client,
        flow,
        &link.to_client,
        |_, chunk| chunk.to_vec(),
    );
    // When one side closes its connection, the other side's is closed too.
    tokio::select! {
        _ = to_server => {}
        _ = to_client => {}
    }
}

async fn pump(
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    lane: &Lane,
    mut pass: impl FnMut(Option<&Rewrite>, &[u8]) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let Passage {
            delay, bandwidth, ..
        } = flow.borrow().passage(way);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(bandwidth) = bandwidth {
            lane.pass(bandwidth, length).await;
        }
        let rewrite = match flow.wait_for(|flow| !flow.passage(way).held).await {
            Ok(flow) => flow.rewrite.clone(),
            Err(_proxy_dropped) => return Ok(()),
        };
        to.write_all(&pass(rewrite.as_deref(), &buffer[..length]))
            .await?;
    }
}

#[derive(Debug)]
struct Rewrite {
    from: Box<[u8]>,
    to: Box<[u8]>,
}

/// Rewrites a stream that arrives in pieces.
#[derive(Debug, Default)]
struct Rewriter {
    /// The end of the stream so far, if it may be the start of a match.
    held: Vec<u8>,
}

impl Rewriter {
    /// The bytes that can be passed on, and how many matches were replaced in them.
    fn feed(&mut self, rewrite: Option<&Rewrite>, chunk: &[u8]) -> (Vec<u8>, u64) {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let Some(Rewrite { from, to }) = rewrite else {
            return (bytes, 0);
        };
        let mut found = 0;
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if rest.starts_with(from) {
                bytes[at..at + to.len()].copy_from_slice(to);
                at += to.len();
                found += 1;
            } else if from.starts_with(rest) {
                self.held = bytes.split_off(at);
            } else {
                at += 1;
            }
        }
        (bytes, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(from: &str, to: &str) -> Rewrite {
        Rewrite {
            from: from.as_bytes().into(),
            to: to.as_bytes().into(),
        }
    }

    /// Feeds `text` in two pieces, cut at each place in turn.
    fn every_cut(rule: &Rewrite, text: &str) -> Vec<(String, u64)> {
        (0..=text.len())
            .map(|cut| {
                let mut rewriter = Rewriter::default();
                let (mut out, first) = rewriter.feed(Some(rule), &text.as_bytes()[..cut]);
                let (rest, second) = rewriter.feed(Some(rule), &text.as_bytes()[cut..]);
                out.extend(rest);
                out.extend(rewriter.held);
                (String::from_utf8(out).unwrap(), first + second)
            })
            .collect()
    }

    #[test]
    fn a_match_is_replaced_wherever_the_stream_is_cut() {
        for cut in every_cut(&rewrite("lease", "LEASE"), "a lease, leas, lleasee") {
            assert_eq!(cut, ("a LEASE, leas, lLEASEe".into(), 2));
        }
    }

    #[test]
    fn a_false_start_does_not_hide_the_match_that_begins_inside_it() {
        for cut in every_cut(&rewrite("aab", "xyz"), "aaab aaaab") {
            assert_eq!(cut, ("axyz aaxyz".into(), 2));
        }
    }

    #[test]
    fn only_the_start_of_a_possible_match_is_held_back() {
        let rule = rewrite("if x", "if y");
        let mut rewriter = Rewriter::default();
        assert_eq!(rewriter.feed(Some(&rule), b"one if"), (b"one ".to_vec(), 0));
        assert_eq!(
            rewriter.feed(Some(&rule), b" z\r\n"),
            (b"if z\r\n".to_vec(), 0)
        );
        assert!(rewriter.held.is_empty());
    }

    #[test]
    fn without_a_rule_all_bytes_pass_and_none_are_held_back() {
        let mut rewriter = Rewriter::default();
        let rule = rewrite("abc", "xyz");
        assert_eq!(rewriter.feed(Some(&rule), b"ab"), (vec![], 0));
        assert_eq!(rewriter.feed(None, b"c"), (b"abc".to_vec(), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_passes_its_bytes_one_after_the_other() {
        const KIB: usize = 1024;
        let bandwidth = Bandwidth {
            bytes: 64 * KIB,
            per: Duration::from_millis(15),
        };
        let lane = Lane::default();
        let begun = Instant::now();
        tokio::join!(
            lane.pass(bandwidth, 64 * KIB),
            lane.pass(bandwidth, 128 * KIB)
        );
        assert_eq!(begun.elapsed(), Duration::from_millis(45));

        let begun = Instant::now();
        for _ in 0..1024 {
            lane.pass(bandwidth, KIB / 2).await;
        }
        // 512 KiB.
        let took = begun.elapsed();
        assert!((118..=121).contains(&took.as_millis()), "{took:?}");
    }
}
