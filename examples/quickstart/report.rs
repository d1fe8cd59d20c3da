//! The printed report: one line for each step.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::Instant;

use cache_runtime::Cache;

/// Runs steps, and prints what the cache counted during each.
pub struct Report<'a> {
    cache: &'a Cache,
}

impl<'a> Report<'a> {
    /// Prints the head of a table.
    pub fn new(title: &str, cache: &'a Cache) -> Self {
        let columns = format!(
            "  {:<20}{:<16}  {:<26}{:>9}   {}",
            "step", "call", "the cache counted", "time", "answer"
        );
        println!("\n{}\n{}", paint("1", title), paint("2", &columns));
        Self { cache }
    }

    /// Runs a step and prints its row.
    pub async fn step(
        &self,
        step: &str,
        call: &str,
        run: impl Future<Output = sqlx::Result<String>>,
    ) -> sqlx::Result<()> {
        let before = self.cache.stats();
        let start = Instant::now();
        let answer = run.await?;
        let time = start.elapsed();
        let after = self.cache.stats();
        let counts = Counts {
            hits: after.hits - before.hits,
            misses: after.misses - before.misses,
            loads: after.loads - before.loads,
        };
        let (symbol, colour) = match counts {
            Counts { loads: 1.., .. } => ("○", "33"),
            Counts { hits: 1.., .. } => ("●", "32"),
            _ => ("·", "2"),
        };
        println!(
            "  {step:<20}{call:<16}{} {}{:>9}   {answer}",
            paint(colour, symbol),
            paint(colour, &format!("{:<26}", counts.to_string())),
            format!("{time:.1?}"),
        );
        Ok(())
    }
}

/// What the cache counted during a step.
struct Counts {
    hits: u64,
    misses: u64,
    loads: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.hits, "hit", "hits"),
            (self.misses, "miss", "misses"),
            (self.loads, "load", "loads"),
        ];
        let mut separator = "";
        for (count, one, many) in counts.into_iter().filter(|(count, ..)| *count > 0) {
            let noun = if count == 1 { one } else { many };
            write!(f, "{separator}{count} {noun}")?;
            separator = ", ";
        }
        if separator.is_empty() {
            f.write_str("no read")?;
        }
        Ok(())
    }
}

/// Colours text on a terminal, unless `NO_COLOR` turns colours off (<https://no-color.org>).
fn paint(colour: &str, text: &str) -> String {
    let wanted = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
