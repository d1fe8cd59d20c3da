//! Compiles and runs the code in the README, and the documentation's code over a database.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../cache-runtime/docs/transactions.md")]
pub struct Transactions;

#[cfg(test)]
mod known_as;
