//! An account that several threads of one process pay into, once rightly and once not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// An account, and the last receipt that it gave.
#[derive(Debug, Default)]
pub struct Account {
    balance: AtomicU64,
    receipt: Mutex<String>,
    paying: Mutex<()>,
}

impl Account {
    /// What was paid in so far.
    pub fn balance(&self) -> u64 {
        self.balance.load(Ordering::Relaxed)
    }

    /// Pays in. Two threads that do so at once may both have seen the same balance: the
    /// payment of the one that writes first is lost.
    pub fn pay(&self, amount: u64) {
        let before = self.balance();
        let after = before + amount;
        let receipt = format!("{before} + {amount} = {after}");
        self.balance.store(after, Ordering::Relaxed);
        *self.receipt.lock().unwrap_or_else(PoisonError::into_inner) = receipt;
    }

    /// Pays in while nobody else does.
    pub fn pay_alone(&self, amount: u64) {
        let _alone = self.paying.lock().unwrap_or_else(PoisonError::into_inner);
        self.pay(amount);
    }
}
