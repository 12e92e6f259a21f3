//! The fault catalogue, schedules, and the engine that fires them.
