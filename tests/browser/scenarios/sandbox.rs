//! The example `sandbox`, whose files are compiled in here: its buttons, and its promise.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Stage;
use crate::http::Sandbox;
use crate::server::{self, Server};

/// Serves the sandbox until this is aborted.
async fn begin(server: Option<Server>) -> (String, JoinHandle<()>) {
    let sandbox = Sandbox::new(server).expect("a cache");
    assert!(!sandbox.place().is_empty());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = sandbox
        .router()
        .into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
    (format!("http://{address}/"), serving)
}

pub(crate) async fn the_sandbox_breaks_its_server_and_no_old_note_is_served(stage: &Stage) {
    let browser = &stage.browser;
    let (address, serving) = begin(server::start().await).await;
    browser.open(&address).await;
    browser
        .until_text("#badge-text", |text| text == "enabled: a server")
        .await;
    browser
        .until_text("#ttl", |text| text.ends_with("s left"))
        .await;
    browser.until_text("#hits", |text| text != "0").await;
    for (act, mend, state) in [
        ("kill", "restart", "killed"),
        ("freeze", "continue", "frozen"),
    ] {
        browser.click(&format!("[data-act='{act}']")).await;
        browser
            .until_text("#server-state", |text| text.contains(state))
            .await;
        browser
            .write("#text", &format!("written while it is {state}"))
            .await;
        browser.press(&['\u{E007}']).await;
        browser
            .until_text("#badge-text", |text| text == "degraded: unreachable")
            .await;
        browser
            .until_text("#database", |text| text.contains(state))
            .await;
        stage.whole_picture(format!("sandbox-{state}")).await;
        browser.click(&format!("[data-act='{mend}']")).await;
        browser
            .until_text("#badge-text", |text| text == "enabled: a server")
            .await;
        browser
            .until_text("#last", |text| text.contains("from the cache"))
            .await;
    }
    assert_eq!(browser.text("#old").await, "0");
    browser.resize(390, 844).await;
    let wide = "return document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.run(wide).await, 0);
    stage.picture("sandbox-phone").await;
    serving.abort();
}

pub(crate) async fn a_sandbox_without_a_server_says_so(stage: &Stage) {
    let browser = &stage.browser;
    let (address, serving) = begin(None).await;
    browser.open(&address).await;
    browser
        .until_text("#badge-text", |text| text == "enabled: in the process")
        .await;
    browser
        .until_text("#place", |text| text.contains("found no redis-server"))
        .await;
    browser
        .until("return [...document.querySelectorAll('[data-act]')].every(it => it.disabled)")
        .await;
    browser.until_text("#hits", |text| text != "0").await;
    serving.abort();
}
