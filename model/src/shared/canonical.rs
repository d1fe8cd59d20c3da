//! Makes states equal if they differ in names only: in the numbers that were drawn, in the
//! place of a flight, or in the order of two readers of one process.

use super::config::Config;
use super::state::{
    Evidence, Flight, Moving, READERS, Reader, Sight, Slot, State, Stored, Unique, Version,
};

/// Renames everything in the order of its first appearance, with the readers in an order
/// that depends on no name.
pub(super) fn canonical(config: &Config, state: &mut State) {
    drop_unheld(state);
    if state.budget.moves == 0 && state.moving == [Moving::No; 2] {
        // No later step depends on these.
        state.left = Stored::default();
        state.budget.aborts = 0;
    }
    let mut best: Option<State> = None;
    let mut order = [0, 1, 2];
    let anonymous = state.readers.map(without_names);
    permutations(&mut order, 0, &mut |order| {
        let allowed = (0..READERS).all(|at| {
            let (left, right) = (order[at], at);
            config.process_of(left) == config.process_of(right)
        });
        let sorted = order.windows(2).all(|pair| {
            config.process_of(pair[0]) != config.process_of(pair[1])
                || anonymous[pair[0]] <= anonymous[pair[1]]
        });
        // Equal readers keep their order, which saves candidates.
        let distinct = order
            .windows(2)
            .all(|pair| pair[0] < pair[1] || state.readers[pair[0]] != state.readers[pair[1]]);
        if !allowed || !sorted || !distinct {
            return;
        }
        let mut candidate = state.clone();
        candidate.readers = order.map(|index| state.readers[index]);
        rename_flights(&mut candidate);
        rename_numbers(&mut candidate);
        if best.as_ref().is_none_or(|best| candidate < *best) {
            best = Some(candidate);
        }
    });
    *state = best.expect("at least one order is sorted");
}

fn permutations(
    order: &mut [usize; READERS],
    from: usize,
    visit: &mut impl FnMut([usize; READERS]),
) {
    if from + 1 >= READERS {
        return visit(*order);
    }
    for at in from..READERS {
        order.swap(from, at);
        permutations(order, from + 1, visit);
        order.swap(from, at);
    }
}

fn drop_unheld(state: &mut State) {
    for (index, flight) in state.flights.iter_mut().enumerate() {
        let held = |at: Option<u8>| at.is_some_and(|at| usize::from(at) == index);
        if !state.readers.iter().any(|reader| held(reader.flight))
            && !state.processes.iter().any(|process| held(process.current))
        {
            *flight = None;
        }
    }
    let boarded = state.readers.map(|reader| reader.flight);
    for reader in &mut state.readers {
        reader.previous = reader.previous.filter(|&it| boarded.contains(&Some(it)));
    }
}

fn without_names(mut reader: Reader) -> Reader {
    reader.flight = reader.flight.map(|_| 0);
    reader.previous = reader.previous.map(|_| 0);
    each_in_sight(&mut reader.sight, &mut |number| *number = Unique(1));
    reader
}

fn rename_flights(state: &mut State) {
    let old = state.flights;
    let mut places = [None; READERS];
    let mut next = 0_u8;
    state.flights = [None; READERS];
    let current = state
        .processes
        .iter_mut()
        .map(|process| &mut process.current);
    // Those of all readers first: only a flight that a reader is in is put back.
    let (boarded, previous): (Vec<_>, Vec<_>) = state
        .readers
        .iter_mut()
        .map(|reader| (&mut reader.flight, &mut reader.previous))
        .unzip();
    let held = current.chain(boarded).chain(previous);
    for place in held.flatten() {
        let was = usize::from(*place);
        *place = *places[was].get_or_insert_with(|| {
            state.flights[usize::from(next)] = old[was];
            next += 1;
            next - 1
        });
    }
}

fn rename_numbers(state: &mut State) {
    let mut names = [0_u8; 256];
    let mut drawn = 0;
    let mut rename = |number: &mut Unique| {
        if *number == Unique(0) {
            return;
        }
        let name = &mut names[usize::from(number.0)];
        if *name == 0 {
            drawn += 1;
            *name = drawn;
        }
        *number = Unique(*name);
    };
    each_stored(&mut state.stored, &mut rename);
    each_stored(&mut state.left, &mut rename);
    state
        .snapshot
        .iter_mut()
        .for_each(|snapshot| each_stored(snapshot, &mut rename));
    for Flight { evidence, .. } in state.flights.iter_mut().flatten() {
        if let Some(Evidence { mark, versions, .. }) = evidence {
            rename(mark);
            for version in versions {
                each_in_version(version, &mut rename);
            }
        }
    }
    for reader in &mut state.readers {
        each_in_sight(&mut reader.sight, &mut rename);
    }
    let writers = state.writers.iter_mut();
    for prepared in writers.filter_map(|writer| writer.prepared.as_mut()) {
        rename(&mut prepared.seen);
        for version in &mut prepared.versions {
            each_in_version(version, &mut rename);
        }
    }
    state.drawn = drawn;
}

fn each_stored(stored: &mut Stored, visit: &mut impl FnMut(&mut Unique)) {
    each_in_slot(&mut stored.slot, visit);
    for version in &mut stored.versions {
        each_in_version(version, visit);
    }
}

fn each_in_sight(sight: &mut Sight, visit: &mut impl FnMut(&mut Unique)) {
    each_in_slot(&mut sight.slot, visit);
    for version in &mut sight.versions {
        each_in_version(version, visit);
    }
}

fn each_in_slot(slot: &mut Slot, visit: &mut impl FnMut(&mut Unique)) {
    match slot {
        Slot::Lease(lease) => visit(&mut lease.mark),
        Slot::Entry(entry) => {
            visit(&mut entry.stamp);
            for version in &mut entry.versions {
                each_in_version(version, visit);
            }
        }
        Slot::Absent | Slot::Fence(_) => {}
    }
}

fn each_in_version(version: &mut Version, visit: &mut impl FnMut(&mut Unique)) {
    if let Version::Number(drawn, _) = version {
        visit(drawn);
    }
}
