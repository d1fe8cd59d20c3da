//! The project's chores as a program, so that they run in the same way everywhere.

mod build_cost;
mod instructions;
mod other_servers;
mod server;
mod step;

use std::process::ExitCode;

const HELP: &str = "\
The project's chores.

Usage: cargo xtask <COMMAND>

Commands:
  test    Run every test and doctest of the workspace. They use a real Redis
          or Valkey server: the one that REDIS_SERVER names, or one on PATH.
          If there is none, it is installed with the system's package manager.
          So are Chromium and chromedriver, in which the dashboard is tested.
          Then run the tests that need a server on each other kind of server
          that is on PATH, and on Redis 6.2, if `pip` can install it
  lint    Check formatting, clippy, the documentation and the build without
          default features
  faults  Run the fault suite in full, and print its table. Takes some
          minutes. (`test` runs its short form)
  model   Check every state of the protocol's model, in the large
          configurations too. Takes some minutes and gigabytes
  instructions [--update]
          Count the instructions of the hot paths with valgrind. Fails if one
          takes 5 % more than `benches/instructions/committed.txt` says. With
          --update, writes that file
  interleavings
          Run the tests of concurrent threads under a scheduler that tries
          thousands of orders
  ci      test, interleavings, lint and instructions
  build-cost
          Measure what one more annotated function costs `cargo check`

Environment:
  REDIS_SERVER    path of the server program that the tests start, instead of
                  the one on PATH
  CHROMIUM, CHROMEDRIVER
                  the same of the browser and the program that drives it
  CACHE_TESTS_WITHOUT_BROWSER=1
                  leave the tests in a browser out
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["test"] => test(),
        ["lint"] => lint(),
        ["faults", filters @ ..] => faults(filters),
        ["model"] => model(),
        ["interleavings"] => interleavings(),
        ["build-cost"] => build_cost::build_cost(),
        ["instructions"] => instructions::compare(),
        ["instructions", "--update"] => instructions::update(),
        ["ci"] => test()
            .and_then(|()| interleavings())
            .and_then(|()| lint())
            .and_then(|()| instructions::compare()),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [] => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
        other => {
            eprintln!("error: no such command: `{}`\n\n{HELP}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nerror: {message}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), String> {
    let server = server::find_or_install()?;
    let browser = server::find_or_install_browser()?;
    let with_browser = |step: step::Step| match &browser {
        Some([browser, driver]) => step.env("CHROMIUM", browser).env("CHROMEDRIVER", driver),
        None => step,
    };
    let threads = threads();
    with_browser(step::cargo(
        "test --workspace --exclude cache-benches --exclude cache-instructions --all-features",
    ))
    .env(server::PATH_VARIABLE, &server)
    .env("RUST_TEST_THREADS", &threads)
    .run()?;
    let mut tested = vec![server];
    for other in other_servers::find_or_install(&tested[0]) {
        // A cache without a server does not depend on it, and the emulator of Upstash stands for a service
        // whose version is its own. The workspace is named again, since its features are together those that
        // everything is compiled with.
        let run = step::cargo(
            "test --workspace --exclude cache-benches --exclude cache-instructions --all-features --test it -- --skip in_process --skip on_upstash",
        );
        let run = if other_servers::has_tls(&other) {
            run
        } else {
            println!(
                "{} has no TLS: the tests over TLS are left out",
                other.display()
            );
            run.args(&["--skip", "tls"])
        };
        run.env(server::PATH_VARIABLE, &other)
            .env("RUST_TEST_THREADS", &threads)
            .run()?;
        tested.push(other);
    }
    for server in &tested {
        let version = other_servers::version(server);
        let version = version.as_deref().unwrap_or("a server");
        println!("tested with {version} ({})", server.display());
    }
    Ok(())
}

/// How many tests run at a time: most of them wait for a server or a moment, so more than there are processors.
fn threads() -> String {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    (processors * 3 / 2).max(2).to_string()
}

/// Built with optimizations, since the suite also measures times.
fn faults(filters: &[&str]) -> Result<(), String> {
    let server = server::find_or_install()?;
    step::cargo("test -p cache-tests --release --test faults -- --full")
        .args(filters)
        .env(server::PATH_VARIABLE, server)
        .run()
}

fn model() -> Result<(), String> {
    // One at a time: each large configuration needs most of the memory.
    step::cargo("test -p cache-model --release -- --include-ignored --nocapture --test-threads 1")
        .run()
}

fn interleavings() -> Result<(), String> {
    // One at a time: each test takes a mechanism away from the whole process. With a target
    // folder of its own: under this flag every crate is built anew. Some optimization takes the compiler a
    // little longer, and the tests a tenth of the time.
    step::cargo("test -p cache-runtime --features redis,sabotage --lib --target-dir target/interleavings -- interleavings --test-threads 1")
        .env("RUSTFLAGS", "--cfg shuttle")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .run()
}

fn lint() -> Result<(), String> {
    step::cargo("fmt --all --check").run()?;
    step::cargo("clippy --workspace --all-targets --all-features -- -D warnings").run()?;
    // With a server, and without TLS.
    step::cargo("clippy -p cache-runtime --all-targets -- -D warnings").run()?;
    step::cargo("clippy -p cache-runtime --all-targets --no-default-features -- -D warnings")
        .run()?;
    step::cargo("doc --workspace --no-deps --all-features")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    step::cargo("test -p cache-runtime --no-default-features").run()
}
