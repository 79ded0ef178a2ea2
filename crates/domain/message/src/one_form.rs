//! The one form of a header's JSON (protocol P1.1, P1.2): objects are objects, and an absent key is absent.
//!
//! Serde reads a struct from an array too, and an optional key from `null`. Two texts would then say the same, and two
//! readers could see two things in one signed text. This looks at the shape alone; keys, types and repeated keys are for
//! the typed reading to judge.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What may stand at a place of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The header itself.
    Root,
    /// The value of `headers`, the only list.
    Fields,
    /// One entry of that list.
    Field,
    /// Any other value.
    Value,
}

/// True for the key of the list.
struct IsList;

/// Whether `bytes`, which are JSON, have the one form.
///
/// # Errors
/// What stands where it must not.
pub(crate) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    Place::Root.deserialize(&mut text)?;
    text.end()
}

impl Place {
    fn scalar<E: Error>(self) -> Result<(), E> {
        if self == Self::Value { Ok(()) } else { Err(E::custom("an object or a list is missing")) }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the one form of a header")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(E::custom("an optional key is absent, never null"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self != Self::Fields {
            return Err(A::Error::custom("a list stands where an object or a text belongs"));
        }
        while list.next_element_seed(Self::Field)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        if self == Self::Fields {
            return Err(A::Error::custom("headers is a list"));
        }
        while let Some(is_list) = object.next_key_seed(IsList)? {
            object.next_value_seed(if self == Self::Root && is_list { Self::Fields } else { Self::Value })?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for IsList {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsList {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == "headers")
    }
}
