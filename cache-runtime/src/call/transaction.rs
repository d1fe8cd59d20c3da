//! Transactions among the arguments of a call, outside of `after_commit`.
//!
//! An annotated function expands to a question about the arguments that are in no template:
//!
//! ```text
//! static ASKED: AskedTypes = AskedTypes::new();
//! ASKED.given(&(&self, &tx), || [(&&&&Argument::of(&self)).described(), (&&&&Argument::of(&tx)).described()])
//! ```
//!
//! Whether a type implements [`Transaction`] is found by autoref, as in [`detach`](super::detach). A
//! library's own types cannot implement it without depending on that library, and two of the libraries
//! need a newer compiler than this crate, in several major versions each. So they are known by the
//! name that the compiler gives their type. No alias hides that, and a type parameter stands in it for
//! what it is. If a library renames the type, a mistake is not reported; nothing else depends on it.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::detach::Argument;
use super::scope;
use crate::core::Core;
use crate::registry::Function;

/// A type that is, or holds, a database transaction which may still be rolled back.
///
/// Implement it for a type of your own, such as a unit of work or a repository that holds a
/// transaction. Then an annotated function that is given one, also as `self`, outside of
/// [`after_commit`](crate::after_commit) says so: see [Transactions](crate::transactions). The
/// transactions of `sqlx`, `sea-orm`, `tokio-postgres`, `deadpool-postgres` and `mysql_async` are known
/// without it.
///
/// ```
/// use cache_runtime::{Cache, Event, Transaction, cache_invalidate, with_cache};
/// use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
///
/// struct UnitOfWork {
///     names: Vec<String>,
/// }
///
/// impl Transaction for UnitOfWork {}
///
/// #[cache_invalidate("user:<id>")]
/// async fn rename(work: &mut UnitOfWork, id: u64, name: &str) {
///     println!("renaming {id}");
///     work.names.push(name.to_owned());
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache_runtime::Error> {
/// static REPORTED: AtomicU64 = AtomicU64::new(0);
/// let cache = Cache::builder()
///     .on_event(|event| {
///         if let Event::OutsideOfCommit { function, .. } = event {
///             assert!(function.path.ends_with("::rename"));
///             REPORTED.fetch_add(1, SeqCst);
///         }
///     })
///     .build()?;
/// let mut work = UnitOfWork { names: Vec::new() };
/// with_cache(&cache, async {
///     rename(&mut work, 1, "Ada").await;
///     rename(&mut work, 2, "Grace").await;
/// })
/// .await;
/// assert_eq!(REPORTED.load(SeqCst), 1);
/// # Ok(()) }
/// ```
pub trait Transaction {}

impl<T: Transaction + ?Sized> Transaction for &T {}
impl<T: Transaction + ?Sized> Transaction for &mut T {}
impl<T: Transaction + ?Sized> Transaction for Box<T> {}
impl<T: Transaction + ?Sized> Transaction for Arc<T> {}
impl<T: Transaction> Transaction for Option<T> {}
impl<T: Transaction + ?Sized> Transaction for std::sync::Mutex<T> {}
impl<T: Transaction + ?Sized> Transaction for tokio::sync::Mutex<T> {}

/// The transactions of libraries: the crate that defines the type, and the type. The module between
/// them may change with a release.
const KNOWN: &[(&str, &str)] = &[
    ("deadpool_postgres", "Transaction"),
    ("mysql_async", "Transaction"),
    ("sea_orm", "DatabaseTransaction"),
    ("sqlx_core", "Transaction"),
    ("tokio_postgres", "Transaction"),
];

/// What a call has of transactions among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenTransaction {
    /// None.
    None,
    /// One by value: this type. The function ends it, unless it returns it.
    Owned(&'static str),
    /// One that outlives the call.
    Borrowed,
}

/// An argument's type, as far as it tells a transaction.
#[derive(Clone, Copy)]
pub struct DescribedArgument {
    name: &'static str,
    is_declared: bool,
    /// Whether it is a `None`.
    is_absent: bool,
}

impl fmt::Debug for DescribedArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl DescribedArgument {
    /// Whether its type is, or has, that of a transaction.
    fn is_transaction(self) -> bool {
        self.is_declared || names_transaction(self.name)
    }

    fn given(self) -> GivenTransaction {
        if self.is_absent || !self.is_transaction() {
            return GivenTransaction::None;
        }
        let is_shared = ["&", "Arc<", "Rc<"];
        if is_shared.iter().any(|part| self.name.contains(part)) {
            GivenTransaction::Borrowed
        } else {
            GivenTransaction::Owned(self.name)
        }
    }
}

/// The types of the arguments that a call site had last, if no transaction was among them. A generic
/// function has one for all of its instances.
#[derive(Debug)]
pub struct AskedTypes(AtomicUsize);

impl AskedTypes {
    /// Before the first call.
    #[expect(clippy::new_without_default, reason = "it is only made in a `static`")]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// The transactions among the arguments: `all` is a tuple of them.
    #[inline]
    pub fn given<T, const N: usize>(
        &self,
        _all: &T,
        each: impl FnOnce() -> [DescribedArgument; N],
    ) -> GivenTransaction {
        // The address of a type's name costs a hit less than to look at the name.
        let types = type_name::<T>().as_ptr().addr();
        if self.0.load(Relaxed) == types {
            return GivenTransaction::None;
        }
        self.look(types, &each())
    }

    #[cold]
    fn look(&self, types: usize, each: &[DescribedArgument]) -> GivenTransaction {
        let given = each.iter().map(|argument| argument.given());
        let given = given.fold(GivenTransaction::None, |one, other| match (one, other) {
            (GivenTransaction::None, given) | (given, GivenTransaction::None) => given,
            (GivenTransaction::Owned(name), GivenTransaction::Owned(_)) => {
                GivenTransaction::Owned(name)
            }
            _ => GivenTransaction::Borrowed,
        });
        if !each.iter().any(|argument| argument.is_transaction()) {
            self.0.store(types, Relaxed);
        }
        given
    }
}

/// A call that changes data, with what it is given of transactions.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) function: &'static Function,
    pub(super) given: GivenTransaction,
}

