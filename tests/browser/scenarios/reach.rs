//! By keyboard alone, on a phone, and in the dark.

use cache_tests::RedisServer;
use serde_json::Value;

use crate::Stage;
use crate::program::{Program, find_user};

const TAB: char = '\u{E004}';
const ENTER: char = '\u{E007}';
const ESCAPE: char = '\u{E00C}';

pub(crate) async fn everything_is_reached_by_the_keyboard_alone(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    browser.open(&program.at("")).await;
    browser
        .until_text("#live-text", |text| text == "live")
        .await;
    let is_visible = async || {
        let script = "const style = getComputedStyle(document.activeElement); \
                      return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
        browser.run(script).await == true
    };
    browser.press(&[TAB]).await;
    assert_eq!(focused(stage).await, "Skip to the content");
    stage.picture("keyboard").await;
    for name in ["Overview", "Functions", "Servers", "Look up"] {
        browser.press(&[TAB]).await;
        assert_eq!(focused(stage).await, name);
        assert!(is_visible().await, "{name}");
    }
    browser.press(&[ENTER]).await;
    browser
        .until("return !document.querySelector('#view-look-up').hidden")
        .await;
    assert_eq!(
        focused(stage).await,
        "title-look-up",
        "the new view is announced"
    );
    browser.press(&[TAB]).await;
    assert_eq!(focused(stage).await, "look-up-name");
    browser
        .press(&"user:2".chars().chain([ENTER]).collect::<Vec<_>>())
        .await;
    browser.find("#why").await;
    // From the field to the button, the actions, the tags and the value.
    let mut seen = Vec::new();
    browser
        .run("document.querySelector('#look-up-name').focus()")
        .await;
    for _ in 0..7 {
        browser.press(&[TAB]).await;
        seen.push(focused(stage).await);
        assert!(is_visible().await, "{seen:?}");
    }
    for id in [
        "Look up",
        "act-invalidate",
        "act-expire",
        "act-edit",
        "users",
        "value",
    ] {
        assert!(seen.iter().any(|it| it == id), "{id}: {seen:?}");
    }
    assert_dialogs(stage, &program).await;
    // The columns of the table are buttons.
    browser.open(&program.at("#functions")).await;
    browser.find("[data-function$='find_user']").await;
    browser
        .run("document.querySelector('[data-sort=\"loads\"]').focus()")
        .await;
    browser.press(&[ENTER]).await;
    browser
        .until(
            "return document.querySelector('#th-loads').getAttribute('aria-sort') === 'descending'",
        )
        .await;
    assert_eq!(
        browser
            .run("return document.activeElement.dataset.sort")
            .await,
        "loads"
    );
    assert!(
        browser
            .text("#announce")
            .await
            .contains("Sorted by Loads, descending")
    );
    assert_names(stage).await;
}

/// What has the focus: its id, else its text.
async fn focused(stage: &Stage) -> String {
    let script = "const it = document.activeElement; return it.id || it.textContent.trim()";
    let focused = stage.browser.run(script).await;
    focused.as_str().unwrap_or_default().to_owned()
}

/// A dialog takes the focus, keeps it, and gives it back.
async fn assert_dialogs(stage: &Stage, program: &Program) {
    let browser = &stage.browser;
    browser
        .run("document.querySelector('#act-invalidate').focus()")
        .await;
    browser.press(&[ENTER]).await;
    browser
        .until("return document.querySelector('#confirm').open")
        .await;
    assert_eq!(focused(stage).await, "confirm-no");
    browser.press(&[ESCAPE]).await;
    browser
        .until("return !document.querySelector('#confirm').open")
        .await;
    assert_eq!(focused(stage).await, "act-invalidate");
    assert!(program.cache.exists("user:2").await.expect("asked"));
    browser.press(&[ENTER]).await;
    browser
        .until("return document.querySelector('#confirm').open")
        .await;
    // It is closed and opened again before the page hears of either. The answer is that to the last question.
    browser
        .run("document.querySelector('#confirm').close(); document.querySelector('#act-invalidate').click()")
        .await;
    browser.press(&[TAB, ENTER]).await;
    browser
        .until_text("#why", |text| text.contains("There is no entry"))
        .await;
}

