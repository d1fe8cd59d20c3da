//! Servers with TLS: what is served over it, and what is said where it fails.

use std::fs;
use std::panic;
use std::process::Command;
use std::time::Duration;

use cache_runtime::{Cache, CacheBuilder, Error, Options, Status, Tls};
use cache_tests::{Authority, Certificate, Peer, RedisServer, Validity, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;

fn builder(url: &str) -> CacheBuilder {
    // A handshake computes much, in a debug build on a busy machine.
    let limit = Duration::from_secs(20);
    Cache::builder()
        .url(url)
        .op_timeout(limit)
        .connect_timeout(limit)
}

/// The URL of a server, without the parameter that names its authority.
fn bare_url(server: &RedisServer) -> String {
    format!("rediss://127.0.0.1:{}", server.port())
}

fn trusting(authority: &Authority) -> Tls {
    Tls::new().ca_file(authority.file())
}

/// Checks that a cache loads, serves and invalidates.
async fn check_serves(builder: CacheBuilder) {
    let cache = builder.build().unwrap();
    cache.ping().await.unwrap();
    for _ in 0..2 {
        let load = async { Ok::<_, ()>(7) };
        let options = Options::new().tag("numbers");
        assert_eq!(cache.get_or_load("seven", options, load).await, Ok(7));
    }
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.loads, stats.errors), (1, 1, 0));
    cache.invalidate(["numbers"]).await.unwrap();
    assert_eq!(cache.get::<i32>("seven").await.unwrap(), None);
    assert!(cache.health().status.is_working());
}

/// What a cache says that cannot use its server. Its calls are misses.
async fn complaint(builder: CacheBuilder) -> Error {
    let cache = builder.build().unwrap();
    let load = async { Ok::<_, ()>(7) };
    let loaded = cache.get_or_load("seven", Options::new(), load).await;
    assert_eq!(loaded, Ok(7));
    let error = cache.ping().await.unwrap_err();
    let status = cache.health().status;
    let told = status.error().expect("an error").to_string();
    assert_eq!(told, error.to_string());
    match status {
        Status::Denied(_) => assert!(error.is_refused(), "{error}"),
        _ => assert!(error.is_unavailable(), "{error}"),
    }
    error
}

async fn check_complaint(builder: CacheBuilder, parts: &[&str]) {
    let error = complaint(builder).await.to_string();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

fn server(certificate: Certificate) -> RedisServer {
    RedisServer::builder().tls(certificate).start()
}

#[tokio::test]
async fn a_cache_works_over_tls() {
    let authority = Authority::new();
    let server = RedisServer::builder()
        .password("secret")
        .tls(authority.sign_local())
        .start();
    check_serves(builder(&server.url())).await;
    let by_name = server.url().replace("127.0.0.1", "localhost");
    check_serves(builder(&by_name.replace("rediss:", "valkeys:"))).await;
    let bare = format!("rediss://:secret@127.0.0.1:{}/3", server.port());
    check_serves(builder(&bare).tls(trusting(&authority))).await;
}

/// The environment variable takes the place of the system's files, in a process of its own.
#[tokio::test]
async fn an_authority_that_the_system_trusts_needs_no_setting() {
    let authority = Authority::new();
    let server = server(authority.sign_local());
    let ping = |trusted: &Authority| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.args(["ping", "--namespace", "test", "--url", &bare_url(&server)]);
        command.env("SSL_CERT_FILE", trusted.file());
        Peer::start(&mut command).answer()
    };
    assert_eq!(ping(&authority), "ok");
    let error = ping(&Authority::new());
    assert!(error.contains("(what the system trusts)"), "{error}");
}

/// In version 3, a connection hears what other processes announce.
#[tokio::test]
async fn the_newer_protocol_is_spoken_over_tls() {
    let server = RedisServer::start_with_tls();
    let cache = builder(&server.url()).build().unwrap();
    cache.ping().await.unwrap();
    let clients: String = server.query(&["CLIENT", "LIST"]);
    assert!(clients.contains("resp=3"), "{clients}");
}

