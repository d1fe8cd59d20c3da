//! The results as one Markdown table.

use crate::harness::{Role, Row, Unit};

pub(crate) fn print(rows: &[Row]) {
    println!("| what | contestant | result | × best peer | × floor | allocations | |");
    println!("|---|---|---:|---:|---:|---:|---|");
    for row in rows {
        let best = best(rows, row, Role::Peer);
        let floor = best_of_floor(rows, row);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.group,
            name(row),
            with_unit(row),
            ratio(row, best),
            ratio(row, floor),
            row.allocations
                .map_or_else(String::new, |count| count.to_string()),
            row.note,
        );
    }
}

fn name(row: &Row) -> String {
    match row.role {
        Role::Ours => format!("**{}**", row.name),
        Role::Floor => format!("{} (floor)", row.name),
        Role::Peer | Role::Shown => row.name.clone(),
    }
}

fn best(rows: &[Row], beside: &Row, role: Role) -> Option<f64> {
    rows.iter()
        .filter(|row| row.group == beside.group && row.role == role)
        .map(|row| row.value)
        .min_by(f64::total_cmp)
}

fn best_of_floor(rows: &[Row], beside: &Row) -> Option<f64> {
    best(rows, beside, Role::Floor)
}

fn ratio(row: &Row, to: Option<f64>) -> String {
    to.map_or_else(String::new, |to| format!("{:.2}", row.value / to))
}

fn with_unit(row: &Row) -> String {
    match row.unit {
        Unit::Bytes => format!("{:.0} B", row.value),
        Unit::Nanoseconds if row.value < 100.0 => format!("{:.1} ns", row.value),
        Unit::Nanoseconds if row.value < 10_000.0 => format!("{:.0} ns", row.value),
        Unit::Nanoseconds if row.value < 10_000_000.0 => format!("{:.1} µs", row.value / 1e3),
        Unit::Nanoseconds => format!("{:.1} ms", row.value / 1e6),
    }
}
