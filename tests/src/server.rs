//! A real Redis or Valkey server for each test that needs one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::certificates::{Authority, Certificate};
use crate::port;
use crate::until::until_blocking;

/// A server on the loopback address that belongs to one test. It is killed when this is dropped.
///
/// It saves its data only when the test asks for that ([`save`](Self::save)).
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    watchdog: Watchdog,
    port: u16,
    dir: TempDir,
    settings: RedisServerBuilder,
}

/// The settings that a [`RedisServer`] is started with.
#[derive(Debug, Clone, Default)]
pub struct RedisServerBuilder {
    password: Option<String>,
    args: Vec<String>,
    certificate: Option<Certificate>,
    /// Of a sentinel: what its configuration file begins as. It writes to that file itself.
    sentinel: Option<String>,
}

impl RedisServerBuilder {
    /// A sentinel with this configuration, rather than a server.
    pub(crate) fn sentinel(mut self, config: String) -> Self {
        self.sentinel = Some(config);
        self
    }

    /// The password that clients must give. [`RedisServer::url`] does not escape it, so a
    /// test that uses that URL gives letters and digits only.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Speaks TLS, with this certificate, and nothing else on its port. The server accepts clients with a
    /// certificate of the same authority and clients without one;
    /// `args(&["--tls-auth-clients", "yes"])` requires one.
    #[must_use]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// More settings, as on the command line: `&["--maxmemory", "2mb"]`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// Lets a test change where the server saves its data, which Redis 6.2 always lets it.
    #[must_use]
    pub fn protected_configs(self) -> Self {
        if is_older_than_7() {
            return self;
        }
        self.args(&["--enable-protected-configs", "yes"])
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If there is no server program, or the server does not answer within ten seconds.
    pub fn start(self) -> RedisServer {
        let mut dir = tempfile::tempdir().expect("a directory for the server");
        // Another process may take the port before the server does.
        for _ in 0..5 {
            match self.start_at(port::free(), dir) {
                Ok(server) => return server,
                Err(unused) => dir = unused,
            }
        }
        let log = log(&dir);
        let lacks_tls = self.certificate.is_some() && log.contains("tls-");
        assert!(
            !lacks_tls,
            "this test needs a server that was built with TLS, and {} was not:\n{log}",
            program().display()
        );
        panic!("found no port for the server:\n{log}");
    }

    /// Starts the server on this port, with what is in this directory, and waits until it answers. Returns
    /// the directory if the server ended, as it does when its port is taken.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub(crate) fn start_at(&self, port: u16, dir: TempDir) -> Result<RedisServer, TempDir> {
        let mut process = self.spawn(port, &dir);
        if !became_ready(&mut process, &self.own_url(port, &dir), &dir) {
            return Err(dir);
        }
        Ok(RedisServer {
            watchdog: Watchdog::start(&process, &dir),
            process,
            port,
            dir,
            settings: self.clone(),
        })
    }

    fn spawn(&self, port: u16, dir: &TempDir) -> Child {
        let log = File::create(dir.path().join("server.log")).expect("the server's log");
        let errors = log.try_clone().expect("the server's log, twice");
        let mut command = Command::new(program());
        if let Some(config) = &self.sentinel {
            let file = dir.path().join("sentinel.conf");
            // After a restart, it has what the sentinel has learned.
            if !file.exists() {
                std::fs::write(&file, config).expect("the configuration of a sentinel");
            }
            command.arg(file).arg("--sentinel");
        }
        command
            .current_dir(dir.path())
            .args(["--bind", "127.0.0.1"])
            .args(["--unixsocket", "redis.sock"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        match &self.certificate {
            None => {
                command.args(["--port", &port.to_string()]);
            }
            Some(certificate) => {
                command.args(["--port", "0", "--tls-port", &port.to_string()]);
                command.args(["--tls-auth-clients", "optional"]);
                for (setting, path) in [
                    ("--tls-cert-file", certificate.file()),
                    ("--tls-key-file", certificate.key_file()),
                    ("--tls-ca-cert-file", certificate.authority_file()),
                ] {
                    command.arg(setting).arg(path);
                }
            }
        }
        command.args(&self.args);
        command.spawn().expect("the server program starts")
    }

    fn url(&self, port: u16) -> String {
        let credentials = match &self.password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        match &self.certificate {
            None => format!("redis://{credentials}127.0.0.1:{port}"),
            Some(certificate) => format!(
                "rediss://{credentials}127.0.0.1:{port}?ca={}",
                certificate.authority_file().display()
            ),
        }
    }

    fn unix_url(&self, dir: &TempDir) -> String {
        let socket = dir.path().join("redis.sock");
        let password = match &self.password {
            Some(password) => format!("?pass={password}"),
            None => String::new(),
        };
        format!("redis+unix://{}{password}", socket.display())
    }

    /// The URL for what the test asks itself, which is never encrypted.
    fn own_url(&self, port: u16, dir: &TempDir) -> String {
        match &self.certificate {
            None => self.url(port),
            Some(_) => self.unix_url(dir),
        }
    }
}

impl RedisServer {
    /// Starts a server with the settings that most tests want.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts a server that speaks TLS, with a certificate of an authority of its own.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub fn start_with_tls() -> Self {
        let certificate = Authority::new().sign_local();
        Self::builder().tls(certificate).start()
    }

    /// A server with settings of its own.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder::default()
    }

