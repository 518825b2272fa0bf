//! Sealed lines: direct lines that a friend of both ends keeps, and only their receiver can read.
//!
//! The author makes an X25519 key for each sealing, and agrees with the receiver's identity key on
//! a secret that only the two can compute. HKDF-SHA-256 derives key and nonce from it, and
//! XChaCha20-Poly1305 seals. `proto/README.md` has the layouts, and `proto/vectors` has examples.
//!
//! # Security
//! - The carrier sees the receiver and one of the [`SIZES`]. It sees neither author nor text.
//! - The seal proves nothing about its maker, since anybody can make one. The line inside bears its
//!   author's signature, like a line that comes directly.
//! - Network, receiver and ephemeral key enter the derivation, so a box opens only for its receiver
//!   on its network.
//! - A thief of the receiver's identity key can open all boxes that were kept before.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use super::{
    codec,
    codec_error::CodecError,
    limits::{MAX_LINE_BYTES, MAX_SEALED_BYTES, SEAL_BYTES},
    messages::{SealedLine, SignedLine},
};
use crate::primitives::{NetworkId, PeerId};

/// The first byte of every box.
const VERSION: u8 = 1;
/// The salt of the key derivation.
const SALT: &[u8] = b"friendchain/sealed/1";
/// The sizes of a box's content in bytes. A box has the smallest that fits, so that its size
/// reveals little about the length of the text.
pub(crate) const SIZES: [usize; 5] = [256, 512, 1_024, 2_048, 4_608];
/// The size of the length before the line, in bytes.
const LENGTH_BYTES: usize = 2;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

const _: () = {
    assert!(SEAL_BYTES == 1 + KEY_BYTES + TAG_BYTES);
    assert!(SIZES[SIZES.len() - 1] + SEAL_BYTES == MAX_SEALED_BYTES);
    // The fields of a line take less than 256 bytes beside its text.
    assert!(MAX_LINE_BYTES + 256 + LENGTH_BYTES <= SIZES[SIZES.len() - 1]);
};

/// A secret key of X25519, or a secret that two ends have agreed on. It is wiped on drop.
pub type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// The reason why a line cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The line is to all.
    #[error("a line to all is not sealed")]
    ToAll,
    /// The receiver's identity is no point of the curve, or one of small order.
    #[error("nothing can be sealed to this receiver: its identity is no key")]
    BadKey,
    /// The line is longer than the largest of the sizes.
    #[error("the line is too long to be sealed")]
    TooLong,
}

/// The reason why a box does not open. Its unknown maker is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the box has version {0}, this program knows {VERSION}")]
    Version(u8),
    /// The box was changed, or is for another receiver or network.
    #[error("the box does not open with this node's key")]
    Closed,
    #[error("the box is not padded as it must be")]
    Padding,
    #[error("the box holds no line: {0}")]
    Content(#[from] CodecError),
    /// The line in the box is for another receiver.
    #[error("the line in the box is to somebody else")]
    WrongAddressee,
}

/// Agrees on a secret with the holder of `theirs`. The identity key serves as an X25519 key.
#[must_use]
pub fn agree(own: &SigningKey, theirs: &[u8; KEY_BYTES]) -> Secret {
    let scalar = Zeroizing::new(own.to_scalar_bytes());
    Zeroizing::new(x25519(*scalar, *theirs))
}

/// Returns a peer's identity key as an X25519 public key.
fn exchange_key(peer: &PeerId) -> Option<[u8; KEY_BYTES]> {
    let key = VerifyingKey::from_bytes(&peer.0.0).ok()?;
    (!key.is_weak()).then(|| key.to_montgomery().to_bytes())
}

/// The key and the nonce of one box.
struct Keys(Zeroizing<[u8; KEY_BYTES + NONCE_BYTES]>);

impl Keys {
    /// Derives key and nonce. Returns `None` if the secret is zero, as a key of small order makes
    /// it.
    fn derive(
        shared: &Secret,
        network: &NetworkId,
        to: &PeerId,
        ephemeral: &[u8; KEY_BYTES],
    ) -> Option<Self> {
        if shared.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut keys = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES]);
        let info = [&network.0[..], &to.0.0, ephemeral];
        Hkdf::<Sha256>::new(Some(SALT), &**shared).expand_multi_info(&info, &mut *keys).ok()?;
        Some(Self(keys))
    }

    fn cipher(&self) -> Option<(XChaCha20Poly1305, [u8; NONCE_BYTES])> {
        let (key, nonce) = self.0.split_first_chunk::<KEY_BYTES>()?;
        Some((XChaCha20Poly1305::new(key.into()), nonce.try_into().ok()?))
    }

    fn seal(&self, content: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let (cipher, nonce) = self.cipher()?;
        cipher.encrypt(&nonce.into(), Payload { msg: content, aad: context }).ok()
    }

    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (cipher, nonce) = self.cipher()?;
        let payload = Payload { msg: sealed, aad: context };
        cipher.decrypt(&nonce.into(), payload).ok().map(Zeroizing::new)
    }
}

