//! The attribute as a whole: known keys, each once, values in range, no contradictions.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, Expr};

use crate::keys::{self, Kind};
use crate::parse::Entry;
use crate::suggest::hint;
use crate::value::{self, Value};
use crate::{Errors, crate_path};

/// An attribute that was found to be right.
pub struct Attributes {
    /// Where the `chaoscontrol` crate is.
    pub root: TokenStream,
    /// Fields of `Attributes` and their constants.
    pub fields: Vec<(&'static str, TokenStream)>,
}

/// A key with its checked value.
struct Checked {
    key: Ident,
    source: Expr,
    kind: &'static keys::Key,
    value: Value,
}

/// Keys that say how to explore, which a fixed schedule does not.
const EXPLORING: [&str; 6] = [
    "rounds",
    "branches",
    "mode",
    "faults",
    "preset",
    "tolerance",
];

/// Those of them that are about faults.
const FAULTS: [&str; 3] = ["faults", "preset", "tolerance"];

/// Checks the pairs of an attribute.
pub fn validate(entries: Vec<Entry>, errors: &mut Errors) -> Attributes {
    let entries = known_once(entries, errors);
    let root = entries
        .iter()
        .find(|(key, _)| key.kind == Kind::Crate)
        .map_or_else(crate_path::find, |(_, entry)| entry.value.to_token_stream());
    let mut checked = Vec::new();
    for (kind, entry) in entries {
        if let Some(value) = errors.note(value::check(kind, &entry.value, &root)) {
            checked.push(Checked {
                key: entry.key,
                source: entry.value,
                kind,
                value,
            });
        }
    }
    conflicts(&checked, errors);
    Attributes {
        root,
        fields: checked
            .into_iter()
            .filter(|checked| !checked.kind.field.is_empty())
            .map(|checked| (checked.kind.field, checked.value.tokens))
            .collect(),
    }
}

/// The entries whose keys are known and there for the first time.
fn known_once(entries: Vec<Entry>, errors: &mut Errors) -> Vec<(&'static keys::Key, Entry)> {
    let mut found: Vec<(&keys::Key, Entry)> = Vec::new();
    for entry in entries {
        let name = entry.key.to_string();
        let what = match keys::find(&name) {
            None => format!(
                "there is no key `{name}`{}\nkeys: {}",
                hint(&name, keys::names()),
                keys::names().collect::<Vec<_>>().join(", ")
            ),
            Some(key) if found.iter().any(|(other, _)| other.name == key.name) => {
                format!("`{name}` is given twice: remove one")
            }
            Some(key) => {
                found.push((key, entry));
                continue;
            }
        };
        errors.push(Error::new(entry.key.span(), what));
    }
    found
}

/// Keys that are right by themselves, but not together.
fn conflicts(checked: &[Checked], errors: &mut Errors) {
    let given = |name: &str| checked.iter().find(|checked| checked.kind.name == name);
    if let (Some(vms), Some(clients)) = (given("vms"), given("clients"))
        && let (Some(vms), Some(count)) = (vms.value.number, clients.value.number)
        && count >= vms
    {
        let what = match vms {
            1 => "the only vm is a server: `clients` must be 0".to_owned(),
            _ => format!(
                "`vms = {vms}` counts clients too and leaves no server: `clients` must be below \
                 {vms}"
            ),
        };
        errors.push(Error::new_spanned(&clients.source, what));
    }
    if let (Some(clients), Some(faults)) = (given("clients"), given("faults"))
        && clients.value.number == Some(0)
        && faults
            .source
            .to_token_stream()
            .to_string()
            .contains(keys::CLIENTS)
    {
        let what = "`clients = 0` leaves nobody whom a fault for clients could hit";
        errors.push(Error::new_spanned(&faults.source, what));
    }
    if let Some(mode) = given("mode")
        && mode.source.to_token_stream().to_string() == "\"inputs\""
    {
        for faults in FAULTS.iter().filter_map(|name| given(name)) {
            let what = format!(
                "`{}` is about faults, and `mode = \"inputs\"` has none: remove it, or say \
                 `mode = \"hybrid\"`",
                faults.key
            );
            errors.push(Error::new(faults.key.span(), what));
        }
    }
    if given("schedule").is_some() {
        for exploring in EXPLORING.iter().filter_map(|name| given(name)) {
            let what = format!(
                "`{}` is for exploring, but `schedule` fixes the one run there is: remove either",
                exploring.key
            );
            errors.push(Error::new(exploring.key.span(), what));
        }
    }
}

impl ToTokens for Attributes {
    /// An expression of the type `Attributes`.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let root = &self.root;
        let fields = self.fields.iter().map(|(field, value)| {
            let field = Ident::new(field, proc_macro2::Span::call_site());
            quote!(#field: #value,)
        });
        tokens.extend(quote! {
            #root::__private::Attributes {
                #(#fields)*
                ..#root::__private::Attributes::NONE
            }
        });
    }
}
