//! Reads [`DeployedDeployment`]: the keys of a deployment, and `deployed_at` among them.
//!
//! serde's `flatten` would lose two things here: positions of errors, because it buffers, and
//! `deny_unknown_fields`. So the one key is picked out while the others pass through.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::deployment::Deployment;
use super::manifest::DeployedDeployment;

const KEY: &str = "deployed_at";

impl<'de> Deserialize<'de> for DeployedDeployment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DeployedVisitor)
    }
}

struct DeployedVisitor;

impl<'de> Visitor<'de> for DeployedVisitor {
    type Value = DeployedDeployment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a deployment")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut deployed_at = None;
        let rest = WithoutKey { map, deployed_at: &mut deployed_at };
        let deployment = Deployment::deserialize(MapAccessDeserializer::new(rest))?;
        let deployed_at = deployed_at.ok_or_else(|| A::Error::missing_field(KEY))?;
        Ok(DeployedDeployment { deployment, deployed_at })
    }
}

/// A map that keeps the value of [`KEY`] to itself.
struct WithoutKey<'a, A> {
    map: A,
    deployed_at: &'a mut Option<Timestamp>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutKey<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if key != KEY {
                return seed.deserialize(StringDeserializer::new(key)).map(Some);
            }
            if self.deployed_at.replace(self.map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(KEY));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
