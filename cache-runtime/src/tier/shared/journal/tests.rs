//! Several processes, a server that carries out or refuses, and what each of them distrusts.

use std::mem;
use std::process;
use std::time::{Duration, Instant};

use super::kept::{Kept, RECENT, Sent};
use super::{Journal, REPLAY_LOST, Sender, Turn};
use crate::backlog;
use crate::error::Error;
use crate::key::{Key, Pattern};
use crate::observe::Observer;
use crate::sync::Mutex;
use crate::tier::shared::announcement::{Announced, Message, Origin};
use crate::tier::shared::keyspace::Scans;
use crate::tier::shared::selection::Selection;

/// The other processes, and a server.
struct Fake<'a> {
    processes: &'a [Journal],
    refuses: bool,
    /// The name whose server is away.
    away: Option<&'static str>,
    published: Mutex<usize>,
    invalidated: Mutex<Vec<Key>>,
    removed: Mutex<Vec<Selection>>,
    /// How many pages a scan has.
    pages: u64,
}

impl<'a> Fake<'a> {
    fn new(processes: &'a [Journal]) -> Self {
        Self {
            processes,
            refuses: false,
            away: None,
            published: Mutex::default(),
            invalidated: Mutex::default(),
            removed: Mutex::default(),
            pages: 1,
        }
    }

    fn refusing(processes: &'a [Journal]) -> Self {
        Self {
            refuses: true,
            ..Self::new(processes)
        }
    }

    fn answer(&self) -> Result<(), Error> {
        if self.refuses {
            return Err(Error::denied("server", &"it refuses"));
        }
        Ok(())
    }

    fn published(&self) -> usize {
        mem::take(&mut self.published.lock().unwrap())
    }

    fn invalidated(&self) -> Vec<String> {
        let names = mem::take(&mut *self.invalidated.lock().unwrap());
        let mut names: Vec<_> = names.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names
    }
}

impl Sender for Fake<'_> {
    fn window(&self) -> usize {
        2
    }

    async fn invalidate(&self, names: &[Key]) -> Result<Vec<usize>, Error> {
        self.answer()?;
        let is_away = |name: &Key| Some(name.as_str()) == self.away;
        let carried_out = names.iter().filter(|name| !is_away(name)).cloned();
        self.invalidated.lock().unwrap().extend(carried_out);
        let names = names.iter().enumerate();
        Ok(names
            .filter(|(_, name)| is_away(name))
            .map(|(at, _)| at)
            .collect())
    }

    async fn remove(
        &self,
        selection: &Selection,
        scans: &mut Scans,
        _until: Instant,
    ) -> Result<(), Error> {
        self.answer()?;
        self.removed.lock().unwrap().push(selection.clone());
        scans.go_on_in_a_test(self.pages);
        Ok(())
    }

    async fn publish(&self, message: &Message) -> Result<(), Error> {
        *self.published.lock().unwrap() += 1;
        for process in self.processes {
            process.hear(Message::from_bytes(&message.to_bytes()));
        }
        Ok(())
    }
}

fn journals<const N: usize>() -> [Journal; N] {
    std::array::from_fn(|_| Journal::new(1_000, Observer::default()))
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|&name| name.into()).collect()
}

fn distrusts(journal: &Journal, name: &str) -> bool {
    journal.distrusts(&name.into(), &[])
}

async fn replay(journal: &Journal, sender: &Fake<'_>) {
    let until = Instant::now() + Duration::from_secs(60);
    let _ = journal.replay(sender, until).await;
}

#[tokio::test]
async fn names_are_announced_once_until_another_process_asks() {
    let processes = journals::<3>();
    let sender = Fake::refusing(&processes);
    let [one, two, _] = &processes;
    one.keep(&keys(&["a", "b"]));
    for expected in [1, 0, 0] {
        one.announce(&sender).await.unwrap();
        two.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), expected);
    }
    assert!(processes.iter().all(|process| distrusts(process, "a")));
    // One of those that know answers, for all of them.
    let [late] = journals::<1>();
    late.ask(&sender).await.unwrap();
    assert_eq!(sender.published(), 1);
    two.announce(&sender).await.unwrap();
    one.announce(&sender).await.unwrap();
    assert_eq!(sender.published(), 1);
    // What fails once more is announced once more.
    one.keep(&keys(&["a"]));
    one.announce(&sender).await.unwrap();
    assert_eq!(sender.published(), 1);
}

