//! Runs the scenarios, each in a process of its own, and prints the table.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache_runtime::sabotage::{self, Rule};
use tokio::runtime::Runtime;

use crate::figure::Figure;
use crate::scenarios::{SCENARIOS, Scenario};

/// Begins the arguments of a process that runs one scenario.
pub(crate) const COMMAND: &str = "scenario";

/// The environment variable that names the mechanisms to take away. A process hands it on to its
/// peers.
const WITHOUT: &str = "FAULTS_WITHOUT";
const AND: &str = " + ";

/// A scenario that takes longer is broken.
const LIMIT: Duration = Duration::from_secs(120);

/// How much a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Short,
    Full,
}

impl Size {
    pub(crate) fn pick<T>(self, full: T, short: T) -> T {
        match self {
            Self::Full => full,
            Self::Short => short,
        }
    }
}

/// The figures of one process, or how it broke down.
type Found = Result<Vec<Figure>, String>;

/// One scenario, and what was found with and without its mechanisms.
struct Report {
    scenario: &'static Scenario,
    found: Option<Found>,
    /// Without the mechanisms, in the order of the guards.
    sabotaged: Vec<Option<Found>>,
}

/// One process to run: a scenario, and the guard whose mechanisms are taken away.
#[derive(Clone, Copy)]
struct Job {
    scenario: usize,
    guard: Option<usize>,
    size: Size,
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Takes away the mechanisms that the parent of this process has named, for as long as the result
/// lives.
pub(crate) fn take_rules_away() -> Vec<sabotage::Guard> {
    let names = std::env::var(WITHOUT).unwrap_or_default();
    let away = Rule::ALL
        .iter()
        .copied()
        .filter(|rule| names.split(AND).any(|name| name == format!("{rule:?}")));
    away.map(sabotage::without).collect()
}

fn named(rules: &[Rule]) -> String {
    let names: Vec<_> = rules.iter().map(|rule| format!("{rule:?}")).collect();
    names.join(AND)
}

/// The process of one scenario: prints its figures.
pub(crate) fn run_one(mut arguments: impl Iterator<Item = String>) {
    let name = arguments.next().expect("a scenario");
    let size = match arguments.next().as_deref() {
        Some("full") => Size::Full,
        _ => Size::Short,
    };
    let scenario = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap_or_else(|| panic!("no such scenario: {name}"));
    let runtime = runtime();
    let figures = runtime.block_on((scenario.run)(size));
    // A task that hangs in the background must not keep the process.
    runtime.shutdown_background();
    println!("{}", serde_json::to_string(&figures).expect("plain data"));
}

/// The suite itself.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(chosen) = Chosen::read(arguments) else {
        return ExitCode::SUCCESS;
    };
    let mut reports: Vec<Report> = SCENARIOS
        .iter()
        .map(|scenario| Report {
            scenario,
            found: None,
            sabotaged: scenario.guards.iter().map(|_| None).collect(),
        })
        .collect();
    let began = Instant::now();
    let size = chosen.size;
    let wanted: Vec<usize> = (0..SCENARIOS.len())
        .filter(|&i| chosen.wants(&SCENARIOS[i]))
        .collect();
    let whole = wanted.iter().map(|&scenario| Job {
        scenario,
        guard: None,
        size,
    });
    let guarded = wanted.iter().flat_map(|&scenario| {
        (0..SCENARIOS[scenario].guards.len()).map(move |guard| Job {
            scenario,
            guard: Some(guard),
            size: Size::Short,
        })
    });
    // Scenarios whose figures are shown run one after the other. Most of their time is waiting, so
    // those whose figures are only checked share the machine.
    match size {
        Size::Full => {
            work(whole.collect(), 1, &mut reports);
            work(guarded.collect(), 4, &mut reports);
        }
        Size::Short => work(whole.chain(guarded).collect(), 5, &mut reports),
    }
    reports.retain(|report| report.found.is_some());
    let (table, mut verdict) = tabulate(&reports);
    verdict.extend(miscounted());
    println!("\n{table}");
    let count = reports.len();
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} scenarios in {seconds:.0} s: {} broken",
        verdict.len()
    );
    for broken in &verdict {
        println!("\nbroken: {broken}");
    }
    if verdict.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What is wrong with the sentence of the README that counts the scenarios.
