//! The `#[chaos_test]` attribute.
