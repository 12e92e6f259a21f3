//! The block device (virtio 1.2, section 5.2): requests of a guest on their way to its
//! drive.
//!
//! It takes one request at a time, and each takes virtual time, so that power can fail
//! between a request and its completion. What waits stays in the queue, and is not begun.
//! Whoever lets time pass serves the queue at each [`Blk::deadline`], at that very time.
//! Virtio has no FUA: a driver that wants a single write durable sends a flush behind it,
//! or turns the cache off (`writeback`), and each write is durable when it is done.

use super::mmio::VirtioDevice;
use super::queue::{Chain, QueueError, Ring};
use crate::cpu::ram::GuestMemory;
use crate::devices::disk::{Disk, DriveError, PHYSICAL_BLOCK, SECTOR};

/// Time in ns that a request takes.
pub const REQUEST_NS: u64 = 80_000;
/// Time in ns that each KiB of its data adds.
pub const KIB_NS: u64 = 1_000;
/// Time in ns that a flush takes.
pub const FLUSH_NS: u64 = 400_000;
/// Bytes of data that a request may have; one with more is refused.
pub const MAX_DATA: u64 = SEGMENTS as u64 * SEGMENT as u64;

const SEGMENTS: u32 = 62;
const SEGMENT: u32 = 0x1_0000;
/// Sectors of one range to discard or to fill with zeros.
const MAX_RANGE: u32 = 0x1_0000;
/// Ranges of one request.
const MAX_RANGES: u32 = 16;

const F_SIZE_MAX: u64 = 1 << 1;
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;
const F_TOPOLOGY: u64 = 1 << 10;
const F_CONFIG_WCE: u64 = 1 << 11;
const F_DISCARD: u64 = 1 << 13;
const F_WRITE_ZEROES: u64 = 1 << 14;

const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const T_GET_ID: u32 = 8;
const T_DISCARD: u32 = 11;
const T_WRITE_ZEROES: u32 = 13;

const HEADER: usize = 16;
const ID: &[u8; 20] = b"chaoscontrol\0\0\0\0\0\0\0\0";
/// Where the configuration space says whether writes are cached.
const WRITEBACK: usize = 32;

/// The status byte of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// What a request asks for, in bytes, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Order {
    Read { offset: u64, length: u64 },
    Write { offset: u64, length: u64 },
    Flush,
    Zero(Vec<(u64, u64)>),
    GetId,
}

/// The request that the drive is at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    /// Local time in ns at which it is done.
    due: u64,
    order: Result<Order, Status>,
    chain: Chain,
}

/// The device, with its drive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Blk {
    config: [u8; 60],
    accepted: u64,
    disk: Disk,
    current: Option<Request>,
}

impl Blk {
    /// The device of `disk`.
    pub fn new(disk: Disk) -> Blk {
        Blk {
            config: config(disk.size()),
            accepted: 0,
            disk,
            current: None,
        }
    }

    /// The drive.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The drive, to change what is wrong with it.
    pub fn disk_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// Puts another drive of the same size in.
    pub fn insert(&mut self, disk: Disk) {
        self.disk = disk;
    }

