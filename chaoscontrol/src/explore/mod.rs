//! The search for failing fault schedules.
