//! Transactions: what one changes is invalidated after its commit, and what it reads is not cached.
//!
//! Begin with `accounts.rs`. Its tests show what happens otherwise.

// The repository reads as it would in a library.
#![allow(unreachable_pub)]

mod accounts;
#[cfg(test)]
mod tests;

use cache_runtime::Cache;

use crate::accounts::Accounts;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let accounts = Accounts::open(&folder.path().join("accounts.db"), Cache::from_env()?).await?;
    for (account, amount) in [(1, 100), (2, 0)] {
        accounts.open_account(account, amount).await?;
    }
    println!("at first:         {}", accounts.line().await?);
    accounts.transfer(1, 2, 30).await?;
    println!("after a transfer: {}", accounts.line().await?);
    let refused = accounts.transfer(1, 2, 1_000).await;
    println!("refused:          {}", refused.unwrap_err());
    println!("rolled back:      {}", accounts.line().await?);
    Ok(())
}
