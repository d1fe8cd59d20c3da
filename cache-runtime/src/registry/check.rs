//! Whether the annotated functions of a program agree with each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fmt;

use super::{Function, Registered, Role, Template, link};

/// Checks the annotated functions of the program against each other.
///
/// It finds:
///
/// * functions that share a key template, but differ in the type of what they cache, in their
///   tags or in their schema version (`version = N`): each takes the entries of the others
///   for misses;
/// * one template with parameters of different types, which make different keys;
/// * an invalidation that reaches no cached function;
/// * a tag that nothing invalidates.
///
/// Types are compared as they are written: two types with one name count as one, and two
/// names of one type as two. A template in [`key!`](crate::key) counts as cached and as
/// invalidated, by hand. [`Findings::except`] leaves out anything else that is done by hand.
///
/// # Errors
///
/// The findings, each with all of its places.
///
/// ```standalone_crate
/// cache_runtime::registry::check()?;
/// # Ok::<_, cache_runtime::registry::Findings>(())
/// ```
pub fn check() -> Result<(), Findings> {
    let program = Program::new(link::all());
    Findings::or_nothing(program.findings())
}

/// What [`check`] found. Its `Display` is a report, and so is its `Debug`, for `unwrap`.
///
/// ```
/// if let Err(findings) = cache_runtime::registry::check() {
///     for finding in findings.iter() {
///         eprintln!("{finding}");
///     }
/// }
/// ```
pub struct Findings(Vec<Finding>);

impl Findings {
    fn or_nothing(found: Vec<Finding>) -> Result<(), Self> {
        if found.is_empty() {
            Ok(())
        } else {
            Err(Self(found))
        }
    }

    /// Each of them.
    ///
    /// ```standalone_crate
    /// # let result = cache_runtime::registry::check();
    /// let count = result.map_or_else(|findings| findings.iter().count(), |()| 0);
    /// assert_eq!(count, 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// Leaves out the findings about these templates or tag types, such as a tag that is
    /// invalidated by hand.
    ///
    /// # Errors
    ///
    /// The other findings, if there are any.
    ///
    /// ```standalone_crate
    /// use cache_runtime::registry;
    ///
    /// registry::check().or_else(|findings| findings.except(&["users", "TenantUsers"]))?;
    /// # Ok::<_, registry::Findings>(())
    /// ```
    pub fn except(self, names: &[&str]) -> Result<(), Self> {
        let is_left = |finding: &Finding| !names.contains(&finding.name);
        Self::or_nothing(self.0.into_iter().filter(is_left).collect())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            let gap = if i == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{finding}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n\n{self}\n")
    }
}

impl Error for Findings {}

/// A disagreement between annotations. Its `Display` says what it is, where, and how to mend it.
///
/// ```
/// # fn show(findings: cache_runtime::registry::Findings) {
/// for finding in findings.iter() {
///     println!("about `{}`: {finding}", finding.name());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    name: &'static str,
    what: String,
    places: Vec<String>,
    help: String,
}

impl Finding {
    /// The template or the tag type of this finding.
    ///
    /// ```
    /// # fn show(finding: cache_runtime::registry::Finding) {
    /// println!("{}", finding.name());
    /// # }
    /// ```
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for place in &self.places {
            write!(f, "\n  --> {place}")?;
        }
        write!(f, "\n  help: {}", self.help)
    }
}

/// The annotations of a program.
struct Program {
    uses: Vec<Use>,
    /// The shapes of the templates in `key!`.
    by_hand: HashSet<String>,
    newtypes: Newtypes,
}

/// A key or a tag in the attribute of a function.
struct Use {
    function: &'static Function,
    /// The function's schema version.
    schema: u32,
    part: Part,
    /// The key or tag as it is written.
    written: Template,
    /// The templates that it may stand for. Several, if the attribute does not show which.
    templates: Vec<Template>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Key,
    Tag,
    Invalidated,
}

impl Use {
    fn shapes(&self) -> impl Iterator<Item = String> {
        self.templates.iter().map(|template| shape(template.text))
    }

