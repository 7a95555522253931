//! Sizes for people, and from them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// `1.2 GB`, `340 MB`, `12 kB`: decimal, as disks and bills count.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// How far `bytes` are of what there was the last time: `40% of about 1.4 GB`; where nothing is known of that, `560 MB`.
pub fn part(bytes: u64, last: Option<u64>) -> String {
    match last.filter(|last| *last > 0) {
        Some(last) => format!("{}% of about {}", (bytes.saturating_mul(100) / last).min(99), size(last)),
        None => size(bytes),
    }
}

/// Bytes, written with their unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (number, unit) = trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
        let unit = match unit.trim() {
            "MB" => 1_000_000_u64,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(format!("{text:?} is not a size; write it like \"50 GB\"")),
        };
        let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| format!("{text:?} is not a size; write it like \"50 GB\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_said_shortly() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (8 << 20, "8.4 MB"),
            (340_000_000, "340 MB"),
            (999_600_000, "1.0 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(super::size(bytes), said);
        }
    }

    #[test]
    fn a_size_has_its_unit() {
        for (text, bytes) in [("50 GB", 50_000_000_000), ("1GiB", 1 << 30), (" 2 TB ", 2_000_000_000_000)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "50", "GB", "-1 GB", "1.5 GB", "99999999999 TB", "5 gb"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