#[tokio::test]
async fn the_first_process_that_can_invalidates_for_all_that_heard() {
    let processes = journals::<3>();
    let [one, two, three] = &processes;
    one.keep(&keys(&["a", "b", "c"]));
    three.keep(&keys(&["c"]));
    one.announce(&Fake::refusing(&processes)).await.unwrap();
    let sender = Fake::new(&processes);
    replay(two, &sender).await;
    assert_eq!(sender.invalidated(), ["a", "b", "c"]);
    assert!(two.is_empty());
    assert!(one.is_empty(), "its invalidations were carried out");
    // What failed in the third process itself may have failed after the announcement.
    assert!(!distrusts(three, "a") && distrusts(three, "c"));
    replay(three, &sender).await;
    assert_eq!(sender.invalidated(), ["c"]);
    assert!(three.is_empty());
}

#[tokio::test]
async fn an_acknowledgement_does_not_cover_what_failed_after_the_announcement() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    one.keep(&keys(&["a", "b"]));
    one.announce(&Fake::refusing(&processes)).await.unwrap();
    one.keep(&keys(&["a"]));
    replay(two, &Fake::new(&processes)).await;
    assert!(distrusts(one, "a") && !distrusts(one, "b"));
}

#[tokio::test]
async fn a_name_that_was_announced_during_a_look_is_distrusted_after_it() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    let heard = two.heard();
    let (a, b, tags) = (Key::from("a"), Key::from("b"), keys(&["tag"]));
    assert!(!two.distrusts(&a, &tags));
    one.keep(&keys(&["a", "tag"]));
    one.announce(&Fake::refusing(&processes)).await.unwrap();
    replay(two, &Fake::new(&processes)).await;
    // It was invalidated meanwhile; but the look may have come before that.
    assert!(two.is_empty());
    assert!(two.distrusts_since(heard, &a, &[]));
    assert!(two.distrusts_since(heard, &b, &tags));
    assert!(!two.distrusts_since(heard, &b, &[]));
    assert!(!two.distrusts_since(two.heard(), &a, &tags));
    for _ in 0..=RECENT {
        one.keep(&keys(&["c"]));
        one.announce(&Fake::refusing(&processes)).await.unwrap();
    }
    assert!(two.distrusts_since(heard, &b, &[]), "too many to know");
}

/// The server carries out what is replayed; then another process's invalidation is refused, and
/// its announcement is heard before the answer is taken in.
#[tokio::test]
async fn what_is_announced_during_a_replay_stays() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    one.keep(&keys(&["a"]));
    let sent = one.next(10, u64::MAX);
    two.keep(&keys(&["a"]));
    two.announce(&Fake::refusing(&processes)).await.unwrap();
    one.carried_out(&sent);
    assert!(distrusts(one, "a"));
}

#[tokio::test]
async fn an_acknowledgement_does_not_cover_what_another_process_announced_later() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    one.keep(&keys(&["a"]));
    let heard = Fake::refusing(&processes[1..]);
    one.announce(&heard).await.unwrap();
    let sent = two.next(10, u64::MAX);
    let [three] = journals::<1>();
    three.keep(&keys(&["a"]));
    three.announce(&Fake::refusing(&processes)).await.unwrap();
    two.acknowledge(&Fake::new(&processes), &sent).await;
    assert!(distrusts(one, "a") && distrusts(two, "a"));
}

#[tokio::test]
async fn buckets_are_announced_once() {
    let processes = [(); 2].map(|()| Journal::new(0, Observer::default()));
    let [one, two] = &processes;
    let sender = Fake::refusing(&processes);
    one.keep(&keys(&["a"]));
    for expected in [1, 0, 0] {
        one.announce(&sender).await.unwrap();
        two.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), expected);
    }
    assert!(distrusts(two, "a"));
    two.keep(&keys(&["b"]));
    for expected in [1, 0] {
        one.announce(&sender).await.unwrap();
        two.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), expected);
    }
}

