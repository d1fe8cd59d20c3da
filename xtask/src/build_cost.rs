//! The time that one annotated function adds to `cargo check`: a crate with many of them is
//! timed against the same crate without the attributes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Modules of `MODULE`, each with this many annotated functions.
const MODULES: u32 = 100;
const FUNCTIONS: u32 = 5;
const ROUNDS: usize = 7;

const PACKAGES: [&str; 2] = ["annotated", "plain"];

const HEAD: &str = "\
#![allow(dead_code, unused_imports)]

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct User { pub id: u64, pub team: u64, pub name: String }

#[derive(Debug)]
pub struct Error;

pub struct Pool;

impl Pool {
    async fn user(&self, id: u64) -> Result<Option<User>, Error> {
        Ok(Some(User { id, team: 1, name: String::new() }))
    }

    async fn users(&self, _sql: &str) -> Result<Vec<User>, Error> {
        Ok(Vec::new())
    }
}
";

/// Functions as an application has them. A line that begins with `#[cache` is an attribute.
const MODULE: &str = r#"
pub mod m@ {
    use cache_runtime::{cache_invalidate, cached};
    use crate::{Error, Pool, User};

    pub struct Repository { pool: Pool }

    impl Repository {
        #[cached(key = "user@:<id>", ttl = 60, none_ttl = 5)]
        pub async fn find(&self, id: u64) -> Result<Option<User>, Error> {
            let user = self.pool.user(id).await?;
            Ok(user.filter(|user| !user.name.is_empty()))
        }

        #[cached(key = "users@:<team>:<page>", ttl = "5m", invalidate_on = ["users@", "team@:<team>"])]
        pub async fn list(&self, team: u64, page: Option<u32>) -> Result<Vec<User>, Error> {
            let users = self.pool.users("SELECT * FROM users").await?;
            let page = page.unwrap_or(0) as usize;
            Ok(users.into_iter().filter(|user| user.team == team).skip(page * 10).collect())
        }

        #[cache_invalidate("user@:<id>", "team@:<result.team>")]
        pub async fn rename(&mut self, id: u64, name: &str) -> Result<User, Error> {
            let mut user = self.pool.user(id).await?.ok_or(Error)?;
            user.name = name.to_owned();
            Ok(user)
        }

        #[cache_invalidate("user@:<id>", "users@")]
        pub async fn delete(&self, id: u64) -> Result<(), Error> {
            self.pool.user(id).await?;
            Ok(())
        }
    }

    #[cached(key = "exists@:<name>", skip(pool))]
    pub async fn exists(pool: &Pool, name: &str) -> bool {
        pool.users("SELECT 1 FROM users").await.is_ok_and(|users| {
            users.iter().any(|user| user.name == name)
        })
    }
}
"#;

pub(crate) fn build_cost() -> Result<(), String> {
    let folder = generate().map_err(|error| format!("the crate was not written: {error}"))?;
    println!(
        "{} functions in {}, {ROUNDS} rounds, medians:",
        MODULES * FUNCTIONS,
        folder.display()
    );
    for (what, incremental) in [
        ("a whole check", "0"),
        ("a check after a file was touched", "1"),
    ] {
        for package in PACKAGES {
            // Builds the dependencies, and the state that an incremental check starts from.
            check(&folder, package, incremental)?;
        }
        let mut times = [Vec::new(), Vec::new()];
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            let mut round = [Duration::ZERO; 2];
            for (index, package) in PACKAGES.into_iter().enumerate() {
                round[index] = check(&folder, package, incremental)?;
                times[index].push(round[index].as_secs_f64());
            }
            costs.push(round[0].as_secs_f64() - round[1].as_secs_f64());
        }
        let [annotated, plain] = times.map(median);
        let cost = median(costs) * 1_000.0 / f64::from(MODULES * FUNCTIONS);
        println!(
            "{what}: {annotated:.2} s, without the attributes {plain:.2} s: {cost:.2} ms a function"
        );
    }
    Ok(())
}

/// Writes the crate outside of the workspace, where a user's crate is. The folder is kept, so
/// that the dependencies are compiled once.
fn generate() -> std::io::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let folder = std::env::temp_dir().join("cache-build-cost");
    fs::create_dir_all(&folder)?;
    fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    fs::write(
        folder.join("Cargo.toml"),
        format!("[workspace]\nresolver = \"3\"\nmembers = {PACKAGES:?}\n"),
    )?;
    let annotated: String = (0..MODULES).fold(HEAD.to_owned(), |mut source, number| {
        source.push_str(&MODULE.replace('@', &number.to_string()));
        source
    });
    let plain = annotated
        .lines()
        .filter(|line| !line.trim_start().starts_with("#[cache"));
    let plain = plain.fold(String::new(), |mut source, line| {
        let _ = writeln!(source, "{line}");
        source
    });
    for (package, source) in PACKAGES.into_iter().zip([annotated, plain]) {
        let manifest = format!(
            "[package]\nname = \"{package}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\ncache-runtime = {{ path = {:?} }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n",
            workspace.join("cache-runtime").to_string_lossy()
        );
        fs::create_dir_all(folder.join(package).join("src"))?;
        fs::write(folder.join(package).join("Cargo.toml"), manifest)?;
        fs::write(source_of(&folder, package), source)?;
    }
    Ok(folder)
}

fn source_of(folder: &Path, package: &str) -> PathBuf {
    folder.join(package).join("src/lib.rs")
}

fn check(folder: &Path, package: &str, incremental: &str) -> Result<Duration, String> {
    let touched = fs::File::options()
        .append(true)
        .open(source_of(folder, package))
        .and_then(|file| file.set_modified(std::time::SystemTime::now()));
    touched.map_err(|error| format!("{package} was not touched: {error}"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut check = Command::new(cargo);
    check
        .args(["check", "--quiet", "--package", package])
        .current_dir(folder)
        .env("CARGO_INCREMENTAL", incremental)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    let began = Instant::now();
    match check.status() {
        Ok(status) if status.success() => Ok(began.elapsed()),
        Ok(status) => Err(format!("`cargo check` of {package} failed ({status})")),
        Err(error) => Err(format!("`cargo check` did not start: {error}")),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
