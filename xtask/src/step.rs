//! One command of a chore. It is printed before it runs, and named in the error if it fails.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::Command;

pub(crate) struct Step {
    shown: String,
    command: Command,
}

/// A step that runs cargo at the root of the workspace.
pub(crate) fn cargo(arguments: &str) -> Step {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let mut step = program("cargo", &words);
    // The cargo that runs this program, so that the same toolchain is used.
    if let Some(cargo) = std::env::var_os("CARGO") {
        step.command = Command::new(cargo);
        step.command.args(words);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    step.command.current_dir(root);
    step
}

/// A step that runs any other program.
pub(crate) fn program(program: &str, arguments: &[&str]) -> Step {
    let mut shown = program.to_owned();
    for argument in arguments {
        let _ = write!(shown, " {argument}");
    }
    let mut command = Command::new(program);
    command.args(arguments);
    Step { shown, command }
}

impl Step {
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        for argument in arguments {
            let _ = write!(self.shown, " {argument}");
        }
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref();
        let shown = value.to_string_lossy();
        let shown = if shown.contains(' ') {
            format!("{name}=\"{shown}\"")
        } else {
            format!("{name}={shown}")
        };
        self.shown = format!("{shown} {}", self.shown);
        self.command.env(name, value);
        self
    }

    pub(crate) fn run(mut self) -> Result<(), String> {
        if std::io::stderr().is_terminal() {
            eprintln!("\x1b[1m==> {}\x1b[0m", self.shown);
        } else {
            eprintln!("==> {}", self.shown);
        }
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` failed ({status})", self.shown)),
            Err(error) => Err(format!("`{}` did not start: {error}", self.shown)),
        }
    }
}