#[tokio::test]
async fn a_certificate_by_an_authority_that_is_not_trusted_is_told() {
    let server = RedisServer::start_with_tls();
    let other = Authority::new();
    let by_other = builder(&bare_url(&server)).tls(trusting(&other));
    let file = other.file().display().to_string();
    let parts = [
        "not signed by an authority that is trusted here",
        &file,
        "?ca=",
    ];
    check_complaint(by_other, &parts).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_not_valid_yet_is_told() {
    let authority = Authority::new();
    for (validity, text) in [
        (Validity::Over, "has expired, "),
        (Validity::Later, "becomes valid in "),
    ] {
        let server = server(authority.sign(&["127.0.0.1"], validity));
        check_complaint(builder(&server.url()), &[text, "clock of this machine"]).await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_told() {
    let authority = Authority::new();
    let server = server(authority.sign(&["cache.example.com"], Validity::Now));
    let parts = [
        "is for `cache.example.com`, and not for `127.0.0.1`",
        "`Tls::server_name`",
    ];
    check_complaint(builder(&server.url()), &parts).await;
    let named = Tls::new().server_name("cache.example.com");
    check_serves(builder(&server.url()).tls(named)).await;
}

#[tokio::test]
async fn a_certificate_without_a_host_is_told() {
    let authority = Authority::new();
    let server = server(authority.sign(&[], Validity::Now));
    let parts = ["names no host", "`subjectAltName`"];
    check_complaint(builder(&server.url()), &parts).await;
}

/// OpenSSL accepts such a certificate, and makes one when it is not told otherwise.
#[tokio::test]
async fn a_certificate_of_an_authority_as_that_of_a_server_is_told() {
    let server = server(Authority::new().own());
    let parts = ["that of an authority (`CA:TRUE`)", "sign another one"];
    check_complaint(builder(&server.url()), &parts).await;
}

/// Redis waits for the end of what it takes for a command. A server of another kind may hang up, or
/// answer something else.
#[tokio::test]
async fn a_server_without_tls_is_told() {
    let authority = Authority::new();
    let parts = ["not speak TLS on this port", "`redis://`"];
    let server = RedisServer::start();
    let cache = Cache::builder()
        .url(bare_url(&server))
        .tls(trusting(&authority))
        .build()
        .unwrap();
    // The call does not wait for as long as the attempt to connect.
    assert!(cache.ping().await.unwrap_err().is_timeout());
    let told = async || {
        let status = cache.health().status;
        let told = status.error().map(ToString::to_string).unwrap_or_default();
        told.contains("TLS handshake") && parts.iter().all(|part| told.contains(part))
    };
    until(told).await;
    assert!(cache.ping().await.unwrap_err().is_timeout());
    for answer in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        let url = format!("rediss://127.0.0.1:{port}");
        check_complaint(builder(&url).tls(trusting(&authority)), &parts).await;
        answers.abort();
    }
}

#[tokio::test]
async fn a_server_that_expects_tls_is_told() {
    let server = RedisServer::start_with_tls();
    let plain = format!("redis://127.0.0.1:{}", server.port());
    let parts = ["if it expects TLS, write `rediss://`"];
    check_complaint(builder(&plain), &parts).await;
    // There is a password, and so another first command.
    let plain = format!("redis://:secret@127.0.0.1:{}", server.port());
    check_complaint(builder(&plain), &parts).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_requires_one() {
    let authority = Authority::new();
    // TLS 1.3 refuses it after the handshake, TLS 1.2 in the handshake.
    for version in ["TLSv1.3", "TLSv1.2"] {
        let server = RedisServer::builder()
            .tls(authority.sign_local())
            .args(&["--tls-auth-clients", "yes", "--tls-protocols", version])
            .start();
        check_complaint(builder(&server.url()), &["client certificate", "?cert="]).await;

        let client = authority.sign(&[], Validity::Now);
        let (certificate, key) = (client.file(), client.key_file());
        let shown = Tls::new().client_files(&certificate, &key);
        check_serves(builder(&server.url()).tls(shown)).await;
        let (certificate, key) = (certificate.display(), key.display());
        let by_url = format!("{}&cert={certificate}&key={key}", server.url());
        check_serves(builder(&by_url)).await;
    }
}

#[tokio::test]
async fn a_client_certificate_that_the_server_refuses_is_told() {
    let authority = Authority::new();
    let server = RedisServer::builder()
        .tls(authority.sign_local())
        .args(&["--tls-auth-clients", "yes"])
        .start();
    let with = |client: &Certificate| {
        let files = Tls::new().client_files(client.file(), client.key_file());
        builder(&server.url()).tls(files)
    };
    let expired = authority.sign(&[], Validity::Over);
    check_complaint(with(&expired), &["client certificate has expired"]).await;
    let of_others = Authority::new().sign(&[], Validity::Now);
    check_complaint(
        with(&of_others),
        &["does not trust the authority that signed the client"],
    )
    .await;
}

#[tokio::test]
async fn any_certificate_is_accepted_only_where_the_program_says_so() {
    let server = server(Authority::new().sign(&["cache.example.com"], Validity::Over));
    let tls = Tls::new().insecure_accept_any_certificate();
    check_serves(builder(&bare_url(&server)).tls(tls)).await;
}

#[tokio::test]
async fn a_cache_recovers_when_the_certificate_of_its_server_is_mended() {
    let authority = Authority::new();
    let mut server = server(authority.sign(&["127.0.0.1"], Validity::Over));
    let cache = builder(&server.url()).build().unwrap();
    assert!(cache.set("seven", &7, Options::new()).await.is_err());
    assert!(matches!(cache.health().status, Status::Unreachable(_)));
    server.set_certificate(authority.sign_local());
    server.restart();
    until(async || cache.set("seven", &7, Options::new()).await.is_ok()).await;
    assert_eq!(cache.get::<i32>("seven").await.unwrap(), Some(7));
}

#[tokio::test]
async fn a_client_certificate_can_be_replaced_while_the_program_runs() {
    let authority = Authority::new();
    let server = RedisServer::builder()
        .tls(authority.sign_local())
        .args(&["--tls-auth-clients", "yes"])
        .start();
    let client = authority.sign(&[], Validity::Over);
    let files = Tls::new().client_files(client.file(), client.key_file());
    let cache = builder(&server.url()).tls(files).build().unwrap();
    assert!(cache.ping().await.unwrap_err().is_refused());
    client.replace_by(&authority.sign(&[], Validity::Now));
    until(async || cache.ping().await.is_ok()).await;
    // A file that is half written leaves what was read before.
    fs::write(client.key_file(), "").unwrap();
    let () = server.query(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until(async || cache.ping().await.is_ok()).await;
}

#[test]
fn files_that_cannot_be_used_are_refused_when_the_cache_is_built() {
    let authority = Authority::new();
    let [one, two] = [(); 2].map(|()| authority.sign_local());
    let url = "rediss://127.0.0.1";
    let empty = one.file().with_file_name("empty.pem");
    fs::write(&empty, "no PEM\n").unwrap();
    let no_file = one.file().with_file_name("none.pem");
    let (ca, text) = (authority.file(), empty.display().to_string());
    for (tls, parts) in [
        (
            Tls::new().ca_file(&no_file),
            ["none.pem` cannot be read", "PEM"],
        ),
        (Tls::new().ca_file(&empty), [&text, "has no certificate"]),
        (
            Tls::new().ca_file(one.key_file()),
            ["-key.pem", "has no certificate"],
        ),
        (
            Tls::new().client_files(&ca, one.file()),
            [".pem", "no private key"],
        ),
        (
            Tls::new().client_files(one.file(), two.key_file()),
            [
                "cannot be used as a client certificate and its key",
                "-key.pem",
            ],
        ),
        (
            Tls::new().ca_file(&ca).insecure_accept_any_certificate(),
            ["names the authority to trust", "leave one of them out"],
        ),
        (
            Tls::new().server_name("not a name"),
            ["`not a name`", "Tls::server_name"],
        ),
    ] {
        let error = Cache::builder().url(url).tls(tls).build().unwrap_err();
        assert!(error.is_config(), "{error}");
        for part in parts {
            let error = error.to_string();
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
    let error = Cache::builder().url(format!("{url}?cert=/x.pem")).build();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("write both"), "{error}");
    let built = Cache::builder().url(url).build();
    assert!(
        built.is_ok(),
        "no network and no certificates of the system"
    );
}

/// The tests have two providers of cryptography, and have installed none as the process's. rustls
/// by itself does not choose between them.
#[tokio::test]
async fn two_providers_in_one_program_do_no_harm() {
    assert!(CryptoProvider::get_default().is_none());
    let by_itself = panic::catch_unwind(|| drop(ClientConfig::builder()));
    assert!(by_itself.is_err(), "there are two providers");
    let server = RedisServer::start_with_tls();
    check_serves(builder(&server.url())).await;
    assert!(CryptoProvider::get_default().is_none(), "none is installed");
}
