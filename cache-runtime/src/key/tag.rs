//! Tags as types: a misspelt or wrongly typed tag does not compile.

use super::Key;
use super::name::{Name, Names, Parts};

/// A tag with a type of its own. Derived:
///
/// ```
/// use cache_runtime::{Cache, CacheTag, cache_invalidate, cached};
///
/// /// All users of one tenant.
/// #[derive(CacheTag)]
/// #[cache_tag("tenant:<0>:users")]
/// struct TenantUsers(u32);
///
/// #[cached(key = "users:<tenant>:<page>", invalidate_on = TenantUsers(tenant))]
/// async fn users(tenant: u32, page: u32) -> Vec<String> {
///     # let _ = (tenant, page);
///     vec!["Ada".to_owned()]
/// }
///
/// #[cache_invalidate(TenantUsers(tenant))]
/// async fn remove_users(tenant: u32) {
///     # let _ = tenant;
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), cache_runtime::Error> {
/// users(1, 0).await;
/// remove_users(1).await;
/// // By hand:
/// cache_runtime::global()?.invalidate([TenantUsers(1)]).await?;
/// # Ok(()) }
/// ```
///
/// The template follows the rules of `#[cached]`'s `key`; its placeholders are
/// the struct's fields: `<0>`, or `<tenant>` where they have names. It names every field,
/// except those with `#[cache_tag(skip)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache tag",
    label = "not a `CacheTag`",
    note = "write a template string, or derive it: `#[derive(CacheTag)] #[cache_tag(\"users:<0>\")]`",
    note = "by hand, a key or a tag is a `&str`, a `String`, a `Key`, as `key!` makes it, or a value of such a type"
)]
pub trait CacheTag {
    /// The template, as written in the source.
    #[doc(hidden)]
    const TEMPLATE: &'static str;

    /// The tag's name, not rendered yet.
    #[doc(hidden)]
    fn name(&self) -> Name<impl Parts>;
}

#[diagnostic::do_not_recommend]
impl<T: CacheTag + ?Sized> CacheTag for &T {
    const TEMPLATE: &'static str = T::TEMPLATE;

    fn name(&self) -> Name<impl Parts> {
        (**self).name()
    }
}

impl<T: CacheTag + ?Sized, N: Names> Names for (&T, N) {
    const COUNT: usize = 1 + N::COUNT;

    fn render_into(&self, out: &mut Vec<Key>) {
        (self.0.name(), ()).render_into(out);
        self.1.render_into(out);
    }

    #[inline]
    fn are<'a>(&self, mut names: impl Iterator<Item = &'a Key>) -> bool {
        let first = names.next();
        (self.0.name(), ()).are(first.into_iter()) && self.1.are(names)
    }
}

impl<T: CacheTag> From<T> for Key {
    fn from(tag: T) -> Self {
        tag.name().render()
    }
}

/// Carries the `CacheTag` bound, so that the compiler blames the expression.
pub fn tag<T: CacheTag + ?Sized>(tag: &T) -> &T {
    tag
}
