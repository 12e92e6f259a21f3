//! A split virtqueue as a device sees it: chains come out, used buffers go back.
//!
//! `virtio-queue` walks the rings; its state is kept plain here, and the chains it
//! finds are checked and bounded before a device sees them.

use std::hash::{Hash, Hasher};

use virtio_queue::{Queue, QueueOwnedT, QueueState, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::cpu::ram::GuestMemory;

/// What a driver did that no queue can go on from. The device then needs a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueueError {
    /// Ring addresses that are misaligned or not RAM, or an impossible index.
    #[error("the virtqueue's rings are not usable")]
    Ring,
    /// A chain that loops, leaves its table, or has readable parts after writable ones.
    #[error("a virtqueue's descriptor chain is malformed")]
    Chain,
    /// A buffer that is not all RAM.
    #[error("a virtqueue's buffer is outside of RAM")]
    Buffer,
}

/// A part of a chain: guest-physical address and length in bytes.
type Span = (u64, u32);

/// One request of the driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    head: u16,
    readable: Vec<Span>,
    writable: Vec<Span>,
}

impl Chain {
    /// Bytes that the device may write.
    pub fn capacity(&self) -> u64 {
        self.writable.iter().map(|span| u64::from(span.1)).sum()
    }

    /// Bytes that the driver offers to read.
    pub fn len(&self) -> u64 {
        self.readable.iter().map(|span| u64::from(span.1)).sum()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first bytes of the readable part, `limit` at most.
    ///
    /// # Errors
    /// A buffer that is not all RAM.
    pub fn read(&self, mem: &GuestMemory, limit: usize) -> Result<Vec<u8>, QueueError> {
        let mut bytes = Vec::with_capacity(limit.min(usize::try_from(self.len()).unwrap_or(limit)));
        for &(address, len) in &self.readable {
            let start = bytes.len();
            let part = (len as usize).min(limit - start);
            bytes.resize(start + part, 0);
            mem.read_slice(&mut bytes[start..], GuestAddress(address))
                .map_err(|_| QueueError::Buffer)?;
        }
        Ok(bytes)
    }

    /// Fills the writable part with `bytes`, as far as they fit; how many did.
    ///
    /// # Errors
    /// A buffer that is not all RAM.
    pub fn write(&self, mem: &GuestMemory, bytes: &[u8]) -> Result<u32, QueueError> {
        let mut done = 0;
        for &(address, len) in &self.writable {
            let part = &bytes[done..][..(len as usize).min(bytes.len() - done)];
            mem.write_slice(part, GuestAddress(address))
                .map_err(|_| QueueError::Buffer)?;
            done += part.len();
        }
        Ok(done as u32)
    }

    /// Writes the last byte of the writable part; `false` if there is none.
    ///
    /// # Errors
    /// A buffer that is not all RAM.
    pub fn write_last(&self, mem: &GuestMemory, byte: u8) -> Result<bool, QueueError> {
        let Some(&(address, len)) = self.writable.iter().rfind(|span| span.1 > 0) else {
            return Ok(false);
        };
        let last = address.checked_add(u64::from(len) - 1);
        let last = last.ok_or(QueueError::Buffer)?;
        mem.write_slice(&[byte], GuestAddress(last))
            .map_err(|_| QueueError::Buffer)?;
        Ok(true)
    }
}

/// A queue's registers and positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring(QueueState);

impl Hash for Ring {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let QueueState {
            max_size,
            next_avail,
            next_used,
            event_idx_enabled,
            size,
            ready,
            desc_table,
            avail_ring,
            used_ring,
        } = self.0;
        (max_size, size, next_avail, next_used).hash(hasher);
        (event_idx_enabled, ready).hash(hasher);
        (desc_table, avail_ring, used_ring).hash(hasher);
    }
}

impl Ring {
    /// A queue after reset, of at most `max_size` entries: a power of two.
    pub fn new(max_size: u16) -> Ring {
        Ring(QueueState {
            max_size,
            size: max_size,
            ..QueueState::default()
        })
    }

    /// The largest size in entries.
    pub fn max_size(&self) -> u16 {
        self.0.max_size
    }

    /// Whether the driver has set it up.
    pub fn ready(&self) -> bool {
        self.0.ready
    }