    fn place(&self, does: impl fmt::Display) -> String {
        let Function {
            path, file, line, ..
        } = self.function;
        format!("{file}:{line}: `{path}` {does}")
    }
}

impl Program {
    fn new(registered: impl IntoIterator<Item = &'static Registered>) -> Self {
        let mut functions = Vec::new();
        let mut tags = HashMap::<_, Vec<_>>::new();
        let mut by_hand = HashSet::new();
        let mut newtypes = Newtypes::default();
        for item in registered {
            match item {
                Registered::Cached(site) => functions.push((&site.function, site.schema)),
                Registered::Function(function) => functions.push((*function, 0)),
                Registered::Tag(ty, template) => tags.entry(*ty).or_default().push(*template),
                Registered::Newtype(around, inside) => newtypes.add(around, inside),
                Registered::ByHand(name) => {
                    by_hand.insert(shape(name.text));
                }
            }
        }
        // The order of linking varies.
        functions.sort_by_key(|(function, _)| (function.file, function.line, function.path));
        let templates_of = |name: Template| match tags.get(name.text) {
            _ if !name.typed => vec![name],
            Some(templates) => templates.clone(),
            None => tags.values().flatten().copied().collect(),
        };
        let mut uses = Vec::new();
        for (function, schema) in functions {
            let mut add = |part, names: &[Template]| {
                uses.extend(names.iter().map(|&written| Use {
                    function,
                    schema,
                    part,
                    written,
                    templates: templates_of(written),
                }));
            };
            match function.role {
                Role::Caches { key, tags, .. } => {
                    add(Part::Key, &[key]);
                    add(Part::Tag, tags);
                }
                Role::Invalidates { names } => add(Part::Invalidated, names),
            }
        }
        Self {
            uses,
            by_hand,
            newtypes,
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.check_shared_keys(&mut findings);
        self.check_parameters(&mut findings);
        self.check_invalidations(&mut findings);
        self.check_tags(&mut findings);
        findings
    }

    /// Functions that share a key template share entries.
    fn check_shared_keys(&self, findings: &mut Vec<Finding>) {
        let mut sharing = BTreeMap::<_, Vec<_>>::new();
        for used in self.uses.iter().filter(|used| used.part == Part::Key) {
            let shared = (shape(used.written.text), used.function.cache);
            sharing.entry(shared).or_default().push(used);
        }
        for uses in sharing.values() {
            findings.extend(ASPECTS.iter().filter_map(|aspect| aspect.check(uses)));
        }
    }

    /// Values of different types are written differently, so they make different keys.
    fn check_parameters(&self, findings: &mut Vec<Finding>) {
        let mut by_shape = BTreeMap::<_, Vec<_>>::new();
        for used in &self.uses {
            if let [template] = used.templates[..] {
                by_shape
                    .entry(shape(template.text))
                    .or_default()
                    .push((used, template));
            }
        }
        for uses in by_shape.values() {
            let (first, rest) = (uses[0].1, &uses[1..]);
            let differ = |(_, other): &(_, Template)| {
                let mut types = first.types.iter().zip(other.types);
                types.any(|(one, other)| !self.newtypes.alike(one, other))
            };
            if !rest.iter().any(differ) {
                continue;
            }
            let name = first.text;
            let places = uses.iter().map(|(used, template)| {
                let types = template.types.join("`, `");
                used.place(format_args!("has `{template}` of `{types}`"))
            });
            findings.push(Finding {
                name,
                what: format!(
                    "`{name}` is used with parameters of different types, \
                     which may write the same value differently"
                ),
                places: places.collect(),
                help: "give the parameters one type, or the templates different text".to_owned(),
            });
        }
    }

    fn check_invalidations(&self, findings: &mut Vec<Finding>) {
        let cached = self.shapes_of(|part| part != Part::Invalidated);
        for used in &self.uses {
            if used.part == Part::Invalidated && !used.shapes().any(|name| cached.contains(&name)) {
                let name = used.written.text;
                findings.push(Finding {
                    name,
                    what: format!("invalidating `{name}` reaches no cached function"),
                    places: vec![used.place("invalidates it")],
                    help: self.suggest(name),
                });
            }
        }
    }

    /// The shapes that are named in these parts of attributes, or by hand.
    fn shapes_of(&self, is_part: impl Fn(Part) -> bool) -> HashSet<String> {
        let uses = self.uses.iter().filter(|used| is_part(used.part));
        uses.flat_map(Use::shapes)
            .chain(self.by_hand.iter().cloned())
            .collect()
    }

    fn suggest(&self, name: &str) -> String {
        let start = |text: &str| text.split([':', '<']).next().map(str::to_owned);
        let similar = self
            .uses
            .iter()
            .find(|used| used.part != Part::Invalidated && start(used.written.text) == start(name));
        match similar {
            Some(similar) => format!("did you mean `{}`?", similar.written),
            None => "write it as in a `key` or an `invalidate_on`; if it is cached by hand, \
                     leave it out with `except`"
                .to_owned(),
        }
    }

    fn check_tags(&self, findings: &mut Vec<Finding>) {
        let invalidated = self.shapes_of(|part| part == Part::Invalidated);
        let mut never = BTreeMap::<_, Vec<_>>::new();
        for used in &self.uses {
            if used.part == Part::Tag && !used.shapes().any(|name| invalidated.contains(&name)) {
                never.entry(used.written.text).or_default().push(used);
            }
        }
        for (name, uses) in never {
            findings.push(Finding {
                name,
                what: format!("nothing invalidates the tag `{name}`"),
                places: uses.iter().map(|used| used.place("has it")).collect(),
                help: "annotate what changes the data with `#[cache_invalidate]`, or remove the \
                       tag; if it is invalidated by hand, leave it out with `except`"
                    .to_owned(),
            });
        }
    }
}

/// Something that functions with one key must have in common.
struct Aspect {
    noun: &'static str,
    verb: &'static str,
    of: fn(&Use) -> String,
    help: &'static str,
}

const ASPECTS: &[Aspect] = &[
    Aspect {
        noun: "types",
        verb: "caches",
        of: value,
        help: "give each type a template of its own",
    },
    Aspect {
        noun: "tags",
        verb: "has the tags",
        of: tags,
        help: "give them the same tags, or templates of their own",
    },
    Aspect {
        noun: "schema versions",
        verb: "has the schema version",
        of: |used| used.schema.to_string(),
        help: "give them the same `version`, or templates of their own",
    },
];

impl Aspect {
    fn check(&self, uses: &[&Use]) -> Option<Finding> {
        let of_each: Vec<_> = uses.iter().map(|used| (self.of)(used)).collect();
        let agrees = |one: &String| of_each.iter().all(|other| alike(one, other));
        if of_each.iter().all(agrees) {
            return None;
        }
        let name = uses.first()?.written.text;
        let places = uses.iter().zip(&of_each);
        Some(Finding {
            name,
            what: format!(
                "functions share the key `{name}`, but not their {}: \
                 each takes the entries of the others for misses",
                self.noun
            ),
            places: places
                .map(|(used, aspect)| used.place(format_args!("{} `{aspect}`", self.verb)))
                .collect(),
            help: self.help.to_owned(),
        })
    }
}

fn value(used: &Use) -> String {
    match used.function.role {
        Role::Caches { value, .. } => value.to_owned(),
        Role::Invalidates { .. } => String::new(),
    }
}

fn tags(used: &Use) -> String {
    match used.function.role {
        Role::Caches { tags, .. } if !tags.is_empty() => {
            let tags: Vec<_> = tags.iter().map(|tag| shape(tag.text)).collect();
            tags.join("`, `")
        }
        _ => "none".to_owned(),
    }
}

/// A template without the names of its placeholders, which may differ between functions.
fn shape(template: &str) -> String {
    let mut shape = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('<') {
        shape.push_str(&rest[..=at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('<') {
            shape.push('<');
            rest = after;
        } else if let Some((_, after)) = rest.split_once('>') {
            shape.push('>');
            rest = after;
        }
    }
    shape + rest
}

/// Whether two types may be one, as far as they are written out.
fn alike(one: &str, other: &str) -> bool {
    let open = |ty: &str| {
        ty.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == "_")
    };
    one == other || open(one) || open(other)
}

/// The types that derive `KeyPart` around one value: a key has them written like that value.
#[derive(Default)]
struct Newtypes(HashMap<&'static str, &'static str>);

impl Newtypes {
    fn add(&mut self, around: &'static str, inside: &'static str) {
        // Two types have this name, and it is not known which is meant.
        let known = self.0.entry(around).or_insert(inside);
        if *known != inside {
            *known = "_";
        }
    }

    /// Whether the same value is written alike in both types.
    fn alike(&self, one: &str, other: &str) -> bool {
        alike(&self.written(one), &self.written(other))
    }

    /// The simplest type whose values are written like those of this type.
    fn written(&self, ty: &str) -> String {
        // Bounded: two types with one name can contain each other.
        let mut ty = ty;
        for _ in 0..8 {
            let inside = ["Box<", "Arc<", "Rc<", "Cow<"]
                .iter()
                .find_map(|pointer| ty.strip_prefix(pointer)?.strip_suffix('>'));
            match inside.or_else(|| self.0.get(ty).copied()) {
                Some(inside) => ty = inside,
                None => break,
            }
        }
        let element = ty.strip_prefix("Vec<").and_then(|ty| ty.strip_suffix('>'));
        let element = element.or_else(|| {
            let inside = ty.strip_prefix('[')?.strip_suffix(']')?;
            Some(inside.split(';').next().unwrap_or(inside))
        });
        if let Some(element) = element {
            return format!("[{}]", self.written(element));
        }
        if let Some(inside) = ty
            .strip_prefix("Option<")
            .and_then(|ty| ty.strip_suffix('>'))
        {
            return format!("Option<{}>", self.written(inside));
        }
        let number = ty.trim_start_matches("NonZero").to_lowercase();
        match number.as_str() {
            "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64"
            | "i128" | "isize" => "integer".to_owned(),
            "str" | "string" => "text".to_owned(),
            _ => ty.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::site::CallSite;

    /// A function of `src/users.rs`: its name, its line, what it does and its settings.
    macro_rules! function {
        ($path:literal, $line:literal, $role:expr $(, $setting:ident($value:expr))* $(,)?) => {
            Registered::Function(
                &Function::new($path, "src/users.rs", $line, $role)$(.$setting($value))*
            )
        };
    }

    const fn user(id: &'static str, types: &'static [&'static str]) -> Template {
        Template::new(id, types)
    }

    #[track_caller]
    fn assert_report(registered: &'static [Registered], expected: &str) {
        let found = Findings(Program::new(registered).findings());
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn functions_that_agree_are_not_reported() {
        static PROGRAM: &[Registered] = &[
            function!(
                "find",
                1,
                Role::caches(
                    user("user:<id>", &["UserId"]),
                    "User",
                    &[Template::new("users", &[]), Template::typed("Team")],
                ),
            ),
            function!(
                "rename",
                2,
                Role::invalidates(&[user("user:<result.id>", &["_"]), user("user:<n>", &["i32"])]),
            ),
            function!(
                "clear",
                3,
                Role::invalidates(&[Template::new("team:<t>", &["String"])]),
            ),
            Registered::Newtype("UserId", "u64"),
            Registered::Tag("Team", Template::new("team:<0>", &["Box<str>"])),
            Registered::ByHand(Template::new("users", &[])),
        ];
        assert_report(PROGRAM, "");
    }

    #[test]
    fn functions_that_share_a_key_must_share_types_tags_and_schema_versions() {
        static GENERIC: CallSite = CallSite::new(
            Function::new(
                "generic",
                "src/users.rs",
                3,
                Role::caches(user("user:<id>", &["u64"]), "_", &[Template::typed("_")]),
            )
            // The number counts, whatever the text says.
            .options(&["version = 7"]),
        )
        .schema(2);
        static PROGRAM: &[Registered] = &[
            function!(
                "find",
                1,
                Role::caches(user("user:<id>", &["u64"]), "User", &[]),
            ),
            function!(
                "member",
                2,
                Role::caches(
                    user("user:<member>", &["u64"]),
                    "Member",
                    &[Template::typed("_")],
                ),
            ),
            Registered::Cached(&GENERIC),
            function!(
                "elsewhere",
                4,
                Role::caches(user("user:<id>", &["u64"]), "Elsewhere", &[]),
                cache("OTHER")
            ),
            function!("clear", 9, Role::invalidates(&[Template::typed("_")])),
            Registered::Tag("Team", Template::new("team:<0>", &["u64"])),
        ];
        assert_report(
            PROGRAM,
            "functions share the key `user:<id>`, but not their types: \
             each takes the entries of the others for misses\n  \
               --> src/users.rs:1: `find` caches `User`\n  \
               --> src/users.rs:2: `member` caches `Member`\n  \
               --> src/users.rs:3: `generic` caches `_`\n  \
               help: give each type a template of its own\n\n\
             functions share the key `user:<id>`, but not their schema versions: \
             each takes the entries of the others for misses\n  \
               --> src/users.rs:1: `find` has the schema version `0`\n  \
               --> src/users.rs:2: `member` has the schema version `0`\n  \
               --> src/users.rs:3: `generic` has the schema version `2`\n  \
               help: give them the same `version`, or templates of their own",
        );
    }

    #[test]
    fn parameters_of_different_types_are_reported() {
        static PROGRAM: &[Registered] = &[
            function!(
                "find",
                1,
                Role::caches(user("user:<id>", &["u64"]), "User", &[]),
            ),
            function!(
                "rename",
                2,
                Role::invalidates(&[user("user:<id>", &["str"])]),
            ),
        ];
        assert_report(
            PROGRAM,
            "`user:<id>` is used with parameters of different types, \
             which may write the same value differently\n  \
               --> src/users.rs:1: `find` has `user:<id>` of `u64`\n  \
               --> src/users.rs:2: `rename` has `user:<id>` of `str`\n  \
               help: give the parameters one type, or the templates different text",
        );
    }

    #[test]
    fn an_invalidation_of_nothing_and_a_tag_without_invalidation_are_reported() {
        static PROGRAM: &[Registered] = &[
            function!(
                "find",
                1,
                Role::caches(
                    user("user:<id>", &["u64"]),
                    "User",
                    &[Template::new("users", &[])],
                ),
            ),
            function!(
                "rename",
                2,
                Role::invalidates(&[user("user:<id>:name", &["u64"]), Template::new("x", &[])]),
            ),
        ];
        assert_report(
            PROGRAM,
            "invalidating `user:<id>:name` reaches no cached function\n  \
               --> src/users.rs:2: `rename` invalidates it\n  \
               help: did you mean `user:<id>`?\n\n\
             invalidating `x` reaches no cached function\n  \
               --> src/users.rs:2: `rename` invalidates it\n  \
               help: write it as in a `key` or an `invalidate_on`; \
               if it is cached by hand, leave it out with `except`\n\n\
             nothing invalidates the tag `users`\n  \
               --> src/users.rs:1: `find` has it\n  \
               help: annotate what changes the data with `#[cache_invalidate]`, \
               or remove the tag; if it is invalidated by hand, leave it out with `except`",
        );
        let findings = Findings(Program::new(PROGRAM).findings());
        assert!(findings.except(&["x", "users", "user:<id>:name"]).is_ok());
    }

    #[test]
    fn a_shape_leaves_out_the_names_of_placeholders_only() {
        assert_eq!(shape("user:<id>:<self.x>"), "user:<>:<>");
        assert_eq!(shape("a<<b>>:<c>"), "a<<b>>:<>");
        assert_ne!(shape("user:<id>"), shape("users:<id>"));
    }
}
