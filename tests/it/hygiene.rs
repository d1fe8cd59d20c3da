//! The expansions in `ui/pass` cause no warnings, under the lints that a careful crate turns
//! on, and those of Clippy.

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
    // An annotated function in this file is `unsafe` itself.
    let forbids_unsafe = |file: &PathBuf| !file.ends_with("unsafe_fn.rs");
    let files: Vec<_> = sources("ui/pass").filter(forbids_unsafe).collect();
    let clippy = cargo_in(&package("hygiene", &files))
        .args(["clippy", "--quiet", "--examples", "--"])
        .args(LINTS)
        .output()
        .unwrap();
    let says = String::from_utf8_lossy(&clippy.stderr);
    assert!(clippy.status.success(), "{says}");
}

/// The Rust files in a folder of this crate.
pub(crate) fn sources(folder: &str) -> impl Iterator<Item = PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = folder.read_dir().expect("the folder is there");
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
}

/// A package outside of the workspace, with the dependencies of this crate. Each file is one of
/// its examples. Returns the package's folder.
pub(crate) fn package(name: &str, files: &[PathBuf]) -> PathBuf {
    assert!(!files.is_empty());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut manifest = manifest(name, tests);
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let path = file.display();
        write!(
            manifest,
            "\n[[example]]\nname = \"{name}\"\npath = \"{path}\"\n"
        )
        .unwrap();
    }
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("lib.rs"), "//! The files are its examples.\n").unwrap();
    fs::copy(tests.join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Cargo in such a package. The packages share a target directory, and so their dependencies.
pub(crate) fn cargo_in(package: &Path) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hygiene/target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(package).env("CARGO_TARGET_DIR", target);
    cargo
}

fn manifest(name: &str, tests: &Path) -> String {
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
    // What encrypts takes minutes to build, and no expansion needs it.
    let is_left_out = |line: &&str| {
        ["#", "rcgen", "tokio-rustls"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let dependencies = dependencies.lines().filter(|line| !is_left_out(line));
    let dependencies = dependencies.collect::<Vec<_>>().join("\n");
    let dependencies = dependencies.replace(r#""tls", "tls-ring", "upstash", "#, "");
    assert!(!dependencies.contains("tls"), "{dependencies}");
    format!(
        "[workspace]\n\n{versions}\n\
         [package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n{dependencies}"
    )
}
