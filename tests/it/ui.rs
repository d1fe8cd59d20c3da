//! A mistake does not compile, and the compiler says how to mend it. Correct code compiles and
//! runs, whatever names the user gave.

use std::collections::{BTreeMap, HashSet};
use std::fs;

use crate::hygiene::{cargo_in, package, sources};

#[test]
fn mistakes_do_not_compile_and_correct_code_does() {
    let compiler = trybuild::TestCases::new();
    for folder in ["ui/fail", "ui/pass"] {
        // A pattern that matches nothing would pass.
        assert!(sources(folder).next().is_some(), "{folder} is empty");
    }
    compiler.compile_fail("ui/fail/*.rs");
    compiler.pass("ui/pass/*.rs");
}

/// The test above builds without incremental compilation, where the compiler leaves out some
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
