//! Whether the annotated functions of a program agree with each other.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::finding::{Finding, Findings};
use super::form::{self, Form, Newtypes};
use super::placeholder::{Placeholder, placeholders, shape};
use super::{Function, NamedType, OwnName, Registered, Role, Template, link};

/// Checks the annotated functions of the program against each other.
///
/// It finds:
///
/// * functions that share a key template, but differ in the type of what they cache, in their
///   tags or in their schema version (`version = N`): each takes the entries of the others
///   for misses;
/// * one template with values that are written differently: of another type (`u64` and `String`,
///   `Uuid` and `String`, `Duration` and `u64`), a list and one value, a list and a set or a map,
///   `Option<Vec<u64>>` and `Vec<u64>`, `<name.to_lowercase()>` and `<name>`, `<user>` and `<user.id>`
///   of one type;
/// * one template with its placeholders in another order: `<tenant>:<id>` and `<id>:<tenant>`;
/// * an invalidation that reaches no cached function, or none in its cache, unless a function there tells
///   tags of its values (a closure in `invalidate_on`): which ones those are is not known;
/// * a tag that nothing invalidates;
/// * a key or a tag of several caches that is not invalidated in each of them;
/// * a program without annotated functions, which has most likely not linked them.
///
/// A template in [`key!`](crate::key) counts as cached and as invalidated, by hand.
/// [`Findings::except`] leaves out anything else that is done by hand.
///
/// # Types
///
/// Types that write a value alike are no finding: `u32` and `i64`, `&str` and `Arc<str>`, `Vec<u64>` and
/// `[u64; 4]`, `HashMap` and `BTreeMap`, `Option<u64>` and `u64`, a type that derives
/// [`KeyPart`](crate::KeyPart) around one value and that value.
///
/// A type with a path of modules in it, such as `ids::IssueId`, is the type that the compiler finds
/// there: a `type` alias is the type that it stands for, and two types with one name are two. So are
/// the types in a derive.
///
/// An attribute cannot tell an alias from a type parameter of the `impl` block around it. So of a
/// name without a path, such as `IssueId`, only the text is known:
///
/// * In a placeholder, it may stand for any type, unless a type of this name derives
///   [`KeyPart`](crate::KeyPart) around one value. `IssueId` against `i64` is no finding, and
///   neither is `Status` against another type of that name; `&[IssueId]` against `IssueId` is one.
///   The names of types of std, and `Decimal`, `Ulid` and `Uuid`, are taken for those types.
/// * As what is cached, it is compared by its text: an alias and its type are two. Write one of
///   the two in all of the functions that share a template, or a path in each of them.
///
/// The text is all that is compared of types with `Self`, `impl Trait`, a `dyn` type, a macro or a
/// `<T as Trait>` in them, too.
///
/// A type parameter, the type of a field or of what a method returns is not known, and passes
/// for any type.
///
/// # Caches
///
/// The expressions in `cache = …` are compared. Two statics with different names are two caches,
/// and a function without `cache` uses another one than a function with it. Any other expression,
/// such as `self.cache`, may mean any cache but the global one.
///
/// # Errors
///
/// The findings, each with all of its places.
///
/// ```standalone_crate
/// # #[cache_runtime::cached(key = "user:<id>", ttl = 60)]
/// # async fn find(id: u64) -> String { format!("user {id}") }
/// cache_runtime::registry::check()?;
/// # Ok::<_, cache_runtime::registry::Findings>(())
/// ```
pub fn check() -> Result<(), Findings> {
    Findings::or_nothing(Program::new(link::all()).findings())
}

/// The annotations of a program.
pub(super) struct Program {
    uses: Vec<Use>,
    /// The shapes of the templates in `key!`.
    by_hand: HashSet<String>,
    newtypes: Newtypes,
    own_names: Vec<OwnName>,
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
    cache: Cache,
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

    fn is_read(&self) -> bool {
        self.part != Part::Invalidated
    }

    fn place(&self, does: impl fmt::Display) -> String {
        let Function {
            path, file, line, ..
        } = self.function;
        format!("{file}:{line}: `{path}` {does}")
    }
}

