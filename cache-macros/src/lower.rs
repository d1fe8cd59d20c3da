//! Arguments and function to what is expanded: everything that doesn't fit is refused here.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Expr, ExprPath, FnArg, GenericArgument, GenericParam, Index, Item, LitStr, Macro,
    Member, Pat, PatIdent, PathArguments, ReturnType, Signature, Token, Type, TypeImplTrait,
    TypeParamBound, Visibility, braced, parse_quote, token,
};

use crate::attr::{self, CachedArgs, FenceLength, FenceOption, InvalidateArgs, Ttl};
use crate::describe;
use crate::errors::{Errors, error, nearest, suggest};
use crate::runtime::Runtime;
use crate::template::{self, Placeholder, Template};

/// `#[cached]` on a function that it fits.
pub(crate) struct CachedFn {
    pub(crate) runtime: Runtime,
    pub(crate) function: Function,
    pub(crate) output: Output,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) none_ttl: Option<Duration>,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    pub(crate) unless: Option<Expr>,
    pub(crate) version: Option<u32>,
    pub(crate) codec: Option<Expr>,
    pub(crate) key: Name,
    pub(crate) tags: Vec<Tag>,
    /// The other arguments, as they are written.
    pub(crate) options: Vec<String>,
}

/// `#[cache_invalidate]` on a function that it fits.
pub(crate) struct InvalidateFn {
    pub(crate) runtime: Runtime,
    pub(crate) function: Function,
    pub(crate) output: Output,
    pub(crate) cache: Option<Expr>,
    pub(crate) condition: Option<Expr>,
    pub(crate) on_ok: bool,
    pub(crate) fence: Option<Fence>,
    pub(crate) from_arguments: Vec<Tag>,
    pub(crate) from_result: Vec<Tag>,
    /// The other arguments, as they are written.
    pub(crate) options: Vec<String>,
}

/// A fence around the names that are there before the body runs.
pub(crate) struct Fence {
    pub(crate) length: FenceLength,
    /// Whether the body runs behind it only, and where that is said.
    pub(crate) required: Option<Span>,
}

/// A function whose statements are nobody's business here.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) brace: token::Brace,
    pub(crate) inner_attrs: Vec<Attribute>,
    pub(crate) statements: TokenStream,
}

/// How a function gives what it loads.
pub(crate) enum Output {
    /// `async fn … -> T`
    Value(Type),
    /// `-> impl Future<Output = T>`
    Future(Type),
    /// `-> Pin<Box<dyn Future<Output = T>>>`, or an alias; which `T` is for the compiler to find.
    Boxed(Type),
}

pub(crate) enum Tag {
    Name(Name),
    Typed(TypedTag),
}

/// A value of a type that implements `CacheTag`.
pub(crate) struct TypedTag {
    pub(crate) expr: Expr,
    /// The user's name for what the function returned, if this reads it.
    pub(crate) result: Option<Ident>,
}

