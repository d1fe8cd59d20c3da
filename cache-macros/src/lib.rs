//! The attributes of `cache-runtime`, which re-exports them: depend on that crate.
//!
//! An attribute goes through the phases of a small compiler, one module each:
//! `attr` parses its arguments, with `template` and `duration` for what is
//! inside of strings; `lower` checks them against the function, and collects
//! every mistake; `expand` writes the function, and `describe` tells the registry
//! about it. A derive is a module of its own.

mod attr;
mod cache_tag;
mod describe;
mod duration;
mod errors;
mod expand;
mod generics;
mod key_part;
mod lower;
mod template;

use proc_macro::TokenStream;

/// Caches what an async function returns, under a key made from its arguments.
///
/// ```
/// use std::io::Error;
/// use cache_runtime::cached;
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct User { name: String }
///
/// struct Users { tenant: u64 }
///
/// impl Users {
///     #[cached(
///         key = "user:<self.tenant>:<id>",
///         ttl = "10m",
///         none_ttl = 30,
///         invalidate_on = "tenant:<self.tenant>:users",
///         skip(trace)
///     )]
///     async fn find(&self, id: u64, trace: &str) -> Result<Option<User>, Error> {
///         println!("{trace}: asking the database for {id}");
///         Ok(Some(User { name: format!("user {id}") }))
///     }
/// }
/// ```
///
/// It stands on free functions and methods with any receiver or none, with
/// generics, borrowed arguments and patterns. Attributes and documentation stay
/// on the function.
///
/// # Options
///
/// | Option | Meaning |
/// |---|---|
/// | `key = "user:<id>"` | The template of the key. Required. |
/// | `ttl = 60`, `"90s"`, `"1h30m"` | How long an entry may be served; never longer, and a little shorter at random. An integer is seconds; units are `d`, `h`, `m`, `s`, `ms`. Left out: the cache's default. |
/// | `ttl = LIFETIME * factor` | The same, as any expression of type `Duration`. It may use the arguments. |
/// | `ttl = \|token\| token.lifetime()` | The same, asked of the value that is about to be stored. |
/// | `none_ttl = 5` | Caches `None` too, for so long. Left out: `None` is not cached. |
/// | `invalidate_on = "users"`, `["users", TeamUsers(team)]` | Tags: the entry ends when one of them is invalidated. An invalidation of its own key ends it without being named here. |
/// | `skip(pool, trace)` | Parameters that do not change the result. `self` is skipped unless the key names it. |
/// | `cache = self.cache` | Which cache: a `Cache`, a reference to one, or an `Arc` of one. Left out: the global one. |
/// | `condition = page < 10` | An expression over the arguments: where it is false, the call leaves the cache alone. |
/// | `unless = \|user\| user.is_guest()` | A question to the value that is about to be stored: where it is true, it is not. |
/// | `version = 2` | To be raised when the meaning of the stored value changes: values of another version are not served. The key stays the same, and so does what invalidates it. |
///
/// A ttl of zero, computed, stores nothing. A `None` is never asked: `none_ttl`
/// alone decides about it.
///
/// ```
/// use std::time::Duration;
/// use cache_runtime::cached;
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Token { scope: String, seconds: u64 }
///
/// #[cached(
///     key = "token:<client>",
///     ttl = |token| Duration::from_secs(token.seconds / 2),
///     unless = |token| token.scope.is_empty(),
///     condition = client != "anonymous",
///     version = 2
/// )]
/// async fn token(client: &str) -> Result<Token, std::io::Error> {
///     println!("asking for a token for {client}");
///     Ok(Token { scope: "read".to_owned(), seconds: 3600 })
/// }
/// ```
///
/// # Templates
///
/// `<…>` is a placeholder: a parameter, or fields and calls without arguments
/// from one, as in `<self.tenant>` or `<login.to_lowercase()>`. Its type
/// implements `KeyPart`. `<T>` is the name of a type parameter, `<Self>` that of
/// the type of a generic `impl`. The rest is literal; `<<` and `>>` are `<` and `>`.
///
/// Every parameter and type parameter must be in the key or in `skip`, so that
/// none is forgotten. What could be mistaken for a value in a finished key is
/// refused in literal text: white space, quotes, parentheses, numbers on their
/// own, and placeholders without a separator beside them. Braces are literal:
/// `{user:<id>}:posts` has a hash tag for Redis Cluster.
///
/// # Typed tags
///
/// A tag is a template, or an expression of a type that implements `CacheTag`:
/// that the tag of an entry and the tag that is invalidated are the same is then
/// for the compiler to see.
///
/// ```
/// use cache_runtime::{CacheTag, cache_invalidate, cached};
///
/// #[derive(CacheTag)]
/// #[cache_tag("team:<0>:users")]
/// struct TeamUsers(u64);
///
/// #[cached(key = "users:<team>:<page>", invalidate_on = TeamUsers(team))]
/// async fn users(team: u64, page: u32) -> Vec<String> {
///     println!("asking the database for page {page} of team {team}");
///     vec!["Ada".to_owned()]
/// }
///
/// #[cache_invalidate(TeamUsers(team))]
/// async fn remove_users(team: u64) {
///     println!("removing the users of team {team}");
/// }
/// ```
///
/// The expression is evaluated before the body, and may borrow the arguments.
///
/// # What is cached
///
/// `Result<T, E>`: the `T` of an `Ok`, never an error. `Option<T>` and
/// `Result<Option<T>, E>`: the `T`; `None` with `none_ttl` only. Any other type:
/// itself. Aliases are seen through. The `T` implements `CacheValue`, which is
/// serde's traits, `Clone`, `Send`, `Sync` and `'static`.
///
/// # What happens
///
/// * Hit: the body does not run.
/// * Miss: the body runs, and its value is stored. Calls with the same key that
///   come meanwhile wait for that value instead of running theirs.
/// * Error: it goes to the caller whose body returned it. Those who waited run theirs.
/// * The cache fails: the body runs, as if there were no attribute.
///
/// # Cancellation
///
/// A caller that is dropped strands no one: one of those who wait runs its body.
#[proc_macro_attribute]
pub fn cached(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cached(args.into(), item.into()).into()
}

