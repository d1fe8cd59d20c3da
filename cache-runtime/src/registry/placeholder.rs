//! The placeholders of a template, as they are written.

/// `<user.name.to_lowercase()>`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placeholder<'t> {
    /// `user.name.to_lowercase()`
    pub(super) text: &'t str,
    /// `user`
    pub(super) variable: &'t str,
    /// `["name"]`
    pub(super) fields: Vec<&'t str>,
    /// `["to_lowercase"]`
    pub(super) methods: Vec<&'t str>,
}

/// Methods whose value is written in a name as the value that they are called on.
const SAME_VALUE: &[&str] = &[
    "as_deref",
    "as_path",
    "as_ref",
    "as_slice",
    "as_str",
    "borrow",
    "clone",
    "cloned",
    "copied",
    "deref",
    "get",
    "to_owned",
    "to_path_buf",
    "to_vec",
];

/// Methods that change a value without making another thing of it.
const OTHER_SPELLING: &[&str] = &[
    "to_ascii_lowercase",
    "to_ascii_uppercase",
    "to_lowercase",
    "to_uppercase",
    "trim",
    "trim_end",
    "trim_start",
];

impl<'t> Placeholder<'t> {
    fn new(text: &'t str) -> Self {
        let mut accesses = text.split('.').map(str::trim);
        let variable = accesses.next().unwrap_or(text);
        let (methods, fields): (Vec<_>, Vec<_>) = accesses.partition(|name| name.ends_with("()"));
        let methods = methods.into_iter().map(|name| name.trim_end_matches("()"));
        Self {
            text,
            variable: variable.trim_start_matches("r#"),
            fields: fields
                .into_iter()
                .map(|field| field.trim_start_matches("r#"))
                .collect(),
            methods: methods.filter(|name| !SAME_VALUE.contains(name)).collect(),
        }
    }

    /// The last word that says what the value is: `name` of `<self.name.trim()>`, and `id` of
    /// `<id.0>`.
    pub(super) fn noun(&self) -> &'t str {
        let is_word = |field: &&&str| !field.starts_with(|c: char| c.is_ascii_digit());
        self.fields.iter().rfind(is_word).unwrap_or(&self.variable)
    }

    /// Whether a method only spells the value differently, such as `to_lowercase`.
    pub(super) fn has_other_spelling(&self) -> bool {
        !self.methods.is_empty()
            && self
                .methods
                .iter()
                .all(|name| OTHER_SPELLING.contains(name))
    }

    /// What it does to its variable: `.name.to_lowercase()`.
    pub(super) fn accesses(&self) -> String {
        let fields = self.fields.iter().map(|field| format!(".{field}"));
        let methods = self.methods.iter().map(|method| format!(".{method}()"));
        fields.chain(methods).collect()
    }
}

/// The placeholders of a template, in order.
pub(super) fn placeholders(template: &str) -> Vec<Placeholder<'_>> {
    split(template)
        .1
        .into_iter()
        .map(Placeholder::new)
        .collect()
}

/// A template without the text of its placeholders, which may differ between functions.
pub(super) fn shape(template: &str) -> String {
    split(template).0
}

fn split(template: &str) -> (String, Vec<&str>) {
    let mut shape = String::new();
    let mut placeholders = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('<') {
        shape.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('<') {
            shape.push('<');
            rest = after;
        } else if let Some((placeholder, after)) = rest.split_once('>') {
            placeholders.push(placeholder);
            shape.push('>');
            rest = after;
        }
    }
    (shape + rest, placeholders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_leaves_out_the_text_of_placeholders_only() {
        assert_eq!(shape("user:<id>:<self.x>"), "user:<>:<>");
        assert_eq!(shape("a<<b>>:<c>"), "a<<b>>:<>");
        assert_ne!(shape("user:<id>"), shape("users:<id>"));
    }

    #[test]
    fn a_placeholder_has_a_noun_fields_and_methods() {
        let all = placeholders("a<<b>>:<self.name.trim()>:<id.0>:<r#type.clone()>");
        assert_eq!(
            all.iter().map(Placeholder::noun).collect::<Vec<_>>(),
            ["name", "id", "type"]
        );
        assert_eq!(all[0].accesses(), ".name.trim()");
        assert!(all[0].has_other_spelling());
        assert_eq!(
            (all[2].accesses(), all[2].text),
            (String::new(), "r#type.clone()")
        );
    }
}
