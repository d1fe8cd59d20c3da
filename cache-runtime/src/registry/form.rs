//! How the values of a type are written in a name, as far as the text of the type shows.

use std::collections::HashMap;

use super::NamedType;

/// How the values of a type are written. Two types with one form write the same value alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// It is not known how: the type is a parameter, or its text is not there.
    Any,
    Integer,
    Text,
    /// `Some(x)` as `x`, but for a [`x` of parentheses](Self::may_be_parentheses).
    Option(Box<Form>),
    List(Box<Form>),
    /// A list whose order is that of its texts. A map is a set of pairs.
    Set(Box<Form>),
    Tuple(Vec<Form>),
    /// As a type that is known by this name, which is not taken for an alias.
    Known(&'static str),
    /// As this type writes it. Its name has a path if the compiler gave it.
    Type(String, Vec<Form>),
}

impl Form {
    /// Whether a value is written alike in both, where two names are two types.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.is_like_where(other, &|_, _| false)
    }

    /// Whether a value may be written alike in both. A name that has no path may be an alias.
    pub(super) fn may_be_like(&self, other: &Self) -> bool {
        self.is_like_where(other, &|one, other| {
            one.may_stand_for(other) || other.may_stand_for(one)
        })
    }

    /// No type is in itself, so a name does not stand for a list of values of that name.
    fn may_stand_for(&self, other: &Self) -> bool {
        match self {
            Self::Type(name, _) => {
                !name.contains("::") && (other.is_named(name) || !other.has_inside(name))
            }
            _ => false,
        }
    }

    fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Type(own, _) if is_one_name(own, name))
    }

    fn has_inside(&self, name: &str) -> bool {
        let is_or_has = |form: &Self| form.is_named(name) || form.has_inside(name);
        match self {
            Self::Any | Self::Integer | Self::Text | Self::Known(_) => false,
            Self::Option(inside) | Self::List(inside) | Self::Set(inside) => is_or_has(inside),
            Self::Tuple(inside) | Self::Type(_, inside) => inside.iter().any(is_or_has),
        }
    }

    /// `may_be` is asked about two forms that are not alike.
    fn is_like_where(&self, other: &Self, may_be: &dyn Fn(&Self, &Self) -> bool) -> bool {
        let all_alike = |one: &[Self], other: &[Self]| {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| one.is_like_where(other, may_be))
        };
        let is_like = match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Option(one), Self::Option(other)) => {
                // If one is an `Option` of an `Option`, its `Some(None)` is not the other's `None`.
                let is_option = |form: &Self| matches!(form, Self::Option(_));
                let is_known = **one != Self::Any && **other != Self::Any;
                one.is_like_where(other, may_be)
                    && !(is_known && is_option(one) != is_option(other))
            }
            (Self::Option(inside), plain) | (plain, Self::Option(inside)) => {
                inside.is_like_where(plain, may_be) && !inside.may_be_parentheses()
            }
            (Self::List(one), Self::List(other)) | (Self::Set(one), Self::Set(other)) => {
                one.is_like_where(other, may_be)
            }
            (Self::List(element), Self::Tuple(fields))
            | (Self::Tuple(fields), Self::List(element)) => fields
                .iter()
                .all(|field| field.is_like_where(element, may_be)),
            (Self::Tuple(one), Self::Tuple(other)) => all_alike(one, other),
            (Self::Type(one, of_one), Self::Type(other, of_other)) => {
                is_one_name(one, other) && all_alike(of_one, of_other)
            }
            _ => self == other,
        };
        is_like || may_be(self, other)
    }

    /// Whether a value may be nothing but parentheses. Then a `Some` of it has one pair more.
    fn may_be_parentheses(&self) -> bool {
        match self {
            Self::Option(_) | Self::List(_) | Self::Set(_) => true,
            Self::Tuple(fields) => match fields.as_slice() {
                [only] => only.may_be_parentheses(),
                fields => fields.is_empty(),
            },
            Self::Any | Self::Integer | Self::Text | Self::Known(_) | Self::Type(..) => false,
        }
    }

    /// This form without an `Option` that makes no difference.
    pub(super) fn without_option(&self) -> &Self {
        match self {
            Self::Option(inside) if !inside.may_be_parentheses() => inside,
            form => form,
        }
    }
}

