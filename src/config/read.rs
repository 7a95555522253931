//! Tree -> types, by serde, finding every mistake instead of the first.
//!
//! The reader of a piece gives up at its first mistake. So the mistake is put down, the spot is cut out of the tree, and
//! the piece is read again, until nothing is left to complain about.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_spanned::de::{SpannedDeserializer, is_spanned};

use super::definition::Source;
use super::errors::Problems;
use super::fault::{Fault, What};
use super::near;
use super::tree::{Entry, Node, Value};

/// What reading a piece came to.
pub struct Read<T> {
    /// `None` when the mistakes left nothing to read.
    pub value: Option<T>,
    /// Keys of the piece that were cut out, and those that cut-out ones were probably meant to be: what is missing of them
    /// has been said.
    pub lost: HashSet<String>,
    /// Unknown keys that were probably meant to be kinds.
    pub unknown_kinds: usize,
    /// Nothing was wrong, anywhere in it.
    pub clean: bool,
}

/// Reads `node`, which `key` leads to. `kinds` are known in it besides the keys that its type knows.
pub fn read<T>(
    mut node: Node,
    key: &str,
    kinds: &[&'static str],
    source: &Arc<Source>,
    problems: &mut Problems,
    parse: impl Fn(&Node) -> Result<T, Fault>,
) -> Read<T> {
    let mut lost: HashSet<(Range<usize>, String)> = HashSet::new();
    let (mut clean, mut unknown_kinds) = (true, 0);
    let value = loop {
        let mut fault = match parse(&node) {
            Ok(value) => break Some(value),
            Err(fault) => fault,
        };
        clean = false;
        fault.path.reverse();
        let (spot, entry) = node.follow(&fault.path);
        let (name, mut place) = entry.map_or((key, spot.span.clone()), |entry| (entry.key.as_str(), spot.span.clone()));
        if let (true, Some(entry)) = (fault.at_key, entry) {
            place = entry.key_span.clone();
        }
        let kinds = if fault.path.len() == 1 { kinds } else { &[] };
        let follows = match &fault.what {
            What::Missing(key) => lost.contains(&(spot.span.clone(), (*key).into())),
            What::Nothing => true,
            _ => false,
        };
        if !follows {
            problems.at(source, &place, fault.message(spot, name, kinds));
        }
        let was_table = spot.is_table();
        let Some((table, key)) = (match node.remove(&fault.path) {
            None if fault.path.is_empty() => break None,
            removed => removed,
        }) else {
            continue;
        };
        if let What::UnknownKey { known, .. } = &fault.what {
            match near::nearest(&key, known.iter().chain(kinds).copied()) {
                Some(meant) if !kinds.contains(&meant) => drop(lost.insert((table.clone(), meant.into()))),
                _ => unknown_kinds += usize::from(was_table),
            }
        }
        lost.insert((table, key));
    };
    let lost = lost.into_iter().filter(|(table, _)| *table == node.span).map(|(_, key)| key).collect();
    Read { value, lost, unknown_kinds, clean }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(&text.text),
            Value::Whole(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_i64(number),
                (_, Ok(number)) => visitor.visit_u64(number),
                _ => visitor.visit_i128(*number),
            },
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Date => Err(Fault::new(What::Expected("quotes".into()))),
            Value::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Table(entries) => visitor.visit_map(Entries::new(entries)),
            Value::Faulty => Err(Fault::new(What::Nothing)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if is_spanned(name) {
            return visitor.visit_map(SpannedDeserializer::new(self, self.span.clone()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(StrDeserializer::new(&text.text)),
            Value::Table(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries::new(entries)))
            }
            Value::Faulty => Err(Fault::new(What::Nothing)),
            _ => Err(Fault::new(What::Expected(format!("one of {}", near::list(variants))))),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string seq
        bytes byte_buf map unit unit_struct tuple_struct tuple identifier
    }
}

impl<'de> IntoDeserializer<'de, Fault> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((i, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|fault| within(fault, i))
    }
}

struct Entries<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Entry>>,
    current: Option<(usize, &'de Entry)>,
}

impl<'de> Entries<'de> {
    fn new(entries: &'de [Entry]) -> Self {
        Self { rest: entries.iter().enumerate(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let Some((i, entry)) = self.current else { return Ok(None) };
        seed.deserialize(Key(entry)).map(Some).map_err(|fault| Fault { at_key: true, ..within(fault, i) })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.current.take() {
            Some((i, entry)) => seed.deserialize(&entry.node).map_err(|fault| within(fault, i)),
            None => Err(Fault::custom("a value was asked for before its key")),
        }
    }
}

fn within(mut fault: Fault, step: usize) -> Fault {
    fault.path.push(step);
    fault
}

/// The key of an entry, as a string or as a `Spanned` one.
#[derive(Clone, Copy)]
struct Key<'de>(&'de Entry);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(&self.0.key)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if is_spanned(name) {
            return visitor.visit_map(SpannedDeserializer::new(self, self.0.key_span.clone()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string seq option
        bytes byte_buf map unit unit_struct tuple_struct tuple identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Key<'de> {
    type Error = Fault;
    type Variant = <StrDeserializer<'de, Fault> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Fault> {
        StrDeserializer::new(&self.0.key).variant_seed(seed)
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
