//! The grammar of templates: `"user:<id>"` becomes literal text and placeholders.
//!
//! It works on text, and knows no functions and no spans. The rules about literal text make
//! sure that a finished key can be read back in one way only: a value in a key is a number on
//! its own, or begins with a quote or a parenthesis, so literal text like that is refused.

use std::fmt;

/// A template in pieces. There is one more piece of literal text than placeholders.
#[derive(Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) source: String,
    pub(crate) literals: Vec<String>,
    pub(crate) placeholders: Vec<Placeholder>,
}

/// `<root.step.step>`
#[derive(Debug, PartialEq)]
pub(crate) struct Placeholder {
    /// A name, or the number of a field that has none.
    pub(crate) root: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// `.name`
    Field(String),
    /// `.0`
    Index(u32),
    /// `.name()`
    Method(String),
}

/// A rule that a template breaks, and how to mend it.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) help: String,
}

fn fault(what: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault {
        what: what.into(),
        help: help.into(),
    }
}

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, Vec<Fault>> {
        let template = Self::parse_structure(source)?;
        let faults: Vec<_> = [
            check_not_empty(source),
            template.check_white_space(),
            template.check_reserved_characters(),
            template.check_numbers(),
        ]
        .into_iter()
        .flatten()
        .chain(template.check_separators())
        .collect();
        if faults.is_empty() {
            Ok(template)
        } else {
            Err(faults)
        }
    }

    fn parse_structure(source: &str) -> Result<Self, Vec<Fault>> {
        let mut literals = Vec::new();
        let mut placeholders = Vec::new();
        let mut faults = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(at) = rest.find(['<', '>']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("<<") {
                literal.push('<');
                rest = after;
            } else if let Some(after) = rest.strip_prefix(">>") {
                literal.push('>');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('>') {
                faults.push(fault(
                    "`>` in the template closes no placeholder",
                    "write `>>` for a literal `>`",
                ));
                rest = after;
            } else {
                let inside = &rest[1..];
                let end = inside.find(['<', '>']).unwrap_or(inside.len());
                let (name, after) = inside.split_at(end);
                if let Some(after) = after.strip_prefix('>') {
                    match Placeholder::parse(name) {
                        Ok(placeholder) => placeholders.push(placeholder),
                        Err(fault) => faults.push(fault),
                    }
                    literals.push(std::mem::take(&mut literal));
                    rest = after;
                } else {
                    faults.push(fault(
                        format!("placeholder `<{name}` in the template is not closed"),
                        "close it with `>`, or write `<<` for a literal `<`",
                    ));
                    rest = after;
                }
            }
        }
        literal.push_str(rest);
        literals.push(literal);
        if faults.is_empty() {
            Ok(Self {
                source: source.to_owned(),
                literals,
                placeholders,
            })
        } else {
            Err(faults)
        }
    }

    /// Refuses a `*`, which is literal text here. Only what `key!` makes may be taken for a pattern.
    pub(crate) fn check_wildcards(&self) -> Option<Fault> {
        self.characters().find(|c| *c == '*')?;
        let source = &self.source;
        let pattern = if self.placeholders.is_empty() {
            format!("\"{source}\"")
        } else {
            format!("key!(\"{source}\")")
        };
        Some(fault(
            "the template contains `*`, and a template has no wildcards: it is the name of one key or one tag",
            format!(
                "name each of several keys by `each(id in ids)`, give all of them one tag, or call \
                 `cache.invalidate_matching({pattern})`"
            ),
        ))
    }

    /// Text in braces that would be a placeholder in angle brackets: `{id}`.
    pub(crate) fn braced(&self) -> impl Iterator<Item = Placeholder> {
        self.literals
            .iter()
            .flat_map(|literal| literal.split('{').skip(1))
            .filter_map(|tail| Placeholder::parse(tail.split_once('}')?.0).ok())
    }

    fn characters(&self) -> impl Iterator<Item = char> {
        self.literals.iter().flat_map(|literal| literal.chars())
    }

    fn check_white_space(&self) -> Option<Fault> {
        let found = self
            .characters()
            .find(|c| c.is_whitespace() || c.is_control())?;
        let what = match found {
            ' ' => "the template contains a space".to_owned(),
            c if c.is_whitespace() => {
                format!(
                    "the template contains white space, `{}`",
                    c.escape_default()
                )
            }
            c => format!(
                "the template contains a control character, `{}`",
                c.escape_default()
            ),
        };
        Some(fault(what, "separate its parts with `:`"))
    }

    fn check_reserved_characters(&self) -> Option<Fault> {
        let found = self.characters().find(|c| matches!(c, '\'' | '(' | ')'))?;
        Some(fault(
            format!("the template contains `{found}`, which marks a value in a finished key"),
            "remove it: values are quoted where they need it",
        ))
    }

    fn check_numbers(&self) -> Option<Fault> {
        let number = self
            .literals
            .iter()
            .flat_map(|literal| literal.split(|c: char| !c.is_alphanumeric()))
            .find(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()))?;
        Some(fault(
            format!("`{number}` in the template could be mistaken for a value"),
            format!("write it with a letter: `v{number}`"),
        ))
    }

    /// Without a separator `1` and `23` would make the same key as `12` and `3`.
    fn check_separators(&self) -> impl Iterator<Item = Fault> {
        let count = self.placeholders.len();
        self.placeholders
            .iter()
            .enumerate()
            .flat_map(move |(index, placeholder)| {
                let before = word_at_end(&self.literals[index]);
                let before = (!before.is_empty()).then(|| no_separator(before, placeholder));
                let literal = &self.literals[index + 1];
                let after = if literal.is_empty() && index + 1 < count {
                    Some(no_separator(placeholder, &self.placeholders[index + 1]))
                } else {
                    let word = word_at_start(literal);
                    (!word.is_empty()).then(|| no_separator(placeholder, word))
                };
                before.into_iter().chain(after)
            })
    }
}

