//! The guest side of chaoscontrol: SDK, agent and wire protocol.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod protocol;