/// Which cache a function uses, as far as its `cache = …` shows.
#[derive(Clone, Copy, PartialEq)]
enum Cache {
    Global,
    /// A static, by its name without a path.
    Static(&'static str),
    /// Any other expression.
    Expression,
}

impl Cache {
    fn of(function: &Function) -> Self {
        let Some(expression) = function.cache else {
            return Self::Global;
        };
        // `MINE` of `&crate::MINE`, `*MINE` and `MINE.get()`.
        let path = expression.trim_start_matches(['&', '*', ' ', '(']);
        let path = path.split(['.', '(', ')', ' ']).next().unwrap_or(path);
        let name = path.rsplit("::").next().unwrap_or(path);
        if name.starts_with(char::is_uppercase) && !name.contains(char::is_lowercase) {
            Self::Static(name)
        } else {
            Self::Expression
        }
    }

    fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Global, other) | (other, Self::Global) => other == Self::Global,
            (Self::Static(one), Self::Static(other)) => one == other,
            (Self::Expression, _) | (_, Self::Expression) => true,
        }
    }
}

/// `the global cache`, or `MINE`
fn cache_of(function: &Function) -> String {
    match function.cache {
        None => "the global cache".to_owned(),
        Some(cache) => format!("`{cache}`"),
    }
}

impl Program {
    pub(super) fn new(registered: impl IntoIterator<Item = &'static Registered>) -> Self {
        let mut functions = Vec::new();
        let mut tags = HashMap::<_, Vec<_>>::new();
        let mut by_hand = HashSet::new();
        let mut newtypes = Newtypes::default();
        let mut own_names = Vec::new();
        for item in registered {
            match item {
                Registered::Cached(site) => functions.push((&site.function, site.schema)),
                Registered::Function(function) => functions.push((*function, 0)),
                Registered::Tag(ty, template) => tags.entry(*ty).or_default().push(*template),
                Registered::Newtype(around, inside) => newtypes.add(*around, *inside),
                Registered::ByHand(name) => {
                    by_hand.insert(shape(name.text));
                }
                Registered::OwnName(own) => own_names.push(*own),
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
                    cache: Cache::of(function),
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
            own_names,
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.uses.is_empty() {
            findings.push(no_functions());
        }
        self.check_shared_keys(&mut findings);
        self.check_placeholders(&mut findings);
        self.check_invalidations(&mut findings);
        self.check_tags(&mut findings);
        self.check_caches(&mut findings);
        self.check_own_names(&mut findings);
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

    /// A value that is written in two ways makes two names, which do not meet.
    fn check_placeholders(&self, findings: &mut Vec<Finding>) {
        for names in self.names_that_could_meet() {
            let one_way = names.iter().filter(|name| !is_both_ways(name, &names));
            let one_way: Vec<_> = one_way.collect();
            let out_of_order = Disagreement::new(&one_way, Name::is_reordered, Name::order);
            let mut others = Vec::new();
            if let Some(disagreement) = out_of_order {
                findings.push(disagreement.finding(
                    "order",
                    &|name| {
                        format!(
                            "`{name}` is used with its placeholders in another order, so what is \
                             meant to be one name is two"
                        )
                    },
                    "write the placeholders in one order",
                ));
                others = disagreement.others();
            }
            let is_in_order = |name: &&Name<'_>| {
                !others
                    .iter()
                    .any(|other| std::ptr::eq(other.used, name.used))
            };
            let names: Vec<_> = names.iter().filter(is_in_order).collect();
            for at in 0..names.iter().map(|name| name.parts.len()).max().unwrap_or(0) {
                let spelled = Disagreement::new(
                    &names,
                    |one, other| self.is_other_spelling(one, other, at),
                    |name| name.parts[at].placeholder.accesses(),
                );
                if let Some(disagreement) = spelled {
                    findings.push(disagreement.finding(
                        "spelling",
                        &|name| {
                            format!(
                                "`{name}` is used with one value that is written in different \
                                 ways, so what is meant to be one name is two"
                            )
                        },
                        "use the same fields and methods in each of the placeholders",
                    ));
                }
            }
            check_types(&names, findings);
        }
    }

    /// The templates of one shape, in each of the caches. Those whose cache is not known count
    /// with all that are not the global one.
    fn names_that_could_meet(&self) -> Vec<Vec<Name<'_>>> {
        let mut by_shape = BTreeMap::<_, Vec<_>>::new();
        for used in &self.uses {
            if let [template] = used.templates[..] {
                let name = Name::new(used, template, &self.newtypes);
                by_shape.entry(shape(template.text)).or_default().push(name);
            }
        }
        let mut groups = Vec::new();
        for names in by_shape.into_values() {
            let mut in_caches: Vec<Vec<Name<'_>>> = Vec::new();
            for name in names {
                let (mut same, others): (Vec<_>, Vec<_>) =
                    in_caches.into_iter().partition(|group| {
                        group
                            .iter()
                            .any(|other| other.used.cache.may_be(name.used.cache))
                    });
                same.push(vec![name]);
                in_caches = others;
                in_caches.push(same.into_iter().flatten().collect());
            }
            groups.extend(in_caches);
        }
        groups
    }

    /// Whether one value is taken for both names, by another path or with another method.
    fn is_other_spelling(&self, one: &Name<'_>, other: &Name<'_>, at: usize) -> bool {
        let (Some(one), Some(other)) = (one.parts.get(at), other.parts.get(at)) else {
            return false;
        };
        let (first, second) = (&one.placeholder, &other.placeholder);
        let is_one_variable = match (&one.variable, &other.variable) {
            (Some(one), Some(other)) => {
                let (one, other) = (self.newtypes.form(one), self.newtypes.form(other));
                one != Form::Any && other != Form::Any && one.is_like(&other)
            }
            _ => false,
        };
        if first.methods != second.methods {
            let only_spelled = |one: &Placeholder<'_>, other: &Placeholder<'_>| {
                one.has_other_spelling() && (other.methods.is_empty() || other.has_other_spelling())
            };
            return first.noun() == second.noun()
                && (only_spelled(first, second)
                    || only_spelled(second, first)
                    || is_one_variable && first.fields == second.fields);
        }
        // The whole and a field of it. What a newtype is around is written like the newtype.
        let longer = first.fields.len().max(second.fields.len());
        let shared = first.fields.iter().zip(&second.fields);
        let shared = shared.take_while(|(one, other)| one == other).count();
        let rest = first.fields.iter().chain(&second.fields).skip(shared);
        is_one_variable
            && first.fields != second.fields
            && shared == first.fields.len().min(second.fields.len())
            && longer - shared > 0
            && !rest.into_iter().any(|field| *field == "0")
    }

    fn check_invalidations(&self, findings: &mut Vec<Finding>) {
        for used in self.uses.iter().filter(|used| !used.is_read()) {
            if self.is_by_hand(used) || self.may_be_of_value(used) {
                continue;
            }
            let name = used.written.text;
            let read = self.that_meet(used);
            if read.is_empty() {
                findings.push(Finding {
                    name,
                    id: format!("unused invalidation {name} {}", used.function.path),
                    what: format!("invalidating `{name}` reaches no cached function"),
                    places: vec![used.place("invalidates it")],
                    help: self.suggest(name),
                });
            } else if !read.iter().any(|read| read.cache.may_be(used.cache)) {
                findings.push(other_cache(used, &read));
            }
        }
    }

    fn is_by_hand(&self, used: &Use) -> bool {
        used.shapes().any(|shape| self.by_hand.contains(&shape))
    }

    /// Whether a name may be a tag that the value of a function tells.
    fn may_be_of_value(&self, used: &Use) -> bool {
        self.uses
            .iter()
            .any(|other| other.function.tags_of_value && other.cache.may_be(used.cache))
    }

    /// The reads of a name that is invalidated, or the invalidations of a name that is read.
    fn that_meet(&self, used: &Use) -> Vec<&Use> {
        let shapes: HashSet<_> = used.shapes().collect();
        self.uses
            .iter()
            .filter(|other| other.is_read() != used.is_read())
            .filter(|other| other.shapes().any(|shape| shapes.contains(&shape)))
            .collect()
    }

    fn suggest(&self, name: &str) -> String {
        let words = |text: &str| {
            let shape = shape(text);
            let words = shape.split([':', '<', '>', '/', '-', '.']);
            let mut words: Vec<_> = words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect();
            words.sort();
            words
        };
        let start = |text: &str| text.split([':', '<']).next().map(str::to_owned);
        let reads = || self.uses.iter().filter(|used| used.is_read());
        let similar = reads()
            .find(|used| words(used.written.text) == words(name))
            .or_else(|| reads().find(|used| start(used.written.text) == start(name)));
        match similar {
            Some(similar) => format!("did you mean `{}`?", similar.written),
            None => "write it as in a `key` or an `invalidate_on`; if it is cached by hand, \
                     leave it out with `except`"
                .to_owned(),
        }
    }

    fn check_tags(&self, findings: &mut Vec<Finding>) {
        let mut never = BTreeMap::<_, Vec<_>>::new();
        for used in self.uses.iter().filter(|used| used.part == Part::Tag) {
            if self.is_by_hand(used) {
                continue;
            }
            if self.that_meet(used).is_empty() {
                never.entry(used.written.text).or_default().push(used);
            }
        }
        for (name, uses) in never {
            findings.push(Finding {
                name,
                id: format!("unused tag {name}"),
                what: format!("nothing invalidates the tag `{name}`"),
                places: uses.iter().map(|used| used.place("has it")).collect(),
                help: "annotate what changes the data with `#[cache_invalidate]`, or remove the \
                       tag; if it is invalidated by hand, leave it out with `except`"
                    .to_owned(),
            });
        }
    }

    /// A name that is invalidated, but not in each cache that has it. A key that nothing invalidates
    /// lives for its ttl.
    fn check_caches(&self, findings: &mut Vec<Finding>) {
        for used in self.uses.iter().filter(|used| used.is_read()) {
            let invalidations = self.that_meet(used);
            let mut caches = invalidations.iter().map(|other| other.cache);
            let is_elsewhere = !invalidations.is_empty()
                && !caches.any(|cache| cache.may_be(used.cache))
                && invalidations.iter().all(|other| self.reaches(other));
            if is_elsewhere && !self.is_by_hand(used) {
                findings.push(other_cache(used, &invalidations));
            }
        }
    }

    /// A name that two types claim is used for neither, and so is each name of a type with two.
    fn check_own_names(&self, findings: &mut Vec<Finding>) {
        let mut paths = BTreeMap::<_, BTreeMap<_, _>>::new();
        let mut names = BTreeMap::<_, BTreeMap<_, _>>::new();
        for own in &self.own_names {
            let path = own.path();
            let place = format!(
                "{}:{}: `{path}` has the name `{}`",
                own.file, own.line, own.name
            );
            paths
                .entry(own.name)
                .or_default()
                .insert(path.clone(), place.clone());
            names.entry(path).or_default().insert(own.name, place);
        }
        let places = |places: Vec<&String>| places.into_iter().cloned().collect();
        for (name, claims) in paths.iter().filter(|(_, claims)| claims.len() > 1) {
            let types: Vec<_> = claims.keys().map(String::as_str).collect();
            findings.push(Finding {
                name,
                id: format!("type name {name} {}", types.join(", ")),
                what: format!(
                    "several types have the name `{name}`, so keys name each of them by its path"
                ),
                places: places(claims.values().collect()),
                help: "give each type a name of its own in `#[key_name]`".to_owned(),
            });
        }
        for (path, claims) in names.iter().filter(|(_, claims)| claims.len() > 1) {
            let claimed: Vec<_> = claims.keys().copied().collect();
            findings.push(Finding {
                name: claimed[0],
                id: format!("type names {path} {}", claimed.join(", ")),
                what: format!(
                    "`{path}` has several names, so keys name it by its path: two types have \
                     this path, as in two versions of a crate, or it has two attributes"
                ),
                places: places(claims.values().collect()),
                help: "give it one `#[key_name]`".to_owned(),
            });
        }
    }

    /// Whether an invalidation reaches a cached function. One that does not is a finding already.
    fn reaches(&self, used: &Use) -> bool {
        let reads = self.that_meet(used);
        reads.iter().any(|read| read.cache.may_be(used.cache))
    }
}

fn check_types(names: &[&Name<'_>], findings: &mut Vec<Finding>) {
    for contrast in CONTRASTS {
        let differ = |one: &Name<'_>, other: &Name<'_>| {
            let mut forms = one.parts.iter().zip(&other.parts);
            forms.any(|(one, other)| contrast_of(&one.form, &other.form) == Some(contrast.kind))
        };
        if let Some(disagreement) = Disagreement::new(names, differ, Name::forms) {
            let each = (contrast.kind == ContrastKind::List).then(|| {
                disagreement
                    .pairs()
                    .find_map(|(one, other)| one.each_of(other))
            });
            findings.push(disagreement.finding(
                contrast.id,
                &|name| format!("`{name}` is used with {}", contrast.what),
                each.flatten().as_deref().unwrap_or(contrast.help),
            ));
        }
    }
}

fn no_functions() -> Finding {
    let help = if cfg!(target_family = "wasm") {
        "on WebAssembly nothing is registered: run the check on another target"
    } else {
        "the linker leaves out a library that is not used: write `use my_crate as _;` in the \
         file of the test, for each crate with annotations"
    };
    Finding {
        name: "",
        id: "no functions".to_owned(),
        what: "the program has no annotated function, so there is nothing to check".to_owned(),
        places: Vec::new(),
        help: help.to_owned(),
    }
}

fn other_cache(used: &Use, others: &[&Use]) -> Finding {
    let name = used.written.text;
    let does = |used: &Use| {
        let does = if used.is_read() {
            "caches"
        } else {
            "invalidates"
        };
        used.place(format_args!("{does} it in {}", cache_of(used.function)))
    };
    let what = match used.part {
        Part::Key => "nothing invalidates the key",
        Part::Tag => "nothing invalidates the tag",
        Part::Invalidated => "no function caches",
    };
    let cache = cache_of(used.function);
    Finding {
        name,
        id: format!("other cache {name} {}", used.function.path),
        what: format!("{what} `{name}` in {cache}, but in another cache"),
        places: std::iter::once(used)
            .chain(others.iter().copied())
            .map(does)
            .collect(),
        help: "give all of them the same `cache = …`".to_owned(),
    }
}

/// A template as it is used, with what is known of its placeholders.
struct Name<'p> {
    used: &'p Use,
    template: Template,
    parts: Vec<NamePart>,
}

struct NamePart {
    placeholder: Placeholder<'static>,
    /// The type of the variable that it begins with.
    variable: Option<NamedType>,
    form: Form,
    ty: NamedType,
}

impl<'p> Name<'p> {
    fn new(used: &'p Use, template: Template, newtypes: &Newtypes) -> Self {
        let placeholders = placeholders(template.text);
        let parts = placeholders
            .into_iter()
            .enumerate()
            .map(|(at, placeholder)| {
                let written = template.types.get(at).copied().unwrap_or("_");
                let variable = template.variables.get(at).copied();
                let is_variable = placeholder.text == placeholder.variable;
                let own = variable.filter(|_| is_variable);
                let ty = own.unwrap_or(NamedType::written(written));
                NamePart {
                    variable: if is_variable { Some(ty) } else { variable },
                    form: newtypes.form(&ty),
                    ty,
                    placeholder,
                }
            });
        Self {
            used,
            template,
            parts: parts.collect(),
        }
    }