    /// Local time in ns at which the drive is done with its request, if it has one.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        let due = self.current.as_ref().map(|request| request.due);
        // What would be done at the end of all time is never done.
        due.filter(|&due| due < u64::MAX)
    }

    /// The guest is off, and the drive still has power: it ends what it is at. What it
    /// writes then is in its cache.
    pub fn settle(&mut self, mem: &GuestMemory) {
        if let Some(request) = self.current.take()
            && let Ok(order) = &request.order
        {
            // There is nobody who could hear of errors.
            let _unheard = self.execute(order, &request.chain, mem);
        }
    }

    /// The power fails: a write that the drive is at is one more that may be lost.
    pub fn power_cut(&mut self, mem: &GuestMemory) {
        let order = self.current.as_ref().map(|request| &request.order);
        match order {
            Some(Ok(Order::Write { .. } | Order::Zero(_))) => self.settle(mem),
            _ => self.current = None,
        }
        self.disk.power_cut();
    }

    /// Whether writes are cached until a flush.
    fn writeback(&self) -> bool {
        if self.accepted & F_CONFIG_WCE != 0 {
            self.config[WRITEBACK] != 0
        } else {
            self.accepted & F_FLUSH != 0
        }
    }

    /// Takes a request up at local time `now`.
    fn begin(&mut self, chain: Chain, now: u64, mem: &GuestMemory) -> Result<(), QueueError> {
        if chain.capacity() == 0 {
            // There is no place for its status.
            return Err(QueueError::Chain);
        }
        let order = self.parse(&chain, mem)?;
        let time = match order {
            Ok(Order::Read { length, .. } | Order::Write { length, .. }) => {
                REQUEST_NS + length.div_ceil(1024) * KIB_NS
            }
            Ok(Order::Flush) => FLUSH_NS,
            _ => REQUEST_NS,
        };
        let due = now.saturating_add(time).saturating_add(self.disk.delay());
        self.current = Some(Request { due, order, chain });
        Ok(())
    }

    /// What `chain` asks for, or the status that refuses it.
    fn parse(&self, chain: &Chain, mem: &GuestMemory) -> Result<Result<Order, Status>, QueueError> {
        let limit = HEADER + 16 * MAX_RANGES as usize;
        let head = chain.read(mem, limit)?;
        let Some((header, ranges)) = head.split_at_checked(HEADER) else {
            return Ok(Err(Status::IoError));
        };
        let sector = u64::from_le_bytes(header[8..].try_into().expect("8 bytes"));
        let sent = chain.len() - HEADER as u64;
        Ok(match word(header) {
            T_IN => self
                .range(sector, chain.capacity() - 1)
                .map(|(offset, length)| Order::Read { offset, length }),
            T_OUT if self.disk.read_only() => Err(Status::IoError),
            T_OUT => self
                .range(sector, sent)
                .map(|(offset, length)| Order::Write { offset, length }),
            T_FLUSH => Ok(Order::Flush),
            T_GET_ID => Ok(Order::GetId),
            kind @ (T_DISCARD | T_WRITE_ZEROES) => self.zeros(kind, ranges, sent),
            _ => Err(Status::Unsupported),
        })
    }

    /// The bytes of data at `sector`, if a request may have those.
    fn range(&self, sector: u64, length: u64) -> Result<(u64, u64), Status> {
        let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
        let possible = length > 0
            && length <= MAX_DATA
            && length.is_multiple_of(SECTOR)
            && offset <= self.disk.size()
            && length <= self.disk.size() - offset;
        possible.then_some((offset, length)).ok_or(Status::IoError)
    }

    /// The ranges that a discard or a write of zeros names in `segments`, of `sent` bytes.
    fn zeros(&self, kind: u32, segments: &[u8], sent: u64) -> Result<Order, Status> {
        if self.disk.read_only()
            || sent == 0
            || sent != segments.len() as u64
            || !sent.is_multiple_of(16)
        {
            return Err(Status::IoError);
        }
        let mut ranges = Vec::new();
        for segment in segments.chunks_exact(16) {
            let sector = u64::from_le_bytes(segment[..8].try_into().expect("8 bytes"));
            let (sectors, flags) = (word(&segment[8..]), word(&segment[12..]));
            // The flag `unmap` is for writes of zeros only.
            if flags > u32::from(kind == T_WRITE_ZEROES) {
                return Err(Status::Unsupported);
            }
            let length = u64::from(sectors) * SECTOR;
            let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
            let size = self.disk.size();
            if sectors > MAX_RANGE || offset > size || length > size - offset {
                return Err(Status::IoError);
            }
            ranges.push((offset, length));
        }
        Ok(Order::Zero(ranges))
    }

    /// Does what was ordered; what is to be written to the guest.
    fn execute(
        &mut self,
        order: &Order,
        chain: &Chain,
        mem: &GuestMemory,
    ) -> Result<Result<Vec<u8>, DriveError>, QueueError> {
        let mut data = Vec::new();
        let done = match *order {
            Order::Read { offset, length } => {
                data.resize(length as usize, 0);
                self.disk.read(offset, &mut data)
            }
            Order::Write { offset, length } => {
                let mut sent = chain.read(mem, HEADER + length as usize)?;
                self.disk.write(offset, &mut sent[HEADER..])
            }
            Order::Zero(ref ranges) => self.disk.zero(ranges),
            Order::Flush => self.disk.flush(),
            Order::GetId => {
                data.extend(ID);
                Ok(())
            }
        };
        Ok(done.map(|()| data))
    }

    /// Does a request and returns it to the driver.
    fn finish(
        &mut self,
        request: &Request,
        ring: &mut Ring,
        mem: &GuestMemory,
    ) -> Result<(), QueueError> {
        let chain = &request.chain;
        let status = match &request.order {
            Err(refused) => *refused,
            Ok(order) => match self.execute(order, chain, mem)? {
                Err(DriveError) => Status::IoError,
                Ok(data) => {
                    let writes = matches!(order, Order::Write { .. } | Order::Zero(_));
                    if writes && !self.writeback() {
                        self.disk.destage();
                    }
                    let room = usize::try_from(chain.capacity() - 1).unwrap_or(usize::MAX);
                    chain.write(mem, &data[..data.len().min(room)])?;
                    Status::Ok
                }
            },
        };
        chain.write_last(mem, status as u8)?;
        let length = u32::try_from(chain.capacity()).unwrap_or(u32::MAX);
        ring.push(chain, length, mem)
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"))
}

