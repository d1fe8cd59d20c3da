//! What a template of a function can name, and the rule that a key names all of it.

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Expr, FnArg, GenericParam, LitStr, Pat, Signature, Type, TypeImplTrait};

use super::each::{self, List};
use super::output::ungrouped;
use super::template::{LoweredTemplate, Root, lower_parts, parse_template};
use super::variables::{bindings, variables};
use super::{Tag, TypedTag};
use crate::attr::{Each, Skip, TagArgument};
use crate::errors::{Errors, nearest, suggest};
use crate::source;
use crate::template::Placeholder;

/// Where a parameter is named.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    Key,
    Tag,
    Invalidated,
    Skip,
}

/// The parameters of a function, and where each is named.
pub(super) struct Parameters<'f> {
    function: &'f Ident,
    known: Vec<Parameter>,
    /// The `_` among the parameters.
    wildcards: Vec<Span>,
    /// The patterns that `#[async_trait]` has moved into the body, with their variables.
    moved_patterns: Vec<Span>,
    sig: &'f Signature,
    lists: Vec<List>,
    /// Whether an error leaves open which parameter was meant. Then no parameter is
    /// reported as missing: it may be that one.
    pub(super) in_doubt: bool,
    /// Whether there is an error in `each`. Then a name that is not known may be its element.
    pub(super) elements_in_doubt: bool,
    /// Whether templates may name type parameters of the block around the function, since `skip(Self)` says
    /// that the others do not matter.
    may_name_block: bool,
}

struct Parameter {
    ident: Ident,
    kind: Kind,
    named_in: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Receiver,
    SelfType,
    Value,
    /// A value whose type is an `impl Trait`, and so has no name.
    ImplTrait,
    Type,
    Const,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Receiver => "receiver",
            Kind::SelfType => "type",
            Kind::Value | Kind::ImplTrait => "parameter",
            Kind::Type => "type parameter",
            Kind::Const => "const parameter",
        }
    }

    fn is_type(self) -> bool {
        matches!(self, Kind::SelfType | Kind::Type)
    }

    /// A receiver usually gives access to the data, and does not select it.
    fn is_skipped_by_default(self) -> bool {
        matches!(self, Kind::Receiver | Kind::SelfType)
    }
}

