//! A real browser, driven over the `WebDriver` protocol: as much of it as the scenarios need.

mod webdriver;

pub use webdriver::{Browser, Element, LEFT_OUT, Programs};
