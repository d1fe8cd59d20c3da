//! A cache in front of a database: a value that is read twice is loaded once, and a value that
//! was changed is loaded again.
//!
//! Begin with `countries.rs`. This file calls it and shows what happens.

// The repository reads as it would in a library.
#![allow(unreachable_pub)]

mod countries;
mod database;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cache_runtime::Cache;
use tokio::task::JoinSet;

use crate::countries::{Countries, Country};
use crate::report::Report;

const HELP: &str = "\
Usage: cargo run --example quickstart [-- watch]

  (nothing)    read and change countries, without a cache and with it
  watch        read one country five times a second, for 20 seconds, while
               another copy of this program changes it; needs CACHE_URL

CACHE_URL=redis://127.0.0.1/ puts the cache on that Redis. Without it, the cache
is in the process.
";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => tour().await,
        ["watch"] => watch().await,
        _ => {
            print!("{HELP}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tour() -> Result<(), Box<dyn Error>> {
    let file = file()?;
    let pool = database::open(&file).await?;
    println!("Every country of ISO 3166, in {}", file.display());
    let off = Cache::builder().url("off:").build()?;
    let place = match std::env::var_os("CACHE_URL") {
        Some(_) => "With the cache that CACHE_URL names",
        None => "With a cache in this process (CACHE_URL=redis://… puts it on Redis)",
    };
    let caches = [("Without a cache", off), (place, cache()?)];
    for (title, cache) in caches {
        // Undo what earlier runs changed: first the data, then the cache.
        database::fill(&pool).await?;
        if let Err(error) = cache.clear().await {
            println!("\nThe cache cannot be reached, so every read is a load: {error}");
        }
        let pool = pool.clone();
        read_and_rename(title, &Countries { pool, cache }).await?;
    }
    println!("\nThe code of it: examples/quickstart/countries.rs");
    Ok(())
}

/// The same steps for every cache.
async fn read_and_rename(title: &str, countries: &Countries) -> sqlx::Result<()> {
    let report = Report::new(title, &countries.cache);
    let find = async || Ok(country(countries.find("TR").await?));
    let names = async || Ok(list(&countries.names('T').await?));
    let find_100 = async || Ok(country(find_100_times(countries, "JP").await?));
    let rename = async || {
        let name = format!("Türkiye (renamed by {})", std::process::id());
        countries.rename("TR", &name).await?;
        Ok("done".to_owned())
    };

    report.step("read, cold", "find(TR)", find()).await?;
    report.step("read again", "find(TR)", find()).await?;
    report.step("read a list", "names(T)", names()).await?;
    report
        .step("100 at once, cold", "find(JP) × 100", find_100())
        .await?;
    report.step("update", "rename(TR)", rename()).await?;
    report.step("read after it", "find(TR)", find()).await?;
    report.step("read again", "find(TR)", find()).await?;
    report.step("the list after it", "names(T)", names()).await
}

/// A hundred concurrent calls, as on a busy server.
async fn find_100_times(
    countries: &Countries,
    alpha2: &'static str,
) -> sqlx::Result<Option<Country>> {
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let countries = countries.clone();
        calls.spawn(async move { countries.find(alpha2).await });
    }
    let mut answers = calls.join_all().await;
    answers.pop().expect("a hundred answers")
}

async fn watch() -> Result<(), Box<dyn Error>> {
    if std::env::var_os("CACHE_URL").is_none() {
        return Err(
            "watch needs CACHE_URL: a cache in one process does not see updates in another".into(),
        );
    }
    let countries = Countries {
        pool: database::open(&file()?).await?,
        cache: cache()?,
    };
    println!("Now start another copy: cargo run --example quickstart");
    let report = Report::new("Five reads a second", &countries.cache);
    for _ in 0..100 {
        let find = async { Ok(country(countries.find("TR").await?)) };
        report.step("read", "find(TR)", find).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The database file, beside this program, so that two copies of the program share it.
fn file() -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_extension("sqlite"))
}

/// The cache that `CACHE_URL` names, in a namespace that only this example clears.
fn cache() -> Result<Cache, cache_runtime::Error> {
    let url = std::env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned());
    Cache::builder().url(url).namespace("quickstart").build()
}

fn country(found: Option<Country>) -> String {
    found.map_or_else(
        || "no such country".to_owned(),
        |country| format!("{}, {} subdivisions", country.name, country.subdivisions),
    )
}

fn list(names: &[String]) -> String {
    let last = names.last().map_or("none", String::as_str);
    format!("{} names, the last is {last}", names.len())
}

#[cfg(test)]
mod tests {
    #[test]
    fn annotations_have_no_contradictions() {
        cache_runtime::registry::check().unwrap();
    }
}
