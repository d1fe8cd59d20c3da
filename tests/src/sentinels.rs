//! A primary, its replica, and three sentinels that watch over them.

use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use crate::certificates::Certificate;
use crate::server::{RedisServer, RedisServerBuilder};
use crate::until::until_blocking;

/// Two servers and three sentinels on the loopback address that belong to one test. They are killed when
/// this is dropped.
///
/// On a busy machine, a server may not answer for a while. So the sentinels take it for dead after ten
/// minutes, unless a test wants it [sooner](SentinelsBuilder::down_after).
#[derive(Debug)]
pub struct Sentinels {
    servers: [RedisServer; 2],
    watchers: Vec<RedisServer>,
    settings: SentinelsBuilder,
}

/// The user of the servers that is the sentinels', and its password.
const SENTINELS_USER: [&str; 2] = ["sentinels", "theirs"];

/// The settings that [`Sentinels`] are started with.
#[derive(Debug, Clone)]
pub struct SentinelsBuilder {
    password: Option<String>,
    sentinel_password: Option<String>,
    certificate: Option<Certificate>,
    sentinels_have_tls: bool,
    down_after: Duration,
}

impl Default for SentinelsBuilder {
    fn default() -> Self {
        Self {
            password: None,
            sentinel_password: None,
            certificate: None,
            sentinels_have_tls: true,
            down_after: Duration::from_secs(600),
        }
    }
}

