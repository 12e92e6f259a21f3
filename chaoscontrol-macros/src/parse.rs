//! From tokens to `key = value` pairs; an error in one does not hide those in the next.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Token};

use crate::Errors;

/// A pair, not checked yet.
pub struct Entry {
    /// The key.
    pub key: Ident,
    /// Its value.
    pub value: Expr,
}

/// Splits the attribute's arguments at their commas and parses each part.
pub fn parse(arguments: TokenStream, errors: &mut Errors) -> Vec<Entry> {
    parts(arguments)
        .into_iter()
        .filter_map(|part| errors.note(entry.parse2(part)))
        .collect()
}

/// The parts between the commas. A final comma makes no part; two in a row make an empty
/// one, whose error says what is missing.
fn parts(arguments: TokenStream) -> Vec<TokenStream> {
    let mut parts = Vec::new();
    let mut part: Vec<TokenTree> = Vec::new();
    for token in arguments {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                if part.is_empty() {
                    // An unexpected comma: let the parser complain of it, in its place.
                    part.push(token);
                }
                parts.push(part.drain(..).collect());
            }
            _ => part.push(token),
        }
    }
    if !part.is_empty() {
        parts.push(part.into_iter().collect());
    }
    parts
}

fn entry(input: ParseStream<'_>) -> syn::Result<Entry> {
    if !input.peek(Ident::peek_any) {
        return Err(input.error("expected a key, as in `vms = 3`"));
    }
    let key = Ident::parse_any(input)?;
    if !input.peek(Token![=]) {
        let what = format!("`{key}` needs a value, as in `{key} = ...`");
        return Err(if input.is_empty() {
            syn::Error::new(key.span(), what)
        } else {
            input.error(what)
        });
    }
    let equals: Token![=] = input.parse()?;
    if input.is_empty() {
        let what = format!("`{key} =` needs a value");
        return Err(syn::Error::new(equals.span, what));
    }
    let value = if key == "crate" {
        crate_path(input)?
    } else {
        input.parse()?
    };
    if !input.is_empty() {
        return Err(input.error("expected `,`"));
    }
    Ok(Entry {
        key,
        value: ungrouped(value),
    })
}

/// A path as an expression; unlike one it may be `crate` alone.
fn crate_path(input: ParseStream<'_>) -> syn::Result<Expr> {
    let path = input.call(syn::Path::parse_mod_style)?;
    Ok(Expr::Path(syn::ExprPath {
        attrs: Vec::new(),
        qself: None,
        path,
    }))
}

/// The value without the invisible parentheses that a `macro_rules!` puts around it.
fn ungrouped(mut value: Expr) -> Expr {
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    value
}