fn check_not_empty(source: &str) -> Option<Fault> {
    source
        .is_empty()
        .then(|| fault("the template is empty", "name the entry: `\"user:<id>\"`"))
}

fn no_separator(left: impl fmt::Display, right: impl fmt::Display) -> Fault {
    fault(
        format!("nothing separates `{left}` from `{right}` in the template"),
        format!("put a separator between them: `{left}:{right}`"),
    )
}

fn word_at_end(literal: &str) -> &str {
    &literal[literal.trim_end_matches(char::is_alphanumeric).len()..]
}

fn word_at_start(literal: &str) -> &str {
    let rest = literal.trim_start_matches(char::is_alphanumeric);
    &literal[..literal.len() - rest.len()]
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut names = text.split('.');
        let root = names
            .next()
            .filter(|root| is_name(root) || index(root).is_some());
        let steps = names.map(Step::parse).collect();
        match (root, steps) {
            (Some(root), Some(steps)) => Ok(Self {
                root: root.to_owned(),
                steps,
            }),
            _ if text.is_empty() => Err(fault(
                "placeholder `<>` names nothing",
                "write a name in it, or write `<<>>` for a literal `<>`",
            )),
            _ => Err(fault(
                format!("`<{}>` is not a placeholder", text.escape_debug()),
                "a placeholder is a name, or fields and calls without arguments from one: \
                 `<id>`, `<user.id>`, `<login.to_lowercase()>`",
            )),
        }
    }
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        if let Some(method) = text.strip_suffix("()") {
            is_name(method).then(|| Self::Method(method.to_owned()))
        } else if is_name(text) {
            Some(Self::Field(text.to_owned()))
        } else {
            index(text).map(Self::Index)
        }
    }
}

/// The number of a field. `+1` and `01` parse as integers, and are refused here.
fn index(text: &str) -> Option<u32> {
    let index = text.parse::<u32>().ok()?;
    (index.to_string() == text).then_some(index)
}

