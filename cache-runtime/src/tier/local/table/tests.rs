use super::*;
use crate::clock::Clock;
use crate::tier::local::Basis;
use std::sync::LazyLock;

const NEVER_SOON: Moment = 1 << 40;

fn entry() -> Entry {
    Entry {
        value: Arc::new(()),
        basis: Basis::default(),
    }
}

fn get(table: &Table, key: Key) -> Option<Entry> {
    table.get(table.hashed(&key), Now::at(0))
}

fn insert(table: &Table, key: &str, expiry: Moment, now: Moment) {
    let key = Key::from(key);
    drop(table.insert(table.hashed(&key), entry(), 0, expiry, Now::at(now)));
}

#[test]
fn a_slot_fits_a_cache_line_and_a_shard_two() {
    assert_eq!(size_of::<Option<Slot>>(), 64);
    assert_eq!(size_of::<Padded>(), 128);
}

#[test]
fn a_text_of_any_length_reads_back() {
    for len in 0..100 {
        let text = vec![b'x'; len];
        assert_eq!(Text::new(&text).bytes(), text);
    }
}

#[test]
fn a_name_finds_the_entry_of_its_text_and_no_other() {
    let table = Table::new(1000, None);
    let find = |text: &str| {
        let name = Name::new(&["login:", ":a7"], (text, ()));
        let found = table.find(&name, Now::at(0)).is_some();
        (name.render(), found)
    };
    for len in 0..150 {
        let (key, found) = find(&"x".repeat(len));
        assert!(!found, "{key}");
        insert(&table, &format!("{key}\0"), NEVER_SOON, 0);
        insert(
            &table,
            key.as_str().strip_suffix('7').unwrap(),
            NEVER_SOON,
            0,
        );
        assert!(!find(&"x".repeat(len)).1, "{key}");
        insert(&table, key.as_str(), NEVER_SOON, 0);
        assert!(find(&"x".repeat(len)).1, "{key}");
        drop(table.remove(&key, Now::at(0)));
        assert!(!find(&"x".repeat(len)).1, "{key}");
    }
}

#[test]
fn a_table_fills_up_to_its_bound_and_no_further() {
    for max_entries in [0, 1, 10, 1000] {
        let table = Table::new(max_entries, None);
        for i in 0..3000 {
            insert(&table, &i.to_string(), NEVER_SOON, 0);
            assert!(table.len() <= max_entries);
        }
        assert!(table.len() >= max_entries * 9 / 10);
    }
}

/// What the entries of a table weigh, slot by slot.
fn weighed(table: &Table) -> u64 {
    let shards = table.shards.iter().map(read);
    let weights = shards.map(|shard| {
        let of_slots = (0..shard.slots.len()).map(|at| shard.weight(at));
        of_slots.sum::<u64>()
    });
    weights.sum()
}

fn insert_heavy(table: &Table, key: &str, weight: u64, expiry: Moment) {
    let key = Key::from(key);
    let hashed = table.hashed(&key);
    assert!(table.holds(weight));
    drop(table.insert(hashed, entry(), weight, expiry, Now::at(0)));
}

#[test]
fn the_entries_of_a_table_never_weigh_more_than_its_bound() {
    for max in [100, 10_000, 1_000_000] {
        let table = Table::new(usize::MAX, Some(max));
        let mut most = 0;
        for i in 0..20_000_u64 {
            // From many light entries to some of the whole bound, which replace and remove others.
            let weight = 1 + unique_in(i, if i % 1000 == 0 { max } else { max / 50 });
            insert_heavy(&table, &(i % 3000).to_string(), weight, NEVER_SOON);
            if i % 7 == 0 {
                drop(table.remove(&Key::from((i % 1000).to_string()), Now::at(0)));
            }
            let total = table.weight().unwrap();
            assert!(total <= max, "{total} of {max}");
            most = most.max(total);
            if i % 100 == 0 {
                assert_eq!(total, weighed(&table));
            }
        }
        assert!(most > max / 10 * 9, "{most} of {max}");
        assert!(!table.holds(max + 1));
        drop(table.drain());
        assert_eq!((table.weight(), table.len()), (Some(0), 0));
    }
}

/// Numbers below `limit` that look as if they were drawn.
fn unique_in(i: u64, limit: u64) -> u64 {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % limit
}

#[test]
fn what_a_sweep_and_a_shrink_leave_weighs_what_it_weighed() {
    let table = Table::new(1_000, Some(1_000_000));
    for i in 0..600_u64 {
        let expiry = if i.is_multiple_of(20) { NEVER_SOON } else { 5 };
        insert_heavy(&table, &i.to_string(), i + 1, expiry);
    }
    for shard in &*table.shards {
        shard.sweep(Now::at(10), drop);
    }
    let left: u64 = (0..600).step_by(20).map(|i| i + 1).sum();
    assert_eq!(table.weight(), Some(left));
    assert_eq!(weighed(&table), left);
    assert_eq!(table.len(), 30);
}

#[test]
fn threads_that_insert_at_once_keep_the_bound() {
    let max = 50_000;
    let table = Table::new(usize::MAX, Some(max));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..5_000 {
                    let key = ((i * 7 + thread) % 500).to_string();
                    insert_heavy(table, &key, 1 + unique_in(i, 1_000), NEVER_SOON);
                }
            });
        }
    });
    assert!(table.weight().unwrap() <= max);
    assert_eq!(table.weight(), Some(weighed(&table)));
}