    /// Sets the number of entries; an impossible one is ignored, as is any while the queue is ready.
    pub fn set_size(&mut self, size: u32) {
        if let Ok(size) = u16::try_from(size)
            && size.is_power_of_two()
            && size <= self.0.max_size
            && !self.0.ready
        {
            self.0.size = size;
        }
    }

    /// The addresses of descriptor table, available ring and used ring; `None` while the queue is ready.
    pub fn addresses(&mut self) -> Option<[&mut u64; 3]> {
        let QueueState {
            desc_table,
            avail_ring,
            used_ring,
            ready,
            ..
        } = &mut self.0;
        (!*ready).then_some([desc_table, avail_ring, used_ring])
    }

    /// Takes the queue into use or out of it.
    ///
    /// # Errors
    /// Rings that are misaligned or not RAM; the queue is not ready then.
    pub fn set_ready(&mut self, ready: bool, mem: &GuestMemory) -> Result<(), QueueError> {
        self.0.ready = ready;
        if !ready {
            return Ok(());
        }
        let valid = Queue::try_from(self.0).is_ok_and(|queue| queue.is_valid(mem));
        self.0.ready = valid;
        valid.then_some(()).ok_or(QueueError::Ring)
    }

    fn queue(&self) -> Result<Queue, QueueError> {
        Queue::try_from(self.0).map_err(|_| QueueError::Ring)
    }

    /// The next request, if there is one.
    ///
    /// # Errors
    /// A ring or a chain that is malformed.
    pub fn pop(&mut self, mem: &GuestMemory) -> Result<Option<Chain>, QueueError> {
        let mut queue = self.queue()?;
        let Some(found) = queue.iter(mem).map_err(|_| QueueError::Ring)?.next() else {
            return Ok(None);
        };
        self.0.next_avail = queue.next_avail();
        let mut chain = Chain {
            head: found.head_index(),
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut complete = false;
        // No chain is longer than its queue, although a stray indirect table could be.
        for descriptor in found.take(usize::from(self.0.size)) {
            let span = (descriptor.addr().0, descriptor.len());
            if descriptor.is_write_only() {
                chain.writable.push(span);
            } else if chain.writable.is_empty() {
                chain.readable.push(span);
            } else {
                return Err(QueueError::Chain);
            }
            complete = !descriptor.has_next();
        }
        if complete {
            Ok(Some(chain))
        } else {
            Err(QueueError::Chain)
        }
    }

    /// Leaves a request that [`Ring::pop`] has just given for the next call.
    pub fn put_back(&mut self, _chain: Chain) {
        self.0.next_avail = self.0.next_avail.wrapping_sub(1);
    }

    /// Returns a request to the driver with `len` bytes written into it.
    ///
    /// # Errors
    /// A ring that is not RAM.
    pub fn push(&mut self, chain: &Chain, len: u32, mem: &GuestMemory) -> Result<(), QueueError> {
        let mut queue = self.queue()?;
        queue
            .add_used(mem, chain.head, len)
            .map_err(|_| QueueError::Ring)?;
        self.0.next_used = queue.next_used();
        Ok(())
    }

    /// Whether the driver wants to be interrupted for used buffers (VIRTQ_AVAIL_F_NO_INTERRUPT is clear).
    pub fn wants_interrupt(&self, mem: &GuestMemory) -> bool {
        mem.read_obj::<u16>(GuestAddress(self.0.avail_ring))
            .is_ok_and(|flags| u16::from_le(flags) & 1 == 0)
    }

    /// Serves requests until there are none, or `serve` gives `None` for one that has to
    /// wait. `serve` gives the number of bytes it wrote. Whether any was returned to the driver.
    ///
    /// At most one ring's worth is served, in case what the device writes makes new requests.
    ///
    /// # Errors
    /// Those of [`Ring::pop`], [`Ring::push`] and `serve`.
    pub fn serve(
        &mut self,
        mem: &GuestMemory,
        mut serve: impl FnMut(&Chain) -> Result<Option<u32>, QueueError>,
    ) -> Result<bool, QueueError> {
        let mut any = false;
        for _ in 0..self.0.size {
            let Some(chain) = self.pop(mem)? else {
                break;
            };
            let Some(len) = serve(&chain)? else {
                self.put_back(chain);
                break;
            };
            self.push(&chain, len, mem)?;
            any = true;
        }
        Ok(any)
    }
}