#[tokio::test]
async fn an_announcement_has_a_bounded_number_of_names() {
    let processes = [(); 2].map(|()| Journal::new(1 << 20, Observer::default()));
    let [one, two] = &processes;
    let names: Vec<Key> = (0..1_200).map(|i| i.to_string().into()).collect();
    one.keep(&names);
    let sender = Fake::refusing(&processes);
    one.announce(&sender).await.unwrap();
    assert_eq!(sender.published(), 3);
    assert_eq!(two.waiting().names, 1_200);
}

/// Forked processes have copies of one journal.
#[tokio::test]
async fn a_forked_process_hears_its_siblings() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    // As if `one` ran in another process.
    let sibling = two.id ^ u64::from(process::id()) ^ 1;
    let origin = Origin {
        from: sibling,
        number: 1,
    };
    let names = keys(&["a"]);
    let announced = Announced {
        names: names.clone(),
        ..Announced::default()
    };
    two.hear(Some(Message::Kept { origin, announced }));
    assert!(distrusts(two, "a"));
    one.ask(&Fake::new(&processes)).await.unwrap();
    assert_ne!(one.here(), one.id, "a copy names its own process");
    assert_eq!(two.lock().asked, 1);
}

#[tokio::test]
async fn names_without_room_are_kept_announced_and_replayed_as_buckets() {
    let room = backlog::cost(&"a".into());
    let processes = [(); 2].map(|()| Journal::new(room, Observer::default()));
    let [one, two] = &processes;
    one.keep(&keys(&["a", "b"]));
    assert!(one.waiting().has_overflowed && one.waiting().names == 1);
    assert!(distrusts(one, "a") && distrusts(one, "b") && !distrusts(one, "c"));
    one.announce(&Fake::refusing(&processes)).await.unwrap();
    assert!(distrusts(two, "a") && distrusts(two, "b") && !distrusts(two, "c"));
    let mut sender = Fake::new(&processes);
    sender.pages = 2;
    replay(one, &sender).await;
    // The scan goes on later. What is marked now was not yet marked when it began.
    one.keep(&keys(&["d", "b"]));
    assert!(distrusts(one, "b"));
    replay(one, &sender).await;
    assert!(distrusts(one, "b"), "it failed again");
    replay(one, &sender).await;
    replay(one, &sender).await;
    assert!(one.is_empty());
    assert_eq!(sender.invalidated(), ["a", "d"]);
    let removed = mem::take(&mut *sender.removed.lock().unwrap());
    let had: Vec<_> = removed
        .iter()
        .map(|selection| selection.contains(b"b"))
        .collect();
    assert_eq!(had, [true; 4]);
}

#[tokio::test]
async fn a_pattern_is_kept_announced_and_replayed_as_the_pattern_that_it_is() {
    let processes = journals::<2>();
    let [one, two] = &processes;
    let pattern = Pattern::from("user:*");
    drop(one.begin_pattern(&pattern));
    assert!(!one.is_empty());
    assert!(one.waiting().names == 1 && !one.waiting().has_overflowed);
    assert!(distrusts(one, "user:7") && !distrusts(one, "post:7"));
    assert!(one.distrusts(&"post:7".into(), &keys(&["user:7"])));
    let heard = two.heard();
    let sender = Fake::refusing(&processes);
    for expected in [1, 0, 0] {
        one.announce(&sender).await.unwrap();
        two.announce(&sender).await.unwrap();
        assert_eq!(sender.published(), expected);
    }
    for process in &processes {
        assert!(distrusts(process, "user:7") && !distrusts(process, "post:7"));
    }
    let mut sender = Fake::new(&processes);
    sender.pages = 2;
    replay(one, &sender).await;
    // The scan goes on later. What fails meanwhile is removed by a scan of its own.
    one.keep_pattern(&pattern);
    replay(one, &sender).await;
    assert!(distrusts(one, "user:7"), "it failed again");
    for _ in 0..2 {
        replay(one, &sender).await;
    }
    assert!(one.is_empty());
    let removed = mem::take(&mut *sender.removed.lock().unwrap());
    assert_eq!(removed.len(), 4);
    assert!(removed.iter().all(|selection| selection.glob() == "user:*"));
    for _ in 0..2 {
        replay(two, &sender).await;
    }
    assert!(two.is_empty());
    // A look that began before it was announced may have come before it was carried out.
    assert!(two.distrusts_since(heard, &"user:7".into(), &[]));
    assert!(!two.distrusts_since(heard, &"post:7".into(), &[]));
}

