//! The keys of age, of the kind X25519, and what is done with them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, x25519};
use anyhow::{Context as _, Result, anyhow};
use secrecy::{ExposeSecret as _, SecretString};

use super::{WrongKey, no_public_key};
use crate::pg::readable_by_others;

/// A file of identities is a few lines; what is larger is none.
const LARGEST: u64 = 1 << 20;

/// Who can read what is encrypted to it. It opens nothing, and is no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(x25519::Recipient);

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| no_public_key(text))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The secret keys of a file. They are shown to nobody.
#[derive(Clone)]
pub struct Identities {
    file: PathBuf,
    keys: Arc<[x25519::Identity]>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.keys.len(), self.file.display())
    }
}

impl Identities {
    /// Reads a file as `age-keygen` writes it, and says it if others can do that too. It may block.
    ///
    /// # Errors
    /// It cannot be read, or something in it is no identity; that is told by its line and not by what stands there.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let opened = File::open(file).with_context(|| format!("the identity_file {shown} cannot be read"))?;
        let meta = opened.metadata().with_context(|| format!("the identity_file {shown} cannot be read"))?;
        if readable_by_others(&meta) {
            tracing::warn!("the identity_file {shown} can be read by others than its owner: chmod 0600 it");
        }
        let mut text = String::new();
        opened
            .take(LARGEST)
            .read_to_string(&mut text)
            .with_context(|| format!("the identity_file {shown} cannot be read"))?;
        let text = SecretString::from(text);
        let keys =
            parse(text.expose_secret()).map_err(|what| anyhow!("the identity_file {shown} cannot be used: {what}"))?;
        Ok(Self { file: file.into(), keys: keys.into() })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether one of them opens what is encrypted to one of these.
    pub fn fit(&self, keys: &[PublicKey]) -> bool {
        self.keys.iter().any(|identity| keys.contains(&PublicKey(identity.to_public())))
    }

    /// Whether there is one for each of these.
    pub fn fit_all(&self, keys: &[PublicKey]) -> bool {
        keys.iter().all(|key| self.keys.iter().any(|identity| PublicKey(identity.to_public()) == *key))
    }

    /// Whether one of them opens what begins like this; nothing where the beginning is no whole header.
    pub fn open(&self, head: &[u8]) -> Option<bool> {
        match Decryptor::new_buffered(head).and_then(|decryptor| decryptor.decrypt(self.each())) {
            Ok(_) => Some(true),
            Err(DecryptError::NoMatchingKeys) => Some(false),
            Err(_) => None,
        }
    }

    fn each(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| key as &dyn age::Identity)
    }
}

fn parse(text: &str) -> Result<Vec<x25519::Identity>, String> {
    if text.starts_with("age-encryption.org/") || text.starts_with("-----BEGIN AGE ENCRYPTED") {
        return Err("it is encrypted itself, with a passphrase that nobody could be asked for".into());
    }
    if text.starts_with("-----BEGIN") {
        return Err("it holds a key of another kind; only those of age are supported, of the kind X25519".into());
    }
    let mut keys = Vec::new();
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(key) => keys.push(key),
            Err(_) if line.parse::<x25519::Recipient>().is_ok() => {
                return Err(format!("line {number} is a public key, which opens nothing"));
            }
            Err(_) => return Err(format!("line {number} is no identity of age, or not of the kind X25519")),
        }
    }
    if keys.is_empty() { Err("there is no identity in it".into()) } else { Ok(keys) }
}

/// Encrypts what is written to it, or, without keys, hands it on as it is.
pub enum Sealer<W: Write> {
    Open(W),
    Sealed(Box<StreamWriter<W>>),
}

impl<W: Write> Sealer<W> {
    /// # Errors
    /// The inner writer does not take the header.
    pub fn new(keys: &[PublicKey], inner: W) -> io::Result<Self> {
        if keys.is_empty() {
            return Ok(Sealer::Open(inner));
        }
        let encryptor = Encryptor::with_recipients(keys.iter().map(|key| &key.0 as &dyn age::Recipient));
        let sealed = encryptor.map_err(|_| io::Error::other("the keys of encrypt_to do not go together"))?;
        Ok(Sealer::Sealed(Box::new(sealed.wrap_output(inner)?)))
    }

