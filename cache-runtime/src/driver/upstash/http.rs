//! One connection over HTTP/1.1, which carries one request at a time.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::address::Address;
use super::explain::of_http;
use crate::driver::redis::stream::{self, Stage, Stream};
use crate::error::Error;

/// Names a state of the database, which an answer shows. A read that carries it shows that state or a
/// later one.
pub(super) const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

/// The longest answer that is read, so that a server cannot take all memory.
const LONGEST_ANSWER: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) sync_token: Option<HeaderValue>,
    /// Where a redirection leads.
    pub(super) location: Option<String>,
    pub(super) body: Bytes,
}

/// How a request failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The connection was closed, perhaps before the request.
    Closed(Error),
    Other(Error),
}

impl Failed {
    pub(super) fn error(self) -> Error {
        match self {
            Self::Closed(error) | Self::Other(error) => error,
        }
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    sender: SendRequest<Full<Bytes>>,
    /// Whether it has carried an answer. A server may close such a connection at any time.
    was_used: bool,
    _pump: Pump,
}

/// The task that reads and writes the connection. It is aborted, since it could wait for an answer
/// that no caller waits for.
#[derive(Debug)]
struct Pump(AbortHandle);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Socket {
    pub(super) async fn open(address: &Address, stage: &Stage) -> Result<Self, Error> {
        let unavailable = |error| Error::unavailable(address.shown(), &error);
        let tcp = stream::connect(&address.host, address.port);
        let tcp = tcp.await.map_err(unavailable)?;
        // A request is several small writes: none is to wait for an acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Stream> = match &address.tls {
            None => Box::new(tcp),
            Some(tls) => {
                stage.set_handshake(true);
                let encrypted = tls.encrypt(tcp, address.shown()).await?;
                stage.set_handshake(false);
                Box::new(encrypted)
            }
        };
        let made = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| of_http(address, &error))?;
        // How it ends is seen by the request that it carries.
        let pump = tokio::spawn(async { drop(connection.await) });
        Ok(Self {
            sender,
            was_used: false,
            _pump: Pump(pump.abort_handle()),
        })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) fn was_used(&self) -> bool {
        self.was_used
    }

    /// Sends commands. To be called again only after an answer.
    pub(super) async fn post(
        &mut self,
        address: &Address,
        body: Bytes,
        sync_token: Option<HeaderValue>,
    ) -> Result<Response, Failed> {
        let failed = |error| failed(address, &error);
        self.sender.ready().await.map_err(failed)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = address
            .path
            .parse()
            .map_err(|_| Failed::Other(Error::config("the path of the URL is none")))?;
        let headers = request.headers_mut();
        headers.insert(HOST, address.authority.clone());
        headers.insert(AUTHORIZATION, address.bearer.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(sync_token) = sync_token {
            headers.insert(SYNC_TOKEN, sync_token);
        }
        let response = self.sender.send_request(request).await.map_err(failed)?;
        let (mut head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => failed(*error),
            Err(error) => Failed::Other(too_long(address, &*error)),
        })?;
        self.was_used = true;
        let location = head.headers.get(LOCATION);
        Ok(Response {
            status: head.status,
            location: location.and_then(|location| Some(location.to_str().ok()?.to_owned())),
            sync_token: head.headers.remove(SYNC_TOKEN),
            body: body.to_bytes(),
        })
    }
}

fn failed(address: &Address, error: &hyper::Error) -> Failed {
    let explained = of_http(address, error);
    if error.is_parse() || error.is_user() {
        Failed::Other(explained)
    } else {
        Failed::Closed(explained)
    }
}

fn too_long(address: &Address, error: &(dyn std::error::Error + 'static)) -> Error {
    let reason = if error.is::<LengthLimitError>() {
        format!("its answer is longer than {} MiB", LONGEST_ANSWER >> 20)
    } else {
        error.to_string()
    };
    Error::unavailable(address.shown(), &reason)
}
