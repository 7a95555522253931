//! Encryption in the format of age, to public keys: whoever makes a backup cannot read it, nor can who has the store.
//!
//! | what | where |
//! |---|---|
//! | keys, and the streams to them and from them | `keys`; in a build without the feature `encrypt`, `absent` |
//! | with what the objects of a backup are opened | `lock` |
//!
//! The format authenticates each 64 KiB before they are handed on, and knows its own end: what was cut, flipped or put in
//! another order is an error, whatever digest somebody has written beside it.

#[cfg(not(feature = "encrypt"))]
mod absent;
#[cfg(feature = "encrypt")]
mod keys;
mod lock;

#[cfg(not(feature = "encrypt"))]
pub use absent::{Identities, PublicKey, Sealer, decrypt};
#[cfg(feature = "encrypt")]
pub use keys::{Identities, PublicKey, Sealer, decrypt};
pub use lock::Lock;

/// What manifests call it.
pub const AGE: &str = "age";

/// None of the keys at hand opens what was read. It says nothing of whether that is whole.
#[derive(Debug, thiserror::Error)]
#[error("no key of it opens what is encrypted")]
pub struct WrongKey;

/// Why a text is no public key. The text itself is told only where it can be no secret.
#[cfg(any(feature = "encrypt", test))]
fn no_public_key(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if lower.contains("age-secret-key") || lower.contains("age-plugin") {
        "this is a secret key, which has no place here: name the public key that belongs to it, and keep the secret one \
         elsewhere; make a new pair if others may have read this"
            .into()
    } else if lower.starts_with("ssh-") {
        "keys of SSH are not supported: name a public key of age".into()
    } else if lower.starts_with("age1") {
        format!("{text:?} is no public key of age, or not of the kind X25519")
    } else {
        "this is no public key of age".into()
    }
}

#[cfg(test)]
mod tests {
    use super::no_public_key;

    #[test]
    fn a_secret_that_stands_where_a_public_key_should_is_not_told() {
        for secret in ["AGE-SECRET-KEY-1S3CRET", "age-secret-key-1s3cret", "AGE-PLUGIN-S3CRET-1", "s3cret"] {
            let said = no_public_key(secret).to_lowercase();
            assert!(!said.contains("s3cret"), "{said}");
        }
        assert!(no_public_key("age1x").contains("\"age1x\""));
        assert!(no_public_key("ssh-ed25519 AAAA").contains("SSH"));
    }
}
