//! Types with names of their own, in code with all lints.
#![deny(warnings, clippy::pedantic, unused)]

use cache_runtime::key_name;

mod reexport {
    pub(super) use ::cache_runtime as runtime;
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

#[key_name("ui.sort", crate = reexport::runtime)]
enum Sort {
    Newest,
}

#[key_name("ui.bytes-2")]
#[allow(dead_code)]
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

/// A type of the same identifier.
mod other {
    use cache_runtime::key_name;

    #[key_name("ui.other-user")]
    pub(super) struct User;
}

fn main() {
    #[key_name("ui.local")]
    struct Local(u8);

    let (user, page, sort) = (User { id: 1 }, Page(&[1, 2, 3], Box::new(1)), Sort::Newest);
    assert!(matches!(
        (user.id, page.0, *page.1, sort, Row),
        (1, _, 1, Sort::Newest, Row)
    ));
    let (_, local, _) = (Bytes { number: 1 }, Local(1), other::User);
    assert_eq!(local.0, 1);
    // No two types claim one name.
    let findings = cache_runtime::registry::check().unwrap_err();
    assert!(
        findings
            .iter()
            .all(|finding| finding.id() == "no functions")
    );
}
