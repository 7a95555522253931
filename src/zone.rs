//! Time zones as the config names them.

use std::str::FromStr;

use chrono_tz::{TZ_VARIANTS, Tz};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::near::nearest;

/// A time zone, by its IANA name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| match nearest(text, TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(name) => format!("unknown time zone {text:?}; did you mean \"{name}\"?"),
            None => format!("unknown time zone {text:?}; write it like \"UTC\" or \"Europe/Berlin\""),
        })
    }
}

/// Reads a key that may be left out.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tz>, D::Error> {
    let Zone(zone) = String::deserialize(deserializer)?.parse().map_err(D::Error::custom)?;
    Ok(Some(zone))
}