/// Returns the bytes that the seal authenticates beside the content.
fn context(network: &NetworkId, to: &PeerId, ephemeral: &[u8; KEY_BYTES]) -> Vec<u8> {
    [&[VERSION][..], &network.0, &to.0.0, ephemeral].concat()
}

/// Returns the content of a box: the length of the line, the line, and zeros up to the next size.
fn pad(line: &SignedLine) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let encoded = Zeroizing::new(codec::encode(line));
    let length = u16::try_from(encoded.len()).map_err(|_| SealError::TooLong)?;
    let least = encoded.len().saturating_add(LENGTH_BYTES);
    let size = SIZES.into_iter().find(|size| *size >= least).ok_or(SealError::TooLong)?;
    let mut content = Zeroizing::new(Vec::with_capacity(size));
    content.extend_from_slice(&length.to_le_bytes());
    content.extend_from_slice(&encoded);
    content.resize(size, 0);
    Ok(content)
}

/// Returns the bytes of the line in a content. Only one padding is valid.
fn unpad(content: &[u8]) -> Option<&[u8]> {
    let (length, rest) = content.split_first_chunk::<LENGTH_BYTES>()?;
    let (line, zeros) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let least = line.len().saturating_add(LENGTH_BYTES);
    let size = SIZES.into_iter().find(|size| *size >= least)?;
    let is_right = content.len() == size && zeros.iter().all(|byte| *byte == 0);
    is_right.then_some(line)
}

impl SealedLine {
    /// Seals a direct line to its receiver. `secret` must be random, and used for this line only.
    pub fn seal(
        network: &NetworkId,
        line: &SignedLine,
        secret: &Secret,
    ) -> Result<Self, SealError> {
        let to = line.to.ok_or(SealError::ToAll)?;
        let theirs = exchange_key(&to).ok_or(SealError::BadKey)?;
        let ephemeral = x25519(**secret, X25519_BASEPOINT_BYTES);
        let shared = Zeroizing::new(x25519(**secret, theirs));
        let keys = Keys::derive(&shared, network, &to, &ephemeral).ok_or(SealError::BadKey)?;
        let sealed = keys.seal(&pad(line)?, &context(network, &to, &ephemeral));
        let sealed = sealed.ok_or(SealError::TooLong)?;
        let bytes = [&[VERSION][..], &ephemeral, &sealed].concat();
        Ok(Self { to, sealed: bytes.into() })
    }

    /// Opens the box. `agree` agrees on a secret with the receiver's identity key. The signature of
    /// the line is not checked.
    pub fn open(
        &self,
        network: &NetworkId,
        agree: &dyn Fn(&[u8; KEY_BYTES]) -> Secret,
    ) -> Result<SignedLine, OpenError> {
        let (version, rest) = self.sealed.split_first().ok_or(OpenError::Closed)?;
        if *version != VERSION {
            return Err(OpenError::Version(*version));
        }
        let (ephemeral, sealed) = rest.split_first_chunk().ok_or(OpenError::Closed)?;
        let keys = Keys::derive(&agree(ephemeral), network, &self.to, ephemeral);
        let context = context(network, &self.to, ephemeral);
        let content = keys.and_then(|keys| keys.open(sealed, &context)).ok_or(OpenError::Closed)?;
        let encoded = unpad(&content).ok_or(OpenError::Padding)?;
        let line: SignedLine = codec::decode(encoded, encoded.len())?;
        if line.to == Some(self.to) { Ok(line) } else { Err(OpenError::WrongAddressee) }
    }