    /// The server's URL, with its password, and with TLS with the authority to trust.
    pub fn url(&self) -> String {
        self.settings.url(self.port)
    }

    /// The URL of the server's Unix socket, with its password.
    pub fn unix_url(&self) -> String {
        self.settings.unix_url(&self.dir)
    }

    fn own_url(&self) -> String {
        self.settings.own_url(self.port, &self.dir)
    }

    /// The directory that it runs in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The TCP port on the loopback address, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server: connections break, new ones are refused, and unsaved data are lost.
    ///
    /// # Panics
    ///
    /// If the system does not allow it.
    pub fn kill(&mut self) {
        self.watchdog.stop();
        self.process.kill().expect("our own child can be killed");
        self.process.wait().expect("and waited for");
    }

    /// Stops the server's process: connections stay open, the system goes on accepting new
    /// ones, and nothing is answered.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the server is running");
        // The system may deliver the signal later: wait until the process has stopped.
        waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("our own child");
    }

    /// Lets a frozen server go on. It first answers the commands that came meanwhile.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the server is running");
    }

    /// Kills the server if it runs, and starts it empty on the same port.
    ///
    /// # Panics
    ///
    /// If it does not answer within ten seconds.
    pub fn restart(&mut self) {
        let _ = std::fs::remove_file(self.dir.path().join("dump.rdb"));
        self.restart_from_snapshot();
    }

    /// Makes the server write its data to disk, for
    /// [`restart_from_snapshot`](Self::restart_from_snapshot).
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn save(&self) {
        let () = self.query(&["SAVE"]);
    }

    /// Kills the server if it runs, and starts it with the data of the last
    /// [`save`](Self::save).
    ///
    /// # Panics
    ///
    /// If it does not answer within ten seconds.
    pub fn restart_from_snapshot(&mut self) {
        self.kill();
        self.process = self.settings.spawn(self.port, &self.dir);
        self.watchdog = Watchdog::start(&self.process, &self.dir);
        let url = self.own_url();
        assert!(
            became_ready(&mut self.process, &url, &self.dir),
            "the server did not come back:\n{}",
            log(&self.dir)
        );
    }

    /// A connection that the test uses itself, without the cache.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn connection(&self) -> redis::Connection {
        connect(&self.own_url(), Duration::from_secs(5)).expect("the server answers")
    }

    /// Gives the server another certificate, from the next [restart](Self::restart) on.
    pub fn set_certificate(&mut self, certificate: Certificate) {
        self.settings.certificate = Some(certificate);
    }

    /// Runs one command: `server.query::<u64>(&["DBSIZE"])`.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or answers with an error or with another type.
    pub fn query<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        command
            .query(&mut self.connection())
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The keys that the server holds, sorted.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.query(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// Deletes all keys.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn flush_all(&self) {
        let () = self.query(&["FLUSHALL"]);
    }

    /// Changes a setting while the server runs: `server.configure("maxmemory", "1")`.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn configure(&self, setting: &str, value: &str) {
        let () = self.query(&["CONFIG", "SET", setting, value]);
    }

    /// Has the server refuse all writes, those of scripts too, until [`accept_writes`](Self::accept_writes):
    /// it lacks replicas. Scripts of Redis 6.2 may write without replicas, so there the server is made to
    /// [fail to save](Self::refuse_to_save).
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn refuse_writes(&self) {
        if is_older_than_7() {
            self.refuse_to_save();
        } else {
            self.configure("min-replicas-to-write", "1");
        }
    }

    /// Ends [`refuse_writes`](Self::refuse_writes) and [`refuse_to_save`](Self::refuse_to_save).
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn accept_writes(&self) {
        self.configure("min-replicas-to-write", "0");
        self.configure("stop-writes-on-bgsave-error", "no");
    }

    /// Has the server fail to save, and refuse all writes therefore. Then even `PING` is refused, with
    /// `MISCONF`.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or was not started with
    /// [`protected_configs`](RedisServerBuilder::protected_configs).
    pub fn refuse_to_save(&self) {
        self.configure("stop-writes-on-bgsave-error", "yes");
        self.configure("save", "3600 1");
        // No file can be made there, not even by an administrator.
        self.configure("dir", "/proc");
        let _: String = self.query(&["BGSAVE"]);
        until_blocking(|| {
            let persistence: String = self.query(&["INFO", "persistence"]);
            persistence.contains("rdb_last_bgsave_status:err")
        });
    }

    /// Makes a user, or changes one, by the rules of `ACL SETUSER`.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn set_user(&self, name: &str, rules: &[&str]) {
        let () = self.query(&[&["ACL", "SETUSER", name], rules].concat());
    }

    /// Makes the server a replica of another one. The port may be one that nothing listens on.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn replicate(&self, primary_port: u16) {
        let () = self.query(&["REPLICAOF", "127.0.0.1", &primary_port.to_string()]);
    }

    /// Makes a replica a primary.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn promote(&self) {
        let () = self.query(&["REPLICAOF", "NO", "ONE"]);
    }

    /// How often `command` has run since the server started, in scripts too.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn calls(&self, command: &str) -> u64 {
        self.command_counts()
            .into_iter()
            .find_map(|(name, calls)| name.eq_ignore_ascii_case(command).then_some(calls))
            .unwrap_or(0)
    }

    /// How many commands have run since the server started, in scripts too. `PING`, `INFO` and
    /// the commands that set up a connection do not count.
    ///
    /// # Panics
    ///
    /// As [`query`](Self::query).
    pub fn commands_processed(&self) -> u64 {
        const NOT_COUNTED: [&str; 6] = ["auth", "client", "hello", "info", "ping", "select"];
        self.command_counts()
            .into_iter()
            .filter(|(name, _)| {
                let command = name.split('|').next().unwrap_or(name);
                !NOT_COUNTED.contains(&command)
            })
            .map(|(_, calls)| calls)
            .sum()
    }

    fn command_counts(&self) -> Vec<(String, u64)> {
        let info: String = self.query(&["INFO", "commandstats"]);
        info.lines()
            .filter_map(|line| {
                // cmdstat_mget:calls=3,usec=…
                let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                let (calls, _) = rest.split_once(',')?;
                Some((name.to_owned(), calls.parse().ok()?))
            })
            .collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // This ends a frozen server too. After `kill` there is nothing left to end.
        self.watchdog.stop();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A shell that kills the server and removes its directory, when this process ends and has not dropped the
/// server: it is killed, or the server is in a static. The shell reads from a pipe that only this process can
/// write to: the read ends when this process does.
#[derive(Debug)]
struct Watchdog(Child);

impl Watchdog {
    fn start(server: &Child, dir: &TempDir) -> Self {
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\"; rm -rf \"$1\""])
            .arg(server.id().to_string())
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(watchdog.expect("there is a shell"))
    }

    /// Must be called before the server ends: later its number may be that of another process.
    fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the server answers. False if the process ended, as it does when its port is taken.
