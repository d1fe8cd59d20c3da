//! The mistakes of one annotated function, collected and reported together.

use std::fmt::Display;

use proc_macro2::Span;

#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds what is wrong at `span`, and how to mend it.
    pub(crate) fn push(&mut self, span: Span, what: impl Display, help: impl Display) {
        self.add(error(span, what, help));
    }

    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn finish<T>(self, checked: T) -> syn::Result<T> {
        self.0.map_or(Ok(checked), Err)
    }
}

/// An error in the compiler's own form. The compiler aligns the lines of a message.
pub(crate) fn error(span: Span, what: impl Display, help: impl Display) -> syn::Error {
    syn::Error::new(span, format_args!("{what}\nhelp: {help}"))
}

/// The `help:` for a name that is not known: the nearest known name, or else all of them.
pub(crate) fn suggest(name: &str, known: &[impl AsRef<str>], kind: &str) -> String {
    if let Some(nearest) = nearest(name, known) {
        return format!("did you mean `{nearest}`?");
    }
    let known: Vec<_> = known
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    match known.as_slice() {
        [] => format!("there are no {kind}"),
        [only] => format!("there is only {only}"),
        _ => format!("the {kind} are {}", known.join(", ")),
    }
}

/// The nearest known name, if at most a third of the letters differ, as in rustc.
pub(crate) fn nearest<'a>(name: &str, known: &'a [impl AsRef<str>]) -> Option<&'a str> {
    let limit = name.chars().count().max(3) / 3;
    known
        .iter()
        .map(|candidate| (distance(name, candidate.as_ref()), candidate.as_ref()))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, remove, replace or swap with their neighbour (Damerau and
/// Levenshtein). Upper and lower case are equal.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<_> = left.to_lowercase().chars().collect();
    let right: Vec<_> = right.to_lowercase().chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, from) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(from != to);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == right[j - 1] && left[i - 1] == *to {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = ["user_id", "tenant", "id"];
        assert_eq!(nearest("user_idd", &known), Some("user_id"));
        assert_eq!(nearest("login", &known), None);
        assert_eq!(nearest("Tenant", &known), Some("tenant"));
        assert_eq!(nearest("ids", &known), Some("id"));
        assert_eq!(nearest("teannt", &known), Some("tenant"));
        assert_eq!(nearest("", &known), None);
        assert_eq!(
            suggest("x", &known, "parameters"),
            "the parameters are `user_id`, `tenant`, `id`"
        );
        assert_eq!(
            suggest("x", &[""; 0], "parameters"),
            "there are no parameters"
        );
    }
}
