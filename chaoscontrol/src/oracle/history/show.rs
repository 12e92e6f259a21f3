//! A history that no order explains, as a person reads it.

use std::fmt;

use super::operation::{Operation, Outcome, Value};
use crate::oracle::describe::since;

/// The part of a history that shows that it is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// What it is no history of.
    pub model: &'static str,
    /// The key.
    pub key: Value,
    /// The operations that contradict each other, in any order.
    pub operations: Vec<Operation>,
    /// The instant, in ns of cluster time, until which one has to look to see it.
    pub until_ns: u64,
    /// The cluster time in ns from which times are shown, if it is not 0.
    pub start_ns: Option<u64>,
    /// How many others on the key (or the part of it that this is about) had been called by then.
    /// They may have taken effect at any time, or never: it does not help.
    pub others: usize,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(&|ns| since(ns, self.start_ns.or(Some(0)))))
    }
}

impl Counterexample {
    /// The counterexample with times as `time` writes them, the operations by the time of
    /// their call.
    fn text(&self, time: &dyn Fn(u64) -> String) -> String {
        let mut operations: Vec<&Operation> = self.operations.iter().collect();
        operations.sort_by_key(|operation| (operation.called_ns, operation.vm, operation.process));
        let rows: Vec<[String; 4]> = operations.iter().map(|o| row(o, time)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths = [0, 1, 2].map(|column| width(column).unwrap_or(0));
        let model = self.model;
        let mut text = format!(
            "the history is not linearizable as a {model}\nkey {:?}: no order of these explains all answers",
            self.key
        );
        for [called, returned, who, what] in &rows {
            let [a, b, c] = widths;
            text += &format!("\n  {called:>a$} to {returned:<b$}  {who:<c$}  {what}");
        }
        let others = self.others;
        if others > 0 {
            let s = if others == 1 { "" } else { "s" };
            text += &format!(
                "\n  {others} other operation{s} until then cannot mend that, whenever they took effect, or not at all"
            );
        }
        text
    }
}

/// From when to when, who, and what with which answer.
fn row(operation: &Operation, time: &dyn Fn(u64) -> String) -> [String; 4] {
    let (returned, answer) = match &operation.outcome {
        Outcome::Ok(at, answer) => (time(*at), answer.to_string()),
        Outcome::Failed(at) => (time(*at), "failed".to_owned()),
        Outcome::Unknown => ("?".to_owned(), "unknown".to_owned()),
    };
    [
        time(operation.called_ns),
        returned,
        format!("vm {} process {}", operation.vm, operation.process),
        format!("{} -> {answer}", operation.call),
    ]
}
