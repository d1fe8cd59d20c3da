//! Lines, and a bar that grows.

use std::fmt::Display;
use std::io::{self, Write};

/// How many characters a whole bar has.
const WIDTH: u64 = 30;

pub(crate) struct Output<W> {
    pub(crate) to: W,
    /// Whether a bar is drawn over itself. If not, it is printed once, when it is whole.
    pub(crate) is_terminal: bool,
}

impl<W: Write> Output<W> {
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.to, "{line}")
    }

    pub(crate) fn bar(&mut self, done: u64, all: u64) -> io::Result<()> {
        let filled = WIDTH * done / all;
        if self.is_terminal {
            write!(self.to, "\r")?;
        } else if done < all {
            return Ok(());
        }
        for at in 0..WIDTH {
            write!(self.to, "{}", if at < filled { '█' } else { '░' })?;
        }
        write!(self.to, " {done} of {all}")?;
        if done == all {
            writeln!(self.to)?;
        }
        self.to.flush()
    }
}
