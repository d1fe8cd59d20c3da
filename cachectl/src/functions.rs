//! `functions`: what the functions of a running program do.

use std::time::Duration;

use serde_json::Value;

use crate::{End, Ended, Failure, dashboard, output};

const HEAD: [&str; 8] = [
    "function",
    "template",
    "calls",
    "hit rate",
    "loads",
    "median load",
    "saved",
    "failed",
];

pub(crate) fn run(url: &str, json: bool) -> Ended {
    let answer = dashboard::ask(url, "functions")?;
    let Some(functions) = answer["functions"].as_array() else {
        let reason = "what answers there is no dashboard; name the path where it is, such as \
                      http://127.0.0.1:3000/cache";
        return Err(Failure(reason.to_owned()).into());
    };
    if json {
        output::print_json(&answer["functions"])?;
        return Ok(End::Well);
    }
    let mut called: Vec<&Value> = functions.iter().filter(|it| it["called"] == true).collect();
    called.sort_by_key(|it| std::cmp::Reverse(calls(it)));
    let rows: Vec<_> = called.iter().copied().map(row).collect();
    output::print(&table(&rows))?;
    let never = functions.len() - called.len();
    if never > 0 {
        output::print(&format!("{never} more functions were not called"))?;
    }
    for function in functions {
        if let Some(reason) = function["never_hit"]["reason"].as_str() {
            let name = text(&function["function"]);
            output::print(&format!("{name} loads at each call: {reason}"))?;
        }
    }
    Ok(End::Well)
}

fn row(function: &Value) -> [String; 8] {
    let count = |name: &str| function[name].as_u64().unwrap_or(0);
    let rate = function["hit_rate"].as_f64();
    [
        text(&function["function"]),
        text(&function["template"]),
        calls(function).to_string(),
        rate.map_or(String::new(), |rate| format!("{:.1} %", rate * 100.0)),
        count("loads").to_string(),
        seconds(&function["load_time"]["p50_seconds"]),
        seconds(&function["time_saved_seconds"]),
        count("load_failures").to_string(),
    ]
}

fn calls(function: &Value) -> u64 {
    let count = |name: &str| function[name].as_u64().unwrap_or(0);
    count("hits") + count("misses")
}

fn text(value: &Value) -> String {
    // A line break would break the table.
    value.as_str().unwrap_or_default().replace('\n', " ")
}

fn seconds(value: &Value) -> String {
    let time = value
        .as_f64()
        .and_then(|it| Duration::try_from_secs_f64(it).ok());
    time.map_or(String::new(), output::time)
}

/// Texts to the left, numbers to the right.
fn table(rows: &[[String; 8]]) -> String {
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([HEAD[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: [&str; 8]| {
        let cells = cells.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    let lines: Vec<_> = [HEAD].into_iter().chain(rows).map(line).collect();
    lines.join("\n")
}
