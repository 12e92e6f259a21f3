//! Device models: plain state machines on virtual time that clone and hash.