/// A key or a tag: literal text around parts, one piece more than parts.
pub(crate) struct Name {
    /// The template as it was written.
    pub(crate) source: String,
    pub(crate) span: Span,
    pub(crate) literals: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

/// What a placeholder stands for. Every identifier in it is located at the template.
pub(crate) struct Part {
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
}

pub(crate) enum Root {
    Value(Ident),
    /// The name of this type.
    Type(Ident),
    /// What the function returned.
    Result,
}

pub(crate) enum Step {
    Field(Member),
    Method(Ident),
}

pub(crate) fn cached(args: TokenStream, item: TokenStream) -> syn::Result<CachedFn> {
    let function = Function::parse_item(item)?;
    let options = describe::options(args.clone());
    let mut errors = Errors::default();
    let args = CachedArgs::parse(args, &mut errors);
    let mut scope = Scope::new(&function.sig);
    // An argument that could not be read may be the one that names a parameter.
    scope.in_doubt = !errors.is_empty();
    let output = function.output(&mut errors);
    output.check_nameable(&mut errors);
    function.check_alone(&["cached", "cache_invalidate"], &mut errors);

    let key = args
        .key
        .as_ref()
        .map(|key| scope.lower(Place::Key, key, &mut errors));
    let tags = scope.lower_all(Place::Tag, args.tags, &mut errors);
    scope.skip(&args.skip, &mut errors);
    function.check_no_wildcards(&mut errors);
    scope.check_patterns(&mut errors);
    scope.check_complete(&mut errors);

    errors.finish(CachedFn {
        runtime: args.runtime,
        output,
        ttl: args.ttl,
        none_ttl: args.none_ttl,
        cache: args.cache,
        condition: args.condition,
        unless: args.unless,
        version: args.version,
        codec: args.codec,
        key: key.unwrap_or_else(|| Name::empty(Span::call_site())),
        tags,
        options,
        function,
    })
}

pub(crate) fn cache_invalidate(args: TokenStream, item: TokenStream) -> syn::Result<InvalidateFn> {
    let function = Function::parse_item(item)?;
    let options = describe::options(args.clone());
    let mut errors = Errors::default();
    let args = InvalidateArgs::parse(args, &mut errors);
    let output = function.output(&mut errors);
    function.check_alone(&["cached"], &mut errors);

    let names = Scope::new(&function.sig).lower_all(Place::Invalidated, args.names, &mut errors);
    let (from_result, from_arguments): (Vec<_>, Vec<_>) =
        names.into_iter().partition(Tag::reads_result);
    let fence = lower_fence(
        args.fence,
        args.fence_required,
        &from_arguments,
        &mut errors,
    );
    if args.on_ok || fence.is_some() || !from_result.is_empty() {
        output.check_nameable(&mut errors);
    }

    errors.finish(InvalidateFn {
        runtime: args.runtime,
        output,
        cache: args.cache,
        condition: args.condition,
        on_ok: args.on_ok,
        fence,
        from_arguments,
        from_result,
        options,
        function,
    })
}

fn lower_fence(
    option: Option<FenceOption>,
    required: Option<Span>,
    from_arguments: &[Tag],
    errors: &mut Errors,
) -> Option<Fence> {
    let Some(option) = option else {
        // What was meant for one may be what could not be read.
        if let Some(required) = required
            && errors.is_empty()
        {
            errors.push(
                required,
                "`fence_required` without a `fence`",
                "add `fence = \"30s\"`, longer than the longest write takes",
            );
        }
        return None;
    };
    if from_arguments.is_empty() && errors.is_empty() {
        errors.push(
            option.span,
            "`fence` has nothing to stand around: every name needs the result, which is not there \
             before the body",
            "name a key or a tag by the parameters too, such as one that all of them carry, or \
             leave `fence` out",
        );
    }
    Some(Fence {
        length: option.length,
        required,
    })
}

/// The name in `key!("user:<id>")`, whose placeholders are any variables.
pub(crate) fn key(tokens: TokenStream) -> syn::Result<(Name, Runtime)> {
    let parse = |input: ParseStream<'_>| {
        let usage = "name variables in the template: `key!(\"user:<id>\")`";
        attr::parse_template(input, "`key!`", usage)
    };
    let (literal, runtime) = parse.parse2(tokens)?;
    let mut errors = Errors::default();
    let name = parse_template(&literal, &mut errors).map(|template| {
        lower_parts(
            template,
            literal.span(),
            &mut errors,
            |placeholder, errors| {
                name_of(&placeholder.root, literal.span(), errors).map(Root::Value)
            },
        )
    });
    let name = name.unwrap_or_else(|| Name::empty(literal.span()));
    errors.finish((name, runtime))
}

impl Function {
    fn parse_item(item: TokenStream) -> syn::Result<Self> {
        syn::parse2(item.clone()).map_err(|syntax| {
            // The compiler only lets items through that it can parse; what is
            // left is another kind of item, or syntax that syn doesn't know yet.
            match syn::parse2::<Item>(item) {
                Ok(Item::Fn(_) | Item::Verbatim(_)) | Err(_) => syntax,
                Ok(_) => error(
                    Span::call_site(),
                    "only a function can have this attribute",
                    "put the attribute on an `async fn`",
                ),
            }
        })
    }