fn miscounted() -> Option<String> {
    let readme = include_str!("../../README.md");
    let only_compared = SCENARIOS.iter().filter(|it| it.guards.is_empty()).count();
    let counts = [
        format!("runs {} scenarios", SCENARIOS.len()),
        format!("but for {only_compared} that only compare counts or times"),
    ];
    let is_wrong = counts.iter().any(|count| !readme.contains(count));
    is_wrong.then(|| format!("README.md does not say: {}", counts.join(", ")))
}

/// What the command line asks for. The options are those of other test programs.
struct Chosen {
    size: Size,
    filters: Vec<String>,
    exact: bool,
}

impl Chosen {
    /// `None` if the command line asks for a list of the scenarios.
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut chosen = Self {
            size: Size::Short,
            filters: Vec::new(),
            exact: false,
        };
        let mut list = false;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--full" => chosen.size = Size::Full,
                "--exact" => chosen.exact = true,
                "--list" => list = true,
                "--test-threads" | "--format" | "--color" | "--logfile" | "--skip" | "-Z" => {
                    arguments.next();
                }
                flag if flag.starts_with('-') => {}
                name => chosen.filters.push(name.to_owned()),
            }
        }
        if list {
            for scenario in SCENARIOS {
                println!("{}: test", scenario.name);
            }
            return None;
        }
        Some(chosen)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let fits = |filter: &String| {
            scenario.name == filter || !self.exact && scenario.name.contains(filter.as_str())
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}

fn work(jobs: VecDeque<Job>, lanes: usize, reports: &mut [Report]) {
    let jobs = Mutex::new(jobs);
    let reports = Mutex::new(reports);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = lock(&jobs).pop_front();
                    let Some(job) = next else { break };
                    let scenario = &SCENARIOS[job.scenario];
                    let began = Instant::now();
                    let found = tried(scenario, job);
                    let rules = job.guard.map(|guard| named(scenario.guards[guard].0));
                    let without = rules.map_or(String::new(), |rules| format!(" without {rules}"));
                    eprintln!("{}{without}: {:.1?}", scenario.name, began.elapsed());
                    let report = &mut lock(&reports)[job.scenario];
                    match job.guard {
                        None => report.found = Some(found),
                        Some(guard) => report.sabotaged[guard] = Some(found),
                    }
                }
            });
        }
    });
}

/// Without its mechanism a race is lost only by chance, and a busy machine may make a wait longer: the first
/// is tried up to twelve times, the second up to three. Stale data count at once.
fn tried(scenario: &Scenario, job: Job) -> Found {
    let mut found = in_a_process(scenario, job);
    let further = if job.guard.is_some() { 11 } else { 2 };
    for _ in 0..further {
        if !may_be_chance(scenario, job, &found) {
            break;
        }
        found = in_a_process(scenario, job);
    }
    found
}

fn may_be_chance(scenario: &Scenario, job: Job, found: &Found) -> bool {
    let Ok(figures) = found else {
        return false;
    };
    let mut broken = figures.iter().filter(|figure| !figure.holds()).peekable();
    match job.guard {
        Some(guard) => {
            let guarded = scenario.guards[guard].1;
            let is_guarded = |figure: &&Figure| guarded.contains(&figure.what.as_str());
            broken.filter(is_guarded).count() < guarded.len()
        }
        None => broken.peek().is_some() && broken.all(Figure::may_be_noise),
    }
}

