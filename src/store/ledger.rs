//! Which parts of an object have come.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Parts;

/// The parts of one upload by their number, each with its length and what a store remembers of it.
#[derive(Debug)]
pub struct Ledger<T>(BTreeMap<u32, (usize, T)>);

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Ledger<T> {
    /// Writes down a part. One that is sent twice counts once.
    ///
    /// # Errors
    /// It is not a part of such an object.
    pub fn take(&mut self, parts: Parts, number: u32, length: usize, what: T) -> Result<()> {
        self.fits(parts, number, length)?;
        self.0.insert(number, (length, what));
        Ok(())
    }

    /// Whether such a part can be one beside those that are there.
    ///
    /// # Errors
    /// It cannot.
    pub fn fits(&self, parts: Parts, number: u32, length: usize) -> Result<()> {
        if number == 0 || number > parts.most {
            bail!(
                "part {number}: the store takes {} parts of {} bytes; more needs larger ones",
                parts.most,
                parts.size
            );
        }
        if length == 0 || length > parts.size {
            bail!("part {number} has {length} bytes, where parts have {}", parts.size);
        }
        let others = self.0.iter().map(|(number, (length, _))| (*number, *length));
        let all = others.filter(|(other, _)| *other != number).chain([(number, length)]);
        let last = self.0.last_key_value().map_or(number, |(last, _)| number.max(*last));
        match all.into_iter().find(|(number, length)| *number < last && *length < parts.size) {
            Some((number, length)) => bail!("part {number} has {length} bytes, but is not the last"),
            None => Ok(()),
        }
    }

    /// # Errors
    /// A part is missing, or they do not add up to `size`.
    pub fn whole(&self, size: u64) -> Result<()> {
        if let Some((missing, _)) = (1_u32..).zip(self.0.keys()).find(|(expected, number)| expected != *number) {
            bail!("part {missing} was never sent");
        }
        let sent: u64 = self.0.values().map(|(length, _)| *length as u64).sum();
        if sent != size {
            bail!("its parts have {sent} bytes instead of {size}");
        }
        Ok(())
    }

    /// The parts by their number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.0.iter().map(|(number, (_, what))| (*number, what))
    }
}
