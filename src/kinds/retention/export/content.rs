//! What a table holds, in a number that does not depend on the order of its rows: a table that was written anew, by VACUUM
//! FULL or CLUSTER, is still the same.
//!
//! Each row, as COPY writes it, has a SHA-256; they are added up modulo 2^256. That finds every row that was changed, added
//! or lost by accident. It is no proof against somebody who makes up rows for the purpose.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// How many rows, and their digests added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub rows: u64,
    pub sum: Sum,
}

/// A number modulo 2^256, the least significant digits first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

/// Reads rows as they come, in pieces that end anywhere.
#[derive(Default)]
pub struct Reader {
    rows: u64,
    sum: Sum,
    row: Sha256,
    /// Whether a row has begun that has not ended.
    open: bool,
}

impl Sum {
    fn add(&mut self, digest: &[u8]) {
        let mut carry = false;
        for (word, bytes) in self.0.iter_mut().zip(digest.chunks_exact(8)) {
            let other = bytes.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, first || second);
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("64 hexadecimal digits are expected");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut words = [0; 4];
        for (n, word) in words.iter_mut().rev().enumerate() {
            *word = u64::from_str_radix(&text[16 * n..16 * (n + 1)], 16).map_err(|_| wrong())?;
        }
        Ok(Self(words))
    }
}

impl Reader {
    /// More of the rows; a row ends with a line break, and holds none, since COPY writes those within it otherwise.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.row.update(&bytes[..end]);
            self.sum.add(&self.row.finalize_reset());
            self.rows += 1;
            self.open = false;
            bytes = &bytes[end + 1..];
        }
        if !bytes.is_empty() {
            self.row.update(bytes);
            self.open = true;
        }
    }

    /// Nothing where the last row has no end.
    pub fn content(self) -> Option<Content> {
        (!self.open).then_some(Content { rows: self.rows, sum: self.sum })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<Content> {
        let mut reader = Reader::default();
        reader.read(text.as_bytes());
        reader.content()
    }

    #[test]
    fn the_order_of_rows_does_not_matter_and_all_else_does() {
        let content = of("1\ta\n2\tb\n").unwrap();
        assert_eq!(content.rows, 2);
        assert_eq!(of("2\tb\n1\ta\n"), Some(content));
        for other in ["1\ta\n", "1\ta\n2\tB\n", "1\ta\n2\tb\n2\tb\n", "1\tb\n2\ta\n", "1\ta2\tb\n", ""] {
            assert_ne!(of(other), Some(content), "{other:?}");
        }
        assert_eq!(of("1\ta\n2\tb"), None, "the last row has no end");
        assert_eq!(of("").unwrap().rows, 0);
        // Twice the same row is not as good as none, as it would be were they only held against each other.
        assert_ne!(of("x\nx\n").unwrap().sum, of("y\ny\n").unwrap().sum);
    }

    #[test]
    fn a_sum_is_written_as_sha256_writes_its_digits_for_one_row_turned_round() {
        let mut sum = Sum::default();
        let mut digest = [0; 32];
        digest[0] = 0xff;
        sum.add(&digest);
        sum.add(&digest);
        assert_eq!(sum.to_string(), format!("{:064x}", 0x1fe));
        let mut all = Sum::default();
        all.add(&[0xff; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        all.add(&one);
        assert_eq!(all, Sum::default(), "modulo 2^256");
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_does_not_matter(rows in prop::collection::vec("[^\n]{0,20}", 0..20), cuts in prop::collection::vec(0usize..400, 0..6)) {
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut reader = Reader::default();
            let mut from = 0;
            for to in cuts {
                reader.read(&text.as_bytes()[from..to]);
                from = to;
            }
            prop_assert_eq!(reader.content(), of(&text));
        }

        #[test]
        fn a_sum_is_read_as_it_was_written(words: [u64; 4]) {
            let sum = Sum(words);
            let written = serde_json::to_string(&sum).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sum>(&written).unwrap(), sum);
        }
    }
}
