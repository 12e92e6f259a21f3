//! How what is kept of a search becomes text: pieces that serde's derive does not bring.
//!
//! A search that is gone on with must be in every respect the one that was interrupted. So the
//! state derives its encoding: a field that somebody adds is in it or does not compile.

/// Serializes types by their `Display` and `FromStr`.
macro_rules! as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use as_text;

/// Maps whose keys are no text, as lists of pairs.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S, K, V>(map: &BTreeMap<K, V>, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        K: Serialize,
        V: Serialize,
    {
        to.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, D, K, V>(from: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        D: Deserializer<'de>,
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
    {
        let pairs = Vec::<(K, V)>::deserialize(from)?;
        Ok(pairs.into_iter().collect())
    }
}

/// Long lists that hold little: their length, and what differs from the default by its index.
pub(crate) mod sparse {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// The longest list that is read, so that a wrong length takes no memory.
    const LONGEST: usize = 1 << 24;

    pub(crate) fn serialize<S, T>(list: &[T], to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize + Default + PartialEq,
    {
        let nothing = T::default();
        let held: Vec<(usize, &T)> = list
            .iter()
            .enumerate()
            .filter(|(_, item)| **item != nothing)
            .collect();
        (list.len(), held).serialize(to)
    }

    pub(crate) fn deserialize<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Default + Clone,
    {
        let (length, held) = <(usize, Vec<(usize, T)>)>::deserialize(from)?;
        if length > LONGEST {
            return Err(D::Error::custom("a list is longer than any"));
        }
        let mut list = vec![T::default(); length];
        for (index, item) in held {
            let place = list.get_mut(index);
            *place.ok_or_else(|| D::Error::custom("an index lies outside of its list"))? = item;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "super::pairs")]
        map: BTreeMap<(u8, bool), u64>,
        #[serde(with = "super::sparse")]
        list: Vec<(u8, bool)>,
    }

    #[test]
    fn maps_and_lists_come_back_as_they_were() {
        let mut list = vec![(0, false); 1000];
        list[998] = (3, true);
        let both = Both {
            map: BTreeMap::from([((1, true), u64::MAX)]),
            list,
        };
        let text = serde_json::to_string(&both).unwrap();
        assert!(text.len() < 80, "{text}");
        assert_eq!(serde_json::from_str::<Both>(&text).unwrap(), both);
        for wrong in ["[1000000000000, []]", "[2, [[2, [1, true]]]]"] {
            let text = format!("{{\"map\": [], \"list\": {wrong}}}");
            assert!(serde_json::from_str::<Both>(&text).is_err());
        }
    }
}
