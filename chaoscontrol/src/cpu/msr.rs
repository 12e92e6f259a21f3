//! The MSR policy.
