//! A build without encryption: there are no keys, so nothing can be encrypted, and what is encrypted cannot be opened.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, bail};

const ABSENT: &str = "this pgtend was built without encryption (cargo feature `encrypt`)";

/// There is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(Infallible);

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(_: &str) -> Result<Self, String> {
        Err(ABSENT.into())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// There are none.
#[derive(Debug, Clone, Copy)]
pub struct Identities(Infallible);

impl Identities {
    /// # Errors
    /// Always.
    pub fn read(file: &Path) -> Result<Self> {
        bail!("the identity_file {} cannot be used: {ABSENT}", file.display())
    }

    pub fn file(&self) -> &Path {
        match self.0 {}
    }

    pub fn fit(&self, _: &[PublicKey]) -> bool {
        match self.0 {}
    }

    pub fn open(&self, _: &[u8]) -> Option<bool> {
        match self.0 {}
    }
}

/// Hands on what is written to it as it is.
pub struct Sealer<W: Write>(W);

impl<W: Write> Sealer<W> {
    /// # Errors
    /// None.
    pub fn new(keys: &[PublicKey], inner: W) -> io::Result<Self> {
        match keys.first() {
            None => Ok(Self(inner)),
            Some(key) => match key.0 {},
        }
    }

    /// # Errors
    /// None.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.0)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// # Errors
/// None: there is nobody to call it.
pub fn decrypt(identities: &Identities, _: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    match identities.0 {}
}