    /// What its placeholders are, in order. Two placeholders with one noun count as they are
    /// written.
    fn nouns(&self) -> Vec<&'static str> {
        let noun = |part: &NamePart| part.placeholder.noun();
        let is_twice = |name| self.parts.iter().filter(|part| noun(part) == name).count() > 1;
        let name = |part: &NamePart| match noun(part) {
            noun if is_twice(noun) => part.placeholder.text,
            noun => noun,
        };
        self.parts.iter().map(name).collect()
    }

    fn order(&self) -> String {
        self.nouns().join(" ")
    }

    fn types(&self, text: impl Fn(&NamedType) -> String) -> String {
        let types: Vec<_> = self.parts.iter().map(|part| text(&part.ty)).collect();
        types.join("`, `")
    }

    fn forms(&self) -> String {
        let forms = self.parts.iter().map(|part| part.form.without_option());
        format!("{:?}", forms.collect::<Vec<_>>())
    }

    /// How to invalidate each value of a list, if this name is invalidated with a list where the other
    /// one has a value.
    fn each_of(&self, other: &Self) -> Option<String> {
        let is_list = |form: &Form| matches!(form, Form::List(_) | Form::Set(_));
        let pairs = || self.parts.iter().zip(&other.parts);
        let (list, value) = pairs().find(|(list, value)| {
            is_list(&list.form) && contrast_of(&list.form, &value.form) == Some(ContrastKind::List)
        })?;
        if self.used.is_read() || !other.used.is_read() {
            return None;
        }
        let list = list.placeholder.text;
        let noun = value.placeholder.noun();
        let is_taken = |part: &NamePart| part.placeholder.variable == noun;
        let each = if self.parts.iter().any(is_taken) {
            "one"
        } else {
            noun
        };
        let template = self.template.text;
        let template = template.replace(&format!("<{list}>"), &format!("<{each}>"));
        Some(format!(
            "invalidate each value by itself: `#[cache_invalidate(\"{template}\", each({each} in {list}))]`; \
             or a tag that all of them carry"
        ))
    }

