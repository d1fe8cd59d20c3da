//! What types are called: in keys, where `<T>` and `<Self>` write it, and in entries on a server,
//! which hold a hash of it.
//!
//! The name is that of `std::any::type_name`, in which each type with a name of its own
//! (`#[key_name]`) stands under that. The compiler's text is a `&'static str`. So it is looked up by
//! its address, without locks, and the name is made once for each text.

use std::any;
use std::sync::OnceLock;

use crate::registry::{self, OwnName};

/// A type, as keys and entries call it.
#[derive(Debug)]
pub(crate) struct KnownType {
    /// The compiler's name.
    text: &'static str,
    pub(crate) name: &'static str,
    /// Of the name without lifetimes; never 0.
    hash: u32,
    /// Of what stands in angle brackets in that; 0 if there is nothing.
    arguments: u32,
    next: OnceLock<&'static KnownType>,
}

/// The type of what a call caches, as entries on a server tell it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueType {
    pub(crate) name: &'static str,
    /// Never 0.
    pub(crate) hash: u32,
}

/// Every type that was asked for, in lists by the address of the compiler's text. Nothing is ever
/// removed: a program has only so many types.
static KNOWN: [OnceLock<&'static KnownType>; LISTS] = [const { OnceLock::new() }; LISTS];
const LISTS: usize = 256;

/// What `<T>` writes.
#[inline]
pub(crate) fn written<T: ?Sized>() -> &'static str {
    let text = any::type_name::<T>();
    if registry::has_own_names() {
        known(text).name
    } else {
        text
    }
}

/// The type of a value, for the entry that holds it. What a method of a generic type returns is told
/// apart by the arguments of that type, too: `count` of a `Repo<User>` is not that of a `Repo<Order>`.
/// `receiver` is the compiler's name of it.
pub(crate) fn of<V: ?Sized>(receiver: Option<&'static str>) -> ValueType {
    let value = known(any::type_name::<V>());
    let arguments = receiver.map_or(0, |text| known(text).arguments);
    ValueType {
        name: value.name,
        hash: (value.hash ^ arguments.rotate_left(16)).max(1),
    }
}

/// The name of the type with this hash, if a function of this program caches values of it, or a key of this
/// process names it.
pub(crate) fn name_of(hash: u32) -> Option<&'static str> {
    if hash == 0 {
        return None;
    }
    let cached = registry::all().filter_map(|function| function.value.resolved());
    let mut cached = cached.map(known);
    if let Some(known) = cached.find(|known| known.hash == hash) {
        return Some(known.name);
    }
    let lists = KNOWN.iter().filter_map(OnceLock::get);
    let mut all = lists
        .flat_map(|first| std::iter::successors(Some(*first), |known| known.next.get().copied()));
    Some(all.find(|known| known.hash == hash)?.name)
}

impl ValueType {
    /// The type of an entry with this hash, for one that takes its place; `None` for 0.
    pub(crate) fn known_by(hash: u32) -> Option<Self> {
        let name = name_of(hash).unwrap_or("_");
        (hash != 0).then_some(Self { name, hash })
    }
}

