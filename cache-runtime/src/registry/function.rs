//! An annotated function, as its attribute describes it. This file depends on no other.

/// An annotated function, as its attribute describes it.
///
/// ```
/// use cache_runtime::registry::{self, Role};
///
/// for function in registry::all() {
///     let place = format!("{}:{}", function.file, function.line);
///     match function.role {
///         Role::Caches { key, value, .. } => {
///             println!("{place}: {} caches {value} as {key}", function.path);
///         }
///         Role::Invalidates { names } => {
///             println!("{place}: {} invalidates {names:?}", function.path);
///         }
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// Its name, after that of its module.
    pub path: &'static str,
    /// The file of its attribute.
    pub file: &'static str,
    /// The line of its attribute.
    pub line: u32,
    /// What its attribute does.
    pub role: Role,
    /// The expression in `cache = …`; `None` for the global cache.
    pub cache: Option<&'static str>,
    /// The arguments of the attribute other than keys and tags, as they are written, such as
    /// `ttl = 60`.
    pub options: &'static [&'static str],
    /// Whether its values tell further tags, by a closure in `invalidate_on`. Which ones they are is not
    /// known here.
    pub tags_of_value: bool,
    /// The type of what is cached.
    pub(crate) value: NamedType,
}

impl Function {
    #[doc(hidden)]
    pub const fn new(path: &'static str, file: &'static str, line: u32, role: Role) -> Self {
        Self {
            path,
            file,
            line,
            role,
            cache: None,
            options: &[],
            tags_of_value: false,
            value: NamedType::written("_"),
        }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn value(mut self, value: NamedType) -> Self {
        self.value = value;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn tags_of_value(mut self) -> Self {
        self.tags_of_value = true;
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn cache(mut self, cache: &'static str) -> Self {
        self.cache = Some(cache);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn options(mut self, options: &'static [&'static str]) -> Self {
        self.options = options;
        self
    }

    /// The template of its key; empty for a function that invalidates.
    pub(crate) fn key(&self) -> &'static str {
        match self.role {
            Role::Caches { key, .. } => key.text,
            Role::Invalidates { .. } => "",
        }
    }
}

/// What an attribute does to its function.
///
/// ```
/// # use cache_runtime::registry::{self, Role};
/// let cached = registry::all().filter(|function| matches!(function.role, Role::Caches { .. }));
/// println!("{} cached functions", cached.count());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// `#[cached]`
    Caches {
        /// The template of its key.
        key: Template,
        /// The type of what is cached, as it is written, without `Result` and `Option`.
        value: &'static str,
        /// Its tags.
        tags: &'static [Template],
    },
    /// `#[cache_invalidate]`
    Invalidates {
        /// Keys and tags.
        names: &'static [Template],
    },
}

impl Role {
    #[doc(hidden)]
    pub const fn caches(key: Template, value: &'static str, tags: &'static [Template]) -> Self {
        Self::Caches { key, value, tags }
    }

    #[doc(hidden)]
    pub const fn invalidates(names: &'static [Template]) -> Self {
        Self::Invalidates { names }
    }
}

/// A key or a tag in an attribute: a template, or the type of a tag. Displays as its
/// [`text`](Self::text).
///
/// ```
/// # use cache_runtime::registry::{self, Role};
/// for function in registry::all() {
///     if let Role::Caches { key, .. } = function.role {
///         // "user:<id>" and ["u64"]
///         println!("{} of {:?}", key.text, key.types);
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Template {
    /// The template, or the type of a tag: `TenantUsers`. `_` if the attribute does not show
    /// the type.
    pub text: &'static str,
    /// The types of a template's placeholders, as they are written. `_` for a type that the
    /// function's signature does not show, such as that of a field.
    pub types: &'static [&'static str],
    /// Whether `text` is a type that implements `CacheTag`.
    pub typed: bool,
    /// The types of the variables that the placeholders begin with. Empty, if `types` says all
    /// that is known.
    pub(crate) variables: &'static [NamedType],
}

impl Template {
    #[doc(hidden)]
    pub const fn new(text: &'static str, types: &'static [&'static str]) -> Self {
        Self {
            text,
            types,
            typed: false,
            variables: &[],
        }
    }

    #[doc(hidden)]
    pub const fn typed(text: &'static str) -> Self {
        Self {
            text,
            types: &[],
            typed: true,
            variables: &[],
        }
    }

    #[doc(hidden)]
    #[must_use]
    pub const fn variables(mut self, variables: &'static [NamedType]) -> Self {
        self.variables = variables;
        self
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// A type as it is written and, where the macro can ask, as the compiler names it. So an alias
/// is the type that it stands for, and two types with one name are two.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct NamedType {
    written: &'static str,
    resolve: Option<fn() -> &'static str>,
}

impl NamedType {
    /// A type of which only the text is known.
    pub const fn written(written: &'static str) -> Self {
        Self {
            written,
            resolve: None,
        }
    }

    /// A type that the compiler knows.
    pub const fn of<T: ?Sized>(written: &'static str) -> Self {
        Self {
            written,
            resolve: Some(std::any::type_name::<T>),
        }
    }

    /// The type as it is written.
    pub(crate) fn text(&self) -> &'static str {
        self.written
    }

    /// The compiler's name for it, with its path.
    pub(crate) fn resolved(&self) -> Option<&'static str> {
        self.resolve.map(|resolve| resolve())
    }
}

impl std::fmt::Debug for NamedType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.resolved().unwrap_or(self.written))
    }
}

impl PartialEq for NamedType {
    fn eq(&self, other: &Self) -> bool {
        (self.written, self.resolved()) == (other.written, other.resolved())
    }
}

impl Eq for NamedType {}