fn became_ready(process: &mut Child, url: &str, dir: &TempDir) -> bool {
    const LIMIT: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(5);
    let start = Instant::now();
    loop {
        if process.try_wait().expect("our own child").is_some() {
            return false;
        }
        let answer = connect(url, Duration::from_millis(500))
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        match answer {
            Ok(_) => return true,
            Err(error) if start.elapsed() > LIMIT => {
                let _ = process.kill();
                panic!("the server does not answer: {error}\n{}", log(dir));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn connect(url: &str, limit: Duration) -> redis::RedisResult<redis::Connection> {
    let connection = redis::Client::open(url)?.get_connection_with_timeout(limit)?;
    connection.set_read_timeout(Some(limit))?;
    connection.set_write_timeout(Some(limit))?;
    Ok(connection)
}

/// Whether the program is Redis 6.2.
fn is_older_than_7() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let output = Command::new(program()).arg("--version").output();
        let output = output.expect("the server program tells its version");
        String::from_utf8_lossy(&output.stdout).contains(" v=6.")
    })
}

pub(crate) fn log(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default()
}

fn program() -> PathBuf {
    std::env::var_os("REDIS_SERVER")
        .map(PathBuf::from)
        .or_else(|| on_path("redis-server"))
        .or_else(|| on_path("valkey-server"))
        .expect(
            "this test starts a real Redis, and there is no `redis-server` on PATH: \
             `cargo xtask test` installs it, or: apt-get install redis-server",
        )
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
