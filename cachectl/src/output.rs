//! What is printed.

use std::io::{self, Write as _};
use std::time::Duration;

use serde_json::Value;

/// Prints a text and a line break. What a server or a program tells may have characters that a terminal obeys:
/// these are printed as they are escaped in Rust.
///
/// # Errors
///
/// If it cannot be written. That a reader such as `head` has gone is none.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(harmless(text).as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints JSON.
///
/// # Errors
///
/// As of [`print()`].
pub(crate) fn print_json(value: &Value) -> io::Result<()> {
    print(&format!("{value:#}"))
}

/// Says something beside what a command prints.
pub(crate) fn warn(text: &str) {
    // Nothing is left to say it to.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(text));
}

/// `12.3 ms`, or `12.3 s`.
pub(crate) fn time(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_is_printed() {
        assert_eq!(
            harmless("größe\n\u{1b}[31mred\r"),
            "größe\n\\u{1b}[31mred\\r"
        );
    }
}
