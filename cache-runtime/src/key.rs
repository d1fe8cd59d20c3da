//! Names of entries and tags, and why two different argument lists never share one.
//!
//! A name is literal text with values in it. A value is a run of digits that
//! stands alone (`user:42`), or it starts with a quote (`login:'octocat'`) or
//! with a parenthesis (`page:(7)`). Literal text of a template holds no quote,
//! no parenthesis and no number on its own, and touches a placeholder only with
//! a separator; the macros check this at compile time. So every name can be
//! read back in exactly one way: into its template and its arguments.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Error;

/// A type that can stand in a key or tag template, as in `"user:<id>"`.
///
/// Implemented for integers, `bool`, `char`, strings, IP addresses, `Option`,
/// tuples, slices and references to them. Not for floats: two that print alike
/// can differ, and two that are equal can print differently.
///
/// The returned [`Written`] is the proof that exactly one value was written, so
/// that no implementation can run two of them together.
///
/// ```
/// use cache_runtime::{KeyPart, KeyWriter, Written, key};
///
/// struct UserId(u64);
///
/// impl KeyPart for UserId {
///     fn write(&self, out: KeyWriter<'_>) -> Written {
///         self.0.write(out)
///     }
/// }
///
/// let id = UserId(42);
/// assert_eq!(key!("user:<id>").as_str(), "user:42");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a cache key",
    label = "not a `KeyPart`",
    note = "integers, `bool`, `char`, strings, `Option`, tuples and slices of them can; floats cannot",
    note = "for a type of your own, implement `KeyPart`, or name a field or method in the placeholder: `<id.0>`"
)]
pub trait KeyPart {
    /// Writes this value, as one of the writer's forms.
    fn write(&self, out: KeyWriter<'_>) -> Written;
}

/// Where a [`KeyPart`] writes itself: exactly once, since each method consumes it.
///
/// ```
/// use cache_runtime::{KeyPart, KeyWriter, Written, key};
///
/// enum Sort { Newest, By(String) }
///
/// impl KeyPart for Sort {
///     fn write(&self, out: KeyWriter<'_>) -> Written {
///         match self {
///             Sort::Newest => out.list().end(),
///             Sort::By(column) => out.list().part(column).end(),
///         }
///     }
/// }
///
/// let sort = Sort::By("name".to_owned());
/// assert_eq!(key!("users:<sort>").as_str(), "users:('name')");
/// ```
#[derive(Debug)]
pub struct KeyWriter<'a> {
    out: &'a mut String,
}

/// The proof that a [`KeyPart`] wrote one value; only a [`KeyWriter`] makes it.
///
/// ```
/// use cache_runtime::{KeyWriter, Written};
///
/// fn write_yes(out: KeyWriter<'_>) -> Written {
///     out.text("yes")
/// }
/// ```
#[derive(Debug)]
pub struct Written(());

/// Writes several values as one, from [`KeyWriter::list`].
///
/// ```
/// use cache_runtime::{KeyWriter, Written};
///
/// fn write_pair(out: KeyWriter<'_>) -> Written {
///     out.list().part(&1).part("one").end()
/// }
/// ```
#[derive(Debug)]
pub struct ListWriter<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> KeyWriter<'a> {
    pub(crate) fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Writes a number: `42`, and negative ones quoted: `'-5'`, since a hyphen is also a separator.
    pub fn integer(self, value: impl Into<i128>) -> Written {
        let value = value.into();
        if let Ok(value) = u128::try_from(value) {
            return self.unsigned(value);
        }
        // Writing to a `String` cannot fail.
        let _ = write!(self.out, "'{value}'");
        Written(())
    }

    fn unsigned(self, value: u128) -> Written {
        let _ = write!(self.out, "{value}");
        Written(())
    }

    /// Writes text, in quotes: `'octocat'`.
    ///
    /// What could end the quotes, start a Redis Cluster hash tag or confuse a
    /// terminal is written `%XX`.
    pub fn text(mut self, value: &str) -> Written {
        self.out.push('\'');
        for c in value.chars() {
            match c {
                '\'' | '%' | '{' | '}' => self.escape(c),
                c if c.is_control() => self.escape(c),
                c => self.out.push(c),
            }
        }
        self.out.push('\'');
        Written(())
    }

    fn escape(&mut self, c: char) {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(self.out, "%{byte:02X}");
        }
    }

    /// Writes several values as one, in parentheses: `(1,'a')`.
    pub fn list(self) -> ListWriter<'a> {
        self.out.push('(');
        ListWriter {
            out: self.out,
            empty: true,
        }
    }
}

impl ListWriter<'_> {
    /// Adds a value.
    #[must_use]
    pub fn part<K: KeyPart + ?Sized>(mut self, part: &K) -> Self {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        let Written(()) = part.write(KeyWriter::new(self.out));
        self
    }

    /// Closes the list.
    pub fn end(self) -> Written {
        self.out.push(')');
        Written(())
    }
}