    /// How it gives what it loads; refused if it could not wait for a cache.
    fn output(&self, errors: &mut Errors) -> Output {
        let name = &self.sig.ident;
        let ty = match &self.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => ungrouped(ty).clone(),
        };
        if let Some(variadic) = &self.sig.variadic {
            errors.push(
                variadic.dots.spans[0],
                format_args!("`{name}` takes any number of arguments"),
                "take a slice instead",
            );
        }
        if let Some(token) = &self.sig.constness {
            errors.push(
                token.span,
                format_args!("`{name}` is a `const fn`, and a cache is only there at run time"),
                format_args!("write `async fn {name}`"),
            );
        } else if self.sig.asyncness.is_none() {
            match &ty {
                Type::ImplTrait(found) => {
                    return Output::Future(output_of(found).unwrap_or_else(|| {
                        errors.push(
                            found.span(),
                            format_args!("`{name}` does not say which value its future yields"),
                            "write `impl Future<Output = …>`",
                        );
                        parse_quote!(())
                    }));
                }
                Type::Path(_) | Type::Macro(_) => {
                    for found in impl_traits(&ty) {
                        errors.push(
                            found,
                            "a boxed `impl Future` cannot be named",
                            "return `impl Future<Output = …>`, or box a `dyn Future<Output = …>`",
                        );
                    }
                    return Output::Boxed(ty);
                }
                _ => errors.push(
                    self.sig.fn_token.span,
                    format_args!("`{name}` is not an `async fn`"),
                    format_args!("write `async fn {name}`: a cache may have to wait for a server"),
                ),
            }
        }
        Output::Value(ty)
    }

    /// Refuses attributes whose meaning beside this one would be anybody's guess.
    fn check_alone(&self, others: &[&str], errors: &mut Errors) {
        let name = &self.sig.ident;
        for attr in &self.attrs {
            let Some(last) = attr.path().segments.last() else {
                continue;
            };
            let Some(other) = others.iter().find(|other| last.ident == **other) else {
                continue;
            };
            let both = others.len() == 1 || *other == "cache_invalidate";
            if both {
                errors.push(
                    attr.path().span(),
                    format_args!("`{name}` is both `#[cached]` and `#[cache_invalidate]`"),
                    "a hit does not run the body, so there is no change to invalidate after; \
                     write two functions, one that reads and one that changes",
                );
            } else {
                errors.push(
                    attr.path().span(),
                    format_args!("`{name}` is `#[cached]` more than once"),
                    "keep one of them: an entry has one key, and as many tags as you like",
                );
            }
        }
    }

    fn check_no_wildcards(&self, errors: &mut Errors) {
        for input in &self.sig.inputs {
            if let FnArg::Typed(input) = input
                && let Pat::Wild(wildcard) = input.pat.as_ref()
            {
                errors.push(
                    wildcard.underscore_token.span,
                    "parameter `_` cannot be in the cache key",
                    "name the parameter, to put it in the key or in `skip(…)`",
                );
            }
        }
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(error(
                sig.ident.span(),
                format_args!("`{}` has no body that could be cached", sig.ident),
                "put the attribute on the implementation",
            ));
        }
        let content;
        Ok(Self {
            attrs,
            vis,
            sig,
            brace: braced!(content in input),
            inner_attrs: content.call(Attribute::parse_inner)?,
            statements: content.parse()?,
        })
    }
}

impl Output {
    pub(crate) fn ty(&self) -> &Type {
        match self {
            Self::Value(ty) | Self::Future(ty) | Self::Boxed(ty) => ty,
        }
    }

    fn check_nameable(&self, errors: &mut Errors) {
        if let Self::Boxed(_) = self {
            return;
        }
        for found in impl_traits(self.ty()) {
            errors.push(
                found,
                "a value of type `impl Trait` cannot be cached",
                "name the type: the cache has to know what it stores",
            );
        }
    }
}

/// Where a type has no name.
fn impl_traits(ty: &Type) -> Vec<Span> {
    struct Search(Vec<Span>);
    impl VisitMut for Search {
        fn visit_type_impl_trait_mut(&mut self, found: &mut TypeImplTrait) {
            self.0.push(found.impl_token.span);
        }
    }
    let mut search = Search(Vec::new());
    search.visit_type_mut(&mut ty.clone());
    search.0
}

/// The `T` of `impl Future<Output = T>`.
fn output_of(future: &TypeImplTrait) -> Option<Type> {
    future.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return None;
        };
        let output = arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assoc) if assoc.ident == "Output" => Some(assoc.ty.clone()),
            _ => None,
        });
        output.filter(|_| last.ident == "Future")
    })
}

/// A type as it was written, also when it comes from a `macro_rules!` variable.
fn ungrouped(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => ungrouped(&group.elem),
        Type::Paren(paren) => ungrouped(&paren.elem),
        other => other,
    }
}

impl Name {
    /// Stands in for one that is refused.
    pub(crate) fn empty(span: Span) -> Self {
        Self {
            source: String::new(),
            span,
            literals: Vec::new(),
            parts: Vec::new(),
        }
    }

    fn reads_result(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part.root, Root::Result))
    }
}

impl Tag {
    fn reads_result(&self) -> bool {
        match self {
            Tag::Name(name) => name.reads_result(),
            Tag::Typed(tag) => tag.result.is_some(),
        }
    }
}

/// Where an argument is named.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    Tag,
    Invalidated,
    Skip,
}

/// What templates can name, and where they did.
struct Scope<'f> {
    function: &'f Ident,
    arguments: Vec<Argument>,
    /// Where `#[async_trait]` has moved a pattern into the body, and its variables with it.
    moved_patterns: Vec<Span>,
    /// A name is wrong in a way that leaves open what was meant: whatever else
    /// is missing may be just that.
    in_doubt: bool,
}