    /// Whether two names have the same nouns in another order.
    fn is_reordered(&self, other: &Self) -> bool {
        let (one, other) = (self.nouns(), other.nouns());
        let is_swap =
            |i: usize, j: usize| one[i] != one[j] && one[i] == other[j] && one[j] == other[i];
        let swapped = || (0..one.len()).any(|i| (0..i).any(|j| is_swap(i, j)));
        let sorted = |nouns: &[&'static str]| {
            let mut nouns = nouns.to_vec();
            nouns.sort_unstable();
            nouns
        };
        one.len() == other.len() && (swapped() || one != other && sorted(&one) == sorted(&other))
    }
}

/// Whether the function of this name invalidates it in several orders, as it does where a value
/// belongs to both of two others.
fn is_both_ways(name: &Name<'_>, names: &[Name<'_>]) -> bool {
    let is_own = |other: &&Name<'_>| std::ptr::eq(other.used.function, name.used.function);
    let mut own = names.iter().filter(is_own);
    !name.used.is_read() && own.any(|other| name.is_reordered(other))
}

/// A type as it is written, and what an alias stands for.
fn readable(ty: &NamedType) -> String {
    let text = ty.text();
    match ty.resolved() {
        Some(resolved) if without_paths(resolved) != without_paths(text) => {
            format!("{text} = {resolved}")
        }
        _ => text.to_owned(),
    }
}

