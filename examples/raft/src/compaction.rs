//! Log compaction (Raft paper, 7): a snapshot of the state machine takes the place of the
//! entries that made it. Who lacks those gets the snapshot.

use std::io;

use chaoscontrol_guest::{assert_always_or_unreachable, assert_reachable};

use crate::ServerId;
use crate::codec::Encode;
use crate::entry::Position;
use crate::machine::Machine;
use crate::messages::Body;
use crate::node::Raft;
use crate::role::Role;
use crate::storage::{Snapshot, Storage};

impl<S: Storage> Raft<S> {
    /// Takes a snapshot if the log has become long.
    pub(crate) fn compact(&mut self) -> io::Result<()> {
        let index = self.machine.applied();
        let covered = index - self.log.base().index;
        if covered < self.config.snapshot_every as u64 {
            return Ok(());
        }
        let Some(term) = self.log.term_at(index) else {
            return Ok(());
        };
        assert_reachable!("a snapshot replaces the log");
        let snapshot = Snapshot {
            last: Position { term, index },
            machine: self.machine.to_bytes(),
        };
        self.keep(snapshot)
    }

    fn keep(&mut self, snapshot: Snapshot) -> io::Result<()> {
        self.log.replace(snapshot.last);
        let rest = self.log.from(snapshot.last.index + 1);
        self.storage.save_snapshot(&snapshot, rest)?;
        self.snapshot = snapshot;
        Ok(())
    }

    /// As leader, sends the snapshot to a follower that lacks what it replaced.
    pub(crate) fn send_snapshot(&mut self, to: ServerId) {
        let Role::Leader(leadership) = &self.role else {
            return;
        };
        assert_reachable!("a follower is sent a snapshot");
        let body = Body::Install {
            snapshot: self.snapshot.clone(),
            round: leadership.round,
        };
        self.send(to, body);
    }

    /// The leader's snapshot.
    pub(crate) fn on_install(
        &mut self,
        from: ServerId,
        snapshot: Snapshot,
        round: u64,
    ) -> io::Result<()> {
        let last = snapshot.last;
        // What is applied is committed, and so in the snapshot or behind it.
        if last.index > self.machine.applied() {
            let Ok(machine) = Machine::from_bytes(&snapshot.machine) else {
                return Ok(());
            };
            assert_always_or_unreachable!(
                machine.applied() == last.index,
                "a snapshot is what it says",
                machine = machine.applied(),
                snapshot = last
            );
            assert_reachable!("a follower installs a snapshot");
            self.machine = machine;
            self.keep(snapshot)?;
        }
        self.answer(from, Some(last.index), last.index + 1, round);
        Ok(())
    }
}
