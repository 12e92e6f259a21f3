//! The faults a test's body may ask for itself.

use super::wire::wire_enum;

wire_enum! {
    /// A fault a body orders through `node.faults()`. Sets of VMs are bit masks, bit i
    /// standing for VM i; rates are parts per million, durations nanoseconds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum FaultRequest {
        /// No packet passes between the two sets, either way.
        1 => Partition {
            /// One side.
            left: u64,
            /// The other side.
            right: u64,
        },
        /// No packet passes from the one set to the other.
        2 => OneWayPartition {
            /// The senders.
            from: u64,
            /// The receivers.
            to: u64,
        },
        /// All network faults end.
        3 => Heal,
        /// Packets of a VM take longer.
        4 => Latency {
            /// The VM.
            vm: u32,
            /// Added to the base latency.
            ns: u64,
        },
        /// Packets of a VM take longer by a random time.
        5 => Jitter {
            /// The VM.
            vm: u32,
            /// The greatest time added.
            ns: u64,
        },
        /// Packets of a VM get lost.
        6 => Loss {
            /// The VM.
            vm: u32,
            /// How many of a million.
            ppm: u32,
        },
        /// Packets of a VM are held back at random and overtake each other.
        7 => Reorder {
            /// The VM.
            vm: u32,
            /// For how long at most; 0 ends the fault.
            ns: u64,
        },
        /// A VM loses its power and stays off.
        8 => Kill {
            /// The VM.
            vm: u32,
        },
        /// A VM stands still.
        9 => Pause {
            /// The VM.
            vm: u32,
            /// For how long; 0 means until it is resumed.
            ns: u64,
        },
        /// A paused VM goes on.
        10 => Resume {
            /// The VM.
            vm: u32,
        },
        /// A VM loses its power and boots again, its incarnation one higher.
        11 => Restart {
            /// The VM.
            vm: u32,
        },
        /// A VM's clock runs at another rate.
        12 => Skew {
            /// The VM.
            vm: u32,
            /// Faster if positive, slower if negative; 0 ends the fault.
            ppm: i32,
        },
        /// A VM's wall clock jumps.
        13 => WallClockJump {
            /// The VM.
            vm: u32,
            /// Forward if positive, backward if negative.
            ns: i64,
        },
    }
}