/// The text of a type without the modules in it, and without references.
fn without_paths(text: &str) -> String {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let parts = text.split_inclusive(|c| !in_path(c));
    let short: String = parts
        .map(|part| part.rsplit("::").next().unwrap_or(part))
        .collect();
    short.replace("&mut ", "").replace(['&', ' '], "")
}

/// A type as the compiler names it.
fn with_path(ty: &NamedType) -> String {
    ty.resolved().unwrap_or(ty.text()).to_owned()
}

/// Names of one template that disagree.
struct Disagreement<'n, 'p> {
    /// By what they have in common, the largest part first.
    sides: Vec<Vec<&'n Name<'p>>>,
}

impl<'n, 'p> Disagreement<'n, 'p> {
    /// Those of the names that disagree with another. The same label is the same side.
    fn new(
        names: &[&'n Name<'p>],
        disagree: impl Fn(&Name<'p>, &Name<'p>) -> bool,
        label: impl Fn(&Name<'p>) -> String,
    ) -> Option<Self> {
        let mut sides = Vec::<(String, Vec<_>)>::new();
        for &name in names {
            if !names.iter().any(|other| disagree(name, other)) {
                continue;
            }
            let label = label(name);
            match sides.iter_mut().find(|(other, _)| *other == label) {
                Some((_, side)) => side.push(name),
                None => sides.push((label, vec![name])),
            }
        }
        // What comes first in the program is first among sides of one size.
        sides.sort_by_key(|(_, side)| std::cmp::Reverse(side.len()));
        let sides: Vec<_> = sides.into_iter().map(|(_, side)| side).collect();
        (!sides.is_empty()).then_some(Self { sides })
    }

    /// Those that are not as most are.
    fn others(&self) -> Vec<&'n Name<'p>> {
        self.sides.iter().skip(1).flatten().copied().collect()
    }

    /// Each pair of names that are on two sides.
    fn pairs(&self) -> impl Iterator<Item = (&'n Name<'p>, &'n Name<'p>)> {
        let sides = self.sides.iter().enumerate();
        sides.flat_map(|(at, side)| {
            let others = self.sides.iter().enumerate();
            let others = others.filter(move |(other, _)| *other != at);
            others.flat_map(move |(_, others)| {
                let pair = |one| others.iter().map(move |&other| (one, other));
                side.iter().flat_map(move |&one| pair(one))
            })
        })
    }

    /// Names one that is as most are, and all others.
    fn finding(&self, kind: &str, what: &dyn Fn(&str) -> String, help: &str) -> Finding {
        let usual = self.sides[0][0];
        let name = usual.template.text;
        let mut places: Vec<_> = std::iter::once(usual).chain(self.others()).collect();
        places.sort_by_key(|name| (name.used.function.file, name.used.function.line));
        let texts: HashSet<_> = self
            .sides
            .iter()
            .map(|side| side[0].types(readable))
            .collect();
        let is_told_apart = texts.len() == self.sides.len();
        let place = |name: &&Name<'_>| {
            let template = name.template;
            let types = name.types(if is_told_apart { readable } else { with_path });
            if types.is_empty() {
                name.used.place(format_args!("has `{template}`"))
            } else {
                name.used
                    .place(format_args!("has `{template}` of `{types}`"))
            }
        };
        Finding {
            name,
            id: format!("{kind} {name} {}", self.functions()),
            what: what(name),
            places: places.iter().map(place).collect(),
            help: help.to_owned(),
        }
    }

