//! What the compiler says of mistakes, and that it says nothing of correct code. The programs that it
//! is given are in `ui`. Those of `ui/pass` are tests of this package by themselves, beside this one.
#![forbid(unsafe_code)]
#![warn(unreachable_pub, clippy::pedantic)]

mod hygiene;
mod packages;
mod ui;
