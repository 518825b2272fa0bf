//! The identity of a node: an ed25519 key in libp2p's text form.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;

use super::{
    PublicKey,
    encoding::{deserialize_id, serialize_id},
};

/// The bytes before the 32 bytes of the key in libp2p's multihash.
///
/// They begin an identity multihash of a protobuf-encoded ed25519 key.
const MULTIHASH_HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A node's identity: the ed25519 key that signs its connections, profile and chat lines.
///
/// It is not a wallet key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub PublicKey);

/// The error for a text that is not a peer id, with its first 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the peer id of an ed25519 key: such ids begin with 12D3KooW")]
pub struct PeerIdError(pub String);

impl PeerId {
    /// Returns the 38 multihash bytes that libp2p writes.
    #[must_use]
    pub(crate) fn to_multihash(&self) -> Vec<u8> {
        [&MULTIHASH_HEAD[..], &self.0.0].concat()
    }

    /// Reads the multihash bytes that libp2p writes. Returns `None` for other kinds of keys.
    #[must_use]
    pub fn from_multihash(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&MULTIHASH_HEAD)?;
        Some(Self(PublicKey(key.try_into().ok()?)))
    }

    /// Returns the first hex digits of the key, which distinguish friends of one name: `yzw#3f2a`.
    #[must_use]
    pub(crate) fn suffix(&self, digits: usize) -> String {
        HEXLOWER.encode(&self.0.0).chars().take(digits).collect()
    }

    /// True if a text looks like a peer id. A friend's name must not.
    #[must_use]
    pub(crate) fn looks_like(text: &str) -> bool {
        text.starts_with("12D3KooW")
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&bs58::encode(self.to_multihash()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PeerIdError(text.chars().take(80).collect());
        if text.len() > 80 {
            return Err(error());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| error())?;
        Self::from_multihash(&bytes).ok_or_else(error)
    }
}

impl serde::Serialize for PeerId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_id(&self.0.0, self, serializer)
    }
}

impl<'de> serde::Deserialize<'de> for PeerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            deserialize_id(deserializer).map(|key| Self(PublicKey(key)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_has_the_text_form_of_libp2p() {
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes([5; 32]).expect("a key");
        let theirs = keypair.public().to_peer_id();
        let ours = PeerId::from_multihash(&theirs.to_bytes()).expect("an ed25519 peer id");
        assert_eq!(ours.to_string(), theirs.to_string());
        assert_eq!(theirs.to_string().parse(), Ok(ours));
        assert!("12D3KooW".parse::<PeerId>().is_err());
    }
}