struct Argument {
    ident: Ident,
    kind: Kind,
    named_in: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Receiver,
    SelfType,
    Parameter,
    /// Of a type that has no name.
    ImplParameter,
    TypeParameter,
    ConstParameter,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Receiver => "receiver",
            Kind::SelfType => "type",
            Kind::Parameter | Kind::ImplParameter => "parameter",
            Kind::TypeParameter => "type parameter",
            Kind::ConstParameter => "const parameter",
        }
    }

    fn is_type(self) -> bool {
        matches!(self, Kind::SelfType | Kind::TypeParameter)
    }

    /// A receiver is usually how to get at the data, rather than which data.
    fn is_skipped_by_default(self) -> bool {
        matches!(self, Kind::Receiver | Kind::SelfType)
    }
}

impl<'f> Scope<'f> {
    fn new(sig: &'f Signature) -> Self {
        let under_async_trait = sig
            .generics
            .lifetimes()
            .any(|parameter| parameter.lifetime.ident == "async_trait");
        let mut moved_patterns = Vec::new();
        let mut arguments = Vec::new();
        let mut add = |ident, kind| {
            arguments.push(Argument {
                ident,
                kind,
                named_in: Vec::new(),
            });
        };
        // Whether there is one, only the compiler knows.
        add(Ident::new("Self", sig.ident.span()), Kind::SelfType);
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    add(Ident::new("self", receiver.self_token.span), Kind::Receiver);
                }
                FnArg::Typed(input) => {
                    let kind = if is_impl_trait(&input.ty) {
                        Kind::ImplParameter
                    } else {
                        Kind::Parameter
                    };
                    for binding in bindings(&input.pat) {
                        if under_async_trait && is_positional(&binding) {
                            moved_patterns.push(binding.span());
                        } else {
                            add(binding, kind);
                        }
                    }
                }
            }
        }
        for parameter in &sig.generics.params {
            match parameter {
                GenericParam::Type(parameter) => {
                    add(parameter.ident.clone(), Kind::TypeParameter);
                }
                GenericParam::Const(parameter) => {
                    add(parameter.ident.clone(), Kind::ConstParameter);
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        Self {
            function: &sig.ident,
            arguments,
            moved_patterns,
            in_doubt: false,
        }
    }

    fn lower(&mut self, place: Place, literal: &LitStr, errors: &mut Errors) -> Name {
        let span = literal.span();
        let Some(template) = parse_template(literal, errors) else {
            self.in_doubt |= place == Place::Key;
            return Name::empty(span);
        };
        for braced in template.braced() {
            if let Some(argument) = self.find(&braced.root) {
                argument.named_in.push(place);
                let written = braced.to_string();
                errors.push(
                    span,
                    format_args!(
                        "`{}` in the template is literal text, not the {} `{}`",
                        written.replace('<', "{").replace('>', "}"),
                        argument.kind.noun(),
                        argument.ident,
                    ),
                    format_args!("did you mean `{written}`?"),
                );
            }
        }
        lower_parts(template, span, errors, |placeholder, errors| {
            self.resolve(place, placeholder, span, errors)
        })
    }

    fn lower_all(&mut self, place: Place, tags: Vec<attr::Tag>, errors: &mut Errors) -> Vec<Tag> {
        let lower = |tag| match tag {
            attr::Tag::Template(literal) => Tag::Name(self.lower(place, &literal, errors)),
            attr::Tag::Typed(expr) => Tag::Typed(self.lower_typed(place, expr, errors)),
        };
        tags.into_iter().map(lower).collect()
    }

    fn lower_typed(&mut self, place: Place, expr: Expr, errors: &mut Errors) -> TypedTag {
        let variables = variables(&expr);
        let mut arguments = Vec::new();
        let mut result = None;
        for variable in variables {
            if let Some(argument) = self.find(&variable.to_string()) {
                argument.named_in.push(place);
                arguments.push(variable);
            } else if variable == "result" {
                result = Some(variable);
            }
        }
        if let Some(result) = &result {
            if place == Place::Tag {
                errors.push(
                    result.span(),
                    "the tag names the result, which is not there before the load",
                    "name parameters of the function",
                );
                self.in_doubt = true;
            }
            // The body has taken the arguments when the result is there.
            if place == Place::Invalidated
                && let Some(argument) = arguments.first()
            {
                errors.push(
                    argument.span(),
                    format_args!(
                        "the tag names `{argument}`, which is gone when there is a `result`"
                    ),
                    format_args!(
                        "write a template, which may name both: \
                         `\"tag:<{argument}>:<result.id>\"`"
                    ),
                );
            }
        }
        TypedTag { expr, result }
    }

    fn resolve(
        &mut self,
        place: Place,
        placeholder: &Placeholder,
        span: Span,
        errors: &mut Errors,
    ) -> Option<Root> {
        let root = placeholder.root.as_str();
        if let Some(argument) = self.find(root) {
            argument.named_in.push(place);
            let mut ident = argument.ident.clone();
            // Blamed at the template, but found where the parameter is, whatever
            // macro wrote the one or the other.
            ident.set_span(span.resolved_at(ident.span()));
            let unnamed = argument.kind == Kind::ImplParameter && placeholder.steps.is_empty();
            if unnamed && place == Place::Key {
                errors.push(
                    span,
                    format_args!(
                        "`{ident}` is of a type `impl Trait`, and two types can write the same key"
                    ),
                    format_args!(
                        "name the type, `fn {}<K: KeyPart>({ident}: K)`, and add `<K>` to the key, \
                         or say that it does not matter: `skip(K)`",
                        self.function,
                    ),
                );
                return None;
            }
            if !argument.kind.is_type() {
                return Some(Root::Value(ident));
            }
            if placeholder.steps.is_empty() {
                return Some(Root::Type(ident));
            }
            errors.push(
                span,
                format_args!("`{placeholder}` names a field or method of a type"),
                format_args!("only the name of a type can be in a template: `<{ident}>`"),
            );
            return None;
        }
        if root == "result" && place == Place::Invalidated {
            return Some(Root::Result);
        }
        if root == "result" {
            errors.push(
                span,
                format_args!(
                    "`{placeholder}` names the result, which is not there before the load"
                ),
                "name parameters of the function",
            );
            self.in_doubt = true;
            return None;
        }
        let in_pattern = !self.moved_patterns.is_empty();
        if in_pattern && place != Place::Invalidated {
            // It is the pattern that is told.
            self.in_doubt = true;
            return None;
        }
        let subject = match place {
            Place::Key => "cache key",
            Place::Tag => "tag",
            Place::Invalidated | Place::Skip => "template",
        };
        let mut known = self.names();
        if place == Place::Invalidated {
            known.push("result".to_owned());
        }
        let help = if root == "self" {
            "a receiver is a parameter: `&self`".to_owned()
        } else if in_pattern {
            format!("if it is in a pattern under `#[async_trait]`, {NAME_THE_PARAMETER}")
        } else {
            suggest(root, &known, "parameters")
        };
        errors.push(
            span,
            format_args!(
                "{subject} names `{root}`, which is not a parameter of `{}`",
                self.function
            ),
            help,
        );
        self.take_for_nearest(root, place);
        None
    }

    fn skip(&mut self, names: &[Ident], errors: &mut Errors) {
        for name in names {
            let text = name.to_string();
            if let Some(argument) = self.find(&text) {
                if argument.named_in.contains(&Place::Key) {
                    errors.push(
                        name.span(),
                        format_args!("`{name}` is skipped, and it is in the cache key"),
                        format_args!("remove it from `skip`, or `<{name}>` from the key"),
                    );
                }
                argument.named_in.push(Place::Skip);
            } else if self.moved_patterns.is_empty() {
                errors.push(
                    name.span(),
                    format_args!(
                        "`skip` names `{name}`, which is not a parameter of `{}`",
                        self.function
                    ),
                    suggest(&text, &self.names(), "parameters"),
                );
                self.take_for_nearest(&text, Place::Skip);
            }
        }
    }

    fn check_patterns(&self, errors: &mut Errors) {
        for pattern in &self.moved_patterns {
            errors.push(
                *pattern,
                "a pattern under `#[async_trait]` cannot be in the cache key",
                format_args!("{NAME_THE_PARAMETER}, to put it in the key or in `skip(…)`"),
            );
        }
    }

    fn check_complete(&self, errors: &mut Errors) {
        if self.in_doubt {
            return;
        }
        for argument in &self.arguments {
            let Argument {
                ident,
                kind,
                named_in,
            } = argument;
            if kind.is_skipped_by_default()
                || named_in.contains(&Place::Key)
                || named_in.contains(&Place::Skip)
            {
                continue;
            }
            let place = if named_in.contains(&Place::Tag) {
                "in a tag, but not in the cache key"
            } else {
                "not in the cache key"
            };
            errors.push(
                ident.span(),
                format_args!(
                    "{} `{ident}` is {place}, so calls with different `{ident}` \
                     would share an entry",
                    kind.noun()
                ),
                format_args!(
                    "add `<{ident}>` to the key, or say that it does not matter: `skip({ident})`"
                ),
            );
        }
    }

    fn find(&mut self, name: &str) -> Option<&mut Argument> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.arguments
            .iter_mut()
            .find(|argument| argument.ident.unraw() == name)
    }

    fn names(&self) -> Vec<String> {
        self.arguments
            .iter()
            .filter(|argument| argument.kind != Kind::SelfType)
            .map(|argument| argument.ident.to_string())
            .collect()
    }

    /// Takes a misspelt name for the one that was meant, so that one mistake is one error.
    fn take_for_nearest(&mut self, name: &str, place: Place) {
        let nearest = nearest(name, &self.names()).map(str::to_owned);
        match nearest.and_then(|nearest| self.find(&nearest)) {
            Some(argument) => argument.named_in.push(place),
            None => self.in_doubt = true,
        }
    }
}

