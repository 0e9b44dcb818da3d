//! Events in JSON as they are given: what JSON allows and an event does not is noticed while it is read, and what is too much
//! is never kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Map;

use super::cloud_events::EVENTS_MAX;
use crate::model::Json;

/// A value that should be an event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    /// The value; of a member that is given twice the last one.
    pub(super) value: Json,
    /// A member that is given twice, if one is.
    pub(super) twice: Option<String>,
}

/// A value that should be an array of events.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Batch {
    /// It is none.
    Other,
    /// It is one.
    Events {
        /// The first of them, at most [`EVENTS_MAX`].
        items: Vec<Given>,
        /// How many there are.
        count: usize,
    },
}

impl From<Json> for Given {
    fn from(value: Json) -> Self {
        Self { value, twice: None }
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Given, A::Error> {
        let (mut members, mut twice) = (Map::new(), None);
        while let Some((name, value)) = given.next_entry::<String, Json>()? {
            if members.insert(name.clone(), value).is_some() {
                twice.get_or_insert(name);
            }
        }
        Ok(Given { value: Json::Object(members), twice })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<Given, A::Error> {
        while given.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Array(Vec::new()).into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given, E> {
        Ok(Json::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Given, E> {
        Ok(Json::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Given, E> {
        Ok(Json::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Given, E> {
        Ok(Json::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Given, E> {
        Ok(Json::from(value).into())
    }

    fn visit_unit<E>(self) -> Result<Given, E> {
        Ok(Json::Null.into())
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<Batch, A::Error> {
        let mut items = Vec::new();
        while items.len() < EVENTS_MAX
            && let Some(item) = given.next_element()?
        {
            items.push(item);
        }
        let mut count = items.len();
        while given.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Batch::Events { items, count })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Batch, A::Error> {
        while given.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Batch::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Batch, E> {
        Ok(Batch::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Batch, E> {
        Ok(Batch::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Batch, E> {
        Ok(Batch::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Batch, E> {
        Ok(Batch::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Batch, E> {
        Ok(Batch::Other)
    }

    fn visit_unit<E>(self) -> Result<Batch, E> {
        Ok(Batch::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_large_a_batch_only_what_could_be_taken_is_kept() {
        let text = format!("[{}0]", "{},".repeat(10_000));
        let Batch::Events { items, count } = serde_json::from_str(&text).unwrap() else { panic!("it is an array") };
        assert_eq!((items.len(), count), (EVENTS_MAX, 10_001));
    }

    #[test]
    fn every_kind_of_value_is_told_apart() {
        for (text, is_batch) in [("[1]", true), ("{}", false), ("1", false), ("-1", false), ("1.5", false)] {
            let batch: Batch = serde_json::from_str(text).unwrap();
            assert_eq!(matches!(batch, Batch::Events { .. }), is_batch, "{text}");
        }
        for text in ["true", "null", "\"x\"", "-1", "1.5", "7", "[1]"] {
            let given: Given = serde_json::from_str(text).unwrap();
            assert!(!given.value.is_object() && given.twice.is_none(), "{text}");
        }
        let given: Given = serde_json::from_str(r#"{"id":"a","x":1,"id":"b"}"#).unwrap();
        assert_eq!(given.twice.as_deref(), Some("id"));
    }
}
