//! How many instructions the hot paths take, compared with the committed figures.
//!
//! On a busy machine times vary, and instruction counts do not. So CI checks the counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{server, step};

/// The operations of the program in `benches/instructions`.
const OPERATIONS: &[&str] = &[
    "hit",
    "hit-text",
    "hit-tags",
    "hit-owned",
    "miss",
    "miss-tags",
    "invalidate",
    "key",
    "encode",
    "decode",
];

/// The growth that still passes: another compiler or libc changes the counts a little.
const TOLERANCE: f64 = 1.05;

/// Each operation is run this often and that often. The difference between the two runs is that of
/// the operation alone.
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

pub(crate) fn compare() -> Result<(), String> {
    let committed = read()?;
    let counted = count_all()?;
    println!("{:<10} {:>9} {:>9}", "operation", "committed", "counted");
    let mut grown = Vec::new();
    for (operation, count) in &counted {
        let before = committed.get(operation);
        let shown = before.map_or_else(|| "none".to_owned(), ToString::to_string);
        println!("{operation:<10} {shown:>9} {count:>9}");
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        if before.is_none_or(|before| *count as f64 > *before as f64 * TOLERANCE) {
            grown.push(operation.as_str());
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more instructions than committed: {}\n\nif the change is worth them: cargo xtask instructions --update",
        grown.join(", ")
    ))
}

pub(crate) fn update() -> Result<(), String> {
    let mut text = String::from(
        "# Instructions that one operation takes, by `cargo xtask instructions --update`.\n",
    );
    for (operation, count) in count_all()? {
        let _ = writeln!(text, "{operation} {count}");
    }
    print!("{text}");
    let path = figures();
    std::fs::write(&path, text).map_err(|error| format!("`{}`: {error}", path.display()))
}

fn figures() -> PathBuf {
    root().join("benches/instructions/committed.txt")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read() -> Result<BTreeMap<String, u64>, String> {
    let path = figures();
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let pair = line.split_once(' ');
            pair.and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
                .ok_or_else(|| format!("`{}`: `{line}` is not a name and a number", path.display()))
        })
        .collect()
}

fn count_all() -> Result<BTreeMap<String, u64>, String> {
    let valgrind = server::find_or_install_valgrind()?;
    step::cargo("build --release -p cache-instructions").run()?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release/cache-instructions");
    let mut counted = BTreeMap::new();
    for &operation in OPERATIONS {
        let few = count(&valgrind, &program, operation, FEW)?;
        let many = count(&valgrind, &program, operation, MANY)?;
        counted.insert(
            operation.to_owned(),
            many.saturating_sub(few) / (MANY - FEW),
        );
    }
    Ok(counted)
}

/// How many instructions the program takes for this many runs of an operation.
fn count(valgrind: &Path, program: &Path, operation: &str, times: u64) -> Result<u64, String> {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([operation, &times.to_string()])
        .output()
        .map_err(|error| format!("`{}` did not start: {error}", valgrind.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    collected
        .filter(|_| output.status.success())
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| format!("callgrind counted nothing for `{operation}`:\n{said}"))
}