    /// Those that are not as most are; all of them, if there is no most.
    fn functions(&self) -> String {
        let is_tie = self
            .sides
            .get(1)
            .is_some_and(|side| side.len() == self.sides[0].len());
        let names = self.sides.iter().skip(usize::from(!is_tie)).flatten();
        functions(names.map(|name| name.used))
    }
}

/// The paths of functions, sorted, each of them once.
fn functions<'u>(uses: impl Iterator<Item = &'u Use>) -> String {
    let mut functions: Vec<_> = uses.map(|used| used.function.path).collect();
    functions.sort_unstable();
    functions.dedup();
    functions.join(", ")
}

/// In what the types of two values differ.
#[derive(Clone, Copy, PartialEq)]
enum ContrastKind {
    Option,
    List,
    Set,
    Other,
}

struct Contrast {
    kind: ContrastKind,
    id: &'static str,
    what: &'static str,
    help: &'static str,
}

const CONTRASTS: &[Contrast] = &[
    Contrast {
        kind: ContrastKind::Option,
        id: "option",
        what: "an `Option` of a list, or of an `Option`, in one place and what is in it in another: \
               `Some` of an empty list or of `None` is written `(())`, and what is in it `()`, so \
               the two do not meet",
        help: "use the same number of `Option`s in all of them",
    },
    Contrast {
        kind: ContrastKind::List,
        id: "list",
        what: "a list in one place and one value in another: the list `[1, 2]` is written `(1,2)`, \
               which is the name of neither value",
        help: "invalidate each value by itself, or a tag that all of them carry",
    },
    Contrast {
        kind: ContrastKind::Set,
        id: "set",
        what: "a set or a map in one place and a list in another: a set is written in the order of \
               its elements' texts, each once, and a list as it is, so the two do not always meet",
        help: "use a set in all of them, or a map, or a list",
    },
    Contrast {
        kind: ContrastKind::Other,
        id: "parameter types",
        what: "parameters of different types, which may write the same value differently",
        help: "give the parameters one type, or the templates different text",
    },
];

