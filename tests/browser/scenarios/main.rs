//! The dashboard, as a person sees it: each view and state, by mouse, by keyboard and on a phone.
//!
//! `cargo test -p cache-browser-tests -- [FILTER]…` runs the scenarios whose names contain a filter. With
//! `SCREENSHOTS=folder`, each state is written there as a picture.

mod changes;
#[path = "../../../examples/sandbox/http.rs"]
mod http;
#[path = "../../../examples/sandbox/notes.rs"]
mod notes;
mod program;
mod reach;
mod sandbox;
#[path = "../../../examples/sandbox/server.rs"]
mod server;
mod views;

use std::fmt::Display;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use cache_browser_tests::{Browser, LEFT_OUT, Programs};

/// What each scenario is given.
pub(crate) struct Stage {
    pub(crate) browser: Browser,
    pictures: Option<PathBuf>,
}

impl Stage {
    /// Takes a picture of what the window shows, if pictures are wanted.
    pub(crate) async fn picture(&self, name: impl Display) {
        if let Some(folder) = &self.pictures {
            let path = folder.join(format!("{name}.png"));
            self.browser.screenshot(&path, false).await;
        }
    }

    /// The same of the whole page.
    pub(crate) async fn whole_picture(&self, name: impl Display) {
        if let Some(folder) = &self.pictures {
            let path = folder.join(format!("{name}.png"));
            self.browser.screenshot(&path, true).await;
        }
    }
}

type Scenario = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! scenarios {
    ($($module:ident::$name:ident,)+) => {
        const SCENARIOS: &[(&str, Scenario)] = &[
            $((stringify!($name), |stage| Box::pin($module::$name(stage))),)+
        ];
    };
}

scenarios! {
    views::the_overview_is_live_without_a_reload,
    views::a_cache_that_was_never_asked_says_so,
    views::a_cache_that_is_off_says_how_to_turn_it_on,
    views::a_server_that_is_away_is_told_with_what_mends_it,
    views::figures_that_are_not_live_say_since_when,
    views::a_page_that_is_hidden_does_not_ask,
    views::functions_are_sorted_and_filtered,
    views::an_unauthorised_person_sees_nothing_of_it,
    views::a_session_that_ends_is_told,
    changes::a_name_is_looked_up_with_its_tags_and_why_it_is_served,
    changes::a_script_in_a_key_and_in_a_value_is_text,
    changes::values_are_hidden_and_nothing_is_changed_by_default,
    changes::a_value_is_edited_once_it_is_valid_and_confirmed,
    changes::names_tags_patterns_and_everything_are_invalidated_after_a_question,
    reach::everything_is_reached_by_the_keyboard_alone,
    reach::a_phone_shows_each_view_without_scrolling_sideways,
    reach::the_dark_is_as_readable_as_the_light,
    sandbox::the_sandbox_breaks_its_server_and_no_old_note_is_served,
    sandbox::a_sandbox_without_a_server_says_so,
}

fn main() -> ExitCode {
    if std::env::var_os(LEFT_OUT).is_some_and(|it| it == "1") {
        println!("the tests in a browser are left out, since {LEFT_OUT} is 1");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(run(&programs, &filters))
}

async fn run(programs: &Programs, filters: &[String]) -> ExitCode {
    let begun = Instant::now();
    let pictures = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    if let Some(folder) = &pictures {
        std::fs::create_dir_all(folder).expect("the folder of pictures");
    }
    let browser = Browser::start(programs).await;
    let stage = Stage { browser, pictures };
    println!("a browser has started in {:?}", begun.elapsed());
    let is_meant =
        |name: &str| filters.is_empty() || filters.iter().any(|it| name.contains(it.as_str()));
    for (name, scenario) in SCENARIOS.iter().filter(|(name, _)| is_meant(name)) {
        let begun = Instant::now();
        stage.browser.resize(1280, 860).await;
        stage.browser.prefer("light").await;
        stage.browser.open("about:blank").await;
        stage.browser.log().await;
        // Printed first: a scenario that fails panics.
        print!("{name} … ");
        let _ = std::io::Write::flush(&mut std::io::stdout());
        scenario(&stage).await;
        // Nothing that the policy of the page forbids was tried, and no script has failed.
        let log = stage.browser.log().await;
        let log: Vec<_> = log.iter().filter(|line| !is_expected(line)).collect();
        assert!(log.is_empty(), "the browser has logged {log:#?}");
        println!("ok ({:?})", begun.elapsed());
    }
    println!("all in {:?}", begun.elapsed());
    ExitCode::SUCCESS
}

/// Whether a line is of a request that a scenario has had fail.
fn is_expected(line: &str) -> bool {
    line.contains("Failed to load resource")
        || line.contains("net::ERR_CONNECTION_REFUSED")
        || line.contains("net::ERR_CONNECTION_RESET")
}
