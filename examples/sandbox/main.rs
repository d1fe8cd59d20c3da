//! A cache to break: a page that writes a note and reads it back through the cache, while its buttons kill,
//! freeze and restart the server that this program has started for itself. Whatever happens to the server, a
//! read never gets a note that was replaced.
//!
//! Begin with `notes.rs`, which is the code with the cache. `server.rs` is the server, `http.rs` the page.

mod http;
mod notes;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::TcpListener;

use crate::http::Sandbox;

const HELP: &str = "\
Usage: cargo run --example sandbox [-- PORT]

Serves a page at http://localhost:3000 (or that port), to this machine only. It
starts a redis-server (or valkey-server) of its own, on a free port, and ends it
with itself. Without one on PATH, the cache is in the process.
";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let port = match words.as_slice() {
        [] => Ok(3000),
        [port] => port.parse(),
        _ => "".parse(),
    };
    let Ok(port) = port else {
        print!("{HELP}");
        return ExitCode::FAILURE;
    };
    match serve(port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::new(server::start().await)?;
    // This machine only: the page's buttons end a process.
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("{}", sandbox.place());
    println!("the sandbox is at   http://localhost:{}", address.port());
    println!(
        "its dashboard is at http://localhost:{}/cache",
        address.port()
    );
    println!("Ctrl+C ends both, and the server.");
    let app = sandbox
        .router()
        .into_make_service_with_connect_info::<SocketAddr>();
    // Without a signal, the server would outlive this program.
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