impl<'f> Parameters<'f> {
    pub(super) fn of(sig: &'f Signature) -> Self {
        let under_async_trait = sig
            .generics
            .lifetimes()
            .any(|parameter| parameter.lifetime.ident == "async_trait");
        let mut wildcards = Vec::new();
        let mut moved_patterns = Vec::new();
        let mut known = Vec::new();
        let mut add = |ident, kind| {
            known.push(Parameter {
                ident,
                kind,
                named_in: Vec::new(),
            });
        };
        // Only the compiler knows whether the function is in an `impl`.
        add(Ident::new("Self", sig.ident.span()), Kind::SelfType);
        for input in &sig.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    add(Ident::new("self", receiver.self_token.span), Kind::Receiver);
                }
                FnArg::Typed(input) => {
                    let kind = if is_impl_trait(&input.ty) {
                        Kind::ImplTrait
                    } else {
                        Kind::Value
                    };
                    if let Pat::Wild(wildcard) = input.pat.as_ref() {
                        wildcards.push(wildcard.underscore_token.span);
                    }
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
                    add(parameter.ident.clone(), Kind::Type);
                }
                GenericParam::Const(parameter) => {
                    add(parameter.ident.clone(), Kind::Const);
                }
                GenericParam::Lifetime(_) => {}
            }
        }
        Self {
            function: &sig.ident,
            known,
            wildcards,
            moved_patterns,
            sig,
            lists: Vec::new(),
            in_doubt: false,
            elements_in_doubt: false,
            may_name_block: false,
        }
    }

    /// Has the type parameters of the block around the function be named, if `Self` is skipped.
    pub(super) fn add_block<'s>(&mut self, mut skip: impl Iterator<Item = &'s Skip>) {
        self.may_name_block = skip.any(|skip| matches!(skip, Skip::Name(name) if name == "Self"));
    }

    /// Adds lists whose elements can be named.
    pub(super) fn add_lists(&mut self, lists: Vec<Each>, errors: &mut Errors) {
        let parameters = self.names();
        for list in lists {
            self.check_list(&list.list, errors);
            let list = List::new(list, &self.lists, self.sig, &parameters, errors);
            self.lists.push(list);
        }
    }

    /// Adds the list of a call for several keys: each key has one of its elements.
    pub(super) fn add_batch(&mut self, lists: Vec<Each>, argument: &Ident, errors: &mut Errors) {
        let parameters = self.names();
        for list in lists {
            let list = List::new(list, &self.lists, self.sig, &parameters, errors);
            self.lists.push(list);
        }
        if let Some(parameter) = self.find(&argument.to_string()) {
            parameter.named_in.push(Place::Key);
        }
    }

    pub(super) fn take_lists(&mut self) -> Vec<List> {
        std::mem::take(&mut self.lists)
    }

    /// An argument whose elements can be read only once belongs to the body.
    fn check_list(&mut self, list: &Expr, errors: &mut Errors) {
        if let Expr::Path(path) = list
            && let Some(name) = path.path.get_ident()
            && let Some(parameter) = self.find(&name.to_string())
            && parameter.kind == Kind::ImplTrait
        {
            errors.push(
                name.span(),
                format_args!(
                    "the elements of `{name}`, an `impl Trait`, can be read only once, by the body"
                ),
                format_args!("take a slice, `{name}: &[…]`, or a `Vec`"),
            );
        }
    }

    /// The lists. Each must be used by one of these names.
    pub(super) fn finish_lists(self, names: &[Tag], errors: &mut Errors) -> Vec<List> {
        each::check_used(&self.lists, names, errors);
        self.lists
    }

    pub(super) fn lower(
        &mut self,
        place: Place,
        literal: &LitStr,
        errors: &mut Errors,
    ) -> LoweredTemplate {
        let span = literal.span();
        let Some(template) = parse_template(literal, errors) else {
            self.in_doubt |= place == Place::Key;
            return LoweredTemplate::empty(span);
        };
        for braced in template.braced() {
            if let Some(parameter) = self.find(&braced.root) {
                parameter.named_in.push(place);
                let written = braced.to_string();
                errors.push(
                    span,
                    format_args!(
                        "`{}` in the template is literal text, not the {} `{}`",
                        written.replace('<', "{").replace('>', "}"),
                        parameter.kind.noun(),
                        parameter.ident,
                    ),
                    format_args!("did you mean `{written}`?"),
                );
            }
        }
        // With `<Self>`, a name lacks nothing of the block; a further name of it makes no two calls share one.
        let names_self = |placeholder: &Placeholder| placeholder.root == "Self";
        let beside_self = self.may_name_block || template.placeholders.iter().any(names_self);
        let template = lower_parts(template, span, errors, |placeholder, errors| {
            self.resolve(place, placeholder, beside_self, span, errors)
        });
        self.check_elements(&template, errors);
        template
    }

    /// When the result is there, the body has taken the lists that are arguments.
    fn check_elements(&self, template: &LoweredTemplate, errors: &mut Errors) {
        let (late, early): (Vec<_>, Vec<_>) = template
            .lists()
            .partition(|list| self.lists[*list].reads_result());
        if (template.reads_result() || !late.is_empty())
            && let Some(early) = early.first()
        {
            errors.push(
                template.span,
                format_args!(
                    "the template names the result, and an element of an argument, which is gone \
                     when there is a result: `{}`",
                    self.lists[*early].bindings()[0]
                ),
                "name them by two templates, or read the element from the result too: \
                 `each(user in result)`",
            );
        }
    }

    pub(super) fn lower_all(
        &mut self,
        place: Place,
        tags: Vec<TagArgument>,
        errors: &mut Errors,
    ) -> Vec<Tag> {
        let lower = |tag| match tag {
            TagArgument::Template(literal) => {
                Some(Tag::Template(self.lower(place, &literal, errors)))
            }
            TagArgument::Typed(expr) => Some(Tag::Typed(self.lower_typed(place, expr, errors))),
            // It names the value, and has no name of its own.
            TagArgument::OfValue(_) => None,
        };
        tags.into_iter().filter_map(lower).collect()
    }

    fn lower_typed(&mut self, place: Place, expr: Expr, errors: &mut Errors) -> TypedTag {
        let variables = variables(&expr);
        let mut named = Vec::new();
        let mut result = None;
        let mut lists = Vec::new();
        for variable in variables {
            if let Some(list) = each::find(&self.lists, &variable) {
                lists.push(list);
                if !self.lists[list].reads_result() {
                    named.push(variable);
                }
            } else if let Some(parameter) = self.find(&variable.to_string()) {
                parameter.named_in.push(place);
                named.push(variable);
            } else if variable == "result" {
                result = Some(variable);
            }
        }
        if let Some(result) = &result
            && place == Place::Tag
        {
            errors.push(
                result.span(),
                "the tag names the result, which is not there before the load",
                "name parameters of the function",
            );
            self.in_doubt = true;
        }
        // When the result is there, the body has taken the parameters.
        let is_late = |list: &usize| self.lists[*list].reads_result();
        if place == Place::Invalidated
            && (result.is_some() || lists.iter().any(is_late))
            && let Some(parameter) = named.first()
        {
            errors.push(
                parameter.span(),
                format_args!("the tag names `{parameter}`, which is gone when there is a `result`"),
                format_args!(
                    "write a template, which may name both: `\"tag:<{parameter}>:<result.id>\"`"
                ),
            );
        }
        TypedTag {
            expr,
            result,
            lists,
        }
    }

    fn resolve(
        &mut self,
        place: Place,
        placeholder: &Placeholder,
        beside_self: bool,
        span: Span,
        errors: &mut Errors,
    ) -> Option<Root> {
        let root = placeholder.root.as_str();
        if let Some((list, element)) = self.element(root) {
            let mut element = element.clone();
            element.set_span(span.resolved_at(element.span()));
            return Some(Root::Element(element, list));
        }
        if let Some(parameter) = self.find(root) {
            parameter.named_in.push(place);
            let mut ident = parameter.ident.clone();
            // Errors point at the template, and the name is looked up where the parameter is:
            // either may come from a macro.
            ident.set_span(span.resolved_at(ident.span()));
            let unnamed = parameter.kind == Kind::ImplTrait && placeholder.steps.is_empty();
            if unnamed && place == Place::Key {
                errors.push(
                    span,
                    format_args!(
                        "`{ident}` is of a type `impl Trait`, and two types can write the same key"
                    ),
                    help_for_impl_trait(self.function, &ident, self.sig),
                );
                return None;
            }
            if !parameter.kind.is_type() {
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
        if self.elements_in_doubt {
            // It may be the element of a list.
            self.in_doubt = true;
            return None;
        }
        let in_pattern = !self.moved_patterns.is_empty();
        if in_pattern && place != Place::Invalidated {
            // The error is the one at the pattern.
            self.in_doubt = true;
            return None;
        }
        let subject = match place {
            Place::Key => "cache key",
            Place::Tag => "tag",
            Place::Invalidated | Place::Skip => "template",
        };
        let mut known = self.names();
        let elements = self.lists.iter().flat_map(List::bindings);
        known.extend(elements.map(Ident::to_string));
        if place == Place::Invalidated {
            known.push("result".to_owned());
        }
        let help = if root == "self" {
            "a receiver is a parameter: `&self`".to_owned()
        } else if in_pattern {
            format!("if it is in a pattern under `#[async_trait]`, {NAME_THE_PARAMETER}")
        } else if self.may_be_of_block(placeholder, &known) {
            if beside_self && let Ok(mut ident) = syn::parse_str::<Ident>(root) {
                // If there is no such type, the compiler says so.
                ident.set_span(span.resolved_at(self.function.span()));
                return Some(Root::Type(ident));
            }
            format!(
                "if `{root}` is a type parameter of the `impl`, write `<Self>`: the name of its type has \
                 those of its parameters in it; if it is one of the trait, write both: `<Self>:<{root}>`"
            )
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
        self.count_nearest(root, place);
        None
    }

    /// Whether a name that is not known looks like a type parameter of the trait or the `impl` around the
    /// method, which an attribute on it does not see.
    fn may_be_of_block(&self, placeholder: &Placeholder, known: &[String]) -> bool {
        let root = placeholder.root.as_str();
        let is_type = |name: &str| {
            let mut known = self.known.iter();
            known.any(|parameter| parameter.kind.is_type() && parameter.ident == name)
        };
        let is_misspelt = match nearest(root, known) {
            // `T` is not near to `t`.
            Some(nearest) => root.len() > 1 || is_type(nearest),
            None => false,
        };
        placeholder.steps.is_empty() && root.starts_with(char::is_uppercase) && !is_misspelt
    }

    pub(super) fn skip(&mut self, skip: &[Skip], errors: &mut Errors) {
        for name in skip {
            // What is said of the receiver is checked in `receiver`.
            let Skip::Name(name) = name else { continue };
            let text = name.to_string();
            if text == "Self" && !self.has_receiver() {
                errors.push(
                    name.span(),
                    format_args!(
                        "`skip` names `Self`, and `{}` has no receiver",
                        self.function
                    ),
                    "remove it from `skip`",
                );
            } else if let Some(parameter) = self.find(&text) {
                let is_in_key = parameter.named_in.contains(&Place::Key);
                if is_in_key && parameter.kind != Kind::Receiver {
                    errors.push(
                        name.span(),
                        format_args!("`{name}` is skipped, and it is in the cache key"),
                        format_args!("remove it from `skip`, or `<{name}>` from the key"),
                    );
                }
                parameter.named_in.push(Place::Skip);
            } else if self.moved_patterns.is_empty() {
                errors.push(
                    name.span(),
                    format_args!(
                        "`skip` names `{name}`, which is not a parameter of `{}`",
                        self.function
                    ),
                    suggest(&text, &self.names(), "parameters"),
                );
                self.count_nearest(&text, Place::Skip);
            }
        }
    }

    /// Skips the parameters among these names that the key does not name, and returns those.
    pub(super) fn skip_defaults(&mut self, skip: &[Skip]) -> Vec<String> {
        let mut skipped = Vec::new();
        for name in skip {
            if let Skip::Name(name) = name
                && let Some(parameter) = self.find(&name.to_string())
                && !parameter.named_in.contains(&Place::Key)
                && !parameter.named_in.contains(&Place::Skip)
            {
                parameter.named_in.push(Place::Skip);
                skipped.push(name.to_string());
            }
        }
        skipped
    }

    /// Whether there is a receiver whose type neither the key nor `skip` names.
    pub(super) fn asks_receiver(&self) -> bool {
        let is_named = |parameter: &Parameter| {
            let places = &parameter.named_in;
            places.contains(&Place::Key) || places.contains(&Place::Skip)
        };
        let mut known = self.known.iter();
        self.has_receiver()
            && known.any(|parameter| parameter.kind == Kind::SelfType && !is_named(parameter))
    }

    fn has_receiver(&self) -> bool {
        let mut known = self.known.iter();
        known.any(|parameter| parameter.kind == Kind::Receiver)
    }

    /// Refuses a function with a parameter that is neither in the key nor skipped.
    pub(super) fn check_complete(&self, errors: &mut Errors) {
        for wildcard in &self.wildcards {
            errors.push(
                *wildcard,
                "parameter `_` cannot be in the cache key",
                "name the parameter, to put it in the key or in `skip(…)`",
            );
        }
        for pattern in &self.moved_patterns {
            errors.push(
                *pattern,
                "a pattern under `#[async_trait]` cannot be in the cache key",
                format_args!("{NAME_THE_PARAMETER}, to put it in the key or in `skip(…)`"),
            );
        }
        if self.in_doubt {
            return;
        }
        for parameter in &self.known {
            let Parameter {
                ident,
                kind,
                named_in,
            } = parameter;
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

    /// The element of this name, and its list.
    fn element(&self, name: &str) -> Option<(usize, &Ident)> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let lists = self.lists.iter().enumerate();
        let mut elements =
            lists.flat_map(|(at, list)| list.bindings().iter().map(move |it| (at, it)));
        elements.find(|(_, element)| element.unraw() == name)
    }

    fn find(&mut self, name: &str) -> Option<&mut Parameter> {
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.known
            .iter_mut()
            .find(|parameter| parameter.ident.unraw() == name)
    }

    fn names(&self) -> Vec<String> {
        self.known
            .iter()
            .filter(|parameter| parameter.kind != Kind::SelfType)
            .map(|parameter| parameter.ident.to_string())
            .collect()
    }

    /// Counts the parameter with the nearest name as named, so that a misspelt name is one error.
    fn count_nearest(&mut self, name: &str, place: Place) {
        let nearest = nearest(name, &self.names()).map(str::to_owned);
        match nearest.and_then(|nearest| self.find(&nearest)) {
            Some(parameter) => parameter.named_in.push(place),
            None => self.in_doubt = true,
        }
    }
}

const NAME_THE_PARAMETER: &str = "name the parameter and take it apart in the body";

/// Whether `#[async_trait]` gave this name, to a parameter whose name is a pattern.
fn is_positional(ident: &Ident) -> bool {
    let name = ident.to_string();
    let position = name.strip_prefix("__arg");
    position.is_some_and(|position| position.parse::<u32>().is_ok())
}

fn is_impl_trait(ty: &Type) -> bool {
    impl_trait(ty).is_some()
}

/// The `impl Trait` that a type is, or a reference to it.
fn impl_trait(ty: &Type) -> Option<&TypeImplTrait> {
    match ungrouped(ty) {
        Type::ImplTrait(found) => Some(found),
        Type::Reference(reference) => impl_trait(&reference.elem),
        _ => None,
    }
}

/// How to write a parameter whose type has no name, so that it can be in a key.
fn help_for_impl_trait(function: &Ident, name: &Ident, sig: &Signature) -> String {
    let declared = sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(input) => match &*input.pat {
            Pat::Ident(pat) if pat.ident.unraw() == name.unraw() => impl_trait(&input.ty),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    let bounds = declared.map_or_else(Vec::new, |found| {
        let bounds = found.bounds.iter().map(ToTokens::to_token_stream);
        bounds.map(source::text_of_type).collect::<Vec<_>>()
    });
    let is_text = |bound: &&str| bounds.iter().any(|has| has == bound);
    if is_text(&"AsRef<str>") {
        return format!("take text, `{name}: &str`, or write `<{name}.as_ref()>`");
    }
    let text = ["Into<String>", "ToString", "Display", "fmt::Display"];
    if text.iter().any(is_text) {
        return format!("take text: `{name}: &str`");
    }
    let mut bounds = bounds;
    if !bounds.iter().any(|bound| bound.ends_with("KeyPart")) {
        bounds.insert(0, "KeyPart".to_owned());
    }
    format!(
        "name the type, `fn {function}<K: {}>({name}: K)`, and add `<K>` to the key, or say that it does \
         not matter: `skip(K)`",
        bounds.join(" + ")
    )
}
