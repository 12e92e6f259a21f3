//! Guest-virtual memory accesses of the software CPU.
//!
//! On `Err(Blocked)` the access did not happen and [`Core::trap`] says why; a handler
//! then returns [`super::op::Flow::Trap`] without having changed architectural state.

use super::core::Core;

/// An access did not happen; [`Core::trap`] says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked;

/// An unsigned integer that is loaded or stored whole: u8, u16, u32, u64, u128.
pub trait Word: Copy {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
impl Word for u128 {}

impl Core {
    /// Loads from linear address `address`, which may cross pages.
    #[inline(always)]
    pub fn load<T: Word>(&mut self, _address: u64) -> Result<T, Blocked> {
        todo!()
    }

    /// Stores to linear address `address`; all of it or nothing.
    #[inline(always)]
    pub fn store<T: Word>(&mut self, _address: u64, _value: T) -> Result<(), Blocked> {
        todo!()
    }

    /// Loads with the permission checks (and dirty bit) of a store: the first half of a
    /// read-modify-write, whose `store` to the same address then cannot fail.
    #[inline(always)]
    pub fn load_for_store<T: Word>(&mut self, _address: u64) -> Result<T, Blocked> {
        todo!()
    }

    /// Loads any number of bytes (x87 and FXSAVE areas).
    pub fn load_bytes(&mut self, _address: u64, _into: &mut [u8]) -> Result<(), Blocked> {
        todo!()
    }

    /// Stores any number of bytes; all or nothing.
    pub fn store_bytes(&mut self, _address: u64, _from: &[u8]) -> Result<(), Blocked> {
        todo!()
    }
}
