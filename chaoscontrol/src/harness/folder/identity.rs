//! What an exploration is made from.

use std::collections::BTreeMap;
use std::fmt::Debug;

use xxhash_rust::xxh3::xxh3_64;

use super::super::regression::Decisive;
use super::super::world::World;
use super::checkpoint::Identity;
use crate::explore::Options;

impl Identity {
    /// That of the exploration of `test` in `world` with `options`. How many rounds it takes, and
    /// what ends it, is left out: with more rounds it goes on.
    pub fn of(test: &str, world: &World, options: &Options) -> Identity {
        let booted = &world.booted;
        let settings = Decisive {
            // It is named by itself.
            seed: 0,
            ..Decisive::of(&world.settings, booted.engine)
        };
        let disk = booted.disk.as_ref();
        let shard = world.settings.shard;
        let pairs = [
            ("test", test.to_owned()),
            ("chaoscontrol", env!("CARGO_PKG_VERSION").to_owned()),
            ("executable", format!("{:032x}", booted.initramfs.hash)),
            ("kernel", format!("{:032x}", booted.kernel.hash)),
            (
                "new disk",
                disk.map_or("none".to_owned(), |disk| format!("{:032x}", disk.hash)),
            ),
            ("engine", booted.engine.name().to_owned()),
            ("seed", format!("{:#x}", options.seed)),
            ("strategy", options.strategy.to_string()),
            ("number of branches a round", options.branches.to_string()),
            (
                "shard",
                shard.map_or("none".to_owned(), |shard| shard.to_string()),
            ),
            ("set of faults", hash(&options.generator)),
            ("settings", hash(&settings)),
        ];
        Identity(BTreeMap::from(
            pairs.map(|(name, value)| (name.to_owned(), value)),
        ))
    }
}

fn hash(value: &impl Debug) -> String {
    format!("{:016x}", xxh3_64(format!("{value:?}").as_bytes()))
}
