//! The programs that the chores need, found or installed: the server that the tests start, the browser
//! that looks at the dashboard, and valgrind.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::step;

/// The variable that the tests read before they search `PATH`.
pub(crate) const PATH_VARIABLE: &str = "REDIS_SERVER";

/// Their names on `PATH`, the likeliest first.
pub(crate) const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// The variable by which the tests in a browser are left out.
pub(crate) const WITHOUT_BROWSER: &str = "CACHE_TESTS_WITHOUT_BROWSER";

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

pub(crate) fn find_or_install() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(PATH_VARIABLE).map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!(
                "{PATH_VARIABLE} names `{}`, which is not a file",
                path.display()
            ))
        };
    }
    find_or_install_any(&PROGRAMS, |manager| manager.packages)
        .map_err(|message| format!("{message}\n\nor set {PATH_VARIABLE} to the path of one"))
}

/// The program that counts instructions.
pub(crate) fn find_or_install_valgrind() -> Result<PathBuf, String> {
    find_or_install_any(&["valgrind"], |_| &["valgrind"])
}

/// The browser that looks at the dashboard, and the program that drives it; `None` if those tests are to be
/// left out. The tests look for both where this does.
pub(crate) fn find_or_install_browser() -> Result<Option<[PathBuf; 2]>, String> {
    if std::env::var_os(WITHOUT_BROWSER).is_some_and(|it| it == "1") {
        println!("{WITHOUT_BROWSER} is 1: the dashboard is not looked at in a browser");
        return Ok(None);
    }
    let find = |variable: &str,
                names: &[&str],
                packages: fn(&Manager) -> &'static [&'static str]| {
        match std::env::var_os(variable) {
            Some(named) => Ok(PathBuf::from(named)),
            None => find_or_install_any(names, packages).map_err(|message| {
                format!("{message}\n\nor set {variable} to the path of one, or {WITHOUT_BROWSER}=1")
            }),
        }
    };
    // A package of the driver brings the browser of its version, so it comes first.
    let driver = find("CHROMEDRIVER", &["chromedriver"], |manager| manager.driver)?;
    let browser = find("CHROMIUM", &BROWSERS, |_| &["chromium"])?;
    Ok(Some([browser, driver]))
}

fn find_or_install_any(
    names: &[&str],
    packages: impl Fn(&Manager) -> &'static [&'static str],
) -> Result<PathBuf, String> {
    let find = || names.iter().find_map(|program| on_path(program));
    if let Some(path) = find() {
        return Ok(path);
    }
    let programs = names.join(" or ");
    eprintln!("There is no {programs} on PATH.");
    let manager = MANAGERS
        .iter()
        .find(|manager| on_path(manager.program).is_some())
        .ok_or_else(|| {
            format!("found no known package manager; install {programs} and try again")
        })?;
    let prefix = manager
        .prefix(is_root(), || succeeds("sudo", &["-n", "true"]))
        .ok_or_else(|| {
            format!(
                "installing needs root, and sudo is missing or asks for a password; run this and try again:\n\n    {}",
                manager.shell_command(packages(manager)[0])
            )
        })?;
    for package in packages(manager) {
        for command in manager.commands(package) {
            let words: Vec<&str> = prefix.iter().copied().chain(command).collect();
            if let Err(message) = step::program(words[0], &words[1..]).run() {
                // Go on: an index that could not be updated may still have the package, and the
                // package may have the next name.
                eprintln!("{message}");
            }
        }
        if let Some(path) = find() {
            return Ok(path);
        }
    }
    Err(format!(
        "could not install {programs}; see above, or run\n\n    {}",
        manager.shell_command(packages(manager)[0])
    ))
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

struct Manager {
    program: &'static str,
    /// Brings the package index up to date.
    update: Option<&'static [&'static str]>,
    /// The command that installs a package, without the package's name.
    install: &'static [&'static str],
    /// The names of the server's package, the likeliest first.
    packages: &'static [&'static str],
    /// The same of the package with chromedriver.
    driver: &'static [&'static str],
    needs_root: bool,
}

