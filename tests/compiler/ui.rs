//! A mistake does not compile, and the compiler says how to mend it. Correct code compiles and
//! runs, whatever names the user gave.

use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::{env, fs};

use crate::packages::{cargo_in, flags, package, sources};

/// Where all cases are to fail, they are checked by one run of Cargo, side by side.
#[test]
fn mistakes_do_not_compile() {
    // A pattern that matches nothing would pass.
    assert!(sources("ui/fail").next().is_some());
    let (variable, flags) = flags();
    if env::var(variable).is_ok_and(|now| now == flags) {
        trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
        return;
    }
    // trybuild compiles the dependencies with fewer flags than the files, and so twice, unless the
    // variable says otherwise. A test cannot set a variable of its own process safely.
    let filters = env::args().filter(|argument| argument.starts_with("trybuild="));
    let run = Command::new(env::current_exe().unwrap())
        .args(["--exact", "ui::mistakes_do_not_compile", "--nocapture"])
        .args(filters)
        .env(variable, flags)
        .output()
        .unwrap();
    let [says, errors] = [&run.stdout, &run.stderr].map(|says| String::from_utf8_lossy(says));
    assert!(says.contains("running 1 test"), "{says}{errors}");
    assert!(run.status.success(), "{says}{errors}");
}

/// Each of these programs is a test of this package, which compiles it with the dependencies of the
/// whole workspace, and runs it. Here is only that none of them is left out.
#[test]
fn correct_code_is_compiled_and_run() {
    let manifest = include_str!("Cargo.toml");
    for file in sources("ui/pass") {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let test =
            format!("[[test]]\nname = \"{name}\"\npath = \"ui/pass/{name}.rs\"\nharness = false\n");
        assert!(
            manifest.contains(&test),
            "tests/compiler/Cargo.toml does not run ui/pass/{name}.rs; add:\n\n{test}"
        );
    }
}

/// The first test builds without incremental compilation, where the compiler leaves out some
/// errors that it reports in an incremental build.
#[test]
fn an_incremental_build_reports_each_mistake_once() {
    let files: Vec<_> = sources("ui/fail").collect();
    let check = cargo_in(&package("mistakes", &files), "check")
        .args(["--keep-going", "--message-format=json"])
        .env("CARGO_INCREMENTAL", "1")
        .output()
        .unwrap();
    let mut reported = BTreeMap::<_, HashSet<_>>::new();
    for line in String::from_utf8(check.stdout).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] == "error" {
            let example = line["target"]["name"].as_str().unwrap().to_owned();
            // Cargo shows two identical messages once.
            let rendered = line["message"]["rendered"].as_str().unwrap().to_owned();
            reported.entry(example).or_default().insert(rendered);
        }
    }
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let errors = reported.remove(name).unwrap_or_default();
        let expected = fs::read_to_string(file.with_extension("stderr")).unwrap();
        let expected = expected.lines().filter(|line| line.starts_with("error"));
        if errors.len() != expected.count() {
            let errors: Vec<_> = errors.into_iter().collect();
            wrong.push(format!("{name}:\n{}", errors.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
