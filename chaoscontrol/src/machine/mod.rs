//! One VM: memory, bus, boot, snapshot.