fn in_a_process(scenario: &Scenario, job: Job) -> Found {
    let mut command = Command::new(std::env::current_exe().expect("our own program"));
    command
        .args([COMMAND, scenario.name, job.size.pick("full", "short")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The message says what has failed.
        .env("RUST_BACKTRACE", "0");
    if let Some(guard) = job.guard {
        command.env(WITHOUT, named(scenario.guards[guard].0));
    }
    let mut process = command.spawn().expect("our own program starts");
    let mut output = process.stdout.take().expect("it is piped");
    let mut errors = process.stderr.take().expect("it is piped");
    // Read while the process runs: it would wait when a pipe is full.
    let reading = std::thread::spawn(move || read_all(&mut output));
    let reading_errors = std::thread::spawn(move || read_all(&mut errors));
    let began = Instant::now();
    let status = loop {
        match process.try_wait().expect("our own child") {
            Some(status) => break Some(status),
            None if began.elapsed() > LIMIT => {
                let _ = process.kill();
                let _ = process.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = reading.join().expect("no panic");
    let errors = reading_errors.join().expect("no panic");
    let Some(status) = status else {
        return Err(format!("was not over after {LIMIT:?}\n{errors}"));
    };
    let last = output.lines().last().unwrap_or_default();
    let figures: Vec<Figure> =
        serde_json::from_str(last).map_err(|_| format!("ended with {status}\n{errors}"))?;
    // The errors may say why a figure is bad.
    if job.guard.is_none() && !figures.iter().all(Figure::holds) && !errors.is_empty() {
        eprintln!("{}:\n{errors}", scenario.name);
    }
    Ok(figures)
}

fn read_all(pipe: &mut impl Read) -> String {
    let mut text = String::new();
    let _ = pipe.read_to_string(&mut text);
    text
}

/// The table, and a line for each promise that is broken.
fn tabulate(reports: &[Report]) -> (String, Vec<String>) {
    let mut table = String::from(
        "| scenario | what is measured | figure | promised | kept | without its mechanism |\n\
         |---|---|---:|---:|---|---|\n",
    );
    let mut broken = Vec::new();
    for report in reports {
        let Scenario { name, guards, .. } = *report.scenario;
        let figures = match report.found.as_ref().expect("it was run") {
            Ok(figures) => figures,
            Err(error) => {
                let _ = writeln!(table, "| {name} | | it broke down | | **NO** | |");
                broken.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert!(
            !figures.is_empty(),
            "each scenario that runs measures something"
        );
        for figure in figures {
            let (what, amount, promise) = (&figure.what, figure.amount(), figure.promise());
            let kept = if figure.holds() && figure.is_strained() {
                "with slack"
            } else if figure.holds() {
                "yes"
            } else {
                broken.push(format!("{name}: {what}: {amount}, promised {promise}"));
                "**NO**"
            };
            let mut without = Vec::new();
            for ((rules, guarded), sabotaged) in guards.iter().zip(&report.sabotaged) {
                if !guarded.contains(&what.as_str()) {
                    continue;
                }
                let rules = named(rules);
                match shown_sabotage(what, sabotaged.as_ref()) {
                    Ok(amount) => without.push(format!("{rules}: {amount}")),
                    Err(amount) => {
                        without.push(format!("{rules}: **{amount}**"));
                        broken.push(format!(
                            "{name}: without {rules} the promise is kept all the same: {what}: {amount}"
                        ));
                    }
                }
            }
            let without = without.join(", ");
            let _ = writeln!(
                table,
                "| {name} | {what} | {amount} | {promise} | {kept} | {without} |"
            );
        }
        for guarded in guards.iter().flat_map(|(_, guarded)| *guarded) {
            if !figures.iter().any(|figure| figure.what == *guarded) {
                broken.push(format!(
                    "{name}: `{guarded}` is guarded and is not measured"
                ));
            }
        }
    }
    (table, broken)
}

/// A figure without its mechanism. An error if the promise is kept all the same.
fn shown_sabotage(what: &str, sabotaged: Option<&Found>) -> Result<String, String> {
    match sabotaged {
        None => Err("was not tried".to_owned()),
        Some(Err(error)) => {
            let first = error.lines().next().unwrap_or_default();
            Err(first.to_owned())
        }
        Some(Ok(figures)) => match figures.iter().find(|figure| figure.what == what) {
            None => Err("was not measured".to_owned()),
            Some(figure) if figure.holds() => Err(figure.amount()),
            Some(figure) => Ok(figure.amount()),
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
