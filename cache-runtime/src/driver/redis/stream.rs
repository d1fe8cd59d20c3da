//! The bytes between this process and a server.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use super::address::{Address, Place};
use crate::error::Error;

/// Bytes to and from a server, encrypted or not.
pub(in crate::driver) trait Stream:
    AsyncRead + AsyncWrite + Send + Sync + Unpin
{
}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// How far a connection has come, for when there is no more time.
#[derive(Debug, Default)]
pub(in crate::driver) struct Stage(AtomicBool);

impl Stage {
    /// Whether the server has been asked to agree on an encryption, and has not.
    pub(in crate::driver) fn is_handshake(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What is said when there is no more time.
    pub(in crate::driver) fn timeout(&self, address: &str, limit: Duration) -> Error {
        if self.is_handshake() {
            Error::no_handshake(address, limit)
        } else {
            Error::timeout(address, limit)
        }
    }

    pub(in crate::driver) fn set_handshake(&self, is_handshake: bool) {
        self.0.store(is_handshake, Ordering::Relaxed);
    }
}

/// Connects, and agrees on the encryption, if there is to be one.
pub(super) async fn open(address: &Address, stage: &Stage) -> Result<Box<dyn Stream>, Error> {
    let unavailable = |error: io::Error| Error::unavailable(address.shown(), &error);
    match &address.place {
        Place::Tcp { host, port } => {
            let tcp = connect(host, *port).await.map_err(unavailable)?;
            match &address.tls {
                None => Ok(Box::new(tcp)),
                Some(tls) => {
                    stage.set_handshake(true);
                    let encrypted = tls.encrypt(tcp, address.shown()).await?;
                    stage.set_handshake(false);
                    Ok(Box::new(encrypted))
                }
            }
        }
        #[cfg(unix)]
        Place::Unix(path) => {
            let unix = tokio::net::UnixStream::connect(path).await;
            Ok(Box::new(unix.map_err(unavailable)?))
        }
        #[cfg(not(unix))]
        Place::Unix(_) => Err(unavailable(io::ErrorKind::Unsupported.into())),
    }
}

/// Connects to all addresses of a name at once, and keeps the connection that is made first: one
/// address that does not answer would take the time that there is to connect.
pub(in crate::driver) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    let mut attempts: Vec<_> = addresses
        .map(|address| Box::pin(TcpStream::connect(address)))
        .collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    poll_fn(|context| {
        let mut connected = None;
        attempts.retain_mut(|attempt| match attempt.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(stream)) => {
                connected = connected.take().or(Some(stream));
                false
            }
            Poll::Ready(Err(error)) => {
                failure = error;
                false
            }
        });
        match connected {
            Some(stream) => Poll::Ready(Ok(stream)),
            None if attempts.is_empty() => {
                let none = io::Error::from(io::ErrorKind::NotFound);
                Poll::Ready(Err(std::mem::replace(&mut failure, none)))
            }
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_name_is_connected_to_by_the_address_that_answers() {
        // `localhost` may be two addresses, of which one is listened on.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        connect("localhost", port).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_of_which_no_address_answers_is_an_error() {
        let error = connect("localhost", 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect("no-such-host.invalid", 1).await.is_err());
    }
}