/// The configuration space (section 5.2.4) of a disk of `size` bytes.
fn config(size: u64) -> [u8; 60] {
    let mut config = [0; 60];
    let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(size / SECTOR).to_le_bytes()); // capacity
    put(8, &SEGMENT.to_le_bytes()); // size_max
    put(12, &SEGMENTS.to_le_bytes()); // seg_max
    put(20, &(SECTOR as u32).to_le_bytes()); // blk_size
    let blocks = PHYSICAL_BLOCK / SECTOR;
    put(24, &[blocks.trailing_zeros() as u8]); // physical_block_exp
    put(26, &(blocks as u16).to_le_bytes()); // min_io_size
    put(WRITEBACK, &[1]);
    put(36, &MAX_RANGE.to_le_bytes()); // max_discard_sectors
    put(40, &MAX_RANGES.to_le_bytes()); // max_discard_seg
    put(44, &(blocks as u32).to_le_bytes()); // discard_sector_alignment
    put(48, &MAX_RANGE.to_le_bytes()); // max_write_zeroes_sectors
    put(52, &MAX_RANGES.to_le_bytes()); // max_write_zeroes_seg
    put(56, &[1]); // write_zeroes_may_unmap
    config
}

impl VirtioDevice for Blk {
    const ID: u32 = 2;
    const QUEUES: usize = 1;
    const QUEUE_SIZE: u16 = 128;
    const FEATURES: u64 = F_SIZE_MAX
        | F_SEG_MAX
        | F_BLK_SIZE
        | F_FLUSH
        | F_TOPOLOGY
        | F_CONFIG_WCE
        | F_DISCARD
        | F_WRITE_ZEROES;

    fn features(&self) -> u64 {
        Self::FEATURES | if self.disk.read_only() { F_RO } else { 0 }
    }

    fn accepted(&mut self, features: u64) {
        self.accepted = features;
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn configure(&mut self, offset: usize, byte: u8) {
        if offset == WRITEBACK {
            self.config[WRITEBACK] = byte & 1;
        }
    }

    fn serve(
        &mut self,
        _queue: usize,
        ring: &mut Ring,
        now: u64,
        mem: &GuestMemory,
    ) -> Result<bool, QueueError> {
        let mut used = false;
        if let Some(request) = self.current.take() {
            if request.due > now {
                self.current = Some(request);
                return Ok(false);
            }
            self.finish(&request, ring, mem)?;
            used = true;
        }
        if let Some(chain) = ring.pop(mem)? {
            self.begin(chain, now, mem)?;
        }
        Ok(used)
    }

    fn abandon(&mut self) {
        self.current = None;
    }

    fn reset(&mut self) {
        self.current = None;
        self.accepted = 0;
        self.config[WRITEBACK] = 1;
    }
}

#[cfg(test)]
#[path = "blk_tests.rs"]
mod tests;
