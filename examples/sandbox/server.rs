//! The server that this program has started for itself. Only its own child is ever killed or stopped.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// What the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Running,
    /// It is there, and does nothing: it answers no request, and closes no connection.
    Frozen,
    /// It has ended.
    Killed,
}

/// A server of our own. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    port: u16,
    child: Child,
    state: State,
    /// Where it would save, if it saved.
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Starts a server on a free port. `None` if there is no such program.
pub(crate) async fn start() -> Option<Server> {
    let program = find()?;
    let port = TcpListener::bind("127.0.0.1:0")
        .ok()?
        .local_addr()
        .ok()?
        .port();
    let folder = tempfile::tempdir().ok()?;
    let child = spawn(&program, port, &folder).ok()?;
    let server = Server {
        program,
        port,
        child,
        state: State::Running,
        folder,
    };
    server.answers().await.then_some(server)
}

/// The program that `REDIS_SERVER` names, or one on PATH.
fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("REDIS_SERVER").map(PathBuf::from) {
        return named.is_file().then_some(named);
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let mut programs = ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    programs.find(|path| path.is_file())
}

fn spawn(program: &PathBuf, port: u16, folder: &TempDir) -> io::Result<Child> {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Server {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What it does now. It may have ended by itself.
    pub(crate) fn state(&mut self) -> State {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            self.state = State::Killed;
        }
        self.state
    }

    /// Ends it at once, as a crash would. What it held is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.state = State::Killed;
        Ok(())
    }

    /// Stops it where it stands, as a machine without a processor to spare would.
    pub(crate) fn freeze(&mut self) -> io::Result<()> {
        self.signal(Signal::Stop)?;
        self.state = State::Frozen;
        Ok(())
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self) -> io::Result<()> {
        self.signal(Signal::Continue)?;
        self.state = State::Running;
        Ok(())
    }

    /// Starts it again, without what it held.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.child = spawn(&self.program, self.port, &self.folder)?;
        self.state = State::Running;
        if self.answers().await {
            Ok(())
        } else {
            Err(io::Error::other("the server does not accept connections"))
        }
    }

    /// Waits until it accepts connections, for a few seconds.
    async fn answers(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    #[cfg(unix)]
    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        if self.state() == State::Killed {
            return Err(io::Error::other(
                "the server does not run; restart it first",
            ));
        }
        // The child was not waited for, so its number is still its own.
        let pid = rustix::process::Pid::from_child(&self.child);
        let signal = match signal {
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Continue => rustix::process::Signal::CONT,
        };
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    #[cfg(not(unix))]
    fn signal(&mut self, _signal: Signal) -> io::Result<()> {
        Err(io::Error::other(
            "a process cannot be frozen on this system",
        ))
    }
}

#[cfg_attr(not(unix), allow(dead_code, reason = "there are no signals"))]
enum Signal {
    Stop,
    Continue,
}
