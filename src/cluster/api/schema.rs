//! The first key of every document.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::cluster::protocol::SCHEMA;

/// The value of the key `schema`. Written, it is always [`SCHEMA`]; read, any other value is an error,
/// so that a document of another schema is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(OnlyOurs)
    }
}

/// Compares without a copy: a balancer reads a document a second of each node.
struct OnlyOurs;

impl Visitor<'_> for OnlyOurs {
    type Value = Schema;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the schema {SCHEMA}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Schema, E> {
        if text == SCHEMA {
            Ok(Schema)
        } else {
            Err(E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_one_word_and_no_other_is_read() {
        assert_eq!(serde_json::to_string(&Schema).unwrap(), r#""picluster/1""#);
        assert_eq!(serde_json::from_str::<Schema>(r#""picluster/1""#).unwrap(), Schema);
        for other in [r#""picluster/2""#, r#""""#, "1", "null"] {
            assert!(serde_json::from_str::<Schema>(other).is_err(), "{other}");
        }
    }
}