impl SentinelsBuilder {
    /// The password of the two servers: letters and digits.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The password of the sentinels: letters and digits.
    #[must_use]
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.sentinel_password = Some(password.to_owned());
        self
    }

    /// All of them speak TLS only, with this certificate.
    #[must_use]
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The sentinels speak no TLS, though the servers do.
    #[must_use]
    pub fn sentinels_without_tls(mut self) -> Self {
        self.sentinels_have_tls = false;
        self
    }

    /// How long a server does not answer before the sentinels take it for dead.
    #[must_use]
    pub fn down_after(mut self, down_after: Duration) -> Self {
        self.down_after = down_after;
        self
    }

    /// Starts the servers, and then the sentinels.
    ///
    /// # Panics
    ///
    /// As [`RedisServerBuilder::start`].
    pub fn start(self) -> Sentinels {
        let primary = self.server(&[]).start();
        let port = primary.port().to_string();
        let replica = self.server(&["--replicaof", "127.0.0.1", &port]).start();
        until_blocking(|| {
            let info: String = replica.query(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| self.sentinel(primary.port()).start());
        let sentinels = Sentinels {
            watchers: sentinels.collect(),
            servers: [primary, replica],
            settings: self,
        };
        sentinels.hurry();
        sentinels
    }

    fn server(&self, more: &[&str]) -> RedisServerBuilder {
        // By default a primary waits for more replicas before it sends its data.
        let mut builder = RedisServer::builder().args(&["--repl-diskless-sync-delay", "0"]);
        let [user, password] = SENTINELS_USER;
        let password_rule = format!(">{password}");
        let rules = ["--user", user, "on", &password_rule, "~*", "&*", "+@all"];
        builder = builder.args(&rules);
        if let Some(password) = &self.password {
            builder = builder.password(password).args(&["--masterauth", password]);
        }
        if let Some(certificate) = &self.certificate {
            builder = builder
                .tls(certificate.clone())
                .args(&["--tls-replication", "yes"]);
        }
        builder.args(more)
    }

    fn sentinel(&self, primary: u16) -> RedisServerBuilder {
        let down_after = self.down_after.as_millis();
        let [user, password] = SENTINELS_USER;
        let mut config = format!(
            "sentinel monitor main 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds main {down_after}\n\
             sentinel failover-timeout main 3000\n\
             sentinel auth-user main {user}\n\
             sentinel auth-pass main {password}\n"
        );
        let mut builder = RedisServer::builder();
        if let Some(password) = &self.sentinel_password {
            config.extend(["sentinel sentinel-pass ", password, "\n"]);
            builder = builder.password(password);
        }
        if let Some(certificate) = &self.certificate {
            if self.sentinels_have_tls {
                builder = builder.tls(certificate.clone());
            } else {
                let (cert, key) = (certificate.file(), certificate.key_file());
                let authority = certificate.authority_file();
                for (setting, file) in [
                    ("tls-cert-file", cert),
                    ("tls-key-file", key),
                    ("tls-ca-cert-file", authority),
                ] {
                    let file = file.display().to_string();
                    config.extend([setting, " ", &file, "\n"]);
                }
            }
            // How it connects to the servers.
            config += "tls-replication yes\n";
        }
        builder.sentinel(config)
    }
}

impl Sentinels {
    /// The name of the service.
    pub const SERVICE: &'static str = "main";

    /// Starts them with the settings that most tests want.
    ///
    /// # Panics
    ///
    /// As [`SentinelsBuilder::start`].
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Sentinels with settings of their own.
    pub fn builder() -> SentinelsBuilder {
        SentinelsBuilder::default()
    }

    /// Those that many tests of a process share, none of which lets a server fail.
    ///
    /// # Panics
    ///
    /// As [`SentinelsBuilder::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Sentinels> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of the service, with all passwords, and with TLS with the authority to trust.
    pub fn url(&self) -> String {
        self.url_of(&self.hosts(0..self.watchers.len()))
    }

    /// The same through these sentinels.
    pub fn url_of(&self, hosts: &str) -> String {
        let settings = &self.settings;
        let credentials = match &settings.password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        let scheme = match &settings.certificate {
            Some(_) => "rediss-sentinel",
            None => "redis-sentinel",
        };
        let mut parameters = Vec::new();
        if let Some(password) = &settings.sentinel_password {
            parameters.push(format!("sentinel_password={password}"));
        }
        if let Some(certificate) = &settings.certificate {
            parameters.push(format!("ca={}", certificate.authority_file().display()));
            if !settings.sentinels_have_tls {
                parameters.push("sentinel_tls=no".to_owned());
            }
        }
        let parameters = match parameters.as_slice() {
            [] => String::new(),
            some => format!("?{}", some.join("&")),
        };
        format!(
            "{scheme}://{credentials}{hosts}/{}{parameters}",
            Self::SERVICE
        )
    }

    /// The hosts of these sentinels, as a URL has them.
    pub fn hosts(&self, sentinels: Range<usize>) -> String {
        let hosts = self.watchers[sentinels].iter();
        let hosts: Vec<_> = hosts.map(|it| format!("127.0.0.1:{}", it.port())).collect();
        hosts.join(",")
    }

    /// The sentinels, as servers.
    pub fn each(&self) -> &[RedisServer] {
        &self.watchers
    }

    /// The sentinels, as servers that can be restarted.
    pub fn each_mut(&mut self) -> &mut [RedisServer] {
        &mut self.watchers
    }

    /// The two servers: the one that was the primary at first, and its replica.
    pub fn servers(&self) -> &[RedisServer; 2] {
        &self.servers
    }

    /// The two servers, to be killed or restarted.
    pub fn servers_mut(&mut self) -> &mut [RedisServer; 2] {
        &mut self.servers
    }

    /// Promotes the replica of the primary that this sentinel names, and waits until all sentinels know.
    /// The old primary becomes a replica.
    ///
    /// # Panics
    ///
    /// If a sentinel does not answer, or nothing is promoted.
    pub fn fail_over(&self) {
        let sentinel = &self.watchers[0];
        let before = named_by(sentinel);
        // At first it may not have seen the replica, or not for a while.
        until_blocking(|| {
            if named_by(sentinel) == before {
                let mut ask = redis::cmd("SENTINEL");
                ask.arg("FAILOVER").arg(Self::SERVICE);
                let _ = ask.query::<()>(&mut sentinel.connection());
                std::thread::sleep(Duration::from_millis(100));
            }
            self.watchers.iter().all(|it| named_by(it) != before)
        });
    }

    /// Lets the sentinels not speak to the first server any more. They promote the other one, and cannot
    /// tell the first one, which goes on as a primary.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn cut_off_primary(&self) {
        let [primary, _] = &self.servers;
        let [user, _] = SENTINELS_USER;
        primary.set_user(user, &["off"]);
        let _: u64 = primary.query(&["CLIENT", "KILL", "USER", user]);
    }

    /// Waits until each sentinel knows the others and the replica, so that they can agree on a failover.
    ///
    /// # Panics
    ///
    /// If a sentinel does not answer.
    pub fn until_ready(&self) {
        let known = |sentinel: &RedisServer, field| {
            let words = ["SENTINEL", "MASTER", Self::SERVICE];
            let fields: Vec<String> = sentinel.query(&words);
            let mut fields = fields.chunks_exact(2).map(|pair| (&pair[0], &pair[1]));
            let field = fields.find_map(|(name, value)| (name == field).then(|| value.clone()));
            field.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        until_blocking(|| {
            self.watchers.iter().all(|sentinel| {
                known(sentinel, "num-other-sentinels") == self.watchers.len() - 1
                    && known(sentinel, "num-slaves") == 1
            })
        });
    }

    /// Whether a sentinel that answers names this server as the primary.
    ///
    /// # Panics
    ///
    /// If no sentinel answers.
    pub fn name(&self, server: &RedisServer) -> bool {
        named_by(&self.watchers[0]) == server.port()
    }

    /// Has the sentinels ask and tell more often, if they can. Redis 6.2 cannot.
    fn hurry(&self) {
        for sentinel in &self.watchers {
            let mut debug = redis::cmd("SENTINEL");
            debug.arg("DEBUG");
            // No more often than that: within five pings there must be an `INFO` of a replica that is to be
            // promoted, and within four publications all must hear of a promotion, else they undo it.
            debug.arg("info-period").arg(500);
            debug.arg("ask-period").arg(100);
            debug.arg("publish-period").arg(1000);
            let _ = debug.query::<()>(&mut sentinel.connection());
        }
    }
}

/// The port of the primary that a sentinel names.
fn named_by(sentinel: &RedisServer) -> u16 {
    let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinels::SERVICE];
    let (_, port): (String, u16) = sentinel.query(&words);
    port
}
