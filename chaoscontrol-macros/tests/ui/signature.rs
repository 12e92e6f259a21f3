//! Functions that cannot be a chaos test.

use chaoscontrol_macros::chaos_test;

struct Node;

#[chaos_test]
fn no_argument() {}

#[chaos_test]
fn two_arguments(_: Node, _: u32) {}

#[chaos_test]
unsafe fn unsafe_one(_: Node) {}

#[chaos_test]
const fn const_one(_: Node) {}

#[chaos_test]
extern "C" fn foreign(_: Node) {}

#[chaos_test]
fn generic<T>(_: Node) {}

#[chaos_test]
#[test]
fn both(_: Node) {}

#[chaos_test]
#[should_panic(expect = "x")]
fn panics(_: Node) {}

#[chaos_test(vms = 0)]
fn attribute_and_signature() {}

fn main() {}