const NAME_THE_PARAMETER: &str = "name the parameter and take it apart in the body";

/// The name that `#[async_trait]` gives to a parameter that has a pattern for a name.
fn is_positional(ident: &Ident) -> bool {
    let name = ident.to_string();
    let position = name.strip_prefix("__arg");
    position.is_some_and(|position| position.parse::<u32>().is_ok())
}

/// The variables that a pattern makes.
fn bindings(pattern: &Pat) -> Vec<Ident> {
    struct Bindings(Vec<Ident>);
    impl VisitMut for Bindings {
        fn visit_pat_ident_mut(&mut self, binding: &mut PatIdent) {
            // Alternatives, `A(x) | B(x)`, bind the same names.
            if !self.0.contains(&binding.ident) {
                self.0.push(binding.ident.clone());
            }
            visit_mut::visit_pat_ident_mut(self, binding);
        }
    }
    let mut bindings = Bindings(Vec::new());
    bindings.visit_pat_mut(&mut pattern.clone());
    bindings.0
}

/// The variables that an expression reads, those in the arguments of macros too.
fn variables(expr: &Expr) -> Vec<Ident> {
    struct Variables(Vec<Ident>);
    impl Variables {
        fn add_tokens(&mut self, tokens: TokenStream) {
            let mut after_dot = false;
            for token in tokens {
                match &token {
                    TokenTree::Ident(ident) if !after_dot => self.0.push(ident.clone()),
                    TokenTree::Group(group) => self.add_tokens(group.stream()),
                    _ => {}
                }
                after_dot = matches!(token, TokenTree::Punct(punct) if punct.as_char() == '.');
            }
        }
    }
    impl VisitMut for Variables {
        fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
            self.0.extend(path.path.get_ident().cloned());
        }

        fn visit_macro_mut(&mut self, invocation: &mut Macro) {
            self.add_tokens(invocation.tokens.clone());
        }
    }
    let mut variables = Variables(Vec::new());
    variables.visit_expr_mut(&mut expr.clone());
    variables.0
}