fn known(text: &'static str) -> &'static KnownType {
    let address = text.as_ptr().addr();
    let mut place = &KNOWN[(address >> 4 ^ address) % LISTS];
    loop {
        match place.get() {
            Some(known) if std::ptr::eq(known.text, text) => return known,
            Some(known) => place = &known.next,
            None => {
                // Of two threads that come here at once, the second goes on behind the first.
                let _ = place.set(learn(text));
            }
        }
    }
}

#[cold]
fn learn(text: &'static str) -> &'static KnownType {
    let name: &'static str = match rename(text, &own_names(registry::own_names())) {
        None => text,
        Some(name) => name.leak(),
    };
    let stable = without_lifetimes(name);
    let arguments = stable.find('<').map(|at| hash(&stable[at..]));
    Box::leak(Box::new(KnownType {
        text,
        name,
        hash: hash(&stable),
        arguments: arguments.unwrap_or(0),
        next: OnceLock::new(),
    }))
}

/// The paths that have a name of their own. A name that two types claim is left out, and so is a
/// type with two names: else two types would be called alike.
fn own_names(registered: impl Iterator<Item = &'static OwnName>) -> Vec<(String, &'static str)> {
    let mut names: Vec<_> = registered.map(|own| (own.path(), own.name)).collect();
    names.sort_unstable();
    names.dedup();
    let is_clear = |(path, name): &(String, &str)| {
        let claims =
            |(other_path, other_name): &&(String, &str)| other_path == path || other_name == name;
        names.iter().filter(claims).count() == 1
    };
    names.iter().filter(|own| is_clear(own)).cloned().collect()
}

/// The text with each path in it that has a name of its own replaced; `None` if there is none.
fn rename(text: &str, names: &[(String, &'static str)]) -> Option<String> {
    let mut renamed = String::new();
    let mut is_changed = false;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_own = |(path, _): &&(String, &str)| {
            rest.starts_with(path.as_str())
                && !text[..at].ends_with(is_of_path)
                && !rest[path.len()..].starts_with(is_of_path)
        };
        // The path of a type in a method begins with that of the method's type.
        let own = names.iter().filter(is_own);
        if let Some((path, name)) = own.max_by_key(|(path, _)| path.len()) {
            renamed.push_str(name);
            at += path.len();
            is_changed = true;
        } else {
            renamed.push(next);
            at += next.len_utf8();
        }
    }
    is_changed.then_some(renamed)
}

/// Whether a path goes on with this character.
fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// The text without lifetimes, which some releases of the compiler write and others do not.
fn without_lifetimes(text: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        let name = after.trim_start_matches(is_of_word);
        // `'a'` is a constant.
        if next != '\'' || name.len() == after.len() || name.starts_with('\'') {
            short.push(next);
            rest = after;
            continue;
        }
        rest = match name.strip_prefix(", ").or(name.strip_prefix(' ')) {
            Some(rest) => rest,
            None => name,
        };
        if short.ends_with('<') && rest.starts_with('>') {
            short.pop();
            rest = &rest[1..];
        }
    }
    short
}

/// FNV-1a of 32 bits. As 0 says that an entry does not say its type, 1 takes its place.
fn hash(text: &str) -> u32 {
    let add = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    text.as_bytes().iter().fold(0x811c_9dc5, add).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn renamed(text: &str) -> String {
        let names = [
            ("app::User".to_owned(), "user"),
            ("app::Repo".to_owned(), "repo"),
            ("app::Repo<_>::get::Row".to_owned(), "row-of-repo"),
            ("<app::Repo<T> as app::Get>::get::Row".to_owned(), "row"),
        ];
        rename(text, &names).unwrap_or_else(|| format!("{text} as it is"))
    }

    #[test]
    fn a_path_is_renamed_wherever_it_stands_as_a_whole() {
        for (text, name) in [
            ("app::User", "user"),
            ("alloc::vec::Vec<app::User>", "alloc::vec::Vec<user>"),
            ("app::Repo<app::User>", "repo<user>"),
            ("(app::User, &app::User)", "(user, &user)"),
            ("fn(app::User) -> app::Users", "fn(user) -> app::Users"),
            ("[<app::Repo<T> as app::Get>::get::Row]", "[row]"),
            ("[app::Repo<_>::get::Row]", "[row-of-repo]"),
        ] {
            assert_eq!(renamed(text), name);
        }
        for text in [
            "app::Users",
            "app::User_",
            "app::Userß",
            "my_app::User",
            "other::app::User",
            "app::User::name::Inner",
            "u64",
        ] {
            assert_eq!(renamed(text), format!("{text} as it is"));
        }
    }

    #[test]
    fn a_name_that_two_types_claim_is_the_name_of_neither() {
        let own = |marker: fn() -> &'static str, name| -> &'static OwnName {
            Box::leak(Box::new(OwnName::new(marker, name, "a.rs", 1)))
        };
        let registered = [
            own(|| "app::_::User", "user"),
            own(|| "app::_::User", "user"),
            own(|| "app::a::_::Id", "id"),
            own(|| "app::b::_::Id", "id"),
            own(|| "app::_::Two", "one"),
            own(|| "app::_::Two", "two"),
        ];
        let names = own_names(registered.into_iter());
        assert_eq!(names, [("app::User".to_owned(), "user")]);
    }

    #[test]
    fn a_type_is_known_once_for_all_threads() {
        let known: Vec<_> = std::thread::scope(|scope| {
            let threads =
                [(); 4].map(|()| scope.spawn(|| of::<[u128; 97]>(None).name.as_ptr().addr()));
            threads.map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(known.iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(of::<[u128; 97]>(None).name, "[u128; 97]");
        assert_ne!(of::<u8>(None).hash, of::<u16>(None).hash);
    }

    #[test]
    fn the_arguments_of_a_receiver_tell_values_of_one_type_apart() {
        let of = |receiver| of::<u8>(receiver).hash;
        let plain = of(None);
        assert_eq!(of(Some("app::Repo")), plain);
        assert_eq!(of(Some("app::Repo<'_>")), plain);
        let users = of(Some("app::Repo<app::User>"));
        assert_ne!(users, plain);
        assert_ne!(users, of(Some("app::Repo<app::Order>")));
        assert_eq!(users, of(Some("app::moved::Repo<'_, app::User>")));
    }

    #[test]
    fn lifetimes_do_not_change_a_hash() {
        for (text, short) in [
            ("a::Gen<'_, [&'_ a::User], 3>", "a::Gen<[&a::User], 3>"),
            ("a::Name<'_>", "a::Name"),
            ("fn(&'_ a::User)", "fn(&a::User)"),
            ("a::Char<'x', '_'>", "a::Char<'x', '_'>"),
            ("a::Char<'<'>", "a::Char<'<'>"),
        ] {
            assert_eq!(without_lifetimes(text), short);
        }
    }

    /// Entries hold these numbers: see the format in `tier/shared/entry.rs`.
    #[test]
    fn the_hash_of_a_name_is_always_the_same() {
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("a"), 0xe40c_292c);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }
}
