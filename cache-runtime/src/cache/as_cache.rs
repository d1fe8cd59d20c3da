//! What the option `cache = …` takes.

use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use super::Cache;

/// A value that the option `cache = …` takes: a [`Cache`], or a value that holds or points to one.
///
/// Implement it for the type in which your application carries its cache.
///
/// ```
/// use std::sync::Arc;
/// use cache_runtime::{AsCache, Cache, cached};
///
/// struct Context { cache: Cache }
///
/// impl AsCache for Context {
///     fn as_cache(&self) -> &Cache {
///         &self.cache
///     }
/// }
///
/// #[cached(key = "square:<n>", ttl = 60, skip(context), cache = context)]
/// async fn square(context: Arc<Context>, n: u64) -> u64 { n * n }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Cache`",
    label = "not a `Cache`",
    note = "`cache = …` takes a `Cache`, a reference to one, or an `Arc` or `LazyLock` of one"
)]
pub trait AsCache {
    /// The cache that the annotated function uses.
    fn as_cache(&self) -> &Cache;
}

#[diagnostic::do_not_recommend]
impl AsCache for Cache {
    fn as_cache(&self) -> &Cache {
        self
    }
}

macro_rules! as_the_cache_behind {
    ($($pointer:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<C: AsCache + ?Sized> AsCache for $pointer {
            fn as_cache(&self) -> &Cache {
                (**self).as_cache()
            }
        }
    )*};
}

as_the_cache_behind!(&C, &mut C, Box<C>, Rc<C>, Arc<C>);

#[diagnostic::do_not_recommend]
impl<C: AsCache> AsCache for LazyLock<C> {
    fn as_cache(&self) -> &Cache {
        (**self).as_cache()
    }
}
