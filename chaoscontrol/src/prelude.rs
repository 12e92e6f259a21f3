//! What a chaos test needs: `use chaoscontrol::prelude::*;`.

pub use std::time::Duration;

pub use chaoscontrol_guest::{
    Error, Node, Peer, Result, Role, assert_agree, assert_always, assert_always_greater_than,
    assert_always_less_than, assert_always_or_unreachable, assert_reachable, assert_sometimes,
    assert_sometimes_greater_than, assert_sometimes_less_than, assert_unreachable, get_random,
    history, maximize, minimize, random_choice, send_event, setup_complete,
};

pub use crate::chaos_test;
pub use crate::fault::{Fault, FaultSchedule, FaultScheduleBuilder};
pub use crate::oracle::history::Run;
