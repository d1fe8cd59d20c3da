//! Scripts of the toolkit: on one key each, which is no slot and no version.

use super::Shared;
use crate::driver::{Argument, Operation, Reply};
use crate::error::Error;

impl Shared {
    /// Runs a script on the key of this namespace that has this name.
    pub(crate) async fn run_script(
        &self,
        text: &'static str,
        name: &str,
        arguments: Vec<Argument>,
    ) -> Result<Reply, Error> {
        let key = self.keyspace.plain(name);
        let script = Operation::script_on_all(text, [key], arguments);
        let (_, replies) = self.connector.run(vec![script]).await?;
        match replies.into_iter().next() {
            Some(Reply::Elsewhere(elsewhere)) => Err(elsewhere.error(self.connector.address())),
            Some(reply) => Ok(reply),
            None => {
                let reason = "its answer to a script makes no sense";
                Err(Error::unavailable(self.connector.address(), &reason))
            }
        }
    }
}
