//! Arguments and function to what is expanded: everything that doesn't fit is refused here.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Expr, FnArg, GenericParam, Index, Item, LitStr, Member, Pat, PatIdent, ReturnType,
    Signature, Token, Type, TypeImplTrait, Visibility, braced, parse_quote, token,
};

use crate::attr::{CachedArgs, InvalidateArgs};
use crate::errors::{Errors, error, nearest, suggest};
use crate::template::{self, Placeholder, Template};

/// `#[cached]` on a function that it fits.
pub(crate) struct CachedFn {
    pub(crate) function: Function,
    pub(crate) output: Type,
    pub(crate) template: String,
    pub(crate) ttl: Option<Duration>,
    pub(crate) none_ttl: Option<Duration>,
    pub(crate) cache: Option<Expr>,
    pub(crate) key: Name,
    pub(crate) tags: Vec<Name>,
}

/// `#[cache_invalidate]` on a function that it fits.
pub(crate) struct InvalidateFn {
    pub(crate) function: Function,
    pub(crate) output: Type,
    pub(crate) cache: Option<Expr>,
    pub(crate) from_arguments: Vec<Name>,
    pub(crate) from_result: Vec<Name>,
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

/// A key or a tag: literal text around parts, one piece more than parts.
#[derive(Default)]
pub(crate) struct Name {
    pub(crate) literals: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

/// What a placeholder stands for. Every name in it is located at the template.
pub(crate) struct Part {
    pub(crate) span: Span,
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
    let mut errors = Errors::default();
    let args = CachedArgs::parse(args, &mut errors);
    function.check_async(&mut errors);
    function.check_nameable(&mut errors);

    let mut scope = Scope::new(&function.sig);
    let key = args.key.as_ref().map(|key| scope.lower(Place::Key, key, &mut errors));
    let tags = scope.lower_all(Place::Tag, &args.tags, &mut errors);
    scope.skip(&args.skip, &mut errors);
    if key.is_some() {
        function.check_no_wildcards(&mut errors);
        scope.check_complete(&mut errors);
    }

    errors.finish(CachedFn {
        output: function.output(),
        template: args.key.map(|key| key.value()).unwrap_or_default(),
        ttl: args.ttl,
        none_ttl: args.none_ttl,
        cache: args.cache,
        key: key.unwrap_or_default(),
        tags,
        function,
    })
}

pub(crate) fn cache_invalidate(args: TokenStream, item: TokenStream) -> syn::Result<InvalidateFn> {
    let function = Function::parse_item(item)?;
    let mut errors = Errors::default();
    let args = InvalidateArgs::parse(args, &mut errors);
    function.check_async(&mut errors);

    let names = Scope::new(&function.sig).lower_all(Place::Invalidated, &args.names, &mut errors);
    let (from_result, from_arguments): (Vec<_>, Vec<_>) =
        names.into_iter().partition(Name::reads_result);
    if !from_result.is_empty() {
        function.check_nameable(&mut errors);
    }

    errors.finish(InvalidateFn {
        output: function.output(),
        cache: args.cache,
        from_arguments,
        from_result,
        function,
    })
}

/// The name in `key!("user:<id>")`, whose placeholders are any variables.
pub(crate) fn key(template: TokenStream) -> syn::Result<Name> {
    let literal: LitStr = syn::parse2(template).map_err(|wrong| {
        error(
            wrong.span(),
            "`key!` takes one string literal",
            "name variables in the template: `key!(\"user:<id>\")`",
        )
    })?;
    let mut errors = Errors::default();
    let name = parse_template(&literal, &mut errors).map(|template| {
        lower_parts(template, literal.span(), &mut errors, |placeholder, errors| {
            name_of(&placeholder.root, literal.span(), errors).map(Root::Value)
        })
    });
    errors.finish(name.unwrap_or_default())
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
                    "only a function can be cached or invalidate",
                    "put the attribute on an `async fn`",
                ),
            }
        })
    }

    fn output(&self) -> Type {
        match &self.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, output) => output.as_ref().clone(),
        }
    }

    fn check_async(&self, errors: &mut Errors) {
        let name = &self.sig.ident;
        if let Some(token) = &self.sig.constness {
            errors.push(
                token.span,
                format_args!("`{name}` is a `const fn`, and a cache is only there at run time"),
                format_args!("write `async fn {name}`"),
            );
        } else if self.sig.asyncness.is_none() {
            errors.push(
                self.sig.fn_token.span,
                format_args!("`{name}` is not an `async fn`"),
                format_args!("write `async fn {name}`: a cache may have to wait for a server"),
            );
        }
        if let Some(variadic) = &self.sig.variadic {
            errors.push(
                variadic.dots.spans[0],
                format_args!("`{name}` takes any number of arguments"),
                "take a slice instead",
            );
        }
    }

    fn check_nameable(&self, errors: &mut Errors) {
        struct Search<'a>(&'a mut Errors);
        impl VisitMut for Search<'_> {
            fn visit_type_impl_trait_mut(&mut self, found: &mut TypeImplTrait) {
                self.0.push(
                    found.impl_token.span,
                    "a value of type `impl Trait` cannot be cached",
                    "name the type: the cache has to know what it stores",
                );
            }
        }
        Search(errors).visit_type_mut(&mut self.output());
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

