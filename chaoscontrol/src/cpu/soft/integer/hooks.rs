//! What the run loop provides to branches and strings, as long as it does not.

use crate::cpu::soft::core::Core;
use crate::cpu::soft::mem::Word;
use crate::cpu::soft::op::Op;

/// Inherent methods of `Core` by the same names come first.
#[allow(dead_code)]
pub(super) trait Hooks {
    fn edge_taken(&mut self, _op: &Op) {}
    fn edge_not_taken(&mut self, _op: &Op) {}
    fn edge_indirect(&mut self, _op: &Op, _target: u64) {}
    fn fill_run<T: Word>(&mut self, _address: u64, _value: T, _count: u64) -> u64 {
        0
    }
    fn copy_run<T: Word>(&mut self, _target: u64, _source: u64, _count: u64) -> u64 {
        0
    }
}

impl Hooks for Core {}
