//! How an annotation gets into the registry before `main`.
//!
//! There are crates for this. They expand to `unsafe` blocks, and in an annotated method Clippy
//! counts those as the type's own (`unsafe_derive_deserialize`). This expansion has none: it
//! puts a pointer to a safe function among those that are called when the program is loaded.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Registered;

/// One annotation, in a linked list of all annotations. The list allocates nothing.
#[derive(Debug)]
pub struct Node {
    registered: Registered,
    next: OnceLock<Option<&'static Node>>,
}

static LAST: Mutex<Option<&'static Node>> = Mutex::new(None);

/// Whether a type with a name of its own is in the list.
static HAS_OWN_NAMES: AtomicBool = AtomicBool::new(false);

impl Node {
    /// An annotation that is not in the list yet.
    pub const fn new(registered: Registered) -> Self {
        Self {
            registered,
            next: OnceLock::new(),
        }
    }

    /// Adds it to the list, the first time that it is called.
    pub fn link(&'static self) {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if self.next.set(*last).is_ok() {
            *last = Some(self);
            if let Registered::OwnName(_) = self.registered {
                HAS_OWN_NAMES.store(true, Relaxed);
            }
        }
    }
}

/// Whether the program has a type with a name of its own.
#[inline]
pub(crate) fn has_own_names() -> bool {
    HAS_OWN_NAMES.load(Relaxed)
}

/// Every annotation in the list.
pub(super) fn all() -> impl Iterator<Item = &'static Registered> {
    let last = *LAST.lock().unwrap_or_else(PoisonError::into_inner);
    std::iter::successors(last, |node| node.next.get().copied().flatten())
        .map(|node| &node.registered)
}

/// Registers an annotation when the program is loaded. On a target that calls nothing then
/// (WebAssembly), the registry is empty.
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($registered:expr) => {
        #[allow(deprecated)]
        const _: () = {
            static NODE: $crate::__private::Node = $crate::__private::Node::new($registered);

            extern "C" fn link() {
                NODE.link();
            }

            #[used]
            #[cfg_attr(
                all(unix, not(target_vendor = "apple")),
                unsafe(link_section = ".init_array")
            )]
            #[cfg_attr(
                target_vendor = "apple",
                unsafe(link_section = "__DATA,__mod_init_func,mod_init_funcs")
            )]
            #[cfg_attr(windows, unsafe(link_section = ".CRT$XCU"))]
            static LINK: extern "C" fn() = link;
        };
    };
}
