//! The 8254 interval timer with port 0x61: Linux's timer interrupt on IRQ 0.
//!
//! A channel remembers the tick at which its count was loaded; counts, outputs and
//! the next interrupt follow from that by arithmetic. Interrupts come from counting
//! only: a control word that raises the output makes none. (On the chip it would; Linux
//! and other hypervisors know timers that do not.)

use super::clock;

/// Input clock of the three channels in Hz.
pub const FREQUENCY: u64 = 1_193_182;
/// The channels' ports, the control word's, and the gate and speaker port's.
pub const PORTS: [u16; 5] = [0x40, 0x41, 0x42, 0x43, 0x61];

/// What a channel's counting element does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Count {
    /// A control word was written; a count or a trigger is missing.
    Waiting,
    /// The count was loaded at this tick.
    Since(u64),
    /// The gate stopped it after so many ticks.
    Held(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Channel {
    /// 0..=5.
    mode: u8,
    bcd: bool,
    /// 1 low byte, 2 high byte, 3 both.
    access: u8,
    gate: bool,
    count: Count,
    /// The count in use: 1..=65536.
    period: u32,
    /// The count that the next load takes.
    reload: u32,
    /// The count was written, but no load took it yet.
    null_count: bool,
    /// The low byte, while the high byte is awaited.
    low: Option<u8>,
    read_high: bool,
    latched: Option<u16>,
    latched_status: Option<u8>,
    /// The tick of the next rising edge of the output.
    rise: Option<u64>,
}

impl Channel {
    fn new(gate: bool) -> Channel {
        Channel {
            mode: 0,
            bcd: false,
            access: 3,
            gate,
            count: Count::Waiting,
            period: 0x1_0000,
            reload: 0x1_0000,
            null_count: true,
            low: None,
            read_high: false,
            latched: None,
            latched_status: None,
            rise: None,
        }
    }

    /// Loads the count at the clock pulse that follows `tick`.
    fn load(&mut self, tick: u64) {
        self.count = Count::Since(tick + 1);
        self.period = self.reload;
        self.null_count = false;
        self.rise = self.rise_after(tick);
    }

    /// The first rising edge of the output after `tick`.
    fn rise_after(&self, tick: u64) -> Option<u64> {
        let Count::Since(start) = self.count else {
            return None;
        };
        let period = u64::from(self.period);
        let rise = match self.mode {
            0 | 1 => start + period,
            2 | 3 => start + (tick.saturating_sub(start) / period + 1) * period,
            // One tick of strobe comes before.
            _ => start + period + 1,
        };
        (rise > tick).then_some(rise)
    }

    /// Takes over what happened up to `tick`; whether the output rose.
    fn advance(&mut self, tick: u64) -> bool {
        let Some(rise) = self.rise.filter(|&rise| rise <= tick) else {
            return false;
        };
        if matches!(self.mode, 2 | 3) && self.null_count {
            // The period ended that was running when the new count was written.
            self.load(rise - 1);
        }
        self.rise = self.rise_after(tick);
        true
    }

    fn control(&mut self, value: u8) {
        *self = Channel {
            mode: match value >> 1 & 7 {
                mode @ 6..=7 => mode - 4,
                mode => mode,
            },
            bcd: value & 1 != 0,
            access: value >> 4 & 3,
            period: self.period,
            reload: self.reload,
            ..Channel::new(self.gate)
        };
    }

    fn write(&mut self, value: u8, tick: u64) {
        let word = match (self.access, self.low) {
            (1, _) => u16::from(value),
            (2, _) => u16::from(value) << 8,
            (_, Some(low)) => u16::from_le_bytes([low, value]),
            (_, None) => {
                self.low = Some(value);
                if self.mode == 0 {
                    self.count = Count::Waiting;
                    self.rise = None;
                    self.null_count = true;
                }
                return;
            }
        };
        self.low = None;
        self.reload = self.decode(word);
        self.null_count = true;
        match (self.mode, self.count) {
            // A gate's edge loads these.
            (1 | 5, _) => {}
            // A running rate generator goes on to the end of its period.
            (2 | 3, Count::Since(_)) => {}
            (_, _) if self.gate => self.load(tick),
            (0 | 4, _) => {
                self.load(tick);
                self.count = Count::Held(0);
                self.rise = None;
            }
            _ => {}
        }
    }

    /// The count that a written word stands for. One is illegal for rate generators and acts as two.
    fn decode(&self, word: u16) -> u32 {
        let (count, full) = if self.bcd {
            let digit = |shift: u16| u32::from(word >> shift & 15).min(9);
            let count = digit(12) * 1000 + digit(8) * 100 + digit(4) * 10 + digit(0);
            (count, 10_000)
        } else {
            (u32::from(word), 0x1_0000)
        };
        match count {
            0 => full,
            1 if matches!(self.mode, 2 | 3) => 2,
            count => count,
        }
    }

    fn set_gate(&mut self, gate: bool, tick: u64) {
        let rising = gate && !self.gate;
        let falling = !gate && self.gate;
        self.gate = gate;
        match (self.mode, self.count) {
            (1 | 2 | 3 | 5, _) if rising => self.load(tick),
            (0 | 2 | 3 | 4, Count::Since(start)) if falling => {
                self.count = Count::Held(tick.saturating_sub(start));
                self.rise = None;
            }
            (0 | 4, Count::Held(elapsed)) if rising => {
                self.count = Count::Since(tick.saturating_sub(elapsed));
                self.rise = self.rise_after(tick);
            }
            _ => {}
        }
    }

    fn elapsed(&self, tick: u64) -> Option<u64> {
        match self.count {
            Count::Waiting => None,
            Count::Since(start) => Some(tick.saturating_sub(start)),
            Count::Held(elapsed) => Some(elapsed),
        }
    }

    /// The counting element as a read shows it.
    fn value(&self, tick: u64) -> u16 {
        let period = u64::from(self.period);
        let elapsed = self.elapsed(tick).unwrap_or(0);
        let full: u64 = if self.bcd { 10_000 } else { 0x1_0000 };
        let value = match self.mode {
            2 => period - elapsed % period,
            3 => {
                let high = period.div_ceil(2);
                let position = elapsed % period;
                let step = if position < high {
                    position
                } else {
                    position - high
                };
                (period & !1) - 2 * step
            }
            _ => (period + full - elapsed % full) % full,
        } % full;
        if !self.bcd {
            return value as u16;
        }
        let digit = |divisor: u64| (value / divisor % 10) as u16;
        digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
    }

    fn output(&self, tick: u64) -> bool {
        let period = u64::from(self.period);
        let held = matches!(self.count, Count::Held(_));
        match (self.mode, self.elapsed(tick)) {
            (mode, None) => mode != 0,
            (0 | 1, Some(elapsed)) => elapsed >= period,
            (2 | 3, Some(_)) if held => true,
            (2, Some(elapsed)) => elapsed % period != period - 1,
            (3, Some(elapsed)) => elapsed % period < period.div_ceil(2),
            (_, Some(elapsed)) => elapsed != period,
        }
    }

    fn latch(&mut self, tick: u64) {
        if self.latched.is_none() {
            self.latched = Some(self.value(tick));
        }
    }

    fn latch_status(&mut self, tick: u64) {
        if self.latched_status.is_none() {
            self.latched_status = Some(
                u8::from(self.output(tick)) << 7
                    | u8::from(self.null_count) << 6
                    | self.access << 4
                    | self.mode << 1
                    | u8::from(self.bcd),
            );
        }
    }

    fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self
            .latched
            .unwrap_or_else(|| self.value(tick))
            .to_le_bytes();
        let is_high = match self.access {
            1 => false,
            2 => true,
            _ => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if is_high || self.access == 1 {
            self.latched = None;
        }
        if is_high { high } else { low }
    }
}

/// The timer chip and the port that gates its third channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pit {
    channels: [Channel; 3],
    /// Bits 0 (gate 2) and 1 (speaker) of port 0x61.
    speaker: u8,
}

