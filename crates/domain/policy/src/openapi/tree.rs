//! A document as a tree that keeps the order of its keys, read within bounds.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// Deepest nesting of a document: the YAML reader takes 20 KiB of stack a level, a worker thread has 2 MiB.
pub(super) const DEPTH_LIMIT: usize = 48;
/// Most values of a document, counted after YAML's aliases are replaced by what they stand for.
const NODE_LIMIT: usize = 500_000;
/// Most text of a document after that, in bytes.
const TEXT_LIMIT: usize = super::DESCRIPTION_LIMIT;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The values of an object, to be changed; none of anything else.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let entries = if let Self::Map(entries) = self { entries.as_mut_slice() } else { &mut [] };
        entries.iter_mut().map(|(_, value)| value)
    }

    /// The items of a list, to be changed; none of anything else.
    pub(super) fn items_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        if let Self::List(items) = self { items.as_mut_slice() } else { &mut [] }.iter_mut()
    }

    /// The text, when it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Number(number) => number.serialize(s),
            Self::Text(text) => s.serialize_str(text),
            Self::List(items) => s.collect_seq(items),
            Self::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// What a document may still use of its bounds.
#[derive(Debug)]
pub(super) struct Room {
    nodes: Cell<usize>,
    text: Cell<usize>,
}

impl Room {
    pub(super) const fn whole() -> Self {
        Self { nodes: Cell::new(NODE_LIMIT), text: Cell::new(TEXT_LIMIT) }
    }

    fn take(cell: &Cell<usize>, amount: usize) -> Option<()> {
        cell.set(cell.get().checked_sub(amount)?);
        Some(())
    }

    fn node<E: Error>(&self) -> Result<(), E> {
        Self::take(&self.nodes, 1).ok_or_else(|| E::custom(format!("it has more than {NODE_LIMIT} values")))
    }

    fn text<E: Error>(&self, length: usize) -> Result<(), E> {
        Self::take(&self.text, length)
            .ok_or_else(|| E::custom(format!("it has more than {TEXT_LIMIT} bytes of text")))
    }
}

/// Reads one value within `room`.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) room: &'a Room,
    pub(super) depth: usize,
}

impl Reader<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_LIMIT {
            return Err(E::custom(format!("it is nested deeper than {DEPTH_LIMIT} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn number<E: Error>(self, number: impl Into<Number>) -> Result<Node, E> {
        self.room.node()?;
        Ok(Node::Number(number.into()))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value as JSON has them")
    }
    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.room.node()?;
        Ok(Node::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.room.node()?;
        Ok(Node::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.number(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.number(value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        self.number(number)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.room.node()?;
        self.room.text(text.len())?;
        Ok(Node::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        self.room.node()?;
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        self.room.node()?;
        let inner = self.deeper()?;
        let mut list: Vec<(String, Node)> = Vec::new();
        while let Some(key) = entries.next_key_seed(Key(self.room))? {
            list.push((key, entries.next_value_seed(inner)?));
        }
        let mut names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom(format!("the key {:?} stands twice in one object", pair[0])));
        }
        Ok(Node::Map(list))
    }
}

/// A key; one that is no text (`200:` in YAML) is taken as it is spelled.
struct Key<'a>(&'a Room);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<String, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.0.node()?;
        self.0.text(text.len())?;
        Ok(text.to_owned())
    }
}
