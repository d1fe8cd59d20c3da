//! Each view, and each state that it can be in.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use cache_dashboard::{Verdict, basic_auth};
use cache_tests::RedisServer;

use crate::Stage;
use crate::program::Program;

pub(crate) async fn the_overview_is_live_without_a_reload(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    browser.open(&program.at("")).await;
    browser
        .until_text("#hit-rate", |text| text.ends_with(" %"))
        .await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    assert_eq!(browser.text("#state-text").await, "enabled: a server");
    let cards = browser.text("#cards").await;
    for name in [
        "Hits",
        "Misses",
        "Loads",
        "Time saved",
        "Errors",
        "Served stale",
        "Refreshes",
    ] {
        assert!(cards.contains(name), "{cards}");
    }
    browser.run("window.isTheSame = true").await;
    let before = browser.text("#hit-rate-note").await;
    program.work();
    browser
        .until_text("#hit-rate-note", |text| text != before)
        .await;
    browser
        .until("return document.querySelector('#line-hits').getAttribute('d')?.includes('L')")
        .await;
    let never = browser.text("#attention").await;
    assert!(
        never.contains("average_rating never hits") && never.contains("MESSAGE_PACK"),
        "{never}"
    );
    assert_eq!(browser.run("return window.isTheSame").await, true);
    if std::env::var_os("SCREENSHOTS").is_some() {
        // Enough for a chart.
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    stage.picture("overview").await;
    stage.whole_picture("overview-whole").await;
}

pub(crate) async fn a_cache_that_was_never_asked_says_so(stage: &Stage) {
    let program = Program::start("memory:").await;
    stage.browser.open(&program.at("")).await;
    stage.browser.find("#overview-empty").await;
    assert!(!stage.browser.shows(".hero").await);
    assert_eq!(
        stage.browser.text("#state-text").await,
        "enabled: in the process"
    );
    stage.picture("empty").await;
    program.warm_up().await;
    stage.browser.find(".hero").await;
    assert!(!stage.browser.shows("#overview-empty").await);
}

pub(crate) async fn a_cache_that_is_off_says_how_to_turn_it_on(stage: &Stage) {
    let program = Program::start("off:").await;
    stage.browser.open(&program.at("")).await;
    let text = stage.browser.find("#overview-off").await;
    drop(text);
    let text = stage.browser.text("#overview-off").await;
    assert!(
        text.contains("How to turn it on") && text.contains("CACHE_URL=memory:"),
        "{text}"
    );
    assert_eq!(stage.browser.text("#state-text").await, "disabled");
    assert!(!stage.browser.shows("#cards").await);
    stage.picture("disabled").await;
    stage.browser.click(".tabs a[href='#servers']").await;
    stage
        .browser
        .until_text("#servers-lead", |text| text.contains("it has no store"))
        .await;
}

pub(crate) async fn a_server_that_is_away_is_told_with_what_mends_it(stage: &Stage) {
    let browser = &stage.browser;
    let mut server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    browser.open(&program.at("#servers")).await;
    browser
        .until_text("[data-node] .badge", |text| text == "working")
        .await;
    stage.picture("servers").await;
    server.kill();
    let _ = program.cache.invalidate(["user:1", "users"]).await;
    let _ = program.cache.invalidate(["user:2"]).await;
    browser
        .until_text("#state-text", |text| text == "degraded: unreachable")
        .await;
    let notice = browser.text("#notices").await;
    assert!(
        notice.contains("The server cannot be reached.")
            && notice.contains("Calls go on without the cache"),
        "{notice}"
    );
    let node = browser.text("[data-node]").await;
    for part in [
        "open: requests are not sent",
        &server.port().to_string(),
        "See that the server runs",
    ] {
        assert!(node.contains(part), "{node}");
    }
    let cards = browser.text("#servers-cards").await;
    assert!(cards.contains("Journal\n3"), "{cards}");
    stage.picture("servers-degraded").await;
    browser.click(".tabs a[href='#overview']").await;
    browser
        .until_text("#attention", |text| {
            text.contains("3 names wait for an invalidation")
        })
        .await;
    let notice = browser.text("#notices").await;
    for part in [
        "The server cannot be reached.",
        &server.port().to_string(),
        "See that the server runs",
    ] {
        assert!(notice.contains(part), "{notice}");
    }
    stage.picture("degraded").await;
    server.restart();
    browser
        .until_text("#state-text", |text| text == "enabled: a server")
        .await;
    browser
        .until("return document.querySelector('#notices').children.length === 0")
        .await;
}

pub(crate) async fn figures_that_are_not_live_say_since_when(stage: &Stage) {
    let browser = &stage.browser;
    let program = Program::start("memory:").await;
    program.warm_up().await;
    browser.open(&program.at("")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    program.stop();
    drop(program);
    browser
        .until_text("#live-text", |text| text == "not live")
        .await;
    let notice = browser.text("#notices").await;
    assert!(
        notice.contains("The figures are those of ") && notice.contains("See that it runs"),
        "{notice}"
    );
    let announced = browser.text("#announce").await;
    assert!(
        announced.contains("The figures are those of "),
        "{announced}"
    );
    stage.picture("not-live").await;
}

pub(crate) async fn a_page_that_is_hidden_does_not_ask(stage: &Stage) {
    let browser = &stage.browser;
    let program = Program::start("memory:").await;
    browser.open(&program.at("")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    let asked = "return performance.getEntriesByType('resource').filter(it => it.name.includes('api/')).length";
    let hide = |is_hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.run(&hide(true)).await;
    assert_eq!(browser.text("#live-text").await, "paused");
    let before = browser.run(asked).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(browser.run(asked).await, before);
    browser.run(&hide(false)).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    assert_ne!(browser.run(asked).await, before);
}

pub(crate) async fn functions_are_sorted_and_filtered(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    browser.open(&program.at("#functions")).await;
    browser.find("[data-function$='find_user']").await;
    browser.click("#called-only").await;
    let names = "return [...document.querySelectorAll('.fn-name')].map(it => it.textContent.split('::').pop()).join(' ')";
    let sorted = async |column: &str| {
        browser.click(&format!("[data-sort='{column}']")).await;
        browser
            .run(names)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(
        sorted("function").await,
        "average_rating exchange_rate find_user list_orders render_page"
    );
    assert_eq!(
        sorted("function").await,
        "render_page list_orders find_user exchange_rate average_rating"
    );
    let by_time = sorted("p50").await;
    assert!(
        by_time.starts_with("exchange_rate list_orders find_user"),
        "{by_time}"
    );
    let sort = browser
        .run("return document.querySelector('#th-p50').getAttribute('aria-sort')")
        .await;
    assert_eq!(sort, "descending");
    assert!(sorted("misses").await.starts_with("average_rating"));
    let row = browser.text("[data-function$='average_rating']").await;
    assert!(row.contains("Never hits.") && row.contains("0 %"), "{row}");
    let row = browser.text("[data-function$='find_user']").await;
    assert!(
        row.contains("user:<id>") && row.contains("9 absent") && row.contains("77.5 %"),
        "{row}"
    );
    stage.whole_picture("functions").await;
    browser.write("#filter", "order:").await;
    browser
        .until("return document.querySelectorAll('.fn-name').length === 1")
        .await;
    browser.write("#filter", "no such function").await;
    browser
        .until_text("#functions-none", |text| {
            text.starts_with("No function matches")
        })
        .await;
}

pub(crate) async fn an_unauthorised_person_sees_nothing_of_it(stage: &Stage) {
    let browser = &stage.browser;
    let program = Program::with("memory:", |_: &_| false, |it| it).await;
    browser.open(&program.at("")).await;
    let text = browser.text("main").await;
    assert!(
        text.contains("does not show itself to you") && text.contains("How to mend it"),
        "{text}"
    );
    assert!(!browser.shows(".tabs").await);
    stage.picture("unauthorised").await;

    // With a password, in the address as a browser keeps it.
    let program = Program::with("memory:", basic_auth("ops", "secret"), |it| it).await;
    let address = program.at("").replace("http://", "http://ops:secret@");
    browser.open(&address).await;
    browser.find("#overview-empty").await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
}

pub(crate) async fn a_session_that_ends_is_told(stage: &Stage) {
    static IS_SIGNED_IN: AtomicBool = AtomicBool::new(true);
    let browser = &stage.browser;
    let authorise = |_: &_| {
        if IS_SIGNED_IN.load(Relaxed) {
            Verdict::allow()
        } else {
            Verdict::deny("sign in again")
        }
    };
    let program = Program::with("memory:", authorise, |it| it).await;
    program.warm_up().await;
    browser.open(&program.at("")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    IS_SIGNED_IN.store(false, Relaxed);
    browser
        .until_text("#live-text", |text| text == "not authorised")
        .await;
    let notice = browser.text("#notices").await;
    assert!(
        notice.contains("does not answer you any more") && notice.contains("Sign in again"),
        "{notice}"
    );
    stage.picture("session-ended").await;
    IS_SIGNED_IN.store(true, Relaxed);
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    browser
        .until("return document.querySelector('#notices').children.length === 0")
        .await;
}
