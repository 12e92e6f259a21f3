//! A part of a test's exploration, for one of several machines.

use std::fmt;
use std::str::FromStr;

use crate::fault::Stream;

/// Part `index` of `count`, as `CHAOS_SHARD=2/8` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// How the folders of shards begin.
    pub const FOLDER: &'static str = "shard-";

    /// What a value has to be, in words.
    pub const WANTED: &'static str = "a part of a whole, such as 2/8";

    /// The name of its folder.
    pub fn folder(self) -> String {
        format!("{}{}-of-{}", Self::FOLDER, self.index, self.count)
    }

    /// What its search draws from in place of `seed`: no two shards draw alike.
    pub fn seed(self, seed: u64) -> u64 {
        let part = [u64::from(self.index), u64::from(self.count)];
        Stream::new(seed, "shard", &part).bits()
    }

    /// Those of `items` that are dealt to it; each goes to one shard.
    pub fn share<T>(self, items: Vec<T>) -> Vec<T> {
        let place = |i: usize| i as u32 % self.count + 1;
        let items = items.into_iter().enumerate();
        items
            .filter(|(i, _)| place(*i) == self.index)
            .map(|(_, item)| item)
            .collect()
    }

    /// As a number other than 0.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.index)
    }

    /// From such a number; 0 is none.
    pub(super) fn from_bits(bits: u64) -> Option<Shard> {
        (bits != 0).then_some(Shard {
            index: bits as u32,
            count: (bits >> 32) as u32,
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// It is no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {wanted}", wanted = Shard::WANTED)]
pub struct NoShard(String);

impl FromStr for Shard {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Shard, NoShard> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            let (index, count) = (index.trim().parse().ok()?, count.trim().parse().ok()?);
            (1..=count)
                .contains(&index)
                .then_some(Shard { index, count })
        });
        parts.ok_or_else(|| NoShard(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_shard_is_read_and_written() {
        let shard: Shard = "2/8".parse().unwrap();
        assert_eq!(shard.to_string(), "2/8");
        assert_eq!(shard.folder(), "shard-2-of-8");
        assert_eq!(Shard::from_bits(shard.to_bits()), Some(shard));
        assert_eq!(Shard::from_bits(0), None);
        for wrong in ["", "2", "0/8", "9/8", "2/0", "-1/8", "2/8/3", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_draw_differently_and_share_what_there_is() {
        let shards = |count| (1..=count).map(move |index| Shard { index, count });
        let seeds: BTreeSet<u64> = (1..9).flat_map(shards).map(|s| s.seed(7)).collect();
        assert_eq!(seeds.len(), 36);
        let mut dealt: Vec<u32> = shards(3).flat_map(|s| s.share((0..10).collect())).collect();
        assert_ne!(dealt, Vec::from_iter(0..10));
        dealt.sort_unstable();
        assert_eq!(dealt, Vec::from_iter(0..10));
    }
}
