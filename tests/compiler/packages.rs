//! Packages outside of the workspace, as a user's are.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The flags with which trybuild checks a file. Cargo compiles a dependency once for each set of flags,
/// so everything has these.
const FLAGS: &str = "--cfg trybuild --verbose -A dead_code --diagnostic-width=140";

/// The variable that overrides all other settings of the flags, and its value.
pub(crate) fn flags() -> (&'static str, String) {
    ("CARGO_ENCODED_RUSTFLAGS", FLAGS.replace(' ', "\x1f"))
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
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let mut manifest = manifest(name, crate_folder);
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
    let lock = crate_folder.join("../../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    folder
}

/// A command of Cargo in such a package. All of them share the target folder of trybuild, its flags
/// and its target, and so their dependencies, which are only checked and not built.
pub(crate) fn cargo_in(package: &Path, command: &str) -> Command {
    let target_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tests/trybuild");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([command, "--quiet", "--examples", "--target", &target()])
        .current_dir(package)
        .envs([flags()])
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", target_folder);
    cargo
}

/// The target that the compiler itself runs on.
fn target() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let mut lines = version.lines();
    let target = lines.find_map(|line| line.strip_prefix("host: "));
    target.expect("rustc says where it runs").to_owned()
}

fn manifest(name: &str, crate_folder: &Path) -> String {
    let workspace = crate_folder.parent().unwrap().parent().unwrap();
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
    let dependencies = between(
        &crate_folder.join("Cargo.toml"),
        "[dependencies]",
        "[[test]]",
    );
    format!(
        "[workspace]\n\n{versions}\n\
         [package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n{dependencies}"
    )
}
