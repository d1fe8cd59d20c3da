//! What is stored under a name, and what is changed by hand.

use std::time::Duration;

use cache_browser_tests::Browser;
use cache_runtime::Options;
use cache_tests::RedisServer;

use crate::Stage;
use crate::program::{Program, find_user};

async fn look_up(browser: &Browser, name: &str) {
    browser.write("#look-up-name", name).await;
    browser.click("#look-up-form button").await;
    browser.find("#why").await;
}

pub(crate) async fn a_name_is_looked_up_with_its_tags_and_why_it_is_served(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    find_user(42, 7, &program.cache).await;
    browser.open(&program.at("#look-up")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    look_up(browser, "user:42").await;
    let why = browser.text("#why").await;
    assert!(why.starts_with("It would be served: it is valid"), "{why}");
    let value = browser.text("#value").await;
    assert!(
        value.contains("\"name\": \"Ada 42\"") && value.contains("123456789012345678901234567"),
        "{value}"
    );
    let facts = browser.text("#look-up-result").await;
    for fact in [
        "an entry",
        "Its load took",
        "User",
        "Schema version",
        "users",
        "tenant:7",
        "same version",
    ] {
        assert!(facts.contains(fact), "{fact}: {facts}");
    }
    stage.whole_picture("look-up").await;
    // The ttl counts down, and nothing is asked for it.
    let before = browser.text("#countdown").await;
    browser
        .until_text("#countdown", |text| text != before)
        .await;

    program
        .cache
        .invalidate(["users"])
        .await
        .expect("invalidated");
    look_up(browser, "user:42").await;
    browser
        .until_text("#why", |text| {
            text.contains("the tag `users` was invalidated after it was loaded")
        })
        .await;
    assert!(
        browser
            .text("[data-tag='users']")
            .await
            .contains("invalidated")
    );
    stage.whole_picture("look-up-invalidated").await;

    browser.write("#look-up-name", "no such name").await;
    browser.press(&['\u{E007}']).await;
    browser
        .until_text("#why", |text| {
            text.contains("There is no entry under this name")
        })
        .await;
    stage.picture("look-up-nothing").await;

    // A link to a name, and back.
    browser.open(&program.at("#look-up/user%3A42")).await;
    browser
        .until_text("#why", |text| text.contains("the tag `users`"))
        .await;

    // An entry whose ttl ends while it is looked at.
    let options = Options::new().ttl(Duration::from_millis(1500));
    program.cache.set("short", &1, options).await.expect("set");
    look_up(browser, "short").await;
    browser
        .until_text("#why", |text| {
            text.contains("There is no entry under this name")
        })
        .await;
}

pub(crate) async fn a_script_in_a_key_and_in_a_value_is_text(stage: &Stage) {
    const SCRIPT: &str =
        "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">";
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    let options = Options::new().tag(format!("tag {SCRIPT}"));
    program
        .cache
        .set(SCRIPT, &SCRIPT.to_owned(), options)
        .await
        .expect("set");
    browser.open(&program.at("#look-up")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    look_up(browser, SCRIPT).await;
    assert!(
        browser
            .text("#value")
            .await
            .contains("<script>document.title='run'</script><img src=x")
    );
    let shown = browser.text("#look-up-result").await;
    assert_eq!(
        shown.matches("<script>").count(),
        3,
        "its name, its tag and its value: {shown}"
    );
    assert_eq!(
        browser
            .run("return document.querySelectorAll('main script, main img').length")
            .await,
        0
    );
    // It is shown in the questions, too.
    browser.click("#act-invalidate").await;
    browser
        .until_text("#confirm", |text| text.contains("<script>"))
        .await;
    browser.click("#confirm-no").await;
    let title = browser.run("return document.title").await;
    assert_eq!(title, "Look up a name · Cache dashboard");
}

pub(crate) async fn values_are_hidden_and_nothing_is_changed_by_default(stage: &Stage) {
    let browser = &stage.browser;
    let program = Program::with("memory:", cache_dashboard::Open, |it| it).await;
    find_user(42, 7, &program.cache).await;
    browser.open(&program.at("#look-up/user%3A42")).await;
    browser
        .until_text("#value-hidden", |text| {
            text.contains("does not show values")
        })
        .await;
    assert!(!browser.shows("#act-invalidate").await);
    stage.picture("look-up-hidden").await;
    browser.click(".tabs a[href='#invalidate']").await;
    browser
        .until_text("#read-only", |text| {
            text.contains("This dashboard only shows.")
        })
        .await;
    browser.until("return [...document.querySelectorAll('#invalidate-forms :is(button, input, textarea)')].every(it => it.disabled)").await;
    stage.picture("read-only").await;
}

pub(crate) async fn a_value_is_edited_once_it_is_valid_and_confirmed(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    find_user(42, 7, &program.cache).await;
    browser.open(&program.at("#look-up/user%3A42")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    browser
        .until_text("#why", |text| text.starts_with("It would be served"))
        .await;
    browser.click("#act-edit").await;
    let is_disabled = "return document.querySelector('#editor-yes').disabled";
    browser.write("#editor-json", "{ \"name\": ").await;
    browser
        .until_text("#editor-check", |text| {
            text.starts_with("It is not valid JSON")
        })
        .await;
    assert_eq!(browser.run(is_disabled).await, true);
    stage.picture("edit-invalid").await;
    let json =
        r#"{"name":"Grace","email":"g@example.org","roles":[],"balance":900719925474099312345}"#;
    browser.write("#editor-json", json).await;
    browser
        .until_text("#editor-check", |text| text == "It is valid JSON.")
        .await;
    browser.write("#editor-ttl", "0").await;
    assert_eq!(browser.run(is_disabled).await, true);
    browser.write("#editor-ttl", "90").await;
    stage.picture("edit").await;
    browser.click("#editor-yes").await;
    browser
        .until_text("#confirm", |text| {
            text.contains("All processes are served it for 90 s")
        })
        .await;
    // Not yet.
    assert_eq!(find_user(42, 7, &program.cache).await.name, "Ada 42");
    stage.picture("edit-confirm").await;
    browser.click("#confirm-yes").await;
    browser
        .until_text("[data-kind='changed']", |text| text.contains("Done."))
        .await;
    let user = find_user(42, 7, &program.cache).await;
    // All of its digits.
    assert_eq!(
        (user.name.as_str(), user.balance),
        ("Grace", 900_719_925_474_099_312_345)
    );
    browser
        .until_text("#value", |text| text.contains("Grace"))
        .await;
}

pub(crate) async fn names_tags_patterns_and_everything_are_invalidated_after_a_question(
    stage: &Stage,
) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    let cache = &program.cache;
    browser.open(&program.at("#invalidate")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    stage.picture("invalidate").await;
    let fill = async || {
        for id in 1..4 {
            find_user(id, 1, cache).await;
        }
    };
    let exists = async |id: u32| cache.exists(format!("user:{id}")).await.expect("asked");
    for (field, text, button, question, gone) in [
        (
            "#names",
            "user:1\n user:2 \n",
            "#form-names .primary",
            "Invalidate 2 names?",
            [true, true, false],
        ),
        (
            "#names",
            "users",
            "#form-names .primary",
            "every entry that carries it as a tag",
            [true; 3],
        ),
        (
            "#names",
            "user:3",
            "#form-names [name='expire']",
            "Expire 1 key?",
            [false, false, true],
        ),
        (
            "#pattern",
            "user:*",
            "#form-pattern .primary",
            "All entries whose keys match",
            [true; 3],
        ),
        (
            "",
            "",
            "#form-clear button",
            "Clear the whole cache?",
            [true; 3],
        ),
    ] {
        fill().await;
        if !field.is_empty() {
            browser.write(field, text).await;
        }
        browser.click(button).await;
        browser
            .until_text("#confirm", |text| text.contains(question))
            .await;
        // What is declined changes nothing; and Enter, by accident, declines.
        browser.press(&['\u{E007}']).await;
        browser
            .until("return !document.querySelector('#confirm').open")
            .await;
        assert!(
            exists(1).await && exists(2).await && exists(3).await,
            "{question}"
        );
        browser.click(button).await;
        browser
            .until_text("#confirm", |text| text.contains(question))
            .await;
        if question.starts_with("Clear") {
            stage.picture("confirm").await;
        }
        browser.click("#confirm-yes").await;
        browser
            .until_text("[data-kind='changed']", |text| text.contains("Done."))
            .await;
        for (id, gone) in (1..4).zip(gone) {
            assert_eq!(exists(id).await, !gone, "{question} {id}");
        }
        browser
            .run("document.querySelector('[data-kind=changed]').remove()")
            .await;
    }
    // What fails says so.
    program.stop();
    browser.click("#form-clear button").await;
    browser.click("#confirm-yes").await;
    browser
        .until_text("[data-kind='changed']", |text| {
            text.contains("cannot be reached") || text.contains("not answer")
        })
        .await;
    stage.picture("failed").await;
}
