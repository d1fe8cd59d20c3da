//! The expansions in `ui/pass` cause no warnings, under the lints that a careful crate turns
//! on, and those of Clippy.

use std::path::PathBuf;

use crate::packages::{cargo_in, package, sources};

const LINTS: &[&str] = &[
    "--deny=warnings",
    // The flags that all packages share allow it.
    "--deny=dead_code",
    "--deny=clippy::all",
    "--deny=clippy::pedantic",
    "--deny=missing_docs",
    "--deny=unreachable_pub",
    "--forbid=unsafe_code",
];

#[test]
fn expansions_are_silent_under_clippy() {
    // An annotated function in this file is `unsafe` itself.
    let forbids_unsafe = |file: &PathBuf| !file.ends_with("unsafe_fn.rs");
    let files: Vec<_> = sources("ui/pass").filter(forbids_unsafe).collect();
    let clippy = cargo_in(&package("hygiene", &files), "clippy")
        .arg("--")
        .args(LINTS)
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&clippy.stderr);
    assert!(clippy.status.success(), "{says}");
}