/// Whether this looks like a Rust name. The compiler decides about rare letters.
fn is_name(text: &str) -> bool {
    let mut characters = text.strip_prefix("r#").unwrap_or(text).chars();
    characters
        .next()
        .is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|c| c == '_' || c.is_alphanumeric())
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.root)?;
        for step in &self.steps {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, ".{index}")?,
                Step::Method(name) => write!(f, ".{name}()")?,
            }
        }
        f.write_str(">")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn parsed(source: &str) -> (Vec<String>, Vec<String>) {
        let template = Template::parse(source).unwrap();
        let placeholders = template.placeholders.iter().map(ToString::to_string);
        (template.literals, placeholders.collect())
    }

    #[track_caller]
    fn fault_of(source: &str) -> String {
        let faults = Template::parse(source).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        format!("{}; {}", faults[0].what, faults[0].help)
    }

    #[test]
    fn literal_text_and_placeholders_alternate() {
        assert_eq!(parsed("users"), (vec!["users".into()], vec![]));
        assert_eq!(
            parsed("{user:<id>}:posts"),
            (vec!["{user:".into(), "}:posts".into()], vec!["<id>".into()])
        );
        assert_eq!(
            parsed("<a>:<b>"),
            (
                vec![String::new(), ":".into(), String::new()],
                vec!["<a>".into(), "<b>".into()]
            )
        );
    }

    #[test]
    fn a_placeholder_is_a_path_of_fields_and_calls() {
        let template = Template::parse("<self.pair.0.name()>:<r#type>").unwrap();
        assert_eq!(
            template.placeholders[0],
            Placeholder {
                root: "self".into(),
                steps: vec![
                    Step::Field("pair".into()),
                    Step::Index(0),
                    Step::Method("name".into())
                ],
            }
        );
        assert_eq!(template.placeholders[1].root, "r#type");
    }

    #[test]
    fn doubled_angle_brackets_are_literal() {
        assert_eq!(parsed("a<<b>>c"), (vec!["a<b>c".into()], vec![]));
        assert_eq!(
            parsed("<id>>>"),
            (vec![String::new(), ">".into()], vec!["<id>".into()])
        );
    }

    #[test]
    fn digits_with_letters_are_not_numbers() {
        parsed("api:v2:2fa:é2:<id>");
        assert_eq!(
            fault_of("api:2:<id>"),
            "`2` in the template could be mistaken for a value; write it with a letter: `v2`"
        );
        assert!(fault_of("api_2").starts_with("`2` in"));
    }

    #[test]
    fn values_need_separators() {
        for (source, help) in [
            ("user<id>", "`user:<id>`"),
            ("a:user<id>", "`user:<id>`"),
            ("<id>user", "`<id>:user`"),
            ("<a><b>", "`<a>:<b>`"),
            ("é<id>", "`é:<id>`"),
            ("v2<id>", "`v2:<id>`"),
        ] {
            let fault = fault_of(source);
            assert!(fault.ends_with(help), "{source}: {fault}");
        }
    }

    #[test]
    fn every_rule_has_a_message_of_its_own() {
        for (source, what) in [
            ("", "the template is empty"),
            ("a b", "the template contains a space"),
            ("a\u{a0}b", "the template contains white space, `\\u{a0}`"),
            ("a\nb", "the template contains white space, `\\n`"),
            (
                "a\0b",
                "the template contains a control character, `\\u{0}`",
            ),
            ("it's", "the template contains `'`"),
            ("f(x", "the template contains `(`"),
            ("a>b", "`>` in the template closes no placeholder"),
            ("a:<id", "placeholder `<id` in the template is not closed"),
            (
                "a:<id:<b>",
                "placeholder `<id:` in the template is not closed",
            ),
            ("a:<>", "placeholder `<>` names nothing"),
            ("a:< id>", "`< id>` is not a placeholder"),
            ("a:<id + 1>", "`<id + 1>` is not a placeholder"),
            ("a:<f(id)>", "`<f(id)>` is not a placeholder"),
            ("a:<id.+1>", "`<id.+1>` is not a placeholder"),
            ("a:<id.01>", "`<id.01>` is not a placeholder"),
            ("a:<id.>", "`<id.>` is not a placeholder"),
            ("a:<00>", "`<00>` is not a placeholder"),
        ] {
            let fault = fault_of(source);
            assert!(fault.starts_with(what), "{source:?}: {fault}");
        }
    }

    #[test]
    fn faults_are_collected() {
        assert_eq!(Template::parse("<a:<b c>:>").unwrap_err().len(), 3);
        assert_eq!(Template::parse("a b'v2<id>x").unwrap_err().len(), 4);
    }

    #[test]
    fn a_wildcard_is_refused_with_the_call_that_takes_it() {
        let help = |source| {
            let template = Template::parse(source).unwrap();
            template.check_wildcards().map(|fault| fault.help)
        };
        assert!(help("user:*").unwrap().ends_with("(\"user:*\")`"));
        assert!(
            help("user:<id>:*")
                .unwrap()
                .ends_with("(key!(\"user:<id>:*\"))`")
        );
        assert_eq!(help("user:<id>"), None);
    }

    #[test]
    fn braces_that_look_like_placeholders_are_found() {
        let braced = |source| {
            let template = Template::parse(source).unwrap();
            template.braced().map(|p| p.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(braced("{id}:{user.name}"), ["<id>", "<user.name>"]);
        assert!(braced("{user:<id>}:posts").is_empty());
        assert!(braced("{:}{").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_a_fault(
            source in r"(user|é|v2|2|_|:|:|<id>|<a\.b>|<a\.0\.b\(\)>|<<|>>|\{id\}|[<>{}.' ]){0,12}|[<>.:a-z0-9]{0,20}|.*"
        ) {
            match Template::parse(&source) {
                Ok(template) => {
                    prop_assert_eq!(template.literals.len(), template.placeholders.len() + 1);
                    let mut printed = String::new();
                    for (index, literal) in template.literals.iter().enumerate() {
                        printed += &literal.replace('<', "<<").replace('>', ">>");
                        if let Some(placeholder) = template.placeholders.get(index) {
                            printed += &placeholder.to_string();
                        }
                    }
                    prop_assert_eq!(printed, source);
                }
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
        }
    }
}
