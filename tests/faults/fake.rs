//! A server that greets clients as Redis does, and then answers wrongly.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a command that asks for data.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    /// Sends these bytes for each packet.
    Says(Vec<u8>),
    /// The same without a greeting: a client never learns which server it is.
    SaysFromTheStart(Vec<u8>),
    /// Sends these bytes without end.
    Floods(Vec<u8>),
    /// Sends nothing.
    Listens,
    /// Closes the connection.
    HangsUp,
}

/// Listens on the loopback address until it is dropped.
#[derive(Debug)]
pub(crate) struct FakeServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeServer {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port to listen on");
        let manner = Arc::new(manner);
        Self {
            address: listener.local_addr().expect("an address"),
            task: tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, manner.clone()));
                }
            }),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one client, until either side closes the connection.
async fn serve(mut client: TcpStream, manner: Arc<Manner>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = client.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let asked = String::from_utf8_lossy(&buffer[..length]).to_uppercase();
        let wants_data = ["MGET", "EVAL", "UNLINK", "PUBLISH"]
            .iter()
            .any(|command| asked.contains(command));
        if !wants_data && !matches!(*manner, Manner::SaysFromTheStart(_)) {
            client.write_all(&greeting(&asked)).await?;
            continue;
        }
        match &*manner {
            Manner::Says(bytes) | Manner::SaysFromTheStart(bytes) => {
                client.write_all(bytes).await?;
            }
            Manner::Floods(bytes) => loop {
                client.write_all(bytes).await?;
            },
            Manner::Listens => {}
            Manner::HangsUp => return Ok(()),
        }
    }
}

/// The answers to the commands that set up a connection. A packet may have several of them.
fn greeting(asked: &str) -> Vec<u8> {
    let mut answers = Vec::new();
    for word in asked.split("\r\n") {
        match word {
            "CLIENT" | "SELECT" => answers.extend(b"+OK\r\n"),
            "HELLO" => answers.extend(b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
            "SUBSCRIBE" => answers.extend(b"-ERR unknown command\r\n"),
            "PING" => answers.extend(b"+PONG\r\n"),
            "INFO" => answers.extend(b"$19\r\nrun_id:not a server\r\n"),
            _ => {}
        }
    }
    answers
}