macro_rules! key_part {
    ($($form:ident: $($type:ty),+;)+) => { $($(
        impl KeyPart for $type {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                key_part!(@$form self out)
            }
        }
    )+)+ };
    (@integer $self:ident $out:ident) => { $out.integer(*$self) };
    (@unsigned $self:ident $out:ident) => { $out.unsigned(*$self as u128) };
    (@wide $self:ident $out:ident) => { $out.integer(*$self as i128) };
    (@nonzero $self:ident $out:ident) => { $self.get().write($out) };
    (@text $self:ident $out:ident) => { $out.text($self) };
    (@display $self:ident $out:ident) => { $out.text(&$self.to_string()) };
}

key_part! {
    integer: u8, u16, u32, u64, i8, i16, i32, i64, i128;
    unsigned: u128, usize;
    wide: isize;
    nonzero: std::num::NonZeroU8, std::num::NonZeroU16, std::num::NonZeroU32, std::num::NonZeroU64,
        std::num::NonZeroU128, std::num::NonZeroUsize, std::num::NonZeroI8, std::num::NonZeroI16,
        std::num::NonZeroI32, std::num::NonZeroI64, std::num::NonZeroI128, std::num::NonZeroIsize;
    text: str, String, Cow<'_, str>;
    display: bool, char, std::net::IpAddr, std::net::Ipv4Addr, std::net::Ipv6Addr, std::net::SocketAddr;
}

macro_rules! key_part_by_deref {
    ($($type:ty),+) => { $(
        impl<K: KeyPart + ?Sized> KeyPart for $type {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                (**self).write(out)
            }
        }
    )+ };
}

key_part_by_deref!(&K, &mut K, Box<K>, Rc<K>, Arc<K>);

/// `()` for `None` and `(x)` for `Some`, so that no `x` can pass for `None`.
impl<K: KeyPart> KeyPart for Option<K> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        match self {
            None => out.list().end(),
            Some(value) => out.list().part(value).end(),
        }
    }
}

impl<K: KeyPart> KeyPart for [K] {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.iter().fold(out.list(), ListWriter::part).end()
    }
}

impl<K: KeyPart, const N: usize> KeyPart for [K; N] {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.as_slice().write(out)
    }
}

impl<K: KeyPart> KeyPart for Vec<K> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        self.as_slice().write(out)
    }
}

macro_rules! key_part_tuple {
    ($($name:ident)+) => {
        impl<$($name: KeyPart),+> KeyPart for ($($name,)+) {
            #[allow(non_snake_case, reason = "a tuple's fields are named after their types")]
            fn write(&self, out: KeyWriter<'_>) -> Written {
                let ($($name,)+) = self;
                out.list()$(.part($name))+.end()
            }
        }
    };
}

key_part_tuple!(A);
key_part_tuple!(A B);
key_part_tuple!(A B C);
key_part_tuple!(A B C D);
key_part_tuple!(A B C D E);
key_part_tuple!(A B C D E F);
key_part_tuple!(A B C D E F G);
key_part_tuple!(A B C D E F G H);

/// The finished name of an entry or a tag.
///
/// Annotated functions make theirs from a template; the manual API takes one
/// made by [`key!`](crate::key), or any text. Text is taken as it stands: to
/// name the entry of an annotated function, write what its template renders to
/// (`"user:42"`, `"login:'octocat'"`), or better use `key!` with the same template.
///
/// A name is at most [`Key::MAX_LEN`] bytes. Under a longer or an empty one
/// nothing is cached: annotated functions run as if they were not annotated, and
/// the manual API says so with an [`Error`].
///
/// ```
/// use cache_runtime::{Key, key};
///
/// let login = "octocat";
/// assert_eq!(key!("login:<login>"), Key::from("login:'octocat'"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// The longest name that is cached, in bytes.
    pub const MAX_LEN: usize = 8 * 1024;

    /// The text of this name, without the cache's namespace.
    ///
    /// ```
    /// assert_eq!(cache_runtime::Key::from("users").as_str(), "users");
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_len(self.0.len())
            .then_some(())
            .ok_or_else(|| Error::key(&self.0))
    }
}

/// Whether a name of so many bytes may be cached.
pub(crate) fn check_len(len: usize) -> bool {
    (1..=Key::MAX_LEN).contains(&len)
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A template and the borrowed arguments for it: a name that is not rendered yet.
#[derive(Debug)]
pub struct Name<P> {
    /// The literal pieces: one before, one between and one after the placeholders.
    literals: &'static [&'static str],
    parts: P,
}