pub(crate) fn parse_template(literal: &LitStr, errors: &mut Errors) -> Option<Template> {
    let parsed = Template::parse(&literal.value());
    parsed
        .map_err(|faults| {
            for fault in faults {
                errors.push(literal.span(), fault.what, fault.help);
            }
        })
        .ok()
}

pub(crate) fn lower_parts(
    template: Template,
    span: Span,
    errors: &mut Errors,
    mut resolve: impl FnMut(&Placeholder, &mut Errors) -> Option<Root>,
) -> Name {
    let mut parts = Vec::new();
    for placeholder in &template.placeholders {
        let root = resolve(placeholder, errors);
        let steps = placeholder.steps.iter().map(|step| {
            Some(match step {
                template::Step::Field(name) => Step::Field(name_of(name, span, errors)?.into()),
                template::Step::Index(index) => Step::Field(
                    Index {
                        index: *index,
                        span,
                    }
                    .into(),
                ),
                template::Step::Method(name) => Step::Method(name_of(name, span, errors)?),
            })
        });
        let steps = steps.collect::<Option<_>>();
        if let (Some(root), Some(steps)) = (root, steps) {
            parts.push(Part { root, steps });
        }
    }
    Name {
        source: template.source,
        span,
        literals: template.literals,
        parts,
    }
}

/// Rust's name for a piece of a placeholder.
fn name_of(text: &str, span: Span, errors: &mut Errors) -> Option<Ident> {
    if text == "self" {
        return Some(Ident::new(text, span));
    }
    if let Ok(mut name) = syn::parse_str::<Ident>(text) {
        name.set_span(span);
        return Some(name);
    }
    let help = if text.starts_with(|c: char| c.is_ascii_digit()) {
        "only `#[cache_tag]` has placeholders for fields without names".to_owned()
    } else {
        format!("a name that is also a keyword is written `r#{text}`")
    };
    errors.push(
        span,
        format_args!("`{text}` in the template is not a name"),
        help,
    );
    None
}

