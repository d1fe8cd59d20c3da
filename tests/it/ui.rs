//! A mistake does not compile, and the compiler says how to mend it. Correct code compiles and
//! runs, whatever names the user gave.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use crate::hygiene::{cargo_in, package, sources};

/// Where all cases are to fail, they are checked by one run of Cargo, side by side.
#[test]
fn mistakes_do_not_compile() {
    // A pattern that matches nothing would pass.
    assert!(sources("ui/fail").next().is_some());
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

#[test]
fn correct_code_compiles_and_runs() {
    let files: Vec<_> = sources("ui/pass").collect();
    let package = package("correct", &files);
    let build = cargo_in(&package)
        .args(["build", "--quiet", "--examples", "--keep-going"])
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{says}");
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let run = cargo_in(&package)
            .args(["run", "--quiet", "--example", &name])
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{name}: {says}");
    }
}

/// The first test builds without incremental compilation, where the compiler leaves out some
/// errors that it reports in an incremental build.
#[test]
fn an_incremental_build_reports_each_mistake_once() {
    let files: Vec<_> = sources("ui/fail").collect();
    let check = cargo_in(&package("mistakes", &files))
        .args(["check", "--quiet", "--examples", "--keep-going"])
        .arg("--message-format=json")
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
