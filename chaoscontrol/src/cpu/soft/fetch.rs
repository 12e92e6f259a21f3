//! From a virtual address to the decoded code that stands there.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::blocks::Key;
use super::code::{BlockId, Origin};
use super::core::Trap;
use super::coverage::PageName;
use super::exceptions::Fault;
use super::op::Op;
use super::run::SoftCpu;
use super::translate::{decode, mode};
use crate::cpu::paging::Access;
use crate::cpu::ram::PAGE_SIZE;

/// What [`SoftCpu::locate`] found.
pub enum Met {
    /// A block.
    Block(BlockId),
    /// An instruction that has no block.
    Op(Op),
}

impl SoftCpu {
    /// What stands at virtual address `rip`: a block, or an instruction that crosses pages.
    pub(super) fn locate(&mut self, rip: u64, mode: u8) -> Result<Met, Fault> {
        let physical = self.fetch_address(rip)?;
        let pfn = physical / PAGE_SIZE;
        let offset = physical % PAGE_SIZE;
        let key = Key {
            pfn: pfn as u32,
            offset: offset as u16,
            mode,
            next: None,
        };
        if let Some(block) = self.blocks.find(key) {
            return Ok(Met::Block(block));
        }
        let name = self.page_name(rip, pfn, mode);
        let core = &mut self.core;
        let hash = self.blocks.hash(key.pfn, || core.with_page(pfn, xxh3_128));
        if let Some(bytes) = hash {
            core.mark_code(pfn);
            #[cfg(test)]
            let bytes = bytes ^ super::conformance::sabotage::salt();
            let origin = Origin {
                bytes,
                crosses: false,
                offset: key.offset,
                mode,
                name,
            };
            let known = self.blocks.code().find(&origin);
            let length = match known {
                Some(_) => 1,
                None => {
                    let ops = &mut self.decoded;
                    let decode = |page: &[u8]| {
                        decode(
                            &page[offset as usize..],
                            offset,
                            mode,
                            name,
                            usize::MAX,
                            ops,
                        )
                    };
                    core.with_page(pfn, decode).unwrap_or(0)
                }
            };
            if length > 0 {
                return Ok(Met::Block(self.keep(key, origin, known, length)));
            }
        }
        self.straddling(rip, physical, key, name)
    }

    /// The instruction at the end of a page that goes on in the next; outside of RAM the
    /// bus reads as all ones.
    fn straddling(
        &mut self,
        rip: u64,
        physical: u64,
        mut key: Key,
        name: Option<PageName>,
    ) -> Result<Met, Fault> {
        let mut bytes = [0xFF; 30];
        let rest = (PAGE_SIZE - physical % PAGE_SIZE).min(15) as usize;
        let mut in_ram = false;
        if self.core.physical_read(physical, &mut bytes[..rest]) {
            let next = self.fetch_address(rip.wrapping_add(rest as u64))?;
            in_ram = self.core.physical_read(next, &mut bytes[rest..rest + 15]);
            key.next = Some((next / PAGE_SIZE) as u32);
        }
        if in_ram && let Some(block) = self.blocks.find(key) {
            return Ok(Met::Block(block));
        }
        let offset = physical % PAGE_SIZE;
        let length = decode(&bytes, offset, key.mode, name, 1, &mut self.decoded);
        if !in_ram {
            return self
                .decoded
                .first()
                .copied()
                .map(Met::Op)
                .ok_or(Fault::new(6, None));
        }
        let origin = Origin {
            bytes: xxh3_128(&bytes),
            crosses: true,
            offset: key.offset,
            mode: key.mode,
            name,
        };
        Ok(Met::Block(self.keep(key, origin, None, length)))
    }

    /// Notes that the block of `origin`, which is `known` or else has just been decoded,
    /// stands at `key`.
    fn keep(&mut self, key: Key, origin: Origin, known: Option<BlockId>, length: u16) -> BlockId {
        let mut block = known;
        let id = loop {
            block = block.or_else(|| self.blocks.code().add(origin, &self.decoded, length));
            match block {
                Some(id) => break id,
                None => {
                    // What has run last is not to be linked to what comes now.
                    self.core.attention = true;
                    self.drop_all_code();
                    self.blocks.renew();
                }
            }
        };
        for pfn in std::iter::once(key.pfn).chain(key.next) {
            self.core.mark_code(u64::from(pfn));
        }
        self.blocks.add(key, id);
        id
    }

    /// Physical address for a fetch from `rip`.
    fn fetch_address(&mut self, rip: u64) -> Result<u64, Fault> {
        if let Some(physical) = self.core.known_code(rip) {
            return Ok(physical);
        }
        self.core
            .translate(rip, Access::Exec)
            .map_err(|_| match self.core.trap {
                Trap::Exception { vector, error } => Fault { vector, error },
                _ => Fault::new(8, Some(0)),
            })
    }

    fn page_name(&self, rip: u64, pfn: u64, mode: u8) -> Option<PageName> {
        if mode & mode::USER == 0 {
            return Some(PageName::kernel(rip));
        }
        if self.code_map.is_empty() {
            return None;
        }
        let hash = self.core.with_page(pfn, xxh3_64)?;
        self.code_map.get(&hash).copied().map(PageName::user)
    }
}