fn contrast_of(one: &Form, other: &Form) -> Option<ContrastKind> {
    if one.may_be_like(other) {
        return None;
    }
    Some(match (one, other) {
        (Form::Option(inside), other) | (other, Form::Option(inside)) => {
            // The two differ by an `Option`, or in what is in it.
            contrast_of(inside, other).unwrap_or(ContrastKind::Option)
        }
        (Form::List(one), Form::Set(other)) | (Form::Set(one), Form::List(other))
            if one.may_be_like(other) =>
        {
            ContrastKind::Set
        }
        (Form::List(element) | Form::Set(element), other)
        | (other, Form::List(element) | Form::Set(element))
            if element.may_be_like(other) =>
        {
            ContrastKind::List
        }
        _ => ContrastKind::Other,
    })
}

/// Something that functions with one key must have in common.
struct Aspect {
    noun: &'static str,
    verb: &'static str,
    of: fn(&Use) -> String,
    agree: fn(&Use, &Use) -> bool,
    help: &'static str,
}

const ASPECTS: &[Aspect] = &[
    Aspect {
        noun: "types",
        verb: "caches",
        of: |used| readable(&value(used)),
        agree: |one, other| form::is_one_value(&value(one), &value(other)),
        help: "give each type a template of its own",
    },
    Aspect {
        noun: "tags",
        verb: "has the tags",
        of: tags,
        agree: |one, other| {
            is_open(&tags(one)) || is_open(&tags(other)) || tags(one) == tags(other)
        },
        help: "give them the same tags, or templates of their own",
    },
    Aspect {
        noun: "schema versions",
        verb: "has the schema version",
        of: |used| used.schema.to_string(),
        agree: |one, other| one.schema == other.schema,
        help: "give them the same `version`, or templates of their own",
    },
];

