//! No two argument lists share a key, nor do two templates.

use cache_runtime::{Key, key};
use proptest::collection::vec;
use proptest::prelude::*;

/// Text made of what could imitate a key's own punctuation.
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

/// One call's arguments: every kind of value, small enough to collide often if they could.
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

/// A key for each of some templates that are as alike as templates can be, and
/// the part of the arguments that it depends on.
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

    /// The same, where only one argument differs, and only by its ends.
    #[test]
    fn what_moves_from_one_argument_to_the_next_changes_the_key(text in text(), cut in 0_usize..8) {
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