/// Names are compared with their paths where both have one.
fn is_one_name(one: &str, other: &str) -> bool {
    if one.contains("::") && other.contains("::") {
        one == other
    } else {
        last(one) == last(other)
    }
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// What the types of std and of other crates are called that are `KeyPart`s. Types with one name
/// here write the same value alike. Names that programs give to aliases, such as `Timestamp`, are not
/// among them.
fn known(path: &str) -> Option<&'static str> {
    let name = match last(path) {
        "bool" => "bool",
        "f32" => "f32",
        "f64" => "f64",
        "Decimal" => "Decimal",
        "Duration" => "Duration",
        "IpAddr" | "Ipv4Addr" | "Ipv6Addr" => "IpAddr",
        "Path" | "PathBuf" => "Path",
        "SocketAddr" | "SocketAddrV4" | "SocketAddrV6" => "SocketAddr",
        "Ulid" => "Ulid",
        "Uuid" => "Uuid",
        _ => return None,
    };
    let is_theirs = match path.split_once("::") {
        None => true,
        Some((root, _)) => ["alloc", "core", "rust_decimal", "std", "ulid", "uuid"].contains(&root),
    };
    is_theirs.then_some(name)
}

/// The types that derive `KeyPart` around one value: a name has them written like that value.
#[derive(Default)]
pub(super) struct Newtypes(HashMap<&'static str, Option<NamedType>>);

impl Newtypes {
    pub(super) fn add(&mut self, around: NamedType, inside: NamedType) {
        for name in [around.resolved(), Some(around.text())] {
            // By its text, it may be any of several types. Then it is not known what it is.
            let name = name.unwrap_or(around.text());
            // Without its lifetimes: it has no other arguments.
            let name = name.split('<').next().unwrap_or(name);
            let known = self.0.entry(name).or_insert(Some(inside));
            if *known != Some(inside) {
                *known = None;
            }
        }
    }

    /// The value in a type of this name. A generic type derives by its text only.
    fn derived(&self, name: &str, is_generic: bool) -> Option<&Option<NamedType>> {
        let by_text = || self.0.get(last(name)).filter(|_| is_generic);
        self.0.get(name).or_else(by_text)
    }

    /// How the values of a type are written.
    pub(super) fn form(&self, ty: &NamedType) -> Form {
        self.form_within(ty, 8)
    }

    /// `depth` bounds it: by their texts, two types can contain each other.
    fn form_within(&self, ty: &NamedType, depth: usize) -> Form {
        let of = |text| self.written(&Type::parse(text), depth);
        match ty.resolved() {
            Some(name) => of(name),
            None => of(ty.text()),
        }
    }

    fn written(&self, ty: &Type<'_>, depth: usize) -> Form {
        let form = |ty: &Type<'_>| self.written(ty, depth);
        let (path, arguments) = match ty {
            Type::Open => return Form::Any,
            Type::Slice(element) => return Form::List(Box::new(form(element))),
            Type::Tuple(fields) => return Form::Tuple(fields.iter().map(form).collect()),
            Type::Path(path, arguments) => (*path, arguments),
        };
        match (
            last(path).trim_start_matches("NonZero"),
            arguments.as_slice(),
        ) {
            // Without a name: `NonZero<u8>`.
            (
                "Box" | "Arc" | "Rc" | "Cow" | "Ordered" | "Reverse" | "Saturating" | "Wrapping"
                | "",
                [inside],
            ) => form(inside),
            ("Vec" | "VecDeque", [element]) => Form::List(Box::new(form(element))),
            ("HashSet", [element] | [element, _]) | ("BTreeSet", [element]) => {
                Form::Set(Box::new(form(element)))
            }
            ("HashMap", [key, value] | [key, value, _]) | ("BTreeMap", [key, value]) => {
                Form::Set(Box::new(Form::Tuple(vec![form(key), form(value)])))
            }
            ("Option", [inside]) => Form::Option(Box::new(form(inside))),
            ("str" | "String" | "SmolStr" | "char", []) => Form::Text,
            (
                "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64"
                | "i128" | "isize" | "U8" | "U16" | "U32" | "U64" | "U128" | "Usize" | "I8" | "I16"
                | "I32" | "I64" | "I128" | "Isize",
                [],
            ) => Form::Integer,
            _ => match self.derived(path, !arguments.is_empty()) {
                Some(Some(inside)) if depth > 0 => self.form_within(inside, depth - 1),
                Some(_) => Form::Any,
                None => match known(path) {
                    Some(name) if arguments.is_empty() => Form::Known(name),
                    _ => Form::Type(path.to_owned(), arguments.iter().map(form).collect()),
                },
            },
        }
    }
}

/// Whether both are one type of what is cached, apart from `Result` and `Option` around it. A type
/// that the compiler was not asked about is compared by its text.
pub(super) fn is_one_value(one: &NamedType, other: &NamedType) -> bool {
    let (one, other) = match (one.resolved(), other.resolved()) {
        (Some(one), Some(other)) => (one, other),
        _ => (one.text(), other.text()),
    };
    value(one).is_like(&value(other))
}

fn value(text: &str) -> Form {
    let mut ty = Type::parse(text);
    for around in ["Result", "Option"] {
        ty = match ty {
            Type::Path(path, mut arguments) if last(path) == around && !arguments.is_empty() => {
                arguments.swap_remove(0)
            }
            ty => ty,
        };
    }
    ty.as_it_is()
}

/// A type, from its text.
#[derive(Debug)]
enum Type<'t> {
    /// `_`
    Open,
    Path(&'t str, Vec<Type<'t>>),
    Tuple(Vec<Type<'t>>),
    Slice(Box<Type<'t>>),
}

impl<'t> Type<'t> {
    fn parse(text: &'t str) -> Self {
        let text = text.trim();
        let inside = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
        if let Some(referent) = text.strip_prefix('&') {
            return Self::parse(referent.strip_prefix("mut ").unwrap_or(referent));
        }
        if let Some(fields) = inside('(', ')') {
            return Self::Tuple(parse_all(fields));
        }
        if let Some(element) = inside('[', ']') {
            let element = element.split(';').next().unwrap_or(element);
            return Self::Slice(Box::new(Self::parse(element)));
        }
        match text.split_once('<') {
            _ if text == "_" => Self::Open,
            Some((path, rest)) if rest.ends_with('>') && !path.contains(' ') => Self::Path(
                path.trim_end_matches("::"),
                parse_all(&rest[..rest.len() - 1]),
            ),
            _ => Self::Path(text, Vec::new()),
        }
    }

    fn as_it_is(&self) -> Form {
        let all = |types: &[Self]| types.iter().map(Self::as_it_is).collect();
        match self {
            Self::Open => Form::Any,
            Self::Path(path, arguments) => Form::Type((*path).to_owned(), all(arguments)),
            Self::Tuple(fields) => Form::Tuple(all(fields)),
            Self::Slice(element) => Form::List(Box::new(element.as_it_is())),
        }
    }
}

/// The types in a list that commas separate, without lifetimes.
fn parse_all(list: &str) -> Vec<Type<'_>> {
    let mut depth = 0_i32;
    let is_between = |c: char| {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(is_between)
        .map(str::trim)
        .filter(|ty| !ty.is_empty() && !ty.starts_with('\''))
        .map(Type::parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(ty: &'static str) -> Form {
        Newtypes::default().form(&NamedType::written(ty))
    }

    #[test]
    fn types_that_write_a_value_alike_have_one_form() {
        for alike in [
            &[
                "u64",
                "i64",
                "NonZeroU32",
                "core::num::nonzero::NonZero<u32>",
                "Box<u8>",
                "Wrapping<Saturating<i8>>",
                "core::cmp::Reverse<u8>",
            ][..],
            &[
                "str",
                "String",
                "alloc::borrow::Cow<'_, str>",
                "Arc<str>",
                "&&str",
                "char",
                "Box<str>",
                "Rc<str>",
                "smol_str::SmolStr",
            ],
            &[
                "[u64]",
                "Vec<u8>",
                "[u16; 4]",
                "(u8, u64)",
                "alloc::vec::Vec<i64>",
                "VecDeque<u8>",
                "Cow<'a, [u8]>",
                "Arc<[u8]>",
            ],
            &[
                "Option<u64>",
                "core::option::Option<alloc::boxed::Box<i8>>",
                "Box<Option<u8>>",
                "i32",
            ],
            &["Option<[str]>", "Option<(Option<str>, String)>"],
            &["Option<Option<u8>>", "Option<Option<i64>>", "Option<_>"],
            &["Uuid", "uuid::Uuid", "Option<Uuid>"],
            &[
                "HashSet<u8>",
                "std::collections::hash::set::HashSet<u64, ahash::RandomState>",
                "&BTreeSet<Option<u8>>",
            ],
            &[
                "HashMap<u8, str>",
                "std::collections::hash::map::HashMap<u64, alloc::string::String>",
                "BTreeMap<u8, Option<char>>",
                "HashSet<(u8, str)>",
            ],
            &["Duration", "core::time::Duration", "Option<Duration>"],
            &["IpAddr", "core::net::ip_addr::Ipv4Addr", "Ipv6Addr"],
            &["SocketAddr", "std::net::SocketAddrV6"],
            &["Path", "std::path::PathBuf", "Arc<Path>"],
            &["Decimal", "rust_decimal::decimal::Decimal"],
            &["bool", "&bool"],
            &["Ordered<f64>", "Option<cache_runtime::Ordered<f64>>"],
        ] {
            for other in alike {
                assert!(form(alike[0]).is_like(&form(other)), "{} {other}", alike[0]);
            }
        }
        for (one, other) in [
            ("u64", "str"),
            ("u64", "Option<str>"),
            ("u64", "[u64]"),
            ("HashSet<u64>", "[u64]"),
            ("HashSet<u64>", "u64"),
            ("Option<u64>", "Option<[u64]>"),
            ("[u64]", "Option<[u64]>"),
            ("([u64],)", "Option<([u64],)>"),
            ("Option<u64>", "Option<Option<u64>>"),
            ("u64", "Option<Option<u64>>"),
            ("a::Id", "b::Id"),
            ("Page<u8>", "Page<str>"),
            ("(u8, str)", "(str, u8)"),
            ("HashMap<u8, str>", "[(u8, str)]"),
            ("HashMap<u8, str>", "BTreeMap<str, u8>"),
            ("HashMap<u8, u8>", "HashSet<u8>"),
            ("app::Duration", "core::time::Duration"),
        ] {
            assert!(!form(one).is_like(&form(other)), "{one} {other}");
        }
        assert!(form("Page<_>").is_like(&form("Page<str>")));
    }

    #[test]
    fn an_alias_and_a_newtype_are_what_they_stand_for() {
        type Alias = i64;
        enum Id {}
        let mut newtypes = Newtypes::default();
        newtypes.add(NamedType::of::<Id>("Id"), NamedType::of::<Alias>("Alias"));
        assert_eq!(newtypes.form(&NamedType::of::<Id>("Id")), Form::Integer);
        assert_eq!(newtypes.form(&NamedType::written("Id")), Form::Integer);
        assert_eq!(
            newtypes.form(&NamedType::of::<Alias>("Alias")),
            Form::Integer
        );

        let title = NamedType::of::<std::str::Chars<'_>>("Chars");
        newtypes.add(title, NamedType::written("str"));
        assert_eq!(newtypes.form(&title), Form::Text);

        // A type of the program may have the name of another crate's.
        newtypes.add(NamedType::written("Decimal"), NamedType::written("i64"));
        assert_eq!(newtypes.form(&NamedType::written("Decimal")), Form::Integer);

        // By its text, it may be either of two types.
        newtypes.add(NamedType::written("Id"), NamedType::written("str"));
        assert_eq!(newtypes.form(&NamedType::written("Id")), Form::Any);
        assert_eq!(newtypes.form(&NamedType::of::<Id>("Id")), Form::Integer);
    }

    #[test]
    fn a_name_without_a_path_may_be_an_alias() {
        for (one, other) in [
            ("IssueId", "u64"),
            ("IssueId", "Id"),
            ("IssueId", "[u64]"),
            ("(IssueId, str)", "(u64, Name)"),
            ("IssueId", "other::IssueId"),
            ("Uuid", "Option<uuid::Uuid>"),
            ("Page<str>", "[str]"),
        ] {
            assert!(form(one).may_be_like(&form(other)), "{one} {other}");
            assert!(form(other).may_be_like(&form(one)), "{other} {one}");
        }
        for (one, other) in [
            ("Uuid", "[Uuid]"),
            ("IssueId", "(IssueId, u64)"),
            ("uuid::Uuid", "u64"),
            ("bool", "u64"),
            ("str", "Option<bool>"),
            ("Uuid", "str"),
            ("Duration", "u64"),
            ("PathBuf", "String"),
            ("IpAddr", "str"),
            ("Decimal", "u64"),
            ("Ulid", "Uuid"),
            ("Ordered<f32>", "Ordered<f64>"),
            ("bool", "Duration"),
            ("(IssueId, str)", "(u64, u64)"),
        ] {
            assert!(!form(one).may_be_like(&form(other)), "{one} {other}");
            assert!(!form(other).may_be_like(&form(one)), "{other} {one}");
        }
    }

    #[test]
    fn a_value_is_of_the_type_that_an_alias_stands_for() {
        type Loaded = Result<Option<Vec<String>>, std::fmt::Error>;
        type Titles = Vec<String>;
        let loaded = NamedType::of::<Loaded>("Loaded");
        assert!(is_one_value(&loaded, &NamedType::of::<Titles>("Titles")));
        assert!(!is_one_value(&loaded, &NamedType::of::<Vec<u8>>("Vec<u8>")));

        // Of one of them, only the text is known.
        assert!(is_one_value(&loaded, &NamedType::written("Loaded")));
        assert!(!is_one_value(&loaded, &NamedType::written("Vec<String>")));
    }
}