impl Called {
    /// Whether a transaction that the call is given commits after the call, and no scope waits for
    /// that. The first such call of a function is reported.
    pub(super) fn commits_too_late<R>(&self, core: &Core) -> bool {
        let outlives_call = match self.given {
            GivenTransaction::None => false,
            GivenTransaction::Owned(name) => type_name::<R>().contains(name),
            GivenTransaction::Borrowed => true,
        };
        let is_too_late = outlives_call && !scope::is_within();
        if is_too_late {
            core.observer.outside_of_commit(self.function);
        }
        is_too_late
    }
}

/// Whether a transaction that is known stands in a type's name.
fn names_transaction(name: &str) -> bool {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    name.split(|c| !in_path(c)).any(|path| {
        let ends = path.split_once("::").zip(path.rsplit_once("::"));
        ends.is_some_and(|((krate, _), (_, ty))| KNOWN.contains(&(krate, ty)))
    })
}

pub mod argument_transaction {
    //! The traits whose method `described` is called on an [`Argument`], the more specific one first.
    use super::{Argument, DescribedArgument, Transaction, type_name};

    /// Is found for an optional argument whose type says that it is a transaction.
    pub trait MayBeAbsentTransaction {
        /// The argument's type.
        fn described(&self) -> DescribedArgument;
    }

