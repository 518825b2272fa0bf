//! The node's identity: one ed25519 key in a file of libp2p's protobuf encoding, readable by its
//! owner alone.
//!
//! Friends know the node by this key. It authenticates connections (Noise), and signs the profile
//! and chat lines. It holds no coins. The file is written once and never changed. A node that loses
//! the file gets a new identity.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use ed25519_dalek::{SecretKey, SigningKey};
use libp2p::identity::{KeyType, Keypair};
use zeroize::Zeroizing;

use crate::{
    primitives::{PeerId, Signature},
    storage::{create_private, make_private, real_place},
    wire::{Secret, agree},
};

/// Size of a key file in bytes: two protobuf fields, the kind of key (2) and its 64 bytes (2 + 64).
const FILE_BYTES: usize = 68;

/// The node's key pair and peer id. The key is never printed.
#[derive(Clone)]
pub(crate) struct Identity {
    keypair: Keypair,
    peer: PeerId,
}

/// The reason why no identity could be loaded or created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The file could not be read or written.
    #[error("cannot {action} the identity file {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The file holds something other than an ed25519 key.
    #[error(
        "{} is not an identity file ({reason}): put the right file back from a copy, or move it \
         away and the node \
         starts with a new identity, as a stranger to its friends",
        path.display()
    )]
    Malformed { path: PathBuf, reason: String },
}

impl IdentityError {
    /// True if the file does not exist.
    #[must_use]
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl Identity {
    /// Generates an identity without writing it to disk.
    #[must_use]
    pub(crate) fn generate() -> Self {
        // An ed25519 key always has an ed25519 peer id, so the loop ends in its first round.
        loop {
            if let Some(identity) = Self::from_keypair(Keypair::generate_ed25519()) {
                return identity;
            }
        }
    }

    fn from_keypair(keypair: Keypair) -> Option<Self> {
        let peer = PeerId::from_multihash(&keypair.public().to_peer_id().to_bytes())?;
        Some(Self { keypair, peer })
    }

    /// Loads the identity in `path`, and creates it if the file does not exist. Two processes that
    /// do so at once get the same identity.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate();
                match identity.create_file(path) {
                    Err(IdentityError::Io { source, .. })
                        if source.kind() == io::ErrorKind::AlreadyExists =>
                    {
                        Self::load(path)
                    }
                    created => created.map(|()| identity),
                }
            }
            loaded => loaded,
        }
    }

    /// Loads the identity in `path`. Makes a file private that others may read.
    pub(crate) fn load(path: &Path) -> Result<Self, IdentityError> {
        let malformed = |reason: String| IdentityError::Malformed { path: path.to_owned(), reason };
        // A disk that is not mounted must not look like a missing identity.
        let bytes = real_place(path).and_then(fs::read).map_err(failed("read", path))?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() != FILE_BYTES {
            return Err(malformed(format!("it has {} bytes, not {FILE_BYTES}", bytes.len())));
        }
        let keypair = Keypair::from_protobuf_encoding(&bytes)
            .map_err(|error| malformed(error.to_string()))?;
        if keypair.key_type() != KeyType::Ed25519 {
            return Err(malformed("its key is not ed25519".to_owned()));
        }
        narrow_mode(path);
        Self::from_keypair(keypair).ok_or_else(|| malformed("its key has no peer id".to_owned()))
    }

    /// Writes the new file, whole or not at all.
    fn create_file(&self, path: &Path) -> Result<(), IdentityError> {
        let malformed = |reason: String| IdentityError::Malformed { path: path.to_owned(), reason };
        let encoded =
            self.keypair.to_protobuf_encoding().map_err(|error| malformed(error.to_string()))?;
        let encoded = Zeroizing::new(encoded);
        create_private(path, &encoded).map_err(failed("create", path))
    }

    /// Returns the public half of the key: the node's name to its friends.
    #[must_use]
    pub(crate) const fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Signs a message with the identity's key: a profile, a chat line or a goodbye.
    #[must_use]
    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        // Signing with ed25519 cannot fail, and a signature of zeros never verifies.
        let bytes = self.keypair.sign(message).unwrap_or_default();
        Signature(bytes.try_into().unwrap_or([0; 64]))
    }

    /// Agrees on a secret with the holder of an X25519 key, to open a sealed line.
    #[must_use]
    pub(crate) fn agree(&self, theirs: &[u8; 32]) -> Secret {
        let own = self.keypair.clone().try_into_ed25519().ok();
        let secret = own.and_then(|own| SecretKey::try_from(own.secret().as_ref()).ok());
        // An identity is always ed25519, and a secret of zeros opens nothing.
        secret
            .map(Zeroizing::new)
            .map_or_else(Secret::default, |secret| agree(&SigningKey::from_bytes(&secret), theirs))
    }

    pub(super) fn keypair(&self) -> Keypair {
        self.keypair.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    move |source| IdentityError::Io { action, path: path.to_owned(), source }
}

fn narrow_mode(path: &Path) {
    match make_private(path) {
        Ok(false) => {}
        Ok(true) => {
            tracing::warn!(path = %path.display(), "the identity file was readable by others; it \
                 is private now");
        }
        // The disk is read-only, or the file is another user's: the identity is used all the same.
        Err(cause) => {
            tracing::warn!(path = %path.display(), %cause, "the identity file is readable by \
                 others");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{SealedLine, SignedLine};

    #[test]
    fn an_identity_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let made = Identity::load_or_create(&path).unwrap();
        let found = Identity::load_or_create(&path).unwrap();
        assert_eq!(made.peer_id(), found.peer_id());
        assert_eq!(fs::read(&path).unwrap().len(), FILE_BYTES);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_private_and_is_made_private_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        Identity::load_or_create(&path).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Identity::load(&path).unwrap();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn another_file_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        for bytes in [&b"hello"[..], &[7; FILE_BYTES]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(
                Identity::load_or_create(&path),
                Err(IdentityError::Malformed { .. })
            ));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn what_it_signs_its_peer_id_verifies() {
        let identity = Identity::generate();
        let signature = identity.sign(b"a line");
        let key = ed25519_dalek::VerifyingKey::from_bytes(&identity.peer_id().0.0).unwrap();
        key.verify_strict(b"a line", &ed25519_dalek::Signature::from_bytes(&signature.0)).unwrap();
    }

    #[test]
    fn a_line_that_is_sealed_to_it_opens() {
        let (author, receiver) = (Identity::generate(), Identity::generate());
        let network = crate::primitives::BlockHash([7; 32]);
        let (from, to) = (author.peer_id(), Some(receiver.peer_id()));
        let line = SignedLine::sign(&network, from, to, 1, 2, "hi", &|bytes| author.sign(bytes));
        let line = line.unwrap();
        let sealed = SealedLine::seal(&network, &line, &Zeroizing::new([3; 32])).unwrap();
        assert_eq!(sealed.open(&network, &|theirs| receiver.agree(theirs)), Ok(line));
        assert!(sealed.open(&network, &|theirs| author.agree(theirs)).is_err());
    }

    #[test]
    fn the_key_is_never_printed() {
        let identity = Identity::generate();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.peer_id()));
    }
}
