//! Annotated calls: one cached call, and one invalidation.
//!
//! `#[cached]` expands to a [`CachedCall::start`], to a `return` of its
//! [`answer`](CachedCall::answer), and to `call.resolve(async move { body }).await`;
//! [`future`] says what it expands to for functions that return a future.
//! [`CachedCall::start`] borrows the arguments, and answers a hit of the local tier
//! at once: then the body's future is not even made. Else the body is the
//! call's *load*, and [`load`] says what becomes of it.
//!
//! In reading order: [`cached`] and [`load`] are a cached call, and [`request`] is what both know of it; with
//! [`detach`], its load is a task.
//! A [`batch`] is one call for several keys. [`invalidate`] is an invalidation, with its [`fence`], the names that are [`due`], and the second
//! invalidation of those ([`repeat`]). [`after_commit`] holds what is due in a [`scope`], and [`transaction`] finds
//! calls that should be in one. An [`order`] has a call refresh its entry, or leave what is known of
//! it. [`of_value`] has the tags that only the loaded value tells; [`duration_of`] refuses a ttl that is no duration. What is known of a function at compile time is its [`site`], and, by trait, its [`return_type`]
//! and the [`shape`] of that. While developing, what is stored is read back and [compared](compare). A
//! site caches values of one type, and for one type of [`receiver`],
//! unless its key names the type.

pub(crate) mod after_commit;
pub(crate) mod batch;
pub(crate) mod cached;
pub(crate) mod compare;
pub(crate) mod detach;
pub(crate) mod due;
pub(crate) mod duration_of;
mod fence;
pub(crate) mod fresh;
pub(crate) mod future;
pub(crate) mod in_process;
pub(crate) mod invalidate;
pub(crate) mod load;
pub(crate) mod of_value;
pub(crate) mod order;
pub(crate) mod receiver;
mod recorder;
pub(crate) mod repeat;
pub(crate) mod request;
pub(crate) mod return_type;
pub(crate) mod scope;
pub(crate) mod shape;
pub(crate) mod site;
pub(crate) mod transaction;