#[test]
fn a_pattern_that_was_carried_out_is_not_kept() {
    let [journal] = journals();
    journal.begin_pattern(&"user:*".into()).carried_out();
    assert!(journal.is_empty());
}

#[tokio::test]
async fn a_name_whose_server_is_away_holds_up_no_other_and_is_tried_again() {
    let [journal] = journals();
    let mut sender = Fake {
        away: Some("b"),
        ..Fake::new(&[])
    };
    journal.keep(&["a", "b", "c", "d"].map(Key::from));
    replay(&journal, &sender).await;
    assert_eq!(sender.invalidated(), ["a", "c", "d"]);
    assert_eq!(journal.waiting().names, 1);
    assert!(journal.distrusts(&Key::from("b"), &[]));
    // It is left out until its turn comes.
    sender.away = None;
    replay(&journal, &sender).await;
    assert!(sender.invalidated().is_empty());
    journal.unpark_after(Duration::ZERO);
    replay(&journal, &sender).await;
    assert_eq!(sender.invalidated(), ["b"]);
    assert!(journal.is_empty());
}

#[test]
fn parked_names_are_tried_again_after_a_pause_and_one_that_fails_once_more_at_once() {
    let (begin, pause) = (Instant::now(), Duration::from_secs(1));
    let mut kept = Kept::default();
    let park = |kept: &mut Kept| {
        let (name, number) = (Key::from("a"), kept.last_number);
        let sent = Sent {
            name,
            number,
            origin: None,
        };
        kept.park([sent].into_iter(), kept.unparked);
        kept.parked
    };
    kept.add(&[Key::from("a")], None, 1 << 20);
    assert_eq!(park(&mut kept), 1);
    kept.unpark_after(pause, begin);
    assert_eq!(kept.parked, 0, "for the first time");
    assert_eq!(park(&mut kept), 1);
    kept.unpark_after(pause, begin + pause / 2);
    assert_eq!(kept.parked, 1, "too soon");
    kept.unpark_after(pause, begin + pause);
    assert_eq!(kept.parked, 0);
    assert_eq!(park(&mut kept), 1);
    kept.add(&[Key::from("a")], None, 1 << 20);
    assert_eq!(kept.parked, 0, "it failed once more");
}

#[tokio::test]
async fn a_replay_that_fails_leaves_what_it_did_not_send() {
    let [journal] = journals();
    journal.keep(&keys(&["a", "b", "c"]));
    replay(&journal, &Fake::refusing(&[])).await;
    assert_eq!(journal.waiting().names, 3);
    journal
        .replay(&Fake::new(&[]), Instant::now())
        .await
        .unwrap();
    assert_eq!(journal.waiting().names, 3, "it has no time");
    let sender = Fake::new(&[]);
    replay(&journal, &sender).await;
    assert_eq!(sender.invalidated(), ["a", "b", "c"]);
    assert!(journal.is_empty());
}

#[test]
fn replays_take_turns_and_a_lost_one_is_replaced() {
    let replaying = Mutex::new(None);
    let begin = Instant::now();
    let lost = Turn::take(&replaying, begin).expect("no replay runs");
    let early = REPLAY_LOST.saturating_sub(Duration::from_millis(1));
    assert!(Turn::take(&replaying, begin + early).is_none());
    let next = Turn::take(&replaying, begin + REPLAY_LOST).expect("the first is lost");
    // The lost one runs after all, and ends: the turn of the next one stays.
    drop(lost);
    assert!(Turn::take(&replaying, begin + REPLAY_LOST).is_none());
    drop(next);
    assert!(Turn::take(&replaying, begin + REPLAY_LOST).is_some());
}
