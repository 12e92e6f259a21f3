//! What the attribute leaves behind: the function as it was, and a constant test case in
//! the registry.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ReturnType};

use crate::function::Test;
use crate::validate::Attributes;

/// The function and its test case. `lines` are its first and last in the source.
pub fn test(attributes: &Attributes, test: &Test, lines: (usize, usize)) -> TokenStream {
    let private = {
        let root = &attributes.root;
        quote!(#root::__private)
    };
    let Test {
        function,
        conditions,
        ignore,
        should_panic,
    } = test;
    let name = &function.sig.ident;
    let body = body(&private, test);
    let (line, end_line) = (lines.0 as u32, lines.1 as u32);
    quote! {
        #function

        #(#conditions)*
        const _: () = {
            #body

            #[#private::linkme::distributed_slice(#private::TESTS)]
            #[linkme(crate = #private::linkme)]
            static CASE: #private::TestCase = #private::TestCase {
                module: ::core::module_path!(),
                function: ::core::stringify!(#name),
                body,
                attributes: #attributes,
                ignore: #ignore,
                should_panic: #should_panic,
                file: ::core::file!(),
                line: #line,
                end_line: #end_line,
            };
        };
    }
}

/// A host-side test and its entry in the registry.
pub fn host_test(root: &TokenStream, test: &Test) -> TokenStream {
    let private = quote!(#root::__private);
    let Test {
        function,
        conditions,
        ignore,
        should_panic,
    } = test;
    let name = &function.sig.ident;
    quote! {
        #function

        #(#conditions)*
        const _: () = {
            fn run() -> ::core::result::Result<(), ::std::string::String> {
                #private::Outcome::outcome(#name())
            }

            #[#private::linkme::distributed_slice(#private::HOST_TESTS)]
            #[linkme(crate = #private::linkme)]
            static TEST: #private::HostTest = #private::HostTest {
                module: ::core::module_path!(),
                function: ::core::stringify!(#name),
                run,
                ignore: #ignore,
                should_panic: #should_panic,
            };
        };
    }
}

/// A plain function around the test's. Wrong types in the signature are reported there,
/// thanks to the spans.
fn body(private: &TokenStream, test: &Test) -> TokenStream {
    let signature = &test.function.sig;
    let name = &signature.ident;
    let argument = match signature.inputs.first() {
        Some(FnArg::Typed(argument)) => argument.ty.span(),
        _ => Span::call_site(),
    };
    let output = match &signature.output {
        ReturnType::Type(_, output) => output.span(),
        ReturnType::Default => name.span(),
    };
    let call = quote_spanned!(argument=> #name(node));
    let answer = quote!(::core::result::Result<(), ::std::string::String>);
    let Some(keyword) = &signature.asyncness else {
        let outcome = quote_spanned!(output=> #private::Outcome::outcome(#call));
        return quote! {
            fn body(node: #private::Node) -> #answer {
                #outcome
            }
        };
    };
    let outcome = quote_spanned!(output=> #private::Outcome::outcome(#call.await));
    let builder = quote_spanned!(keyword.span=> ::tokio::runtime::Builder::new_current_thread());
    // The runtime lives on after the body's end, as its threads would.
    quote! {
        fn body(node: #private::Node) -> #answer {
            let runtime = #builder
                .enable_all()
                .build()
                .map_err(|error| ::std::format!("cannot start tokio: {error}"))?;
            runtime.block_on(async {
                #private::finished(#outcome);
                ::core::future::pending().await
            })
        }
    }
}

/// The errors, and the function, so that nothing else seems to be wrong.
pub fn failure(error: &syn::Error, test: &Test) -> TokenStream {
    let errors = error.to_compile_error();
    let function = &test.function;
    quote! {
        #errors
        #[allow(dead_code)]
        #function
    }
}