impl<P: Parts> Name<P> {
    /// Takes the literal pieces of a template, one more than there are parts.
    pub const fn new(literals: &'static [&'static str], parts: P) -> Self {
        Self { literals, parts }
    }

    pub(crate) fn render(&self) -> Key {
        self.with_text(|text| Key::from(text))
    }

    /// Renders into a buffer of this thread's and lends it: a look-up needs no allocation.
    pub(crate) fn with_text<T>(&self, use_text: impl FnOnce(&str) -> T) -> T {
        thread_local! {
            static BUFFER: Cell<String> = const { Cell::new(String::new()) };
        }
        // Taken, not borrowed: a `KeyPart` of the user's may itself come back here.
        let mut text = BUFFER.take();
        text.clear();
        let last = self.parts.write_between(self.literals, &mut text);
        text.push_str(last);
        let value = use_text(&text);
        BUFFER.set(text);
        value
    }
}

/// The arguments of a [`Name`]: a nested tuple `(first, (second, ()))`.
pub trait Parts {
    /// Writes the parts, each after its literal; returns the literal that is left.
    fn write_between(&self, literals: &[&'static str], out: &mut String) -> &'static str;
}

impl Parts for () {
    fn write_between(&self, literals: &[&'static str], _out: &mut String) -> &'static str {
        literals.first().copied().unwrap_or_default()
    }
}

impl<K: KeyPart, P: Parts> Parts for (K, P) {
    fn write_between(&self, literals: &[&'static str], out: &mut String) -> &'static str {
        let (first, rest) = literals.split_first().unwrap_or((&"", &[]));
        out.push_str(first);
        let Written(()) = self.0.write(KeyWriter::new(out));
        self.1.write_between(rest, out)
    }
}

/// Several names: a nested tuple, like [`Parts`].
pub trait Names {
    /// Renders all of them.
    fn render_into(&self, out: &mut Vec<Key>);

    /// Whether these are the names given, in this order. Renders without allocating.
    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool;
}

impl Names for () {
    fn render_into(&self, _out: &mut Vec<Key>) {}

    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool {
        names.next().is_none()
    }
}

impl<P: Parts, N: Names> Names for (Name<P>, N) {
    fn render_into(&self, out: &mut Vec<Key>) {
        out.push(self.0.render());
        self.1.render_into(out);
    }

    fn are(&self, names: &mut dyn Iterator<Item = &Key>) -> bool {
        names
            .next()
            .is_some_and(|name| self.0.with_text(|text| text == name.as_str()))
            && self.1.are(names)
    }
}

/// Carries the `KeyPart` bound, so that the compiler blames the placeholder.
pub fn part<K: KeyPart + ?Sized>(part: &K) -> &K {
    part
}

/// An argument rendered before the function's body takes it.
#[derive(Debug)]
pub struct RenderedPart(String);

impl RenderedPart {
    /// Renders it.
    pub fn new<K: KeyPart + ?Sized>(part: &K) -> Self {
        let mut text = String::new();
        let Written(()) = part.write(KeyWriter::new(&mut text));
        Self(text)
    }
}

impl KeyPart for RenderedPart {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.out.push_str(&self.0);
        Written(())
    }
}

/// The placeholder `<T>` of a generic type parameter.
#[derive(Debug)]
pub struct TypeName<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized> TypeName<T> {
    /// The name of `T`.
    pub const NEW: Self = Self(PhantomData);
}

impl<T: ?Sized> KeyPart for TypeName<T> {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        out.text(std::any::type_name::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<K: KeyPart + ?Sized>(part: &K) -> String {
        RenderedPart::new(part).0
    }

    #[test]
    fn values_read_well_and_never_alike() {
        assert_eq!(text(&42_u64), "42");
        assert_eq!(text(&u128::MAX), u128::MAX.to_string());
        assert_eq!(text(&-5_i8), "'-5'");
        assert_eq!(text("octocat"), "'octocat'");
        assert_eq!(text("it's 100%"), "'it%27s 100%25'");
        assert_eq!(text("{a}\n"), "'%7Ba%7D%0A'");
        assert_eq!(text("größe"), "'größe'");
        assert_eq!(text(&true), "'true'");
        assert_eq!(text(&'\''), "'%27'");
        assert_eq!(text(&None::<u8>), "()");
        assert_eq!(text(&Some(None::<u8>)), "(())");
        assert_eq!(text(&(1, "a", Some(2))), "(1,'a',(2))");
        assert_eq!(text([1, 2].as_slice()), "(1,2)");
    }

    #[test]
    fn a_name_is_its_literals_and_parts() {
        let name = Name::new(&["user:", ":posts:", ""], (part(&7), (part("x"), ())));
        assert_eq!(name.render().as_str(), "user:7:posts:'x'");
        assert_eq!(Name::new(&["users"], ()).render().as_str(), "users");
    }

    #[test]
    fn a_part_may_render_a_name_itself() {
        struct Nested;
        impl KeyPart for Nested {
            fn write(&self, out: KeyWriter<'_>) -> Written {
                out.text(Name::new(&["inner"], ()).render().as_str())
            }
        }
        let name = Name::new(&["outer:", ""], (&Nested, ()));
        assert_eq!(name.render().as_str(), "outer:'inner'");
    }
}