impl Name {
    fn reads_result(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part.root, Root::Result))
    }
}

/// What a template stands in.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    Tag,
    Invalidated,
}

/// What templates can name, and where they did.
struct Scope<'f> {
    function: &'f Ident,
    arguments: Vec<Argument>,
    /// A name is wrong in a way that leaves open what was meant, so that
    /// whatever else is missing may just be what was meant.
    in_doubt: bool,
}

struct Argument {
    ident: Ident,
    noun: &'static str,
    is_type: bool,
    /// Whether the key must have it, unless it is skipped.
    counts: bool,
    in_key: bool,
    in_tag: bool,
    skipped: bool,
}

impl<'f> Scope<'f> {
    fn new(sig: &'f Signature) -> Self {
        let mut arguments = Vec::new();
        let mut add = |ident: Ident, noun, is_type, counts| {
            arguments.push(Argument {
                ident,
                noun,
                is_type,
                counts,
                in_key: false,
                in_tag: false,
                skipped: false,
            });
        };
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    add(receiver.self_token.into(), "receiver", false, false);
                    add(Ident::new("Self", receiver.self_token.span), "type", true, false);
                }
                FnArg::Typed(input) => {
                    for binding in bindings(&input.pat) {
                        add(binding, "parameter", false, true);
                    }
                }
            }
        }
        for parameter in &sig.generics.params {
            match parameter {
                GenericParam::Type(ty) => add(ty.ident.clone(), "type parameter", true, true),
                GenericParam::Const(value) => {
                    add(value.ident.clone(), "const parameter", false, true);
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        Self {
            function: &sig.ident,
            arguments,
            in_doubt: false,
        }
    }

    fn lower(&mut self, place: Place, literal: &LitStr, errors: &mut Errors) -> Name {
        let span = literal.span();
        let Some(template) = parse_template(literal, errors) else {
            self.in_doubt |= place == Place::Key;
            return Name::default();
        };
        for braced in template.braced() {
            if let Some(argument) = self.find(&braced.root) {
                argument.mark(place);
                let written = braced.to_string();
                errors.push(
                    span,
                    format_args!(
                        "`{}` in the template is literal text, not the {} `{}`",
                        written.replace('<', "{").replace('>', "}"),
                        argument.noun,
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

    fn lower_all(&mut self, place: Place, literals: &[LitStr], errors: &mut Errors) -> Vec<Name> {
        let names = literals.iter();
        names.map(|name| self.lower(place, name, errors)).collect()
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
            argument.mark(place);
            let mut ident = argument.ident.clone();
            // Blamed at the template, but found where the parameter is, whatever
            // macro wrote the one or the other.
            ident.set_span(span.resolved_at(ident.span()));
            if !argument.is_type {
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
                format_args!("`{placeholder}` names the result, which is not there before the load"),
                "name parameters of the function",
            );
            self.in_doubt = true;
            return None;
        }
        let (subject, also) = match place {
            Place::Key => ("cache key", None),
            Place::Tag => ("tag", None),
            Place::Invalidated => ("template", Some("result")),
        };
        let mut known = self.names();
        known.extend(also.map(str::to_owned));
        errors.push(
            span,
            format_args!(
                "{subject} names `{root}`, which is not a parameter of `{}`",
                self.function
            ),
            suggest(root, &known, "parameters"),
        );
        self.mark_nearest(root, |argument| argument.mark(place));
        None
    }

    fn skip(&mut self, names: &[Ident], errors: &mut Errors) {
        for name in names {
            let text = name.to_string();
            if let Some(argument) = self.find(&text) {
                if argument.in_key {
                    errors.push(
                        name.span(),
                        format_args!("`{name}` is skipped, and it is in the cache key"),
                        format_args!("remove it from `skip`, or `<{name}>` from the key"),
                    );
                }
                argument.skipped = true;
            } else {
                errors.push(
                    name.span(),
                    format_args!(
                        "`skip` names `{name}`, which is not a parameter of `{}`",
                        self.function
                    ),
                    suggest(&text, &self.names(), "parameters"),
                );
                self.mark_nearest(&text, |argument| argument.skipped = true);
            }
        }
    }

    fn check_complete(&self, errors: &mut Errors) {
        if self.in_doubt {
            return;
        }
        for argument in &self.arguments {
            let Argument { ident, noun, .. } = argument;
            if argument.counts && !argument.in_key && !argument.skipped {
                let place = if argument.in_tag {
                    "in a tag, but not in the cache key"
                } else {
                    "not in the cache key"
                };
                errors.push(
                    ident.span(),
                    format_args!(
                        "{noun} `{ident}` is {place}, so calls with different `{ident}` \
                         would share an entry"
                    ),
                    format_args!(
                        "add `<{ident}>` to the key, or say that it does not matter: \
                         `skip({ident})`"
                    ),
                );
            }
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
            .filter(|argument| argument.counts || argument.ident == "self")
            .map(|argument| argument.ident.to_string())
            .collect()
    }

    /// Takes a misspelt name for the one that was meant, so that one mistake is one error.
    fn mark_nearest(&mut self, name: &str, mark: impl FnOnce(&mut Argument)) {
        let nearest = nearest(name, &self.names()).map(str::to_owned);
        match nearest.and_then(|nearest| self.find(&nearest)) {
            Some(argument) => mark(argument),
            None => self.in_doubt = true,
        }
    }
}

impl Argument {
    fn mark(&mut self, place: Place) {
        match place {
            Place::Key => self.in_key = true,
            Place::Tag => self.in_tag = true,
            Place::Invalidated => {}
        }
    }
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

fn parse_template(literal: &LitStr, errors: &mut Errors) -> Option<Template> {
    let parsed = Template::parse(&literal.value());
    parsed
        .map_err(|faults| {
            for fault in faults {
                errors.push(literal.span(), fault.what, fault.help);
            }
        })
        .ok()
}

fn lower_parts(
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
                template::Step::Index(index) => Step::Field(Index { index: *index, span }.into()),
                template::Step::Method(name) => Step::Method(name_of(name, span, errors)?),
            })
        });
        let steps = steps.collect::<Option<_>>();
        if let (Some(root), Some(steps)) = (root, steps) {
            parts.push(Part { span, root, steps });
        }
    }
    Name {
        literals: template.literals,
        parts,
    }
}

fn name_of(text: &str, span: Span, errors: &mut Errors) -> Option<Ident> {
    if text == "self" {
        return Some(Ident::new(text, span));
    }
    match syn::parse_str::<Ident>(text) {
        Ok(mut name) => {
            name.set_span(span);
            Some(name)
        }
        Err(_) => {
            errors.push(
                span,
                format_args!("`{text}` in the template is not a name"),
                format_args!("a name that is also a keyword is written `r#{text}`"),
            );
            None
        }
    }
}
