//! The MC146818 clock and its CMOS memory: where Linux learns the date at boot.
//!
//! Wall time is a number of seconds added to local time, so the clock starts at the
//! configured epoch and goes with the machine's virtual time. Flags follow from the
//! time since they were last cleared; nothing needs to be called as time passes.

use super::clock::{self, NS_PER_S};

/// The index and data ports.
pub const PORTS: [u16; 2] = [0x70, 0x71];

const A: u8 = 0x0A;
const B: u8 = 0x0B;
const C: u8 = 0x0C;
const D: u8 = 0x0D;
const CENTURY: u8 = 0x32;

/// Register B: updates are halted while the guest sets the time.
const SET: u8 = 0x80;
/// Registers B (enable) and C (flag): periodic, alarm and update-ended interrupts.
const PERIODIC: u8 = 0x40;
const ALARM: u8 = 0x20;
const UPDATE: u8 = 0x10;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;

/// The update flag in register A rises this long before the seconds change.
const UPDATE_NS: u64 = 244_000;

/// The last second of year 9999: four digits show no later one.
const LAST_SECOND: i64 = 253_402_300_799;

/// A date of the Gregorian calendar in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// 1 is Sunday.
    weekday: i64,
}

impl Date {
    /// From seconds since 1970, by counting 400-year eras from March 0000.
    fn from_unix(seconds: i64) -> Date {
        let days = seconds.div_euclid(86_400) + 719_468;
        let time = seconds.rem_euclid(86_400);
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Date {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
            // Day 0 of the era was a Wednesday.
            weekday: (days + 3).rem_euclid(7) + 1,
        }
    }

    /// Seconds since 1970. Fields beyond their range carry over.
    fn to_unix(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let of_year = (153 * (self.month + 9).rem_euclid(12) + 2) / 5 + self.day - 1;
        let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
        let days = era * 146_097 + of_era - 719_468;
        days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second
    }
}

/// The clock chip.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rtc {
    /// Wall seconds at local time 0.
    base: i64,
    /// The date while SET halts updates.
    halted: Option<Date>,
    index: u8,
    a: u8,
    b: u8,
    /// Flags of register C that were raised before `since`.
    flags: u8,
    /// The local ns up to which `flags` was brought.
    since: u64,
    /// Second, minute and hour of the alarm, as written.
    alarm: [u8; 3],
    /// Bytes 0x0E..=0x7F.
    memory: [u8; 114],
}

impl Default for Rtc {
    fn default() -> Rtc {
        Rtc::new(0)
    }
}

impl Rtc {
    /// A clock that shows `epoch`, in seconds since 1970, at local time 0. Held within years 1970 to 9999.
    pub fn new(epoch: u64) -> Rtc {
        Rtc {
            base: i64::try_from(epoch).unwrap_or(i64::MAX).min(LAST_SECOND),
            halted: None,
            index: 0,
            a: 0x26,
            b: HOURS_24,
            flags: 0,
            since: 0,
            alarm: [0; 3],
            memory: [0; 114],
        }
    }

    fn wall(&self, now: u64) -> i64 {
        self.base + (now / NS_PER_S) as i64
    }

    fn date(&self, now: u64) -> Date {
        self.halted
            .unwrap_or_else(|| Date::from_unix(self.wall(now)))
    }

    fn set_date(&mut self, date: Date, now: u64) {
        if self.halted.is_some() {
            self.halted = Some(date);
        } else {
            self.base = date.to_unix().clamp(0, LAST_SECOND) - (now / NS_PER_S) as i64;
        }
    }

