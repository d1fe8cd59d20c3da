//! What can be typed.

use clap::{Parser, Subcommand};

use crate::server::Server;

/// A cache of `cache-runtime` from a terminal.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "A cache of `cache-runtime` from a terminal.",
    after_help = "Ends with 0 if all is well, with 1 if what was looked at is not, and with 2 if the command \
                  could not be carried out."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Prints JSON, for programs. Errors stay text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says what is wrong with the servers, and how to mend it
    ///
    /// Run it where the program runs: how long a server takes to answer depends on that. Ends with 1 if
    /// there is a problem.
    Doctor,
    /// Says what is stored under a name, and whether it would be served
    ///
    /// A name is a key or a tag, as templates make it: `user:42`, and with quotes around a text
    /// `login:'ada'`. Ends with 1 if an entry would not be served, or there is nothing.
    Inspect {
        /// The names of keys and tags
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Counts the entries
    Count {
        /// A pattern for their keys: `*` stands for any text
        #[arg(default_value = "*")]
        pattern: String,
    },
    /// Invalidates names: keys or tags
    ///
    /// It holds for all programs on the server. What fails is tried again for ten seconds; then it ends with 2.
    Invalidate {
        /// The names of keys and tags, as they are written: a `*` stands for itself
        #[arg(required_unless_present = "matching")]
        names: Vec<String>,
        /// Invalidates all names that match a pattern, such as `user:*`
        #[arg(long, value_name = "PATTERN", conflicts_with = "names")]
        matching: Option<String>,
    },
    /// Ends the ttl of entries, which may then be served while they are loaded again
    Expire {
        /// The keys of the entries
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Removes all entries of the namespace
    Clear {
        /// Removes them; without it, says how many there are
        #[arg(long)]
        yes: bool,
    },
    /// Says what the functions of a running program do, as its dashboard tells it
    ///
    /// The credentials are taken from the environment: `CACHECTL_TOKEN` for a bearer token, or
    /// `CACHECTL_USER` for `name:password`.
    Functions {
        /// Where the program serves `cache-dashboard`, such as `http://127.0.0.1:3000/admin/cache`
        #[arg(value_name = "URL")]
        dashboard: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