impl Default for Pit {
    fn default() -> Pit {
        Pit {
            channels: [true, true, false].map(Channel::new),
            speaker: 0,
        }
    }
}

impl Pit {
    /// Brings the channels to `now` local ns; whether channel 0's output rose since the last call,
    /// which is an edge on IRQ 0.
    pub fn advance(&mut self, now: u64) -> bool {
        let tick = clock::ticks(now, FREQUENCY);
        self.channels[2].advance(tick);
        self.channels[1].advance(tick);
        self.channels[0].advance(tick)
    }

    /// The first local ns at which [`Pit::advance`] will tell of an edge.
    pub fn deadline(&self) -> Option<u64> {
        clock::ns_of_tick(self.channels[0].rise?, FREQUENCY)
    }

    /// Reads one of [`PORTS`] at `now`, to which the timer was advanced.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        let tick = clock::ticks(now, FREQUENCY);
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].read(tick),
            // Bit 4 is the refresh toggle: every 15 us on a PC.
            0x61 => {
                self.speaker
                    | (((tick / 18) & 1) as u8) << 4
                    | u8::from(self.channels[2].output(tick)) << 5
            }
            _ => 0xFF,
        }
    }

    /// Writes one of [`PORTS`] at `now`, to which the timer was advanced.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        let tick = clock::ticks(now, FREQUENCY);
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].write(value, tick),
            0x43 => self.control(value, tick),
            0x61 => {
                self.speaker = value & 3;
                self.channels[2].set_gate(value & 1 != 0, tick);
            }
            _ => {}
        }
    }

    fn control(&mut self, value: u8, tick: u64) {
        let select = usize::from(value >> 6);
        if let Some(channel) = self.channels.get_mut(select) {
            match value & 0x30 {
                0 => channel.latch(tick),
                _ => channel.control(value),
            }
            return;
        }
        // Read-back: low bits mean "latch".
        for (i, channel) in self.channels.iter_mut().enumerate() {
            if value >> (i + 1) & 1 == 0 {
                continue;
            }
            if value & 0x20 == 0 {
                channel.latch(tick);
            }
            if value & 0x10 == 0 {
                channel.latch_status(tick);
            }
        }
    }
}

#[cfg(test)]
#[path = "pit_tests.rs"]
mod tests;