    /// A number as the data mode shows it.
    fn encode(&self, value: i64) -> u8 {
        let value = value.rem_euclid(100) as u8;
        if self.b & BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn decode(&self, value: u8) -> i64 {
        if self.b & BINARY != 0 {
            i64::from(value)
        } else {
            i64::from(value >> 4) * 10 + i64::from(value & 15)
        }
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.b & HOURS_24 != 0 {
            return self.encode(hour);
        }
        let afternoon = if hour.rem_euclid(24) >= 12 { 0x80 } else { 0 };
        self.encode((hour + 11).rem_euclid(12) + 1) | afternoon
    }

    fn decode_hour(&self, value: u8) -> i64 {
        if self.b & HOURS_24 != 0 {
            return self.decode(value);
        }
        self.decode(value & 0x7F) % 12 + if value & 0x80 != 0 { 12 } else { 0 }
    }

    /// Ticks a second of the periodic interrupt.
    fn rate(&self) -> Option<u64> {
        match self.a & 15 {
            0 => None,
            // The first two repeat the rates of 8 and 9 on a 32 kHz crystal.
            select @ 1..=2 => Some(32_768 >> (select + 6)),
            select => Some(32_768 >> (select - 1)),
        }
    }

    /// The first alarm after `since`, in local ns.
    fn next_alarm(&self) -> Option<u64> {
        let [second, minute, hour] = self.alarm;
        // (seconds in a unit, units before the next larger one begins, the unit to match)
        let units = [
            (3600, 24, hour, self.decode_hour(hour)),
            (60, 60, minute, self.decode(minute)),
            (1, 60, second, self.decode(second)),
        ]
        .map(|(unit, count, raw, wanted)| (unit, count, (raw < 0xC0).then_some(wanted)));
        let impossible = |&(_, count, wanted): &(i64, i64, Option<i64>)| wanted >= Some(count);
        if units.iter().any(impossible) {
            return None;
        }
        let mut at = self.wall(self.since) + 1;
        // Going to a unit's start settles the smaller ones, so few steps find the match.
        for _ in 0..8 {
            let mismatch = units.into_iter().find_map(|(unit, count, wanted)| {
                let ahead = (wanted? - at.div_euclid(unit)).rem_euclid(count);
                (ahead != 0).then_some((unit, ahead))
            });
            let Some((unit, ahead)) = mismatch else {
                return u64::try_from(at - self.base).ok()?.checked_mul(NS_PER_S);
            };
            at = (at.div_euclid(unit) + ahead) * unit;
        }
        None
    }

    /// When each flag of register C is raised next after `since`.
    fn next(&self, flag: u8) -> Option<u64> {
        match flag {
            PERIODIC => {
                let rate = self.rate()?;
                clock::ns_of_tick(clock::ticks(self.since, rate) + 1, rate)
            }
            _ if self.halted.is_some() => None,
            ALARM => self.next_alarm(),
            _ => (self.since / NS_PER_S + 1).checked_mul(NS_PER_S),
        }
    }

    fn flags_at(&self, now: u64, wanted: u8) -> u8 {
        let raised = [PERIODIC, ALARM, UPDATE]
            .into_iter()
            .filter(|flag| wanted & !self.flags & flag != 0)
            .filter(|&flag| self.next(flag).is_some_and(|at| at <= now));
        raised.fold(self.flags & wanted, |flags, flag| flags | flag)
    }

    /// The level of IRQ 8 at `now` local ns.
    pub fn irq(&self, now: u64) -> bool {
        let enabled = self.b & (PERIODIC | ALARM | UPDATE);
        enabled != 0 && self.flags_at(now, enabled) != 0
    }

    /// When IRQ 8 rises next if it is low at `now`, in local ns.
    pub fn deadline(&self, now: u64) -> Option<u64> {
        if self.irq(now) {
            return None;
        }
        [PERIODIC, ALARM, UPDATE]
            .into_iter()
            .filter(|flag| self.b & flag != 0)
            .filter_map(|flag| self.next(flag))
            .min()
    }

    /// Fixes the flags up to `now`, before something changes that they follow from.
    fn settle(&mut self, now: u64) {
        self.flags = self.flags_at(now, PERIODIC | ALARM | UPDATE);
        self.since = now;
    }

    /// Reads one of [`PORTS`] at `now`. The index register is write-only.
    pub fn read(&mut self, port: u16, now: u64) -> u8 {
        if port != PORTS[1] {
            return 0xFF;
        }
        let date = self.date(now);
        match self.index {
            0 => self.encode(date.second),
            2 => self.encode(date.minute),
            4 => self.encode_hour(date.hour),
            index @ (1 | 3 | 5) => self.alarm[usize::from(index / 2)],
            6 => self.encode(date.weekday),
            7 => self.encode(date.day),
            8 => self.encode(date.month),
            9 => self.encode(date.year),
            CENTURY => self.encode(date.year / 100),
            A => {
                let updating = self.halted.is_none() && now % NS_PER_S >= NS_PER_S - UPDATE_NS;
                self.a | u8::from(updating) << 7
            }
            B => self.b,
            C => {
                let interrupt = if self.irq(now) { 0x80 } else { 0 };
                self.settle(now);
                std::mem::take(&mut self.flags) | interrupt
            }
            // Battery good.
            D => 0x80,
            index => self.memory[usize::from(index) - 0x0E],
        }
    }

    /// Writes one of [`PORTS`] at `now`.
    pub fn write(&mut self, port: u16, value: u8, now: u64) {
        if port == PORTS[0] {
            // Bit 7 masks NMI, of which there is none.
            self.index = value & 0x7F;
            return;
        }
        if port != PORTS[1] {
            return;
        }
        self.settle(now);
        let mut date = self.date(now);
        match self.index {
            0 => date.second = self.decode(value),
            2 => date.minute = self.decode(value),
            4 => date.hour = self.decode_hour(value),
            index @ (1 | 3 | 5) => self.alarm[usize::from(index / 2)] = value,
            // The weekday follows from the date.
            6 => {}
            7 => date.day = self.decode(value),
            8 => date.month = self.decode(value).clamp(1, 12),
            9 => date.year = date.year / 100 * 100 + self.decode(value),
            CENTURY => date.year = self.decode(value) * 100 + date.year % 100,
            A => self.a = value & 0x7F,
            B => self.write_b(value, now),
            C | D => {}
            index => self.memory[usize::from(index) - 0x0E] = value,
        }
        if matches!(self.index, 0 | 2 | 4 | 7 | 8 | 9 | CENTURY) {
            self.set_date(date, now);
        }
    }

    fn write_b(&mut self, value: u8, now: u64) {
        self.b = value;
        if value & SET != 0 {
            self.b &= !UPDATE;
            self.halted = Some(self.date(now));
        } else if let Some(date) = self.halted.take() {
            self.set_date(date, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 1_735_787_045; // 2025-01-02 03:04:05, a Thursday.

    fn get(rtc: &mut Rtc, index: u8, now: u64) -> u8 {
        rtc.write(0x70, index, now);
        rtc.read(0x71, now)
    }

    fn set(rtc: &mut Rtc, index: u8, value: u8, now: u64) {
        rtc.write(0x70, index, now);
        rtc.write(0x71, value, now);
    }

    fn shown(rtc: &mut Rtc, now: u64) -> [u8; 8] {
        [CENTURY, 9, 8, 7, 6, 4, 2, 0].map(|index| get(rtc, index, now))
    }

    #[test]
    fn shows_the_epoch_and_goes_with_local_time() {
        let mut rtc = Rtc::new(EPOCH);
        assert_eq!(shown(&mut rtc, 0), [0x20, 0x25, 1, 2, 5, 3, 4, 5]);
        let day = 86_400 * NS_PER_S;
        assert_eq!(shown(&mut rtc, 364 * day), [0x20, 0x26, 1, 1, 5, 3, 4, 5]);
        set(&mut rtc, B, BINARY, 0);
        assert_eq!(
            shown(&mut rtc, 30 * day + 12 * 3600 * NS_PER_S),
            [20, 25, 2, 1, 7, 0x83, 4, 5]
        );
        assert_eq!(get(&mut rtc, D, 0), 0x80);
    }

    #[test]
    fn dates_convert_both_ways() {
        for seconds in (0..LAST_SECOND).step_by(86_400 * 13 + 12_345) {
            assert_eq!(Date::from_unix(seconds).to_unix(), seconds);
        }
        let leap = Date::from_unix(951_782_400);
        assert_eq!(
            (leap.year, leap.month, leap.day, leap.weekday),
            (2000, 2, 29, 3)
        );
    }

    #[test]
    fn the_guest_sets_the_time() {
        let mut rtc = Rtc::new(EPOCH);
        let now = 10 * NS_PER_S;
        set(&mut rtc, B, SET | HOURS_24, now);
        for (index, value) in [
            (CENTURY, 0x19),
            (9, 0x99),
            (8, 0x12),
            (7, 0x31),
            (4, 0x23),
            (2, 0x59),
            (0, 0x58),
        ] {
            set(&mut rtc, index, value, now);
        }
        assert_eq!(shown(&mut rtc, now + 5 * NS_PER_S)[7], 0x58, "halted");
        set(&mut rtc, B, HOURS_24, now + 5 * NS_PER_S);
        assert_eq!(
            shown(&mut rtc, now + 7 * NS_PER_S),
            [0x20, 0, 1, 1, 7, 0, 0, 0]
        );
    }

    #[test]
    fn the_update_flag_shows_before_each_second() {
        let mut rtc = Rtc::new(EPOCH);
        assert_eq!(get(&mut rtc, A, NS_PER_S - UPDATE_NS - 1), 0x26);
        assert_eq!(get(&mut rtc, A, NS_PER_S - UPDATE_NS), 0xA6);
        assert_eq!(get(&mut rtc, A, NS_PER_S), 0x26);
    }

    #[test]
    fn periodic_interrupts_come_at_their_rate() {
        let mut rtc = Rtc::new(EPOCH);
        set(&mut rtc, B, HOURS_24 | PERIODIC, 0);
        for tick in 1..100 {
            let due = rtc.deadline(0).unwrap();
            assert_eq!(due, clock::ns_of_tick(tick, 1024).unwrap());
            assert!(!rtc.irq(due - 1) && rtc.irq(due));
            assert_eq!(get(&mut rtc, C, due) & !UPDATE, 0x80 | PERIODIC);
            assert!(!rtc.irq(due));
        }
    }

    #[test]
    fn update_interrupts_come_each_second() {
        let mut rtc = Rtc::new(EPOCH);
        set(&mut rtc, B, HOURS_24 | UPDATE, 1);
        assert_eq!(rtc.deadline(1), Some(NS_PER_S));
        assert!(rtc.irq(NS_PER_S));
        assert_eq!(rtc.deadline(NS_PER_S), None);
        assert_eq!(get(&mut rtc, C, NS_PER_S), 0x80 | PERIODIC | UPDATE);
        assert_eq!(rtc.deadline(NS_PER_S), Some(2 * NS_PER_S));
    }

    #[test]
    fn alarms_match_with_wildcards() {
        let mut rtc = Rtc::new(EPOCH);
        set(&mut rtc, B, HOURS_24 | ALARM, 0);
        for (fields, after) in [
            ([0x06, 0x04, 0x03], 1),
            ([0x05, 0x04, 0x03], 86_400),
            ([0x00, 0xFF, 0xFF], 55),
            ([0x05, 0x00, 0xC0], 56 * 60),
            ([0xFF, 0xFF, 0xFF], 1),
            ([0x00, 0x00, 0x00], 75_355),
        ] {
            for (i, value) in fields.into_iter().enumerate() {
                set(&mut rtc, 2 * i as u8 + 1, value, 0);
            }
            assert_eq!(rtc.deadline(0), Some(after * NS_PER_S));
        }
        set(&mut rtc, 1, 0x77, 0);
        assert_eq!(rtc.deadline(0), None, "there is no second 77");
    }
}