const REDIS_THEN_VALKEY: &[&str] = &["redis", "valkey"];

const MANAGERS: [Manager; 7] = [
    Manager {
        program: "apt-get",
        update: Some(&["apt-get", "update"]),
        // With the first variable no package asks a question. With the second, systemd does not
        // start the package's service: the tests start servers of their own.
        install: &[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "SYSTEMD_OFFLINE=1",
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
        ],
        packages: &["redis-server", "valkey-server"],
        driver: &["chromium-driver"],
        needs_root: true,
    },
    Manager {
        program: "dnf",
        update: None,
        install: &["dnf", "install", "--assumeyes"],
        packages: REDIS_THEN_VALKEY,
        driver: &["chromedriver"],
        needs_root: true,
    },
    Manager {
        program: "yum",
        update: None,
        install: &["yum", "install", "--assumeyes"],
        packages: REDIS_THEN_VALKEY,
        driver: &["chromedriver"],
        needs_root: true,
    },
    Manager {
        program: "apk",
        update: None,
        install: &["apk", "add", "--no-cache"],
        packages: REDIS_THEN_VALKEY,
        driver: &["chromium-chromedriver"],
        needs_root: true,
    },
    Manager {
        program: "pacman",
        update: None,
        install: &["pacman", "--sync", "--refresh", "--noconfirm"],
        packages: &["valkey", "redis"],
        driver: &["chromium"],
        needs_root: true,
    },
    Manager {
        program: "zypper",
        update: None,
        install: &["zypper", "--non-interactive", "install"],
        packages: REDIS_THEN_VALKEY,
        driver: &["chromedriver"],
        needs_root: true,
    },
    Manager {
        program: "brew",
        update: None,
        install: &["brew", "install"],
        packages: REDIS_THEN_VALKEY,
        driver: &["chromedriver"],
        needs_root: false,
    },
];

impl Manager {
    fn commands<'a>(&'a self, package: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
        let install = self.install.iter().copied().chain([package]).collect();
        self.update
            .map(<[&str]>::to_vec)
            .into_iter()
            .chain([install])
    }

    /// The words before each command, or `None` if this user may not run it.
    fn prefix(
        &self,
        is_root: bool,
        sudo_needs_no_password: impl FnOnce() -> bool,
    ) -> Option<&'static [&'static str]> {
        if is_root || !self.needs_root {
            Some(&[])
        } else if sudo_needs_no_password() {
            Some(&["sudo", "-n"])
        } else {
            None
        }
    }

    /// The commands that a person can run in a terminal.
    fn shell_command(&self, package: &str) -> String {
        let sudo = if self.needs_root { "sudo " } else { "" };
        let commands: Vec<String> = self
            .commands(package)
            .map(|words| format!("{sudo}{}", words.join(" ")))
            .collect();
        commands.join(" && ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(program: &str) -> &'static Manager {
        MANAGERS
            .iter()
            .find(|manager| manager.program == program)
            .unwrap()
    }

    #[test]
    fn messages_show_whole_commands() {
        assert_eq!(
            manager("apt-get").shell_command("redis-server"),
            "sudo apt-get update && sudo env DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1 \
             apt-get install --yes --no-install-recommends redis-server"
        );
        assert_eq!(manager("brew").shell_command("redis"), "brew install redis");
    }

    #[test]
    fn only_commands_that_ask_for_no_password_are_run() {
        let apk = manager("apk");
        assert_eq!(apk.prefix(true, || unreachable!()), Some(&[][..]));
        assert_eq!(apk.prefix(false, || true), Some(&["sudo", "-n"][..]));
        assert_eq!(apk.prefix(false, || false), None);
        let brew = manager("brew");
        assert_eq!(brew.prefix(false, || unreachable!()), Some(&[][..]));
    }
}
