//! Upstash's HTTP interface in front of a real server, with faults that a test chooses.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redis::Value;
use serde_json::{Value as Json, json};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::{Authority, Certificate};
use crate::server::RedisServer;

/// An emulator of Upstash's HTTP interface on the loopback address. It ends when this is dropped.
///
/// As the service does, it puts U+FFFD in the place of bytes that are no text, and answers a read from
/// a replica, if there is [one that lags](Self::lag) and the request's token allows it.
#[derive(Debug)]
pub struct Upstash {
    address: SocketAddr,
    certificate: Option<Certificate>,
    service: Arc<Service>,
    accepting: Option<JoinHandle<()>>,
}

/// What the emulator does instead of answering.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It keeps requests, carries none of them out, and answers nothing.
    Hang,
    /// The same, for requests that write.
    HangWrites,
    /// It carries out what is written, and answers nothing.
    LoseAnswersOfWrites,
    /// It closes the connection when a request has come.
    Close,
    /// It answers this, and does nothing else.
    Answer {
        /// The status of the answer.
        status: u16,
        /// Its body.
        body: &'static str,
        /// Its header `Location`.
        location: &'static str,
    },
}

#[derive(Debug)]
struct Service {
    primary: RedisServer,
    replica: OnceLock<RedisServer>,
    /// The state that the replica shows. It is locked for writing while that is copied.
    shown: RwLock<Option<u64>>,
    /// How many requests have written.
    written: AtomicU64,
    requests: AtomicU64,
    commands: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    fault: Mutex<Option<Fault>>,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    tls: Option<Arc<ServerConfig>>,
}

/// The token of the emulator, which has a character that URLs may escape.
const TOKEN: &str = "AXs3cret=";

