//! Types with names of their own, in code with all lints.
#![deny(warnings, clippy::pedantic, unused)]

use cache_runtime::key_name;

mod reexport {
    pub use cache_runtime;
}

/// A type.
#[key_name("ui.user")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
struct User {
    id: u64,
}

#[derive(Debug)]
#[key_name("ui.page")]
struct Page<'a, T: ?Sized, const N: usize = 3>(&'a [u8; N], Box<T>)
where
    T: Send;

#[key_name("ui.sort", crate = reexport::cache_runtime)]
enum Sort {
    Newest,
}

#[key_name("ui.bytes-2")]
#[repr(C)]
union Bytes {
    number: u8,
    letter: u8,
}

macro_rules! row {
    ($(#[$attr:meta])* $name:ident) => {
        #[key_name("ui.row")]
        $(#[$attr])*
        struct $name;
    };
}
row!(
    /// From a macro.
    Row
);

// Two names, as a type has in two versions of a program.
mod other {
    use cache_runtime::key_name;

    #[key_name("ui.other-user")]
    pub(super) struct User;
}

fn main() {
    #[key_name("ui.local")]
    struct Local(u8);

    let _ = (User { id: 1 }, Page(&[1, 2, 3], Box::new(1)), Sort::Newest, Row);
    let (bytes, local, _) = (Bytes { number: 1 }, Local(1), other::User);
    let (Bytes { number: _ }, Bytes { letter: _ }) = (&bytes, &bytes);
    assert_eq!(local.0, 1);
    // No two types claim one name.
    let findings = cache_runtime::registry::check().unwrap_err();
    assert!(findings.iter().all(|finding| finding.id() == "no functions"));
}