fn is_impl_trait(ty: &Type) -> bool {
    match ungrouped(ty) {
        Type::ImplTrait(_) => true,
        Type::Reference(reference) => is_impl_trait(&reference.elem),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn errors_in<T>(lowered: syn::Result<T>) -> Vec<String> {
        let errors = lowered.err().into_iter().flatten();
        errors.map(|error| error.to_string()).collect()
    }

    #[track_caller]
    fn assert_errors<T>(lowered: syn::Result<T>, expected: &[&str]) {
        let errors = errors_in(lowered);
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_function_that_fits_is_taken_apart() {
        let args = quote!(
            key = "a:<id>:<self.x.0>:<N>",
            invalidate_on = "b:<T>",
            skip(T)
        );
        let function = quote! {
            /// Documentation.
            pub async fn f<'a, T, const N: usize>(&self, mut id: &'a str) -> T { id }
        };
        let cached = cached(args, function).unwrap();
        assert_eq!(cached.key.literals, ["a:", ":", ":", ""]);
        assert!(matches!(&cached.key.parts[0].root, Root::Value(id) if id == "id"));
        assert_eq!(cached.key.parts[1].steps.len(), 2);
        assert!(matches!(&cached.key.parts[2].root, Root::Value(n) if n == "N"));
        let Tag::Name(tag) = &cached.tags[0] else {
            panic!("a template");
        };
        assert!(matches!(&tag.parts[0].root, Root::Type(ty) if ty == "T"));
        assert_eq!(cached.function.attrs.len(), 1);
    }

    #[test]
    fn every_parameter_is_in_the_key_or_skipped() {
        let function = quote! {
            async fn f<T, const N: usize>(&self, a: A, (b, C { c, d: [e, ..] }): B, f @ _: F) {}
        };
        assert_errors(
            cached(quote!(key = "x"), function.clone()),
            &[
                "parameter `a`",
                "parameter `b`",
                "parameter `c`",
                "parameter `e`",
                "parameter `f`",
                "type parameter `T`",
                "const parameter `N`",
            ],
        );
        let args = quote!(key = "<a>:<b>:<c>:<N>", skip(e, f, T));
        assert!(cached(args, function).is_ok());
    }

    #[test]
    fn a_misspelt_name_is_one_mistake() {
        for (args, error) in [
            (quote!(key = "<tenent>:<id>"), "did you mean `tenant`?"),
            (quote!(key = "{tenant}:<id>"), "did you mean `<tenant>`?"),
            (
                quote!(key = "<id>", skip(tennant)),
                "did you mean `tenant`?",
            ),
            (
                quote!(key = "<id>:<x>"),
                "the parameters are `tenant`, `id`",
            ),
            (quote!(key = "<id>:<self>"), "a receiver is a parameter"),
            (quote!(key = "<id>", skp(tenant)), "did you mean `skip`?"),
            (quote!(key = "<id", skip(id)), "is not closed"),
            (quote!(key = "<id>:<tenant.type>"), "is written `r#type`"),
        ] {
            let function = quote!(
                async fn f(tenant: u64, id: u64) {}
            );
            assert_errors(cached(args, function), &[error]);
        }
    }

    #[test]
    fn only_an_async_function_with_a_body_fits() {
        for (item, error) in [
            (
                quote!(
                    fn f() {}
                ),
                "`f` is not an `async fn`",
            ),
            (
                quote!(
                    const fn f() {}
                ),
                "`f` is a `const fn`",
            ),
            (
                quote!(
                    fn f() -> (u8, u8) {}
                ),
                "`f` is not an `async fn`",
            ),
            (
                quote!(
                    fn f() -> impl TryFuture<Ok = u8> {}
                ),
                "does not say which value",
            ),
            (
                quote!(
                    fn f() -> Pin<Box<impl Future<Output = u8>>> {}
                ),
                "a boxed `impl Future`",
            ),
            (
                quote!(
                    fn f() -> impl Future<Output = impl Copy> {}
                ),
                "a value of type `impl Trait`",
            ),
            (
                quote!(
                    async fn f();
                ),
                "`f` has no body",
            ),
            (
                quote!(
                    struct F;
                ),
                "only a function",
            ),
            (
                quote!(
                    mod f {}
                ),
                "only a function",
            ),
            (
                quote!(
                    async unsafe extern "C" fn f(...) {}
                ),
                "any number of arguments",
            ),
            (
                quote!(
                    async fn f() -> Option<impl Copy> {}
                ),
                "`impl Trait`",
            ),
            (
                quote!(
                    async fn f(_: u8) {}
                ),
                "parameter `_`",
            ),
        ] {
            assert_errors(cached(quote!(key = "x"), item), &[error]);
        }
    }

    #[test]
    fn the_result_is_for_invalidation() {
        let function = quote!(
            async fn f(id: u64) -> Result<User, E> {}
        );
        let args = quote!("a:<id>", "b:<result.id>:<id>");
        let invalidate = cache_invalidate(args, function.clone()).unwrap();
        assert_eq!(invalidate.from_arguments.len(), 1);
        assert_eq!(invalidate.from_result.len(), 1);

        let args = quote!(key = "<id>", invalidate_on = "<result.id>");
        assert_errors(
            cached(args, function.clone()),
            &["not there before the load"],
        );
        assert_errors(
            cache_invalidate(quote!("<reslt>"), function),
            &["`result`?"],
        );

        let function = quote!(
            async fn f(result: u64) -> impl Copy {}
        );
        let invalidate = cache_invalidate(quote!("<result>"), function).unwrap();
        assert!(invalidate.from_result.is_empty(), "a parameter comes first");

        let function = quote!(
            async fn f() -> impl Copy {}
        );
        assert_errors(
            cache_invalidate(quote!("<result>"), function),
            &["`impl Trait`"],
        );
    }

    #[test]
    fn a_typed_tag_reads_arguments_or_the_result() {
        let function = quote!(
            async fn f(id: u64, team: u64) -> User {}
        );
        let args = quote!(
            Tag(id),
            Tag(result.team),
            Tag {
                team: f!(result.id)
            }
        );
        let invalidate = cache_invalidate(args, function.clone()).unwrap();
        assert_eq!(invalidate.from_arguments.len(), 1);
        assert_eq!(invalidate.from_result.len(), 2);
        for mixed in [quote!(Tag(result.id, team)), quote!(f!(result.id, [team]))] {
            let refused = cache_invalidate(mixed, function.clone());
            assert_errors(refused, &["the tag names `team`, which is gone"]);
        }

        let args = quote!(key = "<id>", invalidate_on = Tag(team));
        assert_errors(cached(args, function.clone()), &["in a tag, but not in"]);
        let args = quote!(key = "<id>:<team>", invalidate_on = [Tag(result)]);
        assert_errors(cached(args, function), &["not there before the load"]);

        let function = quote!(
            async fn f(result: u64) -> impl Copy {}
        );
        let invalidate = cache_invalidate(quote!(Tag(result)), function).unwrap();
        assert!(invalidate.from_result.is_empty(), "a parameter comes first");
    }

    #[test]
    fn something_is_invalidated() {
        let function = quote!(
            async fn f() {}
        );
        for (args, error) in [
            (quote!(), "names nothing"),
            (quote!(cache = x), "names nothing"),
            (quote!(key = "x"), "unknown option `key`"),
            (quote!(5), "is a string literal"),
        ] {
            assert_errors(cache_invalidate(args, function.clone()), &[error]);
        }
    }

    #[test]
    fn a_fence_stands_around_what_the_arguments_name() {
        let function = quote!(
            async fn f(id: u64) -> Result<User, E> {}
        );
        for (args, error) in [
            (quote!("<result.id>", fence = 30), "nothing to stand around"),
            (quote!(Tag(result), fence = 30), "nothing to stand around"),
            (quote!("<id>", fence_required), "without a `fence`"),
            (quote!("<id>", fence = "soon"), "must be a duration"),
            (
                quote!("<id>", fence = "soon", fence_required),
                "must be a duration",
            ),
            (quote!("<id>", fence = 0), "must be longer than zero"),
            (quote!("<id>", fence = -1), "must be a duration"),
            (
                quote!("<id>", fence = 30s),
                "write a string: `fence = \"30s\"`",
            ),
            (quote!("<id>", fence), "option `fence` needs a value"),
            (quote!("<id>", fence = 1, fence = 2), "more than once"),
            (
                quote!("<id>", fence = 1, fence_required = true),
                "takes no value",
            ),
            (
                quote!("<id>", fence = 1, fence_requird),
                "did you mean `fence_required`?",
            ),
            (quote!("<id>", fense = 1), "did you mean `fence`?"),
            (quote!(fence = 1), "names nothing"),
            (quote!("<idd>", fence = 1), "did you mean `id`?"),
        ] {
            assert_errors(cache_invalidate(args, function.clone()), &[error]);
        }

        let args = quote!("<id>", "<result.id>", fence = 30, fence_required,);
        let fence = cache_invalidate(args, function).unwrap().fence.unwrap();
        assert!(matches!(fence.length, FenceLength::Fixed(length) if length.as_secs() == 30));
        assert!(fence.required.is_some());

        let function = quote!(
            async fn f(id: u64) -> impl Copy {}
        );
        let args = quote!("<id>", fence = 30);
        assert_errors(cache_invalidate(args, function), &["`impl Trait`"]);
    }

    #[test]
    fn key_names_any_variable() {
        assert_eq!(key(quote!("a:<x.y()>:<self.z>")).unwrap().0.parts.len(), 2);
        assert_errors(key(quote!()), &["`key!` takes one string literal"]);
        assert_errors(key(quote!("a:<type>")), &["`r#type`"]);
    }
}
