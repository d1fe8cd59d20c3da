//! Tokens as text, spaced the way that people write them: `ttl = lifetime::<A, B>(id)`.
//!
//! The compiler's own text of a token stream depends on where the tokens came from and
//! on its version. This text depends on the tokens alone.

use std::fmt::Write as _;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// An expression, an option, a path.
pub(crate) fn text(tokens: TokenStream) -> String {
    Writer::new(false).finish(tokens)
}

/// A type, in which every `<` is a bracket.
pub(crate) fn text_of_type(tokens: TokenStream) -> String {
    Writer::new(true).finish(tokens)
}

/// Longer ones first. A `>>` may close two brackets, so it is decided later.
const OPERATORS: &[&str] = &[
    "<<=", ">>=", "...", "..=", "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=",
    "*=", "/=", "%=", "^=", "&=", "|=", "<<", ">>", "..",
];

/// After these, an operand follows as after an operator.
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "box", "break", "const", "dyn", "else", "for", "if", "impl", "in",
    "let", "loop", "match", "move", "mut", "ref", "return", "static", "unsafe", "where", "while",
    "yield",
];

/// What was written last.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// Nothing yet, or an opening bracket: no space follows.
    Open,
    /// A prefix such as `&` or `!`, `::`, or `.`: no space follows.
    Glue,
    /// A binary operator, `,` or a keyword: an operand follows, after a space.
    Operator,
    /// A name, a literal, or a closing bracket.
    Operand,
    /// A name that is written like a type.
    Type,
}

struct Writer {
    out: String,
    last: Last,
    in_type: bool,
    /// Angle brackets that are open.
    angles: usize,
    /// Whether a `|` has opened the parameters of a closure.
    in_closure: bool,
}

impl Writer {
    fn new(in_type: bool) -> Self {
        Self {
            out: String::new(),
            last: Last::Open,
            in_type,
            angles: 0,
            in_closure: false,
        }
    }

    fn finish(mut self, tokens: TokenStream) -> String {
        self.tokens(tokens);
        self.out
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut punctuation = String::new();
        for token in tokens {
            match token {
                TokenTree::Punct(punct) => {
                    punctuation.push(punct.as_char());
                    if punct.spacing() == Spacing::Alone {
                        self.punctuation(&std::mem::take(&mut punctuation));
                    }
                }
                other => {
                    self.punctuation(&std::mem::take(&mut punctuation));
                    self.other(other);
                }
            }
        }
        self.punctuation(&punctuation);
    }

