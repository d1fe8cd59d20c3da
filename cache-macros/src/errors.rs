//! All the mistakes of one annotated function, told at once.

use std::fmt::Display;

use proc_macro2::Span;

#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Says what is wrong at `span`, and how to mend it.
    pub(crate) fn push(&mut self, span: Span, what: impl Display, help: impl Display) {
        self.add(error(span, what, help));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn finish<T>(self, checked: T) -> syn::Result<T> {
        self.0.map_or(Ok(checked), Err)
    }
}

/// An error in the compiler's own form: it aligns what follows a line break.
pub(crate) fn error(span: Span, what: impl Display, help: impl Display) -> syn::Error {
    syn::Error::new(span, format_args!("{what}\nhelp: {help}"))
}

/// The `help:` for a name that isn't among the `known`: the nearest of them, or else all.
pub(crate) fn suggest(name: &str, known: &[impl AsRef<str>], kind: &str) -> String {
    if let Some(nearest) = nearest(name, known) {
        return format!("did you mean `{nearest}`?");
    }
    let known: Vec<_> = known.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match known.as_slice() {
        [] => format!("there are no {kind}"),
        _ => format!("the {kind} are {}", known.join(", ")),
    }
}

/// The one that is most likely meant, by rustc's measure: a third of the letters may differ.
pub(crate) fn nearest<'a>(name: &str, known: &'a [impl AsRef<str>]) -> Option<&'a str> {
    let limit = name.chars().count().max(3) / 3;
    known
        .iter()
        .map(|candidate| (distance(name, candidate.as_ref()), candidate.as_ref()))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove or replace (Levenshtein); upper and lower case are equal.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<_> = right.to_lowercase().chars().collect();
    let mut row: Vec<_> = (0..=right.len()).collect();
    for (above, from) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = ["user_id", "tenant", "id"];
        assert_eq!(nearest("user_idd", &known), Some("user_id"));
        assert_eq!(nearest("usr_di", &known), None);
        assert_eq!(nearest("Tenant", &known), Some("tenant"));
        assert_eq!(nearest("ids", &known), Some("id"));
        assert_eq!(nearest("", &known), None);
        assert_eq!(suggest("x", &known, "parameters"), "the parameters are `user_id`, `tenant`, `id`");
        assert_eq!(suggest("x", &[""; 0], "parameters"), "there are no parameters");
    }
}
