//! No two argument lists share a key, nor do two templates.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cache_runtime::{Key, KeyPart, KeyWriter, Written, key};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

/// Text made of pieces that look like a key's own punctuation.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(""),
        Just(":"),
        Just("'"),
        Just("%"),
        Just("%27"),
        Just("("),
        Just(")"),
        Just(","),
        Just("{"),
        Just("}"),
        Just("<"),
        Just(">"),
        Just("a"),
        Just("v2"),
        Just("7"),
        Just("-1"),
        Just("ü"),
        Just("\u{202e}"),
        Just("\0"),
        Just(" "),
        Just("\\"),
    ];
    prop_oneof![
        3 => vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

/// The arguments of one call: each kind of value, from so few values that keys would often be
/// equal if they could be.
#[derive(Debug, Clone, PartialEq)]
struct Arguments {
    text: String,
    other: String,
    number: i64,
    flag: bool,
    letter: char,
    perhaps: Option<String>,
    #[expect(clippy::option_option, reason = "nesting must show in the key")]
    nested: Option<Option<i8>>,
    pair: (String, u8),
    list: Vec<String>,
    set: BTreeSet<Option<String>>,
    map: BTreeMap<String, Option<u8>>,
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let letter = prop_oneof![Just('\''), Just(':'), Just('%'), any::<char>()];
    let scalars = (text(), text(), -12_i64..120, any::<bool>(), letter);
    let composites = (
        proptest::option::of(text()),
        proptest::option::of(proptest::option::of(-2_i8..3)),
        (text(), 0_u8..12),
        vec(text(), 0..4),
        btree_set(proptest::option::of(text()), 0..4),
        btree_map(text(), proptest::option::of(0_u8..3), 0..3),
    );
    (scalars, composites).prop_map(|(scalars, composites)| {
        let (text, other, number, flag, letter) = scalars;
        let (perhaps, nested, pair, list, set, map) = composites;
        Arguments {
            text,
            other,
            number,
            flag,
            letter,
            perhaps,
            nested,
            pair,
            list,
            set,
            map,
        }
    })
}

/// The keys of some templates that are as alike as templates can be, each with the arguments that
/// it depends on.
fn keys(a: &Arguments) -> Vec<(&'static str, String, Key)> {
    let Arguments {
        text,
        other,
        number,
        flag,
        letter,
        perhaps,
        nested,
        pair,
        list,
        set,
        map,
    } = a;
    macro_rules! keys {
        ($($template:literal: $($used:ident),*;)+) => {
            vec![$(($template, format!("{:?}", ($($used,)*)), key!($template))),+]
        };
    }
    keys! {
        "a": ;
        "a:b": ;
        "v2": ;
        "7a": ;
        "{a}": ;
        "a:<text>": text;
        "a:<text>:b": text;
        "a:<text>:<other>": text, other;
        "a:b:<text>": text;
        "<text>:a": text;
        "<text>": text;
        "<text>:<other>": text, other;
        "<text>-<other>": text, other;
        "{<text>}:<other>": text, other;
        "{a:<text>}:<other>": text, other;
        "<<<text>>>": text;
        "%<text>%2a": text;
        "b:<number>": number;
        "b:<number>:<text>": number, text;
        "b-<number>": number;
        "b--<number>": number;
        "b:<number>-<text>": number, text;
        "b_<number>_<text>,<other>": number, text, other;
        "c:<flag>": flag;
        "d:<letter>": letter;
        "e:<perhaps>": perhaps;
        "f:<nested>": nested;
        "g:<pair>": pair;
        "h:<list>": list;
        "h:<list>,<text>": list, text;
        "i:<set>": set;
        "j:<map>": map;
        "j:<map>,<set>": map, set;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn different_arguments_and_different_templates_have_different_keys(
        one in arguments(),
        other in arguments(),
    ) {
        for (template, used, key) in keys(&one) {
            for (other_template, other_used, other_key) in keys(&other) {
                let same = template == other_template && used == other_used;
                prop_assert_eq!(
                    key == other_key, same,
                    "{} of {} and {} of {}: {}", template, used, other_template, other_used, key
                );
            }
        }
    }

    /// The two keys have the same text in their arguments, cut at another place.
    #[test]
    fn text_that_moves_from_one_argument_to_the_next_changes_the_key(text in text(), cut in 0_usize..8) {
        let at = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
        let (first, second) = text.split_at(at);
        let empty = "";
        let whole = key!("a:<text>:<empty>");
        let parts = key!("a:<first>:<second>");
        prop_assert_eq!(whole == parts, second.is_empty(), "{}", whole);
    }
}

#[test]
fn keys_read_well() {
    let (id, name) = (42, "octo:cat");
    assert_eq!(key!("user:<id>").as_str(), "user:42");
    assert_eq!(
        key!("{user:<id>}:login:<name>").as_str(),
        "{user:42}:login:'octo:cat'"
    );
}

#[derive(KeyPart)]
struct Id(u64);

#[derive(KeyPart)]
struct Unit;

#[derive(KeyPart)]
struct Page<'a, K> {
    after: Option<K>,
    r#type: &'a str,
}

/// Variants that are as alike as variants can be.
#[derive(Debug, Clone, PartialEq, KeyPart)]
enum Filter<K> {
    None,
    Empty(),
    Is(K),
    In(Vec<K>),
    Between { low: K, high: K },
    Not(Box<Filter<K>>),
}

#[derive(KeyPart)]
enum Never {}

#[derive(KeyPart)]
struct Assoc<I: Iterator>(Option<I::Item>);

fn filter() -> impl Strategy<Value = Filter<String>> {
    let leaf = prop_oneof![
        Just(Filter::None),
        Just(Filter::Empty()),
        Just(Filter::Is("None".to_owned())),
        text().prop_map(Filter::Is),
        vec(text(), 0..3).prop_map(Filter::In),
        (text(), text()).prop_map(|(low, high)| Filter::Between { low, high }),
    ];
    leaf.prop_recursive(2, 4, 1, |inner| {
        inner.prop_map(|inner| Filter::Not(Box::new(inner)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn different_values_of_a_derived_part_have_different_keys(one in filter(), other in filter()) {
        prop_assert_eq!(key!("a:<one>") == key!("a:<other>"), one == other);
    }
}

#[test]
fn derived_parts_read_well() {
    let (id, unit) = (Id(7), Unit);
    assert_eq!(key!("<id>:<unit>").as_str(), "7:'Unit'");
    let page = Page {
        after: Some(id),
        r#type: "new",
    };
    assert_eq!(key!("<page>").as_str(), "(7,'new')");
    let filter = Filter::Not(Box::new(Filter::Between { low: 1, high: 2 }));
    assert_eq!(key!("<filter>").as_str(), "('Not',('Between',1,2))");
    let (none, empty) = (Filter::<u8>::None, Filter::<u8>::Empty());
    assert_eq!(key!("<none>:<empty>").as_str(), "'None':'Empty'");
    let first = Assoc::<std::ops::Range<u8>>(Some(1));
    assert_eq!(key!("<first>").as_str(), "1");
    let never = None::<Never>;
    assert_eq!(key!("<never>").as_str(), "()");
}

/// The types that a key part may be made of. A value is given as one of [`Value`].
#[derive(Debug, Clone)]
enum Type {
    Number,
    Text,
    /// A `KeyPart` by hand with one value, which is an empty list.
    Nothing,
    Option(Box<Type>),
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    /// A derived enum around another type.
    Derived(Box<Type>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Number(u64),
    Text(String),
    Nothing,
    Option(Option<Box<Value>>),
    List(Vec<Value>),
    Set(BTreeSet<Value>),
    Map(BTreeMap<Value, Value>),
    Tuple(Vec<Value>),
    Derived(Wrapper<Box<Value>>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, KeyPart)]
enum Wrapper<K> {
    Empty,
    Around(K),
    Optional { value: Option<K> },
}

impl KeyPart for Value {
    fn write(&self, out: KeyWriter<'_>) -> Written {
        match self {
            Self::Number(number) => number.write(out),
            Self::Text(text) => text.write(out),
            Self::Nothing => out.list().end(),
            Self::Option(value) => value.write(out),
            Self::List(values) => values.write(out),
            Self::Set(values) => values.write(out),
            Self::Map(values) => values.write(out),
            Self::Tuple(values) => match values.as_slice() {
                [a] => (a,).write(out),
                [a, b] => (a, b).write(out),
                [a, b, c] => (a, b, c).write(out),
                _ => unreachable!("no type is another tuple"),
            },
            Self::Derived(value) => value.write(out),
        }
    }
}

impl Value {
    /// What the docs say that this value is in a key.
    fn text(&self) -> String {
        let list = |texts: Vec<String>| format!("({})", texts.join(","));
        let all = |values: &[Self]| values.iter().map(Self::text).collect();
        let some = |text: String| {
            if text.trim_matches(['(', ')']).is_empty() {
                format!("({text})")
            } else {
                text
            }
        };
        match self {
            Self::Number(number) => number.to_string(),
            // No type's texts have anything to escape.
            Self::Text(text) => format!("'{text}'"),
            Self::Nothing | Self::Option(None) => "()".to_owned(),
            Self::Option(Some(value)) => some(value.text()),
            Self::List(values) | Self::Tuple(values) => list(all(values)),
            Self::Set(values) => {
                let mut texts: Vec<_> = values.iter().map(Self::text).collect();
                texts.sort();
                list(texts)
            }
            Self::Map(values) => {
                let pair =
                    |(key, value): (&Self, &Self)| format!("({},{})", key.text(), value.text());
                let mut texts: Vec<_> = values.iter().map(pair).collect();
                texts.sort();
                list(texts)
            }
            Self::Derived(Wrapper::Empty) => "'Empty'".to_owned(),
            Self::Derived(Wrapper::Around(value)) => format!("('Around',{})", value.text()),
            Self::Derived(Wrapper::Optional { value: None }) => "('Optional',())".to_owned(),
            Self::Derived(Wrapper::Optional { value: Some(value) }) => {
                format!("('Optional',{})", some(value.text()))
            }
        }
    }
}

/// Types that nest deeply, and often have values of nothing but parentheses.
fn types() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        2 => Just(Type::Nothing),
        1 => Just(Type::Number),
        1 => Just(Type::Text),
    ];
    leaf.prop_recursive(6, 12, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            4 => boxed().prop_map(Type::Option),
            2 => boxed().prop_map(Type::List),
            1 => boxed().prop_map(Type::Set),
            1 => (boxed(), boxed()).prop_map(|(key, value)| Type::Map(key, value)),
            2 => vec(inner.clone(), 1..4).prop_map(Type::Tuple),
            1 => boxed().prop_map(Type::Derived),
        ]
    })
}

/// The values of a type: so few that two are often equal, or differ in one place only.
fn values(ty: &Type) -> BoxedStrategy<Value> {
    match ty {
        Type::Number => prop_oneof![Just(1), Just(11)]
            .prop_map(Value::Number)
            .boxed(),
        Type::Text => prop_oneof![Just(""), Just("()"), Just("1"), Just("Empty")]
            .prop_map(|text| Value::Text(text.to_owned()))
            .boxed(),
        Type::Nothing => Just(Value::Nothing).boxed(),
        Type::Option(inner) => proptest::option::weighted(0.7, values(inner))
            .prop_map(|value| Value::Option(value.map(Box::new)))
            .boxed(),
        Type::List(element) => vec(values(element), 0..3).prop_map(Value::List).boxed(),
        Type::Set(element) => btree_set(values(element), 0..3)
            .prop_map(Value::Set)
            .boxed(),
        Type::Map(key, value) => btree_map(values(key), values(value), 0..3)
            .prop_map(Value::Map)
            .boxed(),
        Type::Tuple(fields) => {
            let fields: Vec<_> = fields.iter().map(values).collect();
            fields.prop_map(Value::Tuple).boxed()
        }
        Type::Derived(inner) => prop_oneof![
            Just(Wrapper::Empty),
            values(inner).prop_map(|value| Wrapper::Around(Box::new(value))),
            proptest::option::of(values(inner)).prop_map(|value| Wrapper::Optional {
                value: value.map(Box::new)
            }),
        ]
        .prop_map(Value::Derived)
        .boxed(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn different_values_of_one_type_have_different_keys(
        values in types().prop_flat_map(|ty| vec(values(&ty), 2..6)),
    ) {
        for one in &values {
            let of_one = key!("a:<one>");
            prop_assert_eq!(of_one.as_str(), format!("a:{}", one.text()));
            for other in &values {
                prop_assert_eq!(of_one == key!("a:<other>"), one == other, "{:?} {:?}", one, other);
            }
        }
    }

    #[test]
    fn an_optional_value_has_the_key_of_the_value(
        value in types().prop_flat_map(|ty| values(&ty)),
    ) {
        let some = Some(&value);
        let same = key!("a:<some>") == key!("a:<value>");
        let is_parentheses = value.text().chars().all(|c| matches!(c, '(' | ')'));
        prop_assert_eq!(same, !is_parentheses);
    }

    #[test]
    fn the_order_of_a_set_is_not_in_its_key(elements in vec(text(), 0..5)) {
        let set: HashSet<_> = elements.iter().collect();
        let again: HashSet<_> = elements.iter().rev().collect();
        let sorted: BTreeSet<_> = elements.iter().map(String::as_str).collect();
        prop_assert_eq!(key!("<set>"), key!("<again>"));
        prop_assert_eq!(key!("<set>"), key!("<sorted>"));
    }

    #[test]
    fn the_order_of_a_map_is_not_in_its_key(pairs in vec((text(), 0_u8..3), 0..5)) {
        let map: HashMap<_, _> = pairs.iter().cloned().collect();
        let again: HashMap<_, _> = map.iter().collect();
        let sorted: BTreeMap<_, _> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
        prop_assert_eq!(key!("<map>"), key!("<again>"));
        prop_assert_eq!(key!("<map>"), key!("<sorted>"));
    }
}
