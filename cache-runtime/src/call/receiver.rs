//! The type of a call's receiver, where the key does not name it.
//!
//! A method of `impl<T> Repo<T>` has one call site for all types. Where its values are of several types
//! too, [`CallSite::other_type`](super::site::CallSite::other_type) tells them apart. Where they are of
//! one type, such as a count, only the receiver does.

use std::any::type_name;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The receiver of a call.
#[derive(Debug, Clone, Copy)]
pub struct Receiver(Option<&'static str>);

impl Receiver {
    /// There is none, or its type does not matter: the key names it, or `skip`.
    pub const UNASKED: Self = Self(None);

    /// One of this type, by the name that the compiler gives it: a type with a lifetime has no `TypeId`.
    #[inline]
    pub fn of<T: ?Sized>() -> Self {
        Self(Some(type_name::<T>()))
    }

    /// The compiler's name of its type, if that matters.
    pub(crate) fn name(self) -> Option<&'static str> {
        self.0
    }
}

/// The type of the receiver of a site's first call.
#[derive(Debug)]
pub(super) struct FirstReceiver {
    name: OnceLock<&'static str>,
    /// The address of that name, or of another copy of it. 0 before the first call.
    address: AtomicUsize,
}

impl FirstReceiver {
    pub(super) const fn new() -> Self {
        Self {
            name: OnceLock::new(),
            address: AtomicUsize::new(0),
        }
    }

    /// The name of the first receiver's type, if this one is of another type.
    #[inline]
    pub(super) fn other_than(&self, receiver: Receiver) -> Option<&'static str> {
        let name = receiver.0?;
        // To compare addresses costs a hit less than to compare texts.
        if self.address.load(Relaxed) == name.as_ptr().addr() {
            return None;
        }
        self.compare(name)
    }

    #[cold]
    fn compare(&self, name: &'static str) -> Option<&'static str> {
        let first = *self.name.get_or_init(|| name);
        if first == name {
            self.address.store(name.as_ptr().addr(), Relaxed);
            return None;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_of_another_type_than_the_first_is_told() {
        let first = FirstReceiver::new();
        assert_eq!(first.other_than(Receiver::UNASKED), None);
        assert_eq!(first.other_than(Receiver::of::<Vec<u8>>()), None);
        let copy = type_name::<Vec<u8>>().to_owned().leak();
        assert_eq!(first.other_than(Receiver(Some(copy))), None);
        for _ in 0..2 {
            let other = first.other_than(Receiver::of::<Vec<u16>>());
            assert_eq!(other, Some(type_name::<Vec<u8>>()));
        }
        assert_eq!(first.other_than(Receiver::of::<Vec<u8>>()), None);
    }
}