impl Upstash {
    /// Starts the emulator, and the server behind it.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`], or if there is no port to listen on.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same with TLS, with a certificate of an authority of its own.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with_tls() -> Self {
        Self::start_with(Some(Authority::new().sign_local()))
    }

    fn start_with(certificate: Option<Certificate>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let service = Arc::new(Service {
            primary: RedisServer::start(),
            replica: OnceLock::new(),
            shown: RwLock::default(),
            written: AtomicU64::default(),
            requests: AtomicU64::default(),
            commands: AtomicU64::default(),
            connections: AtomicU64::default(),
            open: AtomicU64::default(),
            fault: Mutex::default(),
            is_over: AtomicBool::default(),
            streams: Mutex::default(),
            tls: certificate.as_ref().map(server_config),
        });
        let accepting = thread::spawn({
            let service = service.clone();
            move || accept(&listener, &service)
        });
        Self {
            address,
            certificate,
            service,
            accepting: Some(accepting),
        }
    }

    /// The URL of a cache, with the token.
    pub fn url(&self) -> String {
        let address = self.address;
        match &self.certificate {
            None => format!("upstash+http://{TOKEN}@{address}"),
            Some(certificate) => format!(
                "upstash://{TOKEN}@{address}?ca={}",
                certificate.authority_file().display()
            ),
        }
    }

    /// The URL and the token as the service shows them.
    pub fn rest_url_and_token(&self) -> (String, &'static str) {
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        (format!("{scheme}://{}", self.address), TOKEN)
    }

    /// The server behind it.
    pub fn server(&self) -> &RedisServer {
        &self.service.primary
    }

    /// From now on requests end so, and without one as they should. Requests that are kept are dropped
    /// with their connections.
    ///
    /// # Panics
    ///
    /// If the emulator itself has panicked.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.service.fault.lock().expect("the fault") = fault;
    }

    /// Lets a replica show the database as it is now, until this is called again. It answers the reads
    /// whose token names this state, an older one, or none.
    ///
    /// # Panics
    ///
    /// If a server does not answer.
    pub fn lag(&self) {
        let replica = self.service.replica.get_or_init(RedisServer::start);
        let mut shown = self.service.shown.write().expect("what is shown");
        copy(&self.service.primary, replica);
        *shown = Some(self.service.written.load(SeqCst));
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.service.requests.load(SeqCst)
    }

    /// How many commands the requests had.
    pub fn commands(&self) -> u64 {
        self.service.commands.load(SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.service.connections.load(SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> u64 {
        self.service.open.load(SeqCst)
    }

    /// Closes all connections, as the service does with those that were idle for long.
    ///
    /// # Panics
    ///
    /// If the emulator itself has panicked.
    pub fn close_connections(&self) {
        for stream in self.service.streams.lock().expect("the streams").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Upstash {
    fn drop(&mut self) {
        self.service.is_over.store(true, SeqCst);
        // The thread that accepts waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.close_connections();
    }
}

fn server_config(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_file(certificate.file()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certificate.key_file()).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a version of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key);
    Arc::new(config.expect("a configuration"))
}

/// Makes one server hold what the other holds.
fn copy(from: &RedisServer, to: &RedisServer) {
    let (mut from, mut to) = (from.connection(), to.connection());
    let mut restore = redis::pipe();
    restore.cmd("FLUSHALL");
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut from).expect("keys");
    for key in keys {
        let both = redis::pipe()
            .cmd("DUMP")
            .arg(&key)
            .cmd("PTTL")
            .arg(&key)
            .query::<(Option<Vec<u8>>, i64)>(&mut from);
        if let (Some(value), left) = both.expect("a value") {
            let restored = restore.cmd("RESTORE").arg(&key).arg(left.max(0));
            restored.arg(value).arg("REPLACE").ignore();
        }
    }
    restore.exec(&mut to).expect("the copy");
}

fn accept(listener: &TcpListener, service: &Arc<Service>) {
    while let Ok((stream, _)) = listener.accept() {
        if service.is_over.load(SeqCst) {
            return;
        }
        service.connections.fetch_add(1, SeqCst);
        service.open.fetch_add(1, SeqCst);
        stream.set_nodelay(true).expect("a stream");
        let copy = || stream.try_clone().expect("the stream, twice");
        service.streams.lock().expect("the streams").push(copy());
        let served = copy();
        let service = service.clone();
        thread::spawn(move || {
            // How the client hangs up does not matter.
            let _ = match service.tls.clone() {
                None => serve(stream, &service),
                Some(config) => {
                    let tls = ServerConnection::new(config).expect("a configuration");
                    serve(StreamOwned::new(tls, stream), &service)
                }
            };
            let _ = served.shutdown(Shutdown::Both);
            service.open.fetch_sub(1, SeqCst);
        });
    }
}

struct Request {
    path: String,
    bearer: String,
    sync_token: Option<u64>,
    body: Vec<u8>,
}

fn serve(stream: impl Read + Write, service: &Service) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut redis = service.primary.connection();
    while let Some(request) = read_request(&mut stream)? {
        service.requests.fetch_add(1, SeqCst);
        let commands = commands(&request);
        let writes = commands
            .iter()
            .any(|command| !is_read(command.first().map_or("", String::as_str)));
        let fault = service.fault.lock().expect("the fault").clone();
        match fault {
            Some(Fault::Close) => return Ok(()),
            Some(Fault::Hang) => {
                hang(service);
                return Ok(());
            }
            Some(Fault::HangWrites) if writes => {
                hang(service);
                return Ok(());
            }
            Some(Fault::Answer {
                status,
                body,
                location,
            }) => {
                let head = format!("Location: {location}\r\n");
                respond(stream.get_mut(), status, &head, body)?;
                continue;
            }
            _ => {}
        }
        let (status, body, number) = service.answer(&request, &commands, writes, &mut redis);
        if writes && matches!(fault, Some(Fault::LoseAnswersOfWrites)) {
            hang(service);
            return Ok(());
        }
        let head = format!("upstash-sync-token: {number}\r\n");
        respond(stream.get_mut(), status, &head, &body.to_string())?;
    }
    Ok(())
}

/// Waits until the fault is over, and then closes the connection.
fn hang(service: &Service) {
    let is_over = || service.is_over.load(SeqCst);
    while service.fault.lock().expect("the fault").is_some() && !is_over() {
        thread::sleep(Duration::from_millis(2));
    }
}

impl Service {
    /// The status, the body, and the state of the database that the answer shows.
    fn answer(
        &self,
        request: &Request,
        commands: &[Vec<String>],
        writes: bool,
        primary: &mut redis::Connection,
    ) -> (u16, Json, u64) {
        if request.bearer != format!("Bearer {TOKEN}") {
            let error = "WRONGPASS invalid or missing auth token";
            return (401, json!({ "error": error }), 0);
        }
        let is_pipeline = match request.path.as_str() {
            "/pipeline" => true,
            "/" => false,
            _ => return (404, json!({ "error": "ERR unknown path" }), 0),
        };
        if commands.is_empty() {
            let error = "ERR failed to parse the body";
            return (400, json!({ "error": error }), 0);
        }
        let count = u64::try_from(commands.len()).expect("few commands");
        self.commands.fetch_add(count, SeqCst);
        let shown = self.shown.read().expect("what is shown");
        let lags = shown.filter(|shown| !writes && request.sync_token.unwrap_or(0) <= *shown);
        let mut replica = self
            .replica
            .get()
            .filter(|_| lags.is_some())
            .map(RedisServer::connection);
        let redis = replica.as_mut().unwrap_or(primary);
        let mut answers: Vec<Json> = commands
            .iter()
            .map(|command| {
                match redis::cmd(&command[0])
                    .arg(&command[1..])
                    .query::<Value>(redis)
                {
                    Ok(value) => json!({ "result": json_of(value) }),
                    Err(error) => json!({ "error": text_of(&error) }),
                }
            })
            .collect();
        if writes {
            self.written.fetch_add(1, SeqCst);
        }
        let number = lags.unwrap_or_else(|| self.written.load(SeqCst));
        drop(shown);
        if is_pipeline {
            return (200, Json::Array(answers), number);
        }
        let answer = answers.remove(0);
        let status = if answer.get("error").is_some() {
            400
        } else {
            200
        };
        (status, answer, number)
    }
}

/// A command that a replica may answer.
fn is_read(command: &str) -> bool {
    ["MGET", "GET", "PTTL", "SCAN", "PING"].contains(&command)
}

fn json_of(value: Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Int(number) => number.into(),
        Value::Okay => "OK".into(),
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into(),
        Value::SimpleString(text) => text.into(),
        Value::Array(values) => values.into_iter().map(json_of).collect(),
        other => panic!("{other:?} is no answer to these commands"),
    }
}

/// `OOM command not allowed`
fn text_of(error: &redis::RedisError) -> String {
    let code = error.code().unwrap_or("ERR");
    format!("{code} {}", error.detail().unwrap_or_default())
}

fn commands(request: &Request) -> Vec<Vec<String>> {
    let body = serde_json::from_slice::<Vec<Json>>(&request.body).unwrap_or_default();
    let word = |word: &Json| match word {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let words = |command: &[Json]| command.iter().map(word).collect();
    match body.first() {
        Some(Json::Array(_)) => {
            let commands = body.iter().filter_map(Json::as_array);
            commands.map(|command| words(command)).collect()
        }
        Some(_) => vec![words(&body)],
        None => Vec::new(),
    }
}

fn read_request(stream: &mut BufReader<impl Read>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        bearer: String::new(),
        sync_token: None,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut request.bearer),
            "content-length" => length = value.parse().expect("a length"),
            "upstash-sync-token" => request.sync_token = Some(value.parse().expect("our token")),
            _ => {}
        }
    }
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn respond(stream: &mut impl Write, status: u16, head: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} As told\r\nContent-Type: application/json\r\n{head}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes())?;
    stream.flush()
}
