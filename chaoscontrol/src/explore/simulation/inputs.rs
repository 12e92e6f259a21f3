//! What guests are answered when they ask for random values: settled at the beginning of a
//! branch or a fork, and told at the end.

use super::Simulation;
use crate::explore::{ChoicePoint, Input};

/// Calls of a branch that are told.
const TOLD: usize = 1024;

impl Simulation {
    /// Settles the answers to calls that are still to come, in place of all that were.
    pub fn settle(&mut self, inputs: &[Input]) {
        for vm in 0..self.scenario.cluster.vms {
            let own = inputs.iter().filter(|input| input.vm == vm);
            let answers = own.map(|input| (input.number, input.options, input.answer));
            self.cluster.choices(vm).force(answers);
        }
    }

    /// The calls since the setup with their answers, in order of time; of many, the first.
    pub fn points(&mut self) -> Vec<ChoicePoint> {
        let begin = self.start_ns().unwrap_or(0);
        let mut points = Vec::new();
        for vm in 0..self.scenario.cluster.vms {
            let made = self.cluster.choices(vm).made().iter().zip(1..);
            points.extend(made.map(|(choice, number)| ChoicePoint {
                at_ns: choice.time.saturating_sub(begin),
                input: Input {
                    vm,
                    number,
                    options: choice.options,
                    answer: choice.answer,
                },
            }));
        }
        points.sort_by_key(|point| (point.at_ns, point.input.vm, point.input.number));
        points.truncate(TOLD);
        points
    }
}