    /// # Errors
    /// The inner writer takes no more.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Sealer::Open(inner) => Ok(inner),
            Sealer::Sealed(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sealer::Open(inner) => inner.write(bytes),
            Sealer::Sealed(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was encrypted, as it was before; piece by piece, each of which is known to be right.
///
/// # Errors
/// [`WrongKey`] inside, or it does not begin as it should. What is damaged further on is an error of the reader's.
pub fn decrypt(identities: &Identities, sealed: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let opened = Decryptor::new(sealed).and_then(|decryptor| decryptor.decrypt(identities.each()));
    match opened {
        Ok(reader) => Ok(Box::new(reader)),
        Err(DecryptError::NoMatchingKeys) => Err(io::Error::other(WrongKey)),
        Err(DecryptError::Io(error)) => Err(error),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "its age header is not as it was written")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn pair() -> (Identities, PublicKey) {
        let key = x25519::Identity::generate();
        let public = PublicKey(key.to_public());
        (Identities { file: "key".into(), keys: [key].into() }, public)
    }

    fn sealed(keys: &[PublicKey], bytes: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(keys, Vec::new()).unwrap();
        // In pieces of an odd size, as packers write.
        for piece in bytes.chunks(7_001) {
            sealer.write_all(piece).unwrap();
        }
        sealer.finish().unwrap()
    }

    fn opened(identities: &Identities, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decrypt(identities, Cursor::new(bytes.to_vec()))?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_of_the_keys_opens_it_and_no_other() {
        let ((one, one_public), (two, two_public), (other, other_public)) = (pair(), pair(), pair());
        let keys = [one_public, two_public];
        // Around the edges of a chunk of the format.
        for length in [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 500_000] {
            let bytes: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[usize::from(n.is_multiple_of(3))]).collect();
            let sealed = sealed(&keys, &bytes);
            assert!(opened(&one, &sealed).unwrap() == bytes && opened(&two, &sealed).unwrap() == bytes, "{length}");
            let error = opened(&other, &sealed).unwrap_err();
            assert!(error.get_ref().is_some_and(|inner| inner.is::<WrongKey>()), "{error}");
            assert_eq!(
                (one.open(&sealed), other.open(&sealed), one.open(&sealed[..40])),
                (Some(true), Some(false), None)
            );
        }
        assert!(one.fit(&keys) && two.fit(&keys) && !other.fit(&keys) && !one.fit(&[other_public]));
        assert_eq!(sealed(&[], b"as it is"), b"as it is");
    }

    #[test]
    fn what_is_cut_off_flipped_or_put_in_another_order_is_seen() {
        let (identities, public) = pair();
        let bytes = vec![7; 300_000];
        let whole = sealed(&[public], &bytes);
        let (chunk, body) = ((64 << 10) + 16, whole.len() - (300_000 + 5 * 16));
        // In the middle of a chunk, and where one ends.
        for length in [whole.len() - 1, whole.len() / 2, body + chunk, body + 4 * chunk, body, body - 1, 0] {
            assert!(opened(&identities, &whole[..length]).is_err(), "cut to {length}");
        }
        for at in [0, 30, 100, body - 1, body + 5, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert!(opened(&identities, &flipped).is_err(), "flipped at {at}");
        }
        let mut swapped = whole.clone();
        swapped[body..body + 2 * chunk].rotate_left(chunk);
        assert!(opened(&identities, &swapped).is_err());
        assert!(opened(&identities, &[whole.as_slice(), b"x"].concat()).is_err());
    }

    #[test]
    fn a_file_that_holds_no_identity_is_told_without_what_it_holds() {
        let key = x25519::Identity::generate();
        let secret = key.to_string();
        let text = format!("# created: x\n# public key: y\n\n  {}\r\n", secret.expose_secret());
        assert!(parse(&text).is_ok_and(|keys| keys.len() == 1));
        let broken = &secret.expose_secret()[..40];
        for (text, said) in [
            ("", "no identity in it"),
            ("# only words\n", "no identity in it"),
            (broken, "line 1 is no identity"),
            (&format!("#\n{}", key.to_public()), "line 2 is a public key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "another kind"),
            ("-----BEGIN AGE ENCRYPTED FILE-----\n", "passphrase"),
        ] {
            let Err(error) = parse(text) else { panic!("{text:?} was read") };
            assert!(error.contains(said) && !error.contains(broken), "{error}");
        }
        let identities = Identities { file: "key".into(), keys: [key].into() };
        assert_eq!(format!("{identities:?}"), "1 of key");
    }
}