    /// True if a box may have this length.
    pub(super) fn may_have(length: usize) -> bool {
        SIZES.iter().any(|size| size.saturating_add(SEAL_BYTES) == length)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;

    use super::*;
    use crate::primitives::{BlockHash, PublicKey, Signature};

    const NETWORK: NetworkId = BlockHash([7; 32]);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn peer(key: &SigningKey) -> PeerId {
        PeerId(PublicKey(key.verifying_key().to_bytes()))
    }

    fn line(to: Option<PeerId>, text: &str) -> SignedLine {
        let sign = |bytes: &[u8]| Signature(key(1).sign(bytes).to_bytes());
        SignedLine::sign(&NETWORK, peer(&key(1)), to, 5, 6, text, &sign).unwrap()
    }

    fn sealed(text: &str) -> SealedLine {
        SealedLine::seal(&NETWORK, &line(Some(peer(&key(2))), text), &Zeroizing::new([9; 32]))
            .unwrap()
    }

    fn opened(sealed: &SealedLine, by: u8) -> Result<SignedLine, OpenError> {
        sealed.open(&NETWORK, &|theirs| agree(&key(by), theirs))
    }

    /// Returns a box with this content, such as an attacker can make.
    fn crafted(content: &[u8]) -> SealedLine {
        let (secret, to) = (Zeroizing::new([9; 32]), peer(&key(2)));
        let ephemeral = x25519(*secret, X25519_BASEPOINT_BYTES);
        let shared = Zeroizing::new(x25519(*secret, exchange_key(&to).unwrap()));
        let keys = Keys::derive(&shared, &NETWORK, &to, &ephemeral).unwrap();
        let bytes = keys.seal(content, &context(&NETWORK, &to, &ephemeral)).unwrap();
        SealedLine { to, sealed: [&[VERSION][..], &ephemeral, &bytes].concat().into() }
    }

    #[test]
    fn a_sealed_line_opens_for_its_receiver_alone() {
        let sealed = sealed("hello");
        let line = opened(&sealed, 2).unwrap();
        assert_eq!((line.verify(&NETWORK), line.text.as_str()), (Ok(()), "hello"));
        for by in [1, 3] {
            assert_eq!(opened(&sealed, by), Err(OpenError::Closed), "key {by}");
        }
        let elsewhere = sealed.open(&BlockHash([8; 32]), &|theirs| agree(&key(2), theirs));
        assert_eq!(elsewhere, Err(OpenError::Closed), "another network");
        let readdressed = SealedLine { to: peer(&key(3)), ..sealed };
        assert_eq!(opened(&readdressed, 2), Err(OpenError::Closed));
    }

    #[test]
    fn a_box_that_was_changed_in_any_byte_does_not_open() {
        let sealed = sealed("hello");
        assert_eq!(sealed.sealed.len(), SIZES[0] + SEAL_BYTES);
        for at in 0..sealed.sealed.len() {
            let mut changed = sealed.clone();
            changed.sealed[at] ^= 0x80;
            // The highest bit of an X25519 key is ignored, but authenticated.
            assert!(opened(&changed, 2).is_err(), "byte {at}");
        }
        for end in 0..sealed.sealed.len() {
            let cut = SealedLine { sealed: sealed.sealed[..end].to_vec().into(), ..sealed.clone() };
            assert!(opened(&cut, 2).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn the_size_of_a_box_tells_a_class_of_lengths_alone() {
        let size = |text: &str| sealed(text).sealed.len() - SEAL_BYTES;
        assert_eq!((size("hi"), size(&"x".repeat(90))), (256, 256));
        assert_eq!(size(&"x".repeat(MAX_LINE_BYTES)), 4_608);
        for length in 1..=MAX_LINE_BYTES {
            assert!(SIZES.contains(&pad(&line(None, &"x".repeat(length))).unwrap().len()));
        }
    }

    #[test]
    fn a_content_has_one_padding() {
        let encoded = codec::encode(&line(Some(peer(&key(2))), "hello"));
        let length = u16::try_from(encoded.len()).unwrap().to_le_bytes();
        let content = |size: usize, last: u8| {
            let mut content = [&length[..], &encoded].concat();
            content.resize(size, 0);
            content[size - 1] = last;
            content
        };
        assert!(opened(&crafted(&content(256, 0)), 2).is_ok());
        for wrong in [content(512, 0), content(256, 1), content(255, 0), vec![0xff; 256], vec![]] {
            assert_eq!(opened(&crafted(&wrong), 2), Err(OpenError::Padding));
        }
        let empty = opened(&crafted(&[0; 256]), 2);
        assert!(matches!(empty, Err(OpenError::Content(_))), "{empty:?}");
    }

    #[test]
    fn a_line_to_another_cannot_be_passed_on_in_a_box() {
        for to in [None, Some(peer(&key(3)))] {
            let content = pad(&line(to, "hello")).unwrap();
            assert_eq!(opened(&crafted(&content), 2), Err(OpenError::WrongAddressee));
        }
    }

    #[test]
    fn a_key_of_small_order_seals_and_opens_nothing() {
        let secret = Zeroizing::new([9; 32]);
        let seal = |to| SealedLine::seal(&NETWORK, &line(to, "x"), &secret);
        let bytes = |first: u8| {
            let mut bytes = [0; 32];
            bytes[0] = first;
            bytes
        };
        for bad in [bytes(1), bytes(0), bytes(2)] {
            assert_eq!(seal(Some(PeerId(PublicKey(bad)))), Err(SealError::BadKey), "{bad:?}");
        }
        assert_eq!(seal(None), Err(SealError::ToAll));
        for first in [0, 1] {
            let bytes = [&[VERSION][..], &bytes(first), &[0; 272]].concat();
            let sealed = SealedLine { to: peer(&key(2)), sealed: bytes.into() };
            assert_eq!(opened(&sealed, 2), Err(OpenError::Closed));
        }
    }

    #[test]
    fn a_box_of_another_version_is_named() {
        let mut other = sealed("hello");
        other.sealed[0] = 2;
        assert_eq!(opened(&other, 2), Err(OpenError::Version(2)));
    }
}
