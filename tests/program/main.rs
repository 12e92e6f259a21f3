//! A program that tests pack beside themselves: it knows nothing of chaoscontrol.

use std::io::{Read, Write};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map_or("", String::as_str) {
        "copy" => {
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input).expect("text");
            print!("{input}");
            eprint!("{} bytes", input.len());
        }
        "tell" => {
            let folder = std::env::current_dir().expect("a working directory");
            let variable = std::env::var("VARIABLE").unwrap_or_default();
            println!("{variable} in {}, {arguments:?}", folder.display());
        }
        "wait" => {
            println!("waiting");
            std::io::stdout().flush().expect("an open output");
            loop {
                std::thread::park();
            }
        }
        "abort" => std::process::abort(),
        other => {
            eprintln!("what is {other:?}?");
            std::process::exit(2);
        }
    }
}
