//! What the registry is told about a function: its names and its types, as text.
//!
//! A static can't name a function's own types, so types are described by how they
//! are written. What that leaves open is `_`, which the registry takes for any.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{
    AssocType, Expr, FnArg, GenericArgument, GenericParam, Generics, Lifetime, Pat, Path,
    PathArguments, PathSegment, ReturnType, Signature, Type, TypeInfer, parse_quote,
};

use crate::lower::{CachedFn, InvalidateFn, Name, Part, Root, Tag};
use crate::runtime::Runtime;

/// A function of the registry's, and how it calls itself.
pub(crate) fn cached(cached: &CachedFn) -> TokenStream {
    let types = Types::new(&cached.runtime, &cached.function.sig);
    let key = types.name(&cached.key);
    let tags = cached.tags.iter().map(|tag| types.tag(tag));
    let value = &types.value;
    let role = quote!(caches(#key, #value, &[#(#tags),*]));
    function(
        &types.path,
        &cached.function.sig,
        &role,
        cached.cache.as_ref(),
        &cached.options,
    )
}

pub(crate) fn invalidate(invalidate: &InvalidateFn) -> TokenStream {
    let types = Types::new(&invalidate.runtime, &invalidate.function.sig);
    let names = [&invalidate.from_arguments, &invalidate.from_result];
    let names = names.into_iter().flatten().map(|tag| types.tag(tag));
    let role = quote!(invalidates(&[#(#names),*]));
    function(
        &types.path,
        &invalidate.function.sig,
        &role,
        invalidate.cache.as_ref(),
        &invalidate.options,
    )
}

/// A name whose placeholders are any variables.
pub(crate) fn key(runtime: &Runtime, name: &Name) -> TokenStream {
    let path = runtime.path(Span::call_site());
    let source = &name.source;
    let types = name.parts.iter().map(|_| "_");
    quote!(#path::registry::Name::template(#source, &[#(#types),*]))
}

fn function(
    path: &TokenStream,
    sig: &Signature,
    role: &TokenStream,
    cache: Option<&Expr>,
    options: &[String],
) -> TokenStream {
    let name = sig.ident.unraw().to_string();
    let cache = cache.map(|cache| {
        let cache = cache.to_token_stream().to_string();
        quote!(.cache(#cache))
    });
    let options = (!options.is_empty()).then(|| quote!(.options(&[#(#options),*])));
    quote! {
        #path::registry::Function::new(
            ::core::concat!(::core::module_path!(), "::", #name),
            ::core::file!(),
            ::core::line!(),
            #path::registry::Role::#role,
        )
        #cache
        #options
    }
}

/// The arguments of an attribute that are not names, as they are written.
pub(crate) fn options(args: TokenStream) -> Vec<String> {
    let mut options = vec![TokenStream::new()];
    for token in args {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => options.push(TokenStream::new()),
            _ => options
                .last_mut()
                .into_iter()
                .for_each(|option| option.extend([token.clone()])),
        }
    }
    let is_option = |option: &TokenStream| {
        let mut tokens = option.clone().into_iter();
        match (tokens.next(), tokens.next()) {
            (Some(TokenTree::Ident(name)), Some(TokenTree::Punct(equals))) => {
                equals.as_char() == '=' && name != "key" && name != "invalidate_on"
            }
            (Some(TokenTree::Ident(name)), Some(TokenTree::Group(_))) => name == "skip",
            (Some(TokenTree::Ident(name)), None) => name == "fence_required",
            _ => false,
        }
    };
    options
        .iter()
        .filter(|option| is_option(option))
        .map(ToString::to_string)
        .collect()
}

/// The types in a signature, without what makes no difference to a key or a value.
struct Types<'s> {
    path: TokenStream,
    sig: &'s Signature,
    value: String,
}

impl<'s> Types<'s> {
    fn new(runtime: &Runtime, sig: &'s Signature) -> Self {
        let value = match &sig.output {
            ReturnType::Default => "()".to_owned(),
            ReturnType::Type(_, output) => plain(&value_of(output), &sig.generics),
        };
        let path = runtime.path(Span::call_site());
        Self { path, sig, value }
    }

    fn name(&self, name: &Name) -> TokenStream {
        let path = &self.path;
        let source = &name.source;
        let types = name.parts.iter().map(|part| self.of(part));
        quote!(#path::registry::Name::template(#source, &[#(#types),*]))
    }

    fn tag(&self, tag: &Tag) -> TokenStream {
        match tag {
            Tag::Name(name) => self.name(name),
            Tag::Typed(tag) => {
                let path = &self.path;
                let ty = type_of_tag(&tag.expr).map_or("_".to_owned(), |ty| ty.unraw().to_string());
                quote!(#path::registry::Name::typed(#ty))
            }
        }
    }

    fn of(&self, part: &Part) -> String {
        if !part.steps.is_empty() {
            return "_".to_owned();
        }
        match &part.root {
            Root::Result => self.value.clone(),
            Root::Type(_) => "type".to_owned(),
            Root::Value(ident) => self
                .declared(ident)
                .map_or("_".to_owned(), |ty| plain(ty, &self.sig.generics)),
        }
    }

    fn declared(&self, name: &Ident) -> Option<&'s Type> {
        let inputs = self.sig.inputs.iter().find_map(|input| match input {
            FnArg::Typed(input) => match input.pat.as_ref() {
                Pat::Ident(pat) if pat.ident.unraw() == name.unraw() => Some(&*input.ty),
                _ => None,
            },
            FnArg::Receiver(_) => None,
        });
        let consts = || {
            let mut consts = self.sig.generics.const_params();
            consts.find(|parameter| parameter.ident == *name)
        };
        inputs.or_else(|| consts().map(|parameter| &parameter.ty))
    }
}

/// A type as it is written, less references, lifetimes and paths to it, and with
/// `_` for what only a caller knows.
pub(crate) fn plain(ty: &Type, generics: &Generics) -> String {
    let mut ty = ty.clone();
    Plain(generics).visit_type_mut(&mut ty);
    ty.to_token_stream().to_string().replace(' ', "")
}

struct Plain<'g>(&'g Generics);

impl Plain<'_> {
    fn is_open(&self, path: &Path) -> bool {
        let parameters = self
            .0
            .params
            .iter()
            .filter_map(|parameter| match parameter {
                GenericParam::Type(parameter) => Some(&parameter.ident),
                GenericParam::Const(parameter) => Some(&parameter.ident),
                GenericParam::Lifetime(_) => None,
            });
        path.segments.first().is_some_and(|first| {
            first.ident == "Self" || parameters.into_iter().any(|name| *name == first.ident)
        })
    }
}

impl VisitMut for Plain<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        loop {
            *ty = match ty {
                Type::Reference(reference) => (*reference.elem).clone(),
                Type::Paren(paren) => (*paren.elem).clone(),
                Type::Group(group) => (*group.elem).clone(),
                _ => break,
            };
        }
        let open = match ty {
            Type::ImplTrait(_) | Type::Macro(_) => true,
            Type::Path(path) => path.qself.is_some() || self.is_open(&path.path),
            _ => false,
        };
        if open {
            *ty = Type::Infer(TypeInfer {
                attrs: Vec::new(),
                underscore_token: parse_quote!(_),
            });
        }
        visit_mut::visit_type_mut(self, ty);
    }

    fn visit_path_mut(&mut self, path: &mut Path) {
        if let Some(last) = path.segments.pop() {
            path.leading_colon = None;
            path.segments.clear();
            path.segments.push(last);
        }
        visit_mut::visit_path_mut(self, path);
    }

    fn visit_path_segment_mut(&mut self, segment: &mut PathSegment) {
        if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
            arguments.args = std::mem::take(&mut arguments.args)
                .into_iter()
                .filter(|argument| !matches!(argument, GenericArgument::Lifetime(_)))
                .collect();
            if arguments.args.is_empty() {
                segment.arguments = PathArguments::None;
            }
        }
        visit_mut::visit_path_segment_mut(self, segment);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        lifetime.ident = Ident::new("_", lifetime.ident.span());
    }
}

/// What a function caches or names: the `T` of `Result<Option<T>, E>`, inside of
/// what a future yields. Aliases are known by how such aliases are called.
fn value_of(output: &Type) -> Type {
    let mut value = awaited(output);
    for is_around in [
        |name: &str| name.ends_with("Future"),
        |name: &str| name.ends_with("Result"),
        |name: &str| name == "Option",
    ] {
        if let Some(inside) = inside(&value, is_around) {
            value = inside;
        }
    }
    value
}

/// The `T` of `impl Future<Output = T>`, boxed or not; any other type is itself.
fn awaited(output: &Type) -> Type {
    struct Search(Option<Type>);
    impl VisitMut for Search {
        fn visit_assoc_type_mut(&mut self, found: &mut AssocType) {
            if found.ident == "Output" && self.0.is_none() {
                self.0 = Some(found.ty.clone());
            }
        }
    }
    let mut search = Search(None);
    search.visit_type_mut(&mut output.clone());
    search.0.unwrap_or_else(|| output.clone())
}

/// The first type argument of a path whose last name is such.
fn inside(ty: &Type, is_such: impl Fn(&str) -> bool) -> Option<Type> {
    let path = match ty {
        Type::Paren(paren) => return inside(&paren.elem, is_such),
        Type::Group(group) => return inside(&group.elem, is_such),
        Type::Path(path) => &path.path,
        _ => return None,
    };
    let last = path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    types.next().filter(|_| is_such(&last.ident.to_string()))
}

/// The type of `TenantUsers(tenant)`, `Tag { … }`, `Tag::new(…)` or `Unit`.
fn type_of_tag(expr: &Expr) -> Option<Ident> {
    let path = match expr {
        Expr::Call(call) => return type_of_tag(&call.func),
        Expr::Reference(reference) => return type_of_tag(&reference.expr),
        Expr::Paren(paren) => return type_of_tag(&paren.expr),
        Expr::Group(group) => return type_of_tag(&group.expr),
        Expr::Struct(literal) => &literal.path,
        Expr::Path(path) => &path.path,
        _ => return None,
    };
    // A function of the type's is in lower case, and a constant has no lower case.
    let is_type = |ident: &Ident| {
        let name = ident.unraw().to_string();
        name.starts_with(char::is_uppercase)
            && (name.len() == 1 || name.contains(char::is_lowercase))
    };
    let mut names = path.segments.iter().rev().map(|segment| &segment.ident);
    let last = names.next()?;
    let ty = if last.to_string().starts_with(char::is_lowercase) {
        names.next()?
    } else {
        last
    };
    (is_type(ty) && ty != "Self").then(|| ty.clone())
}
