//! One value: checked against its key's kind and turned into the constant that the test
//! case holds.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Result};

use crate::Errors;
use crate::keys::{CLASSES, CLIENTS, DOWN, Key, Kind, NETWORK_FAULTS, PRESETS, VM_FAULTS};
use crate::number;
use crate::suggest::hint;

/// A value that was found to be right.
pub struct Value {
    /// The constant for its field of `Attributes`.
    pub tokens: TokenStream,
    /// The number, if it is one.
    pub number: Option<u64>,
}

impl Value {
    fn new(tokens: TokenStream) -> Self {
        Self {
            tokens,
            number: None,
        }
    }

    fn some(number: u64, literal: impl ToTokens) -> Self {
        Self {
            tokens: quote!(::core::option::Option::Some(#literal)),
            number: Some(number),
        }
    }
}

/// Checks the value of a key.
///
/// # Errors
/// One per thing that is wrong, combined, at the value or the part of it that is wrong.
pub fn check(key: &Key, value: &Expr, root: &TokenStream) -> Result<Value> {
    match key.kind {
        Kind::Number(least, greatest, kind) => number_in(key, value, least, greatest, kind),
        Kind::Time(least, greatest) => time(key, value, least, greatest),
        Kind::Memory(least, greatest) => memory(key, value, least, greatest),
        Kind::Disk(least, greatest) => disk(key, value, least, greatest, root),
        Kind::Epoch(least, greatest) => epoch(key, value, least, greatest),
        Kind::Bool => boolean(key, value),
        Kind::Text => {
            let text = text(key, value, "a string")?;
            Ok(Value::new(quote!(::core::option::Option::Some(#text))))
        }
        Kind::Texts => {
            let mut errors = Errors::default();
            let texts = texts(key, value, &mut errors);
            errors.0.map_or(Ok(Value::new(quote!(&[#(#texts),*]))), Err)
        }
        Kind::Programs => programs(key, value),
        Kind::Faults => faults(key, value),
        Kind::Presets => names(key, value, preset),
        Kind::Tolerance => names(key, value, limit),
        Kind::Schedule => schedule(key, value, root),
        Kind::Check => judge(key, value, root),
        Kind::Word(class, names) => word(key, value, class, names, root),
        Kind::Crate => Ok(Value::new(TokenStream::new())),
    }
}

fn wrong(key: &Key, at: &impl ToTokens, expected: &str) -> Error {
    Error::new_spanned(at, format!("`{}` must be {expected}", key.name))
}

fn integer(value: &Expr) -> Option<u64> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(number),
            ..
        }) => number.base10_parse().ok(),
        _ => None,
    }
}

fn number_in(key: &Key, value: &Expr, least: u64, greatest: u64, kind: &str) -> Result<Value> {
    let number = integer(value).filter(|number| (least..=greatest).contains(number));
    let Some(number) = number else {
        let expected = match greatest {
            u64::MAX => "a whole number of at most 64 bits".to_owned(),
            _ => format!("a whole number in {least}..={greatest}"),
        };
        return Err(wrong(key, value, &expected));
    };
    let literal = match kind {
        "u32" => proc_macro2::Literal::u32_suffixed(number as u32),
        _ => proc_macro2::Literal::u64_suffixed(number),
    };
    Ok(Value::some(number, literal))
}

fn time(key: &Key, value: &Expr, least: u64, greatest: u64) -> Result<Value> {
    let expected = "a time: a string with a unit (ns, us, ms, s, min, h), as in \"500ms\", or a \
                    number of seconds";
    let ns = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => number::time(&text.value()),
        _ => integer(value).and_then(|seconds| seconds.checked_mul(1_000_000_000)),
    };
    match ns {
        None => Err(wrong(key, value, expected)),
        Some(ns) if !(least..=greatest).contains(&ns) => {
            let (least, greatest) = (least / 1_000_000, greatest / 1_000_000_000);
            Err(wrong(
                key,
                value,
                &format!("from {least} ms to {greatest} s"),
            ))
        }
        Some(ns) => Ok(Value::some(ns, proc_macro2::Literal::u64_suffixed(ns))),
    }
}

fn memory(key: &Key, value: &Expr, least: u64, greatest: u64) -> Result<Value> {
    let bytes = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => number::size(&text.value()),
        _ => None,
    };
    let Some(bytes) = bytes else {
        return Err(wrong(
            key,
            value,
            "a size with a unit (K, M, G), as in \"128M\"",
        ));
    };
    if !(least..=greatest).contains(&bytes) || bytes % 4096 != 0 {
        let (least, greatest) = (least >> 20, greatest >> 20);
        let expected = format!("between \"{least}M\" and \"{greatest}M\", in whole pages of 4K");
        return Err(wrong(key, value, &expected));
    }
    Ok(Value::some(
        bytes,
        proc_macro2::Literal::u64_suffixed(bytes),
    ))
}

fn disk(key: &Key, value: &Expr, least: u64, greatest: u64, root: &TokenStream) -> Result<Value> {
    let (low, high) = (least >> 20, greatest >> 30);
    let expected = format!(
        "a size from \"{low}M\" to \"{high}G\" in whole pages of 4K, as in \"64M\", the path of an \
         image, as in \"disk.img\", or \"none\""
    );
    let text = text(key, value, &expected)?;
    let name = text.value();
    // What could be meant for a size is no path; "./64M" is one.
    let is_path = !name.starts_with(|c: char| c.is_ascii_digit())
        || name.contains(|c: char| !c.is_ascii_alphanumeric() && !"_ ".contains(c));
    let disk = if is_path {
        quote!(Image(#text))
    } else {
        let fits = |size: &u64| (least..=greatest).contains(size) && size.is_multiple_of(4096);
        let size = number::size(&name).filter(fits);
        let size = size.ok_or_else(|| wrong(key, value, &expected))?;
        quote!(Empty(#size))
    };
    Ok(Value::new(
        quote!(::core::option::Option::Some(#root::__private::Disk::#disk)),
    ))
}

fn epoch(key: &Key, value: &Expr, least: u64, greatest: u64) -> Result<Value> {
    let seconds = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => number::date(&text.value()),
        _ => integer(value),
    };
    let Some(seconds) = seconds.filter(|seconds| (least..=greatest).contains(seconds)) else {
        let expected = "a date from 1970 to 2100, as in \"2026-01-31\" or \"2026-01-31T12:00:00Z\", or \
                        seconds since 1970";
        return Err(wrong(key, value, expected));
    };
    Ok(Value::some(
        seconds,
        proc_macro2::Literal::u64_suffixed(seconds),
    ))
}

fn boolean(key: &Key, value: &Expr) -> Result<Value> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Bool(boolean),
            ..
        }) => Ok(Value::new(quote!(::core::option::Option::Some(#boolean)))),
        _ => Err(wrong(key, value, "`true` or `false`")),
    }
}

fn text(key: &Key, value: &Expr, expected: &str) -> Result<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if text.value().is_empty() => Err(wrong(key, value, "more than an empty string")),
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        _ => Err(wrong(key, value, expected)),
    }
}

/// The strings of a list, those that are right.
fn texts(key: &Key, value: &Expr, errors: &mut Errors) -> Vec<LitStr> {
    let expected = "a list of strings, as in [\"...\", \"...\"]";
    let Expr::Array(array) = value else {
        errors.push(wrong(key, value, expected));
        return Vec::new();
    };
    let mut texts: Vec<LitStr> = Vec::new();
    for element in &array.elems {
        let Some(found) = errors.note(text(key, element, expected)) else {
            continue;
        };
        if texts.iter().any(|other| other.value() == found.value()) {
            errors.push(Error::new_spanned(&found, "this is in the list already"));
        }
        texts.push(found);
    }
    texts
}

/// Paths of programs, which are literals or whatever the compiler makes one of.
fn programs(key: &Key, value: &Expr) -> Result<Value> {
    let expected = "a list of paths, as in [env!(\"CARGO_BIN_EXE_x\"), \"/usr/bin/y\"]";
    let Expr::Array(array) = value else {
        return Err(wrong(key, value, expected));
    };
    let mut errors = Errors::default();
    let mut written = Vec::new();
    for element in &array.elems {
        if let Expr::Lit(_) = element {
            let Some(path) = errors.note(text(key, element, expected)) else {
                continue;
            };
            if written.contains(&path.value()) {
                errors.push(Error::new_spanned(&path, "this is in the list already"));
            }
            written.push(path.value());
        } else if !matches!(element, Expr::Macro(_) | Expr::Path(_)) {
            errors.push(wrong(key, element, expected));
        }
    }
    let elements = array.elems.iter();
    errors
        .0
        .map_or(Ok(Value::new(quote!(&[#(#elements),*]))), Err)
}

fn faults(key: &Key, value: &Expr) -> Result<Value> {
    let mut errors = Errors::default();
    let names = texts(key, value, &mut errors);
    for name in &names {
        if let Err(what) = fault(&name.value()) {
            errors.push(Error::new_spanned(name, what));
        }
    }
    let tokens = quote!(::core::option::Option::Some(&[#(#names),*]));
    errors.0.map_or(Ok(Value::new(tokens)), Err)
}

/// Checks `kill` or `kill clients`.
fn fault(text: &str) -> std::result::Result<(), String> {
    let name = text.strip_suffix(CLIENTS).unwrap_or(text);
    if VM_FAULTS.contains(&name) {
        return Ok(());
    }
    if NETWORK_FAULTS.contains(&name) {
        return if name == text {
            Ok(())
        } else {
            Err(format!(
                "\"{name}\" reaches clients anyway: leave `clients` out"
            ))
        };
    }
    let all = [NETWORK_FAULTS, VM_FAULTS].concat();
    Err(format!(
        "there is no fault \"{name}\"{}\nfaults: {} (from {} on also for clients, \
         as in \"kill clients\")",
        hint(name, all.iter().copied()),
        all.join(", "),
        VM_FAULTS[0]
    ))
}

/// A string, or a list of them, each of which `check` finds right.
fn names(
    key: &Key,
    value: &Expr,
    check: impl Fn(&str) -> std::result::Result<(), String>,
) -> Result<Value> {
    let mut errors = Errors::default();
    let names = match value {
        Expr::Array(_) => texts(key, value, &mut errors),
        _ => vec![text(key, value, "a string or a list of strings")?],
    };
    for name in &names {
        if let Err(what) = check(&name.value()) {
            errors.push(Error::new_spanned(name, what));
        }
    }
    errors.0.map_or(Ok(Value::new(quote!(&[#(#names),*]))), Err)
}

fn preset(name: &str) -> std::result::Result<(), String> {
    if PRESETS.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "there is no preset \"{name}\"{}\npresets: {}",
        hint(name, PRESETS.iter().copied()),
        PRESETS.join(", ")
    ))
}

/// Checks `down: minority`.
fn limit(text: &str) -> std::result::Result<(), String> {
    let Some((what, most)) = text.split_once(':') else {
        return Err(
            "a limit is a fault and how many servers may suffer from it at once, as in \
                    \"down: minority\" or \"disk: 1\""
                .into(),
        );
    };
    let (what, most) = (what.trim(), most.trim());
    let known = [&[DOWN], CLASSES, NETWORK_FAULTS, VM_FAULTS].concat();
    if !known.contains(&what) {
        return Err(format!(
            "servers can't suffer from \"{what}\"{}\nthey can from: {}",
            hint(what, known.iter().copied()),
            known.join(", ")
        ));
    }
    let words = ["none", "minority", "all but one"];
    if words.contains(&most) || most.parse::<u32>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "\"{most}\" is no number of servers: a plain number, {}",
        words.map(|word| format!("\"{word}\"")).join(", ")
    ))
}

/// A name, which is that of a variant in small letters.
fn word(key: &Key, value: &Expr, class: &str, names: &[&str], root: &TokenStream) -> Result<Value> {
    let expected = format!("one of \"{}\"", names.join("\", \""));
    let name = text(key, value, &expected)?;
    if !names.contains(&name.value().as_str()) {
        let hint = hint(&name.value(), names.iter().copied());
        return Err(wrong(key, value, &format!("{expected}{hint}")));
    }
    let mut variant = name.value();
    variant[..1].make_ascii_uppercase();
    let variant = proc_macro2::Ident::new(&variant, name.span());
    let class = proc_macro2::Ident::new(class, name.span());
    let tokens = quote!(::core::option::Option::Some(#root::__private::#class::#variant));
    Ok(Value::new(tokens))
}

fn schedule(key: &Key, value: &Expr, root: &TokenStream) -> Result<Value> {
    let schedule = quote!(#root::__private::Schedule);
    let tokens = match value {
        Expr::Path(function) => {
            let span = function.span();
            quote_spanned!(span=> ::core::option::Option::Some(#schedule::Function(#function)))
        }
        _ => {
            let file = text(
                key,
                value,
                "the path of a file, or a `fn() -> FaultSchedule`",
            )?;
            quote!(::core::option::Option::Some(#schedule::File(#file)))
        }
    };
    Ok(Value::new(tokens))
}

/// The path of a function, which is called through one of a type that the host knows.
fn judge(key: &Key, value: &Expr, root: &TokenStream) -> Result<Value> {
    let Expr::Path(function) = value else {
        let expected = "the path of a `fn(&Run) -> Result<(), E>`, as in path::to::function";
        return Err(wrong(key, value, expected));
    };
    let private = quote!(#root::__private);
    let name = function.to_token_stream().to_string().replace(' ', "");
    let call = quote_spanned!(function.span()=> #private::Checked::checked(#function(run)));
    Ok(Value::new(
        quote!(::core::option::Option::Some(#private::Check {
            name: #name,
            run: |run: &#private::Run| #call,
        })),
    ))
}
