//! `wallet.json`: its content, and how it is read and replaced. A power cut never leaves half a
//! file.
//!
//! ```json
//! {"version": 1, "public_keys": ["…"], "secret": {"plain": "…"}}
//! {"version": 1, "public_keys": ["…"],
//!  "secret": {"sealed": {"argon2id": {…}, "salt": "…", "nonce": "…", "xchacha20poly1305": "…"}}}
//! ```
//! The secret is the entropy of the recovery phrase. The public keys are stored beside it, so that
//! addresses can be listed while it is sealed. They are checked against the secret whenever it
//! opens.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    errors::WalletError,
    secret::{Sealed, SecretBytes},
};
use crate::{
    primitives::{PublicKey, sha256},
    storage::{make_private, real_place, write_private},
};

/// The version that this program reads and writes.
const VERSION: u32 = 1;
/// The most addresses of one wallet. Each takes 67 bytes of the file.
pub(super) const MAX_ADDRESSES: usize = 10_000;
/// The longest file that is read. It has room for all addresses and the secret.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const _: () = assert!(MAX_ADDRESSES as u64 * 80 + 4_096 <= MAX_FILE_BYTES);

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalletFile {
    version: u32,
    /// The keys in the order made; never empty.
    pub(super) public_keys: Vec<PublicKey>,
    pub(super) secret: StoredSecret,
}

/// The secret as stored in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredSecret {
    /// Not encrypted.
    Plain(SecretBytes),
    /// Encrypted under a passphrase.
    Sealed(Sealed),
}

/// The field that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// SHA-256 of the file's bytes, which reveals a change by another program.
pub(super) type Fingerprint = [u8; 32];

impl WalletFile {
    pub(super) const fn new(public_keys: Vec<PublicKey>, secret: StoredSecret) -> Self {
        Self { version: VERSION, public_keys, secret }
    }

    /// Reads the file without changing its content. Restricts its mode if others could read it.
    pub(super) fn read(path: &Path) -> Result<(Self, Fingerprint), WalletError> {
        let bytes = read_bounded(path)?;
        let unreadable = |reason: String| WalletError::Unreadable { path: path.to_owned(), reason };
        let any: AnyVersion =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(place_of(&error)))?;
        if any.version > VERSION {
            return Err(WalletError::Newer { path: path.to_owned(), version: any.version });
        }
        let file: Self =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(place_of(&error)))?;
        if file.version != VERSION {
            return Err(unreadable(format!("it says version {}", file.version)));
        }
        if file.public_keys.is_empty() || file.public_keys.len() > MAX_ADDRESSES {
            return Err(unreadable(format!("it has {} addresses", file.public_keys.len())));
        }
        narrow_mode(path);
        Ok((file, sha256(&[&bytes])))
    }

    /// Replaces the file at `path`, if its fingerprint still is `expected` (`None`: there is no
    /// file).
    ///
    /// The new file is durable when this returns. After a crash there is the old file or the new
    /// one, whole.
    pub(super) fn write(
        &self,
        path: &Path,
        expected: Option<Fingerprint>,
    ) -> Result<Fingerprint, WalletError> {
        match (read_bounded(path), expected) {
            (Err(WalletError::Missing(_)), None) => {}
            (Ok(bytes), Some(expected)) if sha256(&[&bytes]) == expected => {}
            (Err(error @ WalletError::Io { .. }), _) => return Err(error),
            (_, None) => return Err(WalletError::Exists(path.to_owned())),
            (_, Some(_)) => return Err(WalletError::Changed(path.to_owned())),
        }
        // Reserves enough, so that growing leaves no copy of the secret in memory.
        let mut bytes =
            Zeroizing::new(Vec::with_capacity(self.public_keys.len().saturating_mul(80) + 4_096));
        let failed =
            |action| move |source| WalletError::Io { action, path: path.to_owned(), source };
        serde_json::to_writer_pretty(&mut *bytes, self)
            .map_err(io::Error::from)
            .map_err(failed("write"))?;
        bytes.push(b'\n');
        write_private(path, &bytes).map_err(failed("write"))?;
        Ok(sha256(&[&bytes]))
    }
}

/// Returns the position and kind of a JSON error, without the value there.
fn place_of(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        _ => "a field is missing, unknown or has a wrong value",
    };
    format!("{what} (line {})", error.line())
}

fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => WalletError::Missing(path.to_owned()),
        _ => WalletError::Io { action: "read", path: path.to_owned(), source },
    };
    // If the target disk of a link is missing, the wallet is not simply missing.
    let file = real_place(path).and_then(File::open).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        let reason = format!("it has {length} bytes");
        return Err(WalletError::Unreadable { path: path.to_owned(), reason });
    }
    let mut bytes =
        Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1)));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Restricts the mode, since a copied wallet may have a wider one. Ignores failures: the file may
/// belong to another user or be read-only.
fn narrow_mode(path: &Path) {
    if let Err(error) = make_private(path) {
        tracing::debug!(%error, "the wallet's file mode could not be narrowed");
    }
}