    fn other(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                self.tokens(group.stream());
            }
            TokenTree::Group(group) => self.group(group.delimiter(), group.stream()),
            TokenTree::Ident(ident) => self.word(&ident.to_string()),
            TokenTree::Literal(literal) => {
                self.spaced(&literal.to_string());
                self.last = Last::Operand;
            }
            TokenTree::Punct(punct) => self.punctuation(&punct.to_string()),
        }
    }

    /// Writes a token that a space separates from what stands before it.
    fn spaced(&mut self, text: &str) {
        if !matches!(self.last, Last::Open | Last::Glue) {
            self.out.push(' ');
        }
        self.out.push_str(text);
    }

    fn word(&mut self, word: &str) {
        let after_dot = self.out.ends_with('.');
        self.spaced(word);
        // A constant has no lower case.
        let is_type = word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase);
        self.last = if KEYWORDS.contains(&word) && !after_dot {
            Last::Operator
        } else if is_type {
            Last::Type
        } else {
            Last::Operand
        };
    }

    fn group(&mut self, delimiter: Delimiter, stream: TokenStream) {
        let (open, close) = match delimiter {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Brace | Delimiter::None => ("{ ", " }"),
        };
        let inside = Writer::new(self.in_type).finish(stream);
        let is_block = delimiter == Delimiter::Brace;
        if is_block && inside.is_empty() {
            self.spaced("{}");
        } else if is_block || !matches!(self.last, Last::Operand | Last::Type) {
            self.spaced("");
            let _ = write!(self.out, "{open}{inside}{close}");
        } else {
            // A call, an index, the arguments of a macro.
            let _ = write!(self.out, "{open}{inside}{close}");
        }
        self.last = Last::Operand;
    }

    /// Takes neighbouring characters apart into operators.
    fn punctuation(&mut self, mut characters: &str) {
        while !characters.is_empty() {
            let closes = characters.starts_with('>') && self.angles > 0;
            let operator = OPERATORS
                .iter()
                .copied()
                .filter(|_| !closes)
                .find(|operator| characters.starts_with(operator))
                .unwrap_or(&characters[..1]);
            self.operator(operator);
            characters = &characters[operator.len()..];
        }
    }

    fn operator(&mut self, operator: &str) {
        let operand_is_next = !matches!(self.last, Last::Operand | Last::Type);
        let (space_before, next) = match operator {
            "<" if self.opens() => {
                self.angles += 1;
                (operand_is_next, Last::Open)
            }
            ">" if self.angles > 0 => {
                self.angles -= 1;
                (false, Last::Type)
            }
            "," | ";" | ":" => (false, Last::Operator),
            "?" => (false, Last::Operand),
            "." | "::" | ".." | "..=" => (operand_is_next, Last::Glue),
            "=" | "->" | "=>" => (true, Last::Operator),
            "|" if self.in_closure => {
                self.in_closure = false;
                (false, Last::Operator)
            }
            "|" if operand_is_next => {
                self.in_closure = true;
                (true, Last::Open)
            }
            // A closure without parameters.
            "||" if operand_is_next => (true, Last::Operator),
            // The name of a lifetime follows.
            "'" => (true, Last::Glue),
            // The parentheses of a macro follow.
            "!" if !operand_is_next => (false, Last::Operand),
            _ if operand_is_next => (true, Last::Glue),
            _ => (true, Last::Operator),
        };
        if space_before {
            self.spaced(operator);
        } else {
            self.out.push_str(operator);
        }
        self.last = next;
    }

    /// Whether a `<` opens a bracket, rather than compares.
    fn opens(&self) -> bool {
        self.in_type || self.last != Last::Operand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_same(source: &str) {
        let tokens: TokenStream = source.parse().unwrap();
        assert_eq!(text(tokens), source);
    }

    #[test]
    fn an_option_is_written_as_a_person_writes_it() {
        for source in [
            "ttl = 60",
            "ttl = \"1h30m\"",
            "ttl = lifetime::<A, B>(id)",
            "ttl = HOUR * days",
            "ttl = Duration::from_secs(60 * 60)",
            "ttl = |token| token.ttl()",
            "ttl = |token: &Token<'_>| -> Duration { token.ttl() }",
            "ttl = move |token| token.0.ttl() / 2",
            "ttl = <Self as Lifetime<u8>>::TTL",
            "ttl = Vec::<Vec<u8>>::new().ttl()",
            "ttl = if id < 5 { HOUR } else { DAY }",
            "ttl = match id { 0 => HOUR, _ if a || b => DAY }",
            "skip(pool, context)",
            "skip(T)",
            "cache = self.cache",
            "cache = &*CACHE",
            "cache = ::my::CACHE",
            "cache = caches[0]",
            "condition = page < 10 && !name.is_empty()",
            "condition = a < b && c > d",
            "condition = -1 < offset - 1",
            "condition = (1..=9).contains(&page)",
            "condition = bits << 2 >> 1 != 0",
            "condition = x as u8 == b'x'",
            "condition = || true",
            "condition = matches!(kind, Kind::A | Kind::B)",
            "condition = { let x = &mut y; x?.z }",
            "condition = async { user.await } == x",
            "unless = Token::is_empty",
            "unless = |users| users.is_empty()",
            "unless = |_| {}",
            "version = 2",
            "codec = Codec::JSON.zstd(3)",
            "on = ok",
            "fence_required",
            "crate = framework::cache",
        ] {
            assert_same(source);
        }
    }

    #[test]
    fn white_space_in_the_source_does_not_matter() {
        let tokens: TokenStream = "ttl=lifetime :: <A,B> (\n id )".parse().unwrap();
        assert_eq!(text(tokens), "ttl = lifetime::<A, B>(id)");
    }

    #[test]
    fn every_angle_is_a_bracket_in_a_type() {
        for source in [
            "Vec<Arc<User>>",
            "HashMap<u8, Vec<u8>>",
            "m128<u8>",
            "[u8; 4]",
            "(u8, Option<&'a str>)",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "*const u8",
            "_",
        ] {
            let tokens: TokenStream = source.parse().unwrap();
            assert_eq!(text_of_type(tokens), source);
        }
    }
}