/// Two of them are more than there is room for.
#[test]
fn heavy_entries_of_threads_that_insert_at_once_keep_the_bound() {
    let max = 1_000;
    // One shard, so that all entries are seen at one moment.
    let table = Table::new(100, Some(max));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let table = &table;
            scope.spawn(move || {
                for i in 0..5_000_u64 {
                    insert_heavy(table, &(i % 3 + thread).to_string(), 600, NEVER_SOON);
                    assert!(weighed(table) <= max);
                }
            });
        }
    });
    assert_eq!(table.weight(), Some(weighed(&table)));
}

#[test]
fn a_scan_evicts_no_entry_in_use() {
    let table = Table::new(1000, None);
    let hot: Vec<String> = (0..60).map(|i| format!("hot:{i}")).collect();
    for key in &hot {
        insert(&table, key, NEVER_SOON, 0);
    }
    for i in 0..10_000 {
        insert(&table, &format!("scan:{i}"), NEVER_SOON, 0);
        // Each hot key is used once while an eighth of the table is replaced.
        if i % 2 == 0 {
            get(&table, Key::from(&*hot[i / 2 % hot.len()]));
        }
    }
    let kept = hot
        .iter()
        .filter(|key| get(&table, Key::from(key.as_str())).is_some());
    assert_eq!(kept.count(), hot.len());
}

#[test]
fn insertions_remove_expired_entries_that_are_not_read() {
    let table = Table::new(10_000, None);
    for i in 0..5_000 {
        insert(&table, &format!("old:{i}"), 10, 0);
    }
    for i in 0..4_000 {
        insert(&table, &format!("new:{i}"), NEVER_SOON, 10);
    }
    assert_eq!(table.len(), 4_000);
}

/// A shard that no sweeper knows.
fn shard() -> Padded {
    Padded(RwLock::new(Shard::default()))
}

fn insert_into(shard: &Padded, n: u64, expiry: Moment, now: Now) {
    let slot = Slot::new(n, n.to_string().as_bytes(), entry(), expiry);
    write(shard).insert(slot, 0, 1000, now, &mut Vec::new());
}

fn has(shard: &Padded, n: u64) -> bool {
    read(shard).find(n, n.to_string().as_bytes()).is_some()
}

#[test]
fn a_sweep_removes_what_has_expired_and_gives_memory_back() {
    let (shard, now) = (shard(), Clock::SYSTEM.now());
    for n in 0..900_u64 {
        let expiry = if n.is_multiple_of(10) { NEVER_SOON } else { n };
        insert_into(&shard, n, expiry + 1, now);
    }
    assert_eq!(read(&shard).next_expiry, 2);
    assert_eq!(shard.sweep(now, drop), 900);
    for n in 0..900 {
        assert_eq!(has(&shard, n), n.is_multiple_of(10), "{n}");
    }
    assert_eq!(read(&shard).next_expiry, NEVER_SOON + 1);
    assert_eq!(read(&shard).slots.capacity(), 90);
    for n in 0..1_000 {
        insert_into(&shard, n, NEVER_SOON, now);
    }
    assert!((0..1_000).all(|n| has(&shard, n)));
    assert_eq!(read(&shard).next_expiry, NEVER_SOON);
}

#[test]
fn an_entry_that_is_inserted_during_a_sweep_is_swept_in_time() {
    static SHARD: LazyLock<Padded> = LazyLock::new(shard);
    let now = Clock::SYSTEM.now();
    for n in 1..900 {
        insert_into(&SHARD, n, n, now);
    }
    // It comes into a slot that the sweep has passed.
    SHARD.sweep(now, |gone| {
        if !gone.is_empty() {
            insert_into(&SHARD, 1, NEVER_SOON, Clock::SYSTEM.now());
        }
    });
    assert!(has(&SHARD, 1));
    assert_eq!(read(&SHARD).next_expiry, NEVER_SOON);
}

#[test]
fn entries_of_a_clock_that_a_test_moves_are_left_to_insertions() {
    let shard = shard();
    insert_into(&shard, 1, 10, Now::at(5));
    assert_eq!(read(&shard).next_expiry, NEVER);
}

#[test]
fn a_removed_entry_is_gone_and_its_slot_is_used_again() {
    let table = Table::new(1000, None);
    for i in 0..500 {
        insert(&table, &i.to_string(), NEVER_SOON, 0);
    }
    for i in 0..500 {
        let removed = table.remove(&Key::from(i.to_string()), Now::at(0));
        assert!(matches!(removed, Some((_, true))));
        assert!(get(&table, Key::from(i.to_string())).is_none());
    }
    assert_eq!(table.len(), 0);
    for i in 0..500 {
        insert(&table, &i.to_string(), NEVER_SOON, 0);
    }
    let slots: usize = table
        .shards
        .iter()
        .map(|shard| read(shard).slots.len())
        .sum();
    assert!(slots <= 600, "{slots}");
    assert_eq!(table.drain().len(), 500);
    assert_eq!(table.len(), 0);
}
