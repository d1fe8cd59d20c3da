//! This cache compared with its peers: `cargo run --release -p cache-benches -- --help`.

mod allocations;
mod batch;
mod copies;
mod floor;
mod growth;
mod harness;
mod local;
mod shared;
mod stampede;
mod table;
mod value;

use std::process::ExitCode;

use crate::harness::{Effort, Row};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

type Group = (&'static str, fn(Effort) -> Vec<Row>);

const GROUPS: &[Group] = &[
    ("local-hit", |effort| local::hit(effort, 1)),
    ("local-hit-2-threads", |effort| local::hit(effort, 2)),
    ("local-hit-owned", local::hit_owned),
    ("local-hit-text", local::hit_by_text),
    ("local-miss", local::miss),
    ("local-invalidate", local::invalidate),
    ("growth-entries", growth::entries),
    ("growth-tag", |effort| {
        growth::tagged_entries(effort.fewer())
    }),
    ("growth-tags", growth::tags),
    ("memory", |_| growth::memory()),
    ("copies-hit", copies::hit),
    ("shared-hit", shared::hit),
    ("shared-batch", batch::compare_batches),
    ("stampede", stampede::compare),
];

const HELP: &str = "\
Compares this cache with its peers.

Usage: cargo run --release -p cache-benches -- [OPTIONS] [GROUP]...

A GROUP is the beginning of a group's name: `local` runs all groups whose names
begin with it. Without one, all groups run.

Options:
  --quick   take fewer and shorter slices, to check that everything works
  --huge    measure ten million entries too, which take some gigabytes
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, contestant, url] = arguments.as_slice()
        && flag == "--stampede"
    {
        stampede::run(contestant, url);
        return ExitCode::SUCCESS;
    }
    let mut effort = Effort::FULL;
    let mut wanted = Vec::new();
    let mut huge = false;
    for argument in arguments {
        match argument.as_str() {
            "--quick" => effort = Effort::QUICK,
            "--huge" => huge = true,
            // `cargo bench` passes this.
            "--bench" => {}
            name if GROUPS.iter().any(|(group, _)| group.starts_with(name)) => {
                wanted.push(argument);
            }
            other => {
                let help = matches!(other, "--help" | "-h" | "help");
                let groups: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
                println!("{HELP}\nGroups:\n  {}", groups.join("\n  "));
                return if help {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::from(2)
                };
            }
        }
    }
    effort.huge = huge;
    let rows: Vec<Row> = GROUPS
        .iter()
        .filter(|(name, _)| {
            wanted.is_empty()
                || wanted
                    .iter()
                    .any(|wanted| name.starts_with(wanted.as_str()))
        })
        .flat_map(|(_, run)| run(effort))
        .collect();
    table::print(&rows);
    ExitCode::SUCCESS
}
