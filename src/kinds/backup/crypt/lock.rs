//! With what the objects of a backup are opened.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::task::spawn_blocking;

use super::{AGE, Identities};
use crate::kinds::backup::manifest::Manifest;

/// How the objects of a backup are closed, and what there is to open them.
#[derive(Debug, Clone)]
pub enum Lock {
    /// They are not encrypted.
    None,
    /// They are encrypted to these public keys, and there are identities to try.
    With(Identities, Vec<String>),
    /// They are encrypted, and there is nothing to open them with: only what is stored can be compared.
    Closed,
}

impl Lock {
    /// Reads the file of identities where there is something to open with it, and only then.
    ///
    /// # Errors
    /// The file cannot be used, or the backup is encrypted in a way that this version does not know.
    pub async fn of(manifest: &Manifest, identity_file: Option<&Path>) -> Result<Self> {
        let Some(encryption) = &manifest.encryption else { return Ok(Lock::None) };
        if encryption != AGE {
            bail!("it is encrypted with {encryption:?}, which this version of pgtend does not know");
        }
        let Some(file) = identity_file.map(Path::to_owned) else { return Ok(Lock::Closed) };
        let identities = spawn_blocking(move || Identities::read(&file)).await.context("read the identity_file")??;
        Ok(Lock::With(identities, manifest.recipients.clone()))
    }

    pub fn is_closed(&self) -> bool {
        matches!(self, Lock::Closed)
    }

    /// Of the keys at hand none opens it.
    pub fn wrong_key(&self) -> anyhow::Error {
        match self {
            Lock::With(identities, recipients) => {
                let file = identities.file().display();
                let of = match recipients.as_slice() {
                    [] => String::new(),
                    keys => format!(": it is encrypted to {}", keys.join(", ")),
                };
                anyhow!("wrong key: no identity of {file} opens it{of}")
            }
            Lock::None | Lock::Closed => anyhow!(
                "it is encrypted, and there is no identity to open it with: give the secret key with --identity FILE, or \
                 with `identity_file` in the job's config"
            ),
        }
    }
}
