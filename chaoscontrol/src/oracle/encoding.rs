//! Kinds of properties in what is kept of a search: by the names that reports use, since the
//! guest's crate, whose they are, knows nothing of encodings.

/// A kind.
pub(super) mod kind {
    use chaoscontrol_guest::protocol::PropertyKind;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const ALL: [PropertyKind; 6] = [
        PropertyKind::Always,
        PropertyKind::AlwaysOrUnreachable,
        PropertyKind::Sometimes,
        PropertyKind::Reachable,
        PropertyKind::Unreachable,
        PropertyKind::Agree,
    ];

    pub fn serialize<S: Serializer>(kind: &PropertyKind, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PropertyKind, D::Error> {
        let name = String::deserialize(from)?;
        let found = ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("there is no kind of property `{name}`")))
    }
}

/// A kind with its place, if there is one.
pub(super) mod site {
    use chaoscontrol_guest::protocol::PropertyKind;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::super::failure::Place;

    #[derive(Serialize, Deserialize)]
    struct Site(#[serde(with = "super::kind")] PropertyKind, Place);

    type Known = Option<(PropertyKind, Place)>;

    pub fn serialize<S: Serializer>(site: &Known, to: S) -> Result<S::Ok, S::Error> {
        let site = site.clone();
        site.map(|(kind, place)| Site(kind, place)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Known, D::Error> {
        let site = Option::<Site>::deserialize(from)?;
        Ok(site.map(|Site(kind, place)| (kind, place)))
    }
}