impl Aspect {
    fn check(&self, uses: &[&Use]) -> Option<Finding> {
        let agrees = |one: &&Use| uses.iter().all(|other| (self.agree)(one, other));
        if uses.iter().all(agrees) {
            return None;
        }
        let name = uses.first()?.written.text;
        let of_each: HashSet<_> = uses.iter().map(|used| (self.of)(used)).collect();
        let place = |used: &&Use| {
            let aspect = match of_each.len() {
                // Types with one name.
                1 => with_path(&value(used)),
                _ => (self.of)(used),
            };
            if aspect.is_empty() {
                return used.place(format_args!("has no {}", self.noun));
            }
            used.place(format_args!("{} `{aspect}`", self.verb))
        };
        Some(Finding {
            name,
            id: format!("{} {name} {}", self.noun, functions(uses.iter().copied())),
            what: format!(
                "functions share the key `{name}`, but not their {}: \
                 each takes the entries of the others for misses",
                self.noun
            ),
            places: uses.iter().map(place).collect(),
            help: self.help.to_owned(),
        })
    }
}

/// The type of what a function caches.
fn value(used: &Use) -> NamedType {
    match used.function.role {
        Role::Caches { value, .. } if used.function.value.text() == "_" => {
            NamedType::written(value)
        }
        _ => used.function.value,
    }
}

fn tags(used: &Use) -> String {
    match used.function.role {
        Role::Caches { tags, .. } => {
            let mut tags: Vec<_> = tags.iter().map(|tag| shape(tag.text)).collect();
            if used.function.tags_of_value {
                tags.push("|value| …".to_owned());
            }
            tags.join("`, `")
        }
        Role::Invalidates { .. } => String::new(),
    }
}

/// Whether the text of types or tags leaves one open.
fn is_open(text: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|word| word == "_")
}