    impl<T: Transaction> MayBeAbsentTransaction for &&&Argument<'_, Option<T>> {
        fn described(&self) -> DescribedArgument {
            DescribedArgument {
                name: type_name::<Option<T>>(),
                is_declared: true,
                is_absent: self.is_absent(),
            }
        }
    }

    /// Is found for any other optional argument.
    pub trait MayBeAbsent {
        /// The argument's type.
        fn described(&self) -> DescribedArgument;
    }

    impl<T> MayBeAbsent for &&Argument<'_, Option<T>> {
        fn described(&self) -> DescribedArgument {
            DescribedArgument {
                name: type_name::<Option<T>>(),
                is_declared: false,
                is_absent: self.is_absent(),
            }
        }
    }

    /// Is found where the argument's type says that it is a transaction.
    pub trait IsTransaction {
        /// The argument's type.
        fn described(&self) -> DescribedArgument;
    }

    impl<T: Transaction> IsTransaction for &Argument<'_, T> {
        fn described(&self) -> DescribedArgument {
            DescribedArgument {
                name: type_name::<T>(),
                is_declared: true,
                is_absent: false,
            }
        }
    }

    /// Is found for any other argument.
    pub trait MayBeTransaction {
        /// The argument's type.
        fn described(&self) -> DescribedArgument;
    }

    impl<T> MayBeTransaction for Argument<'_, T> {
        fn described(&self) -> DescribedArgument {
            DescribedArgument {
                name: type_name::<T>(),
                is_declared: false,
                is_absent: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_libraries_are_known_by_the_name_of_their_type() {
        for name in [
            "sqlx_core::transaction::Transaction<sqlx_postgres::database::Postgres>",
            "&mut sqlx_core::transaction::Transaction<'_, sqlx_sqlite::database::Sqlite>",
            "&sea_orm::database::transaction::DatabaseTransaction",
            "alloc::sync::Arc<tokio::sync::Mutex<tokio_postgres::transaction::Transaction>>",
            "&app::Repo<sea_orm::db::DatabaseTransaction>",
        ] {
            assert!(names_transaction(name), "{name}");
        }
        for name in [
            "&sqlx_core::pool::Pool<sqlx_postgres::database::Postgres>",
            "&mut sqlx_postgres::connection::PgConnection",
            "&app::transaction::Transaction",
            "&app::sqlx_core::Transaction",
            "sqlx_core::transaction::Transaction::{{closure}}",
            "Transaction",
            "",
        ] {
            assert!(!names_transaction(name), "{name}");
        }
    }

    #[test]
    fn a_transaction_that_is_shared_or_borrowed_outlives_the_call() {
        let given = |name| {
            let argument = DescribedArgument {
                name,
                is_declared: false,
                is_absent: false,
            };
            argument.given()
        };
        let owned = "sqlx_core::transaction::Transaction<Db>";
        assert_eq!(given(owned), GivenTransaction::Owned(owned));
        assert_eq!(
            given("&mut sqlx_core::transaction::Transaction<Db>"),
            GivenTransaction::Borrowed
        );
        assert_eq!(
            given("alloc::sync::Arc<sea_orm::DatabaseTransaction>"),
            GivenTransaction::Borrowed
        );
        assert_eq!(given("app::Pool"), GivenTransaction::None);
    }

    #[test]
    #[allow(clippy::needless_borrow, reason = "as in an expansion")]
    fn an_optional_transaction_is_given_if_it_is_there() {
        struct Work;
        impl Transaction for Work {}
        use argument_transaction::*;
        let work = Some(&Work);
        let described = (&&&&Argument::of(&work)).described();
        assert_eq!(described.given(), GivenTransaction::Borrowed);
        let work: Option<&Work> = None;
        let described = (&&&&Argument::of(&work)).described();
        assert_eq!(described.given(), GivenTransaction::None);
        assert!(described.is_transaction(), "another call may have one");
        let other: Option<u8> = None;
        assert!(!(&&&&Argument::of(&other)).described().is_transaction());
    }

    #[test]
    #[allow(clippy::needless_borrow, reason = "as in an expansion")]
    fn types_without_a_transaction_are_looked_at_once() {
        struct Work;
        impl Transaction for Work {}
        fn ask<T>(
            asked: &AskedTypes,
            argument: &T,
            described: DescribedArgument,
            looks: &mut u32,
        ) -> GivenTransaction {
            asked.given(&(argument,), || {
                *looks += 1;
                [described]
            })
        }
        use argument_transaction::*;
        let (asked, mut looks) = (AskedTypes::new(), 0);
        let (number, work) = (7, Work);
        let number_type = (&&&&Argument::of(&number)).described();
        let work_type = (&&&&Argument::of(&&work)).described();
        for _ in 0..3 {
            assert_eq!(
                ask(&asked, &number, number_type, &mut looks),
                GivenTransaction::None
            );
        }
        assert_eq!(looks, 1);
        for _ in 0..3 {
            assert_eq!(
                ask(&asked, &&work, work_type, &mut looks),
                GivenTransaction::Borrowed
            );
        }
        assert_eq!(looks, 4);
    }
}
