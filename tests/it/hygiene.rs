//! What compiles is also silent: the files of `ui/pass`, under the lints that
//! a careful crate turns on, clippy's among them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINTS: &[&str] = &[
    "--deny=warnings",
    "--deny=clippy::all",
    "--deny=clippy::pedantic",
    "--deny=missing_docs",
    "--deny=unreachable_pub",
    "--forbid=unsafe_code",
];

#[test]
fn expansions_are_silent_under_clippy() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hygiene");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest(tests)).unwrap();
    fs::write(folder.join("lib.rs"), "//! The files are its examples.\n").unwrap();
    fs::copy(tests.join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let clippy = Command::new(env!("CARGO"))
        .args(["clippy", "--quiet", "--examples", "--"])
        .args(LINTS)
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&clippy.stderr);
    assert!(clippy.status.success(), "{says}");
}

/// An example for each file, with the dependencies of these tests.
fn manifest(tests: &Path) -> String {
    let workspace = tests.parent().unwrap();
    let between = |file: &Path, from, to| {
        let text = fs::read_to_string(file).unwrap();
        let start = text.find(from).unwrap();
        let end = text.find(to).unwrap();
        text[start..end].to_owned()
    };
    let versions = between(
        &workspace.join("Cargo.toml"),
        "[workspace.dependencies]",
        "[workspace.lints",
    );
    let versions = versions.replace("path = \"", &format!("path = \"{}/", workspace.display()));
    let dependencies = between(&tests.join("Cargo.toml"), "[dependencies]", "[lints]");
    let mut manifest = format!(
        "[workspace]\n\n{versions}\n\
         [package]\nname = \"hygiene\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n{dependencies}"
    );
    let files = tests.join("ui/pass").read_dir().unwrap();
    let files = files.map(|file| file.unwrap().path());
    // What is annotated there may need `unsafe` itself.
    let forbids_unsafe = |file: &PathBuf| !file.ends_with("unsafe_fn.rs");
    let files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter(forbids_unsafe)
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let path = file.display();
        write!(
            manifest,
            "\n[[example]]\nname = \"{name}\"\npath = \"{path}\"\n"
        )
        .unwrap();
    }
    manifest
}
