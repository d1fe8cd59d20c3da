//! No two argument lists share a key, nor do two templates.

use cache_runtime::{Key, KeyPart, key};
use proptest::collection::vec;
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
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let letter = prop_oneof![Just('\''), Just(':'), Just('%'), any::<char>()];
    let scalars = (text(), text(), -12_i64..120, any::<bool>(), letter);
    let composites = (
        proptest::option::of(text()),
        proptest::option::of(proptest::option::of(-2_i8..3)),
        (text(), 0_u8..12),
        vec(text(), 0..4),
    );
    (scalars, composites).prop_map(|(scalars, composites)| {
        let (text, other, number, flag, letter) = scalars;
        let (perhaps, nested, pair, list) = composites;
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
    assert_eq!(key!("<page>").as_str(), "((7),'new')");
    let filter = Filter::Not(Box::new(Filter::Between { low: 1, high: 2 }));
    assert_eq!(key!("<filter>").as_str(), "('Not',('Between',1,2))");
    let (none, empty) = (Filter::<u8>::None, Filter::<u8>::Empty());
    assert_eq!(key!("<none>:<empty>").as_str(), "'None':'Empty'");
    let first = Assoc::<std::ops::Range<u8>>(Some(1));
    assert_eq!(key!("<first>").as_str(), "(1)");
    let never = None::<Never>;
    assert_eq!(key!("<never>").as_str(), "()");
}
