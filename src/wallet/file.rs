//! `wallet.json`: what is in it, and how it is read and replaced so that no power cut leaves half
//! of one.
//!
//! ```json
//! {"version": 1, "public_keys": ["…"], "secret": {"plain": "…"}}
//! {"version": 1, "public_keys": ["…"],
//!  "secret": {"sealed": {"argon2id": {…}, "salt": "…", "nonce": "…", "xchacha20poly1305": "…"}}}
//! ```
//! The secret is the entropy of the recovery phrase. The public keys stand beside it so that
//! addresses can be listed while it is sealed; they are checked against it whenever it opens.

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

/// What this program reads and writes.
const VERSION: u32 = 1;
/// The most addresses of one wallet: an index, a line on a screen and 67 bytes of file for each.
pub(super) const MAX_ADDRESSES: usize = 10_000;
/// A longer file is no wallet: room for the most addresses and the secret.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const _: () = assert!(MAX_ADDRESSES as u64 * 80 + 4_096 <= MAX_FILE_BYTES);

/// The file as it is written and read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WalletFile {
    version: u32,
    /// In the order made; never empty.
    pub(super) public_keys: Vec<PublicKey>,
    pub(super) secret: StoredSecret,
}

/// The secret as the file keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredSecret {
    /// Open to whoever reads the file.
    Plain(SecretBytes),
    /// Under a passphrase.
    Sealed(Sealed),
}

/// The part that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// SHA-256 of a file's bytes: tells whether it is still the one that was read or written.
pub(super) type Fingerprint = [u8; 32];

impl WalletFile {
    pub(super) const fn new(public_keys: Vec<PublicKey>, secret: StoredSecret) -> Self {
        Self { version: VERSION, public_keys, secret }
    }

    /// Reads the file. It is not changed, whatever it holds; only its mode is narrowed where it was
    /// wider.
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

    /// Replaces the file at `path` by this one, if it still is the one with fingerprint `expected`
    /// (`None`: absent).
    ///
    /// Durable when this returns. After a crash the file is the old one or the new one, whole.
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
        // Room for everything, so that growing leaves no copy of the secret behind.
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

/// Where JSON went wrong, without the value that stands there.
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
    // A wallet on a disk that is missing is not a missing wallet.
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

/// A copied wallet may have come with a wider mode. Best effort: the file may be another user's, or
/// read-only.
fn narrow_mode(path: &Path) {
    if let Err(error) = make_private(path) {
        tracing::debug!(%error, "the wallet's file mode could not be narrowed");
    }
}