/// Invalidates keys and tags after an async function has run.
///
/// ```
/// use std::io::Error;
/// use cache_runtime::cache_invalidate;
///
/// struct User { id: u64, team: u64 }
///
/// #[cache_invalidate("user:<id>", "team:<result.team>")]
/// async fn rename(id: u64, name: &str) -> Result<User, Error> {
///     println!("renaming {id} to {name}");
///     Ok(User { id, team: 7 })
/// }
/// ```
///
/// Each string is a template as for [`macro@cached`], of a key or of a tag; any
/// other expression is a tag whose type implements `CacheTag`. What it names is
/// gone for every call that begins after this function has returned: the entry
/// with that key, and every entry with that tag.
///
/// `<result…>` is the value that the function returned: the `Ok` or `Some` part,
/// if there is one. Without a value, names with `<result…>` are left out. A
/// parameter called `result` comes first. In an expression, `result` is a
/// reference to that value; such an expression names no parameter, since the
/// body has taken them: `TeamUsers(result.team)`.
///
/// # Options
///
/// | Option | Meaning |
/// |---|---|
/// | `cache = self.cache` | Which cache: a `Cache`, a reference to one, or an `Arc` of one. Left out: the global one. |
/// | `condition = name.is_some()` | An expression over the arguments: where it is false, nothing is invalidated. |
/// | `on = ok` | Invalidates after success only: not after an `Err`, a panic, or a caller that gave up. For functions that change nothing then, such as those that end in a rollback. |
///
/// ```
/// use cache_runtime::cache_invalidate;
///
/// #[cache_invalidate("user:<id>", condition = name.is_some(), on = ok)]
/// async fn update(id: u64, name: Option<&str>) -> Result<(), std::io::Error> {
///     println!("updating {id}: {name:?}");
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// An error does not keep from invalidating: it may have come after the change.
/// An unneeded invalidation costs one miss. A failure of the cache is reported,
/// and not returned.
///
/// # Cancellation
///
/// A function that is dropped or panics half-way invalidates too, in the background.
#[proc_macro_attribute]
pub fn cache_invalidate(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::cache_invalidate(args.into(), item.into()).into()
}

/// Implements `CacheTag` for a struct: a tag with a type of its own.
///
/// The trait of the same name has the contract.
#[proc_macro_derive(CacheTag, attributes(cache_tag))]
pub fn cache_tag(input: TokenStream) -> TokenStream {
    cache_tag::derive(input.into()).into()
}

/// Implements `KeyPart` for a struct or an enum: one value in a key.
///
/// The trait of the same name has the contract.
#[proc_macro_derive(KeyPart)]
pub fn key_part(input: TokenStream) -> TokenStream {
    key_part::derive(input.into()).into()
}

/// The key that a template makes of the variables in scope.
///
/// ```
/// use cache_runtime::key;
///
/// struct User { id: u64 }
///
/// let user = User { id: 42 };
/// let login = "octocat";
/// assert_eq!(key!("user:<user.id>").as_str(), "user:42");
/// assert_eq!(key!("login:<login>").as_str(), "login:'octocat'");
/// ```
///
/// With the template of a [`macro@cached`] function, and variables with the values
/// of its arguments, this is the key of its entry. `<T>` is not a type here.
#[proc_macro]
pub fn key(template: TokenStream) -> TokenStream {
    expand::key(template.into()).into()
}
