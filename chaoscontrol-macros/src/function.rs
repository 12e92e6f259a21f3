//! The function under the attribute: its signature, and the attributes that concern the
//! test as a whole.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Error, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, Meta, Result, Safety};

use crate::Errors;

/// A test function that was examined.
pub struct Test {
    /// The function, without the attributes below.
    pub function: ItemFn,
    /// Its `#[cfg]`s, which the test case needs too.
    pub conditions: Vec<Attribute>,
    /// `#[ignore]`: an `Option<Option<&str>>`.
    pub ignore: TokenStream,
    /// `#[should_panic]`: an `Option<Option<&str>>`.
    pub should_panic: TokenStream,
}

/// Takes a function apart.
pub fn examine(function: ItemFn, errors: &mut Errors) -> Test {
    signature(&function, errors);
    strip(function, errors)
}

/// Takes a host-side test apart: an ordinary `#[test]` function.
pub fn examine_host(function: ItemFn, errors: &mut Errors) -> Test {
    let signature = &function.sig;
    if !signature.inputs.is_empty() {
        let what = "a host-side test takes nothing; one that takes a `Node` is a #[chaos_test]";
        errors.push(Error::new_spanned(&signature.inputs, what));
    }
    if let Some(keyword) = &signature.asyncness {
        errors.push(Error::new_spanned(
            keyword,
            "a host-side test cannot be `async`",
        ));
    }
    strip(function, errors)
}

/// Takes the attributes away that concern the test as a whole.
fn strip(mut function: ItemFn, errors: &mut Errors) -> Test {
    let mut ignore = None;
    let mut should_panic = None;
    let mut conditions = Vec::new();
    function.attrs.retain(|attribute| {
        let path = attribute.path();
        if path.is_ident("ignore") {
            ignore = errors.note(reason(attribute));
        } else if path.is_ident("should_panic") {
            should_panic = errors.note(expected(attribute));
        } else if path.is_ident("test") {
            let what = "this is a test already: remove #[test]";
            errors.push(Error::new_spanned(attribute, what));
        } else {
            if path.is_ident("cfg") {
                conditions.push(attribute.clone());
            }
            return true;
        }
        false
    });
    Test {
        function,
        conditions,
        ignore: option(ignore.map(option)),
        should_panic: option(should_panic.map(option)),
    }
}

/// An `Option` as an expression.
fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn signature(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    let mut refuse = |at: &dyn ToTokens, what: &str| {
        errors.push(Error::new_spanned(at.to_token_stream(), what));
    };
    if let Some(keyword) = &signature.constness {
        refuse(keyword, "a chaos test cannot be `const`");
    }
    if let Safety::Unsafe(keyword) = &signature.safety {
        refuse(keyword, "a chaos test cannot be `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        refuse(abi, "a chaos test cannot have an ABI of its own");
    }
    if !signature.generics.params.is_empty() {
        refuse(&signature.generics, "a chaos test cannot be generic");
    }
    let mut inputs = signature.inputs.iter();
    match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(_)), None) => {}
        (Some(FnArg::Receiver(receiver)), _) => {
            refuse(receiver, "a chaos test is a free function, without `self`");
        }
        (Some(_), Some(second)) => {
            refuse(
                second,
                "a chaos test takes the `Node` it runs on and nothing else",
            );
        }
        (None, _) => {
            let name = &signature.ident;
            let what = format!("a chaos test takes the node it runs on: `fn {name}(node: Node)`");
            refuse(&signature.ident, &what);
        }
    }
}

/// The reason in `#[ignore = "..."]`.
fn reason(attribute: &Attribute) -> Result<Option<LitStr>> {
    match &attribute.meta {
        Meta::Path(_) => Ok(None),
        Meta::NameValue(pair) => literal(&pair.value).map(Some),
        Meta::List(_) => Err(Error::new_spanned(
            attribute,
            "write #[ignore] or #[ignore = \"reason\"]",
        )),
    }
}

/// The text in `#[should_panic(expected = "...")]` or `#[should_panic = "..."]`.
fn expected(attribute: &Attribute) -> Result<Option<LitStr>> {
    match &attribute.meta {
        Meta::Path(_) => Ok(None),
        Meta::NameValue(pair) => literal(&pair.value).map(Some),
        Meta::List(list) => {
            let pair: syn::MetaNameValue = list.parse_args()?;
            if pair.path.is_ident("expected") {
                literal(&pair.value).map(Some)
            } else {
                Err(Error::new_spanned(
                    &pair.path,
                    "write #[should_panic(expected = \"...\")]",
                ))
            }
        }
    }
}

fn literal(value: &Expr) -> Result<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        _ => Err(Error::new_spanned(value, "expected a string")),
    }
}
