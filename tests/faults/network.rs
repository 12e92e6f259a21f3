//! Network faults, as two guests' kernels see them.

use std::collections::BTreeSet;
use std::thread;

use chaoscontrol::guest::Faults;
use chaoscontrol::prelude::*;

use crate::server::{Asker, serve};

const MS: Duration = Duration::from_millis(1);

/// Runs `look` on the client; VM 0 is the server.
fn watched(node: Node, look: impl FnOnce(&Faults, &mut Asker) -> Result) -> Result {
    if node.role() == Role::Server {
        return serve(&node);
    }
    let mut asker = Asker::new(&node)?;
    look(&node.faults(), &mut asker)
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn partition(node: Node) -> Result {
    watched(node, |faults, asker| {
        faults.order("partition {0} | {1}")?;
        assert!(!asker.reaches()?);
        faults.heal()?;
        assert!(asker.reaches()?);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn one_way_partition(node: Node) -> Result {
    watched(node, |faults, asker| {
        let heard = asker.answer()?.heard;
        faults.order("one-way partition {0} -> {1}")?;
        assert!(!asker.reaches()? && !asker.reaches()?);
        faults.heal()?;
        let all = asker.answer()?.heard;
        assert_eq!(all - heard, 3, "the questions went through");
        faults.order("one-way partition {1} -> {0}")?;
        assert!(!asker.reaches()? && !asker.reaches()?);
        faults.heal()?;
        assert_eq!(asker.answer()?.heard - all, 1, "the questions did not");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn latency(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("latency vm 0 of 50 ms")?;
        let added = asker.round_trip()? - before;
        assert!((99 * MS..105 * MS).contains(&added), "{added:?}");
        faults.heal()?;
        assert!(asker.round_trip()? > before + 90 * MS, "healing keeps it");
        faults.order("latency vm 0 of 0 ms")?;
        assert!(asker.round_trip()? < before + 5 * MS);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn jitter(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("jitter vm 0 of 20 ms")?;
        let mut times = Vec::new();
        for _ in 0..30 {
            times.push(asker.round_trip()?);
        }
        let (least, most) = (times.iter().min(), times.iter().max());
        let (least, most) = (*least.ok_or("none")?, *most.ok_or("none")?);
        assert!(least + 10 * MS < most, "{least:?} to {most:?}");
        assert!(most < before + 45 * MS, "{most:?}");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn loss(node: Node) -> Result {
    watched(node, |faults, asker| {
        faults.order("loss vm 0 of 30 %")?;
        for _ in 0..200 {
            asker.send(8)?;
            thread::sleep(MS);
        }
        let mut answers = 0;
        while asker.receive(100 * MS)?.is_some() {
            answers += 1;
        }
        // Each way loses its share: half of the answers are to come.
        assert!((70..130).contains(&answers), "{answers}");
        faults.heal()?;
        let heard = asker.answer()?.heard;
        assert!((120..165).contains(&heard), "{heard}");
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn reorder(node: Node) -> Result {
    watched(node, |faults, asker| {
        let order = |asker: &mut Asker| -> Result<Vec<u64>> {
            for _ in 0..50 {
                asker.send(8)?;
            }
            let mut numbers = Vec::new();
            while let Some(answer) = asker.receive(100 * MS)? {
                numbers.push(answer.number);
            }
            Ok(numbers)
        };
        let before = order(asker)?;
        assert!(before.is_sorted() && before.len() == 50, "{before:?}");
        faults.order("reorder vm 0 within 10 ms")?;
        let after = order(asker)?;
        assert!(!after.is_sorted(), "{after:?}");
        assert_eq!(after.iter().collect::<BTreeSet<_>>().len(), 50);
        Ok(())
    })
}

#[chaos_test(vms = 2, clients = 1, rounds = 1, branches = 1, faults = [])]
fn heal(node: Node) -> Result {
    watched(node, |faults, asker| {
        let before = asker.round_trip()?;
        faults.order("latency vm 1 of 20 ms")?;
        faults.order("partition {0} | {1}")?;
        faults.order("loss vm 0 of 100 %")?;
        faults.order("jitter vm 0 of 300 ms")?;
        assert!(!asker.reaches()?);
        faults.order("heal")?;
        let after = asker.round_trip()? - before;
        assert!(
            (39 * MS..45 * MS).contains(&after),
            "only latency stays: {after:?}"
        );
        Ok(())
    })
}
