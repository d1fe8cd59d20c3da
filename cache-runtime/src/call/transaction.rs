//! Transactions among the arguments of a call, outside of `after_commit`.
//!
//! An annotated function expands to a question about the arguments that are in no template:
//!
//! ```text
//! static ASKED: AskedTypes = AskedTypes::new();
//! ASKED.given(&(&self, &tx), || [(&&Argument::of(&self)).described(), (&&Argument::of(&tx)).described()])
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
pub enum Given {
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
}

impl fmt::Debug for DescribedArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl DescribedArgument {
    fn given(self) -> Given {
        if !self.is_declared && !names_transaction(self.name) {
            return Given::None;
        }
        let is_shared = ["&", "Arc<", "Rc<"];
        if is_shared.iter().any(|part| self.name.contains(part)) {
            Given::Borrowed
        } else {
            Given::Owned(self.name)
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
    ) -> Given {
        // The address of a type's name costs a hit less than to look at the name.
        let types = type_name::<T>().as_ptr().addr();
        if self.0.load(Relaxed) == types {
            return Given::None;
        }
        self.look(types, &each())
    }

    #[cold]
    fn look(&self, types: usize, each: &[DescribedArgument]) -> Given {
        let given = each.iter().map(|argument| argument.given());
        let given = given.fold(Given::None, |one, other| match (one, other) {
            (Given::None, given) | (given, Given::None) => given,
            (Given::Owned(name), Given::Owned(_)) => Given::Owned(name),
            _ => Given::Borrowed,
        });
        if given == Given::None {
            self.0.store(types, Relaxed);
        }
        given
    }
}

/// A call that changes data, with what it is given of transactions.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) function: &'static Function,
    pub(super) given: Given,
}

impl Called {
    /// Whether a transaction that the call is given commits after the call, and no scope waits for
    /// that. The first such call of a function is reported.
    pub(super) fn commits_too_late<R>(&self, core: &Core) -> bool {
        let outlives_call = match self.given {
            Given::None => false,
            Given::Owned(name) => type_name::<R>().contains(name),
            Given::Borrowed => true,
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
            let is_declared = false;
            DescribedArgument { name, is_declared }.given()
        };
        let owned = "sqlx_core::transaction::Transaction<Db>";
        assert_eq!(given(owned), Given::Owned(owned));
        assert_eq!(
            given("&mut sqlx_core::transaction::Transaction<Db>"),
            Given::Borrowed
        );
        assert_eq!(
            given("alloc::sync::Arc<sea_orm::DatabaseTransaction>"),
            Given::Borrowed
        );
        assert_eq!(given("app::Pool"), Given::None);
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
        ) -> Given {
            asked.given(&(argument,), || {
                *looks += 1;
                [described]
            })
        }
        use argument_transaction::*;
        let (asked, mut looks) = (AskedTypes::new(), 0);
        let (number, work) = (7, Work);
        let number_type = (&&Argument::of(&number)).described();
        let work_type = (&&Argument::of(&&work)).described();
        for _ in 0..3 {
            assert_eq!(ask(&asked, &number, number_type, &mut looks), Given::None);
        }
        assert_eq!(looks, 1);
        for _ in 0..3 {
            assert_eq!(ask(&asked, &&work, work_type, &mut looks), Given::Borrowed);
        }
        assert_eq!(looks, 4);
    }
}
