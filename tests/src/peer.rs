//! Another process, which is told what to do line by line and answers with lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that reads orders from its standard input and writes answers to its standard
/// output. It is killed when this is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the process.
    ///
    /// # Panics
    ///
    /// If the program does not start.
    pub fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer's program starts");
        Self {
            orders: process.stdin.take().expect("it is piped"),
            answers: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
        }
    }

    /// Sends one line, and does not wait for the answer.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the peer reads its orders");
    }

    /// Waits for the next line.
    ///
    /// # Panics
    ///
    /// If the process ends before it has written one.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).expect("the peer writes");
        assert!(length > 0, "the peer ended without an answer");
        line.trim_end().to_owned()
    }

    /// Stops the process, until it is told to go on.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    /// Has a process that was stopped go on.
    ///
    /// # Panics
    ///
    /// As [`stop`](Self::stop).
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("`kill` runs").success(), "the peer runs");
    }

    /// Kills the process, as `kill -9` does.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