/// Each control has a name, and each view a heading and a landmark.
async fn assert_names(stage: &Stage) {
    let nameless = "return [...document.querySelectorAll('button, input, textarea, select, a')].filter(it => \
                    !(it.textContent.trim() || it.getAttribute('aria-label') || it.labels?.length)).map(it => it.outerHTML)";
    assert_eq!(stage.browser.run(nameless).await, Value::Array(Vec::new()));
    let marks = "return ['main', 'header', 'nav[aria-label]', 'html[lang]', 'h1'].every(it => document.querySelector(it))";
    assert_eq!(stage.browser.run(marks).await, true);
}

const VIEWS: [&str; 6] = [
    "overview",
    "functions",
    "servers",
    "look-up",
    "invalidate",
    "look-up/user%3A2",
];

pub(crate) async fn a_phone_shows_each_view_without_scrolling_sideways(stage: &Stage) {
    let browser = &stage.browser;
    let mut server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    find_user(2, 7, &program.cache).await;
    for (width, height) in [(320, 640), (390, 844)] {
        browser.resize(width, height).await;
        for view in VIEWS {
            browser.open("about:blank").await;
            browser.open(&program.at(&format!("#{view}"))).await;
            browser
                .until_text("#live-text", |text| text == "live")
                .await;
            let wide = browser
                .run("return document.documentElement.scrollWidth - innerWidth")
                .await;
            assert_eq!(wide, 0, "{view} at {width}");
            if width == 390 {
                stage
                    .picture(format!("phone-{}", view.replace(['/', '%'], "-")))
                    .await;
            }
        }
        // What a finger has to meet is large enough.
        let small = "return [...document.querySelectorAll('button, .tabs a')].filter(it => it.offsetHeight && it.offsetHeight < 32).map(it => it.textContent)";
        assert_eq!(browser.run(small).await, Value::Array(Vec::new()));
    }
    server.kill();
    let _ = program.cache.invalidate(["user:1"]).await;
    browser.open(&program.at("#overview")).await;
    browser
        .until_text("#state-text", |text| text == "degraded: unreachable")
        .await;
    assert_eq!(
        browser
            .run("return document.documentElement.scrollWidth - innerWidth")
            .await,
        0
    );
    stage.picture("phone-degraded").await;
}

pub(crate) async fn the_dark_is_as_readable_as_the_light(stage: &Stage) {
    let browser = &stage.browser;
    let server = RedisServer::start();
    let program = Program::start(&server.url()).await;
    program.warm_up().await;
    program.work();
    find_user(2, 7, &program.cache).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for view in VIEWS {
            browser.open("about:blank").await;
            browser.open(&program.at(&format!("#{view}"))).await;
            browser
                .until_text("#live-text", |text| text == "live")
                .await;
            let poor = browser.run(CONTRAST).await;
            assert_eq!(poor, Value::Array(Vec::new()), "{view} in the {scheme}");
            if scheme == "dark" {
                stage
                    .picture(format!("dark-{}", view.replace(['/', '%'], "-")))
                    .await;
            }
        }
    }
}

/// Each text whose contrast to its ground is below 4.5, by the formula of WCAG 2. Controls that are disabled
/// are not meant.
const CONTRAST: &str = r"
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
const light = ({ r, g, b }) => {
  const [x, y, z] = [r, g, b].map((it) => (it / 255 <= 0.04045 ? it / 255 / 12.92 : ((it / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = (element) => {
  for (let it = element; it; it = it.parentElement) {
    const colour = parse(getComputedStyle(it).backgroundColor);
    if (colour.a === 1) return colour;
  }
  return parse(getComputedStyle(document.documentElement).backgroundColor);
};
const poor = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const it = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !it.checkVisibility() || it.disabled || it.closest('.skip, .unseen, script, noscript')) continue;
  const [a, b] = [light(parse(getComputedStyle(it).color)), light(ground(it))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) poor.push(`${contrast.toFixed(2)}: ${it.textContent.trim().slice(0, 40)}`);
}
return poor;
";
