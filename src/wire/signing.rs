//! Signatures of profiles, lines and goodbyes.
//!
//! The signed bytes are not CBOR but a fixed little-endian layout: a tag, the network id, then the
//! fields. A field of varying length follows its length as a u16. `proto/README.md` has each
//! layout, and `proto/vectors` has examples.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;

use super::{
    bounds::Bounded,
    codec_error::CodecError,
    messages::{SignedLine, SignedProfile, SignedQuit},
};
use crate::{
    consensus::verify_signature,
    primitives::{NetworkId, Owner, PeerId, Signature, UnixMillis, sha256},
};

const PROFILE_TAG: &[u8] = b"friendchain/profile/1";
const LINE_TAG: &[u8] = b"friendchain/line/1";
const QUIT_TAG: &[u8] = b"friendchain/quit/1";

/// The id of a line or goodbye: the first 16 bytes of SHA-256 of its signing bytes. The signature
/// is not part of it, so a line keeps its id under a second signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

/// The error for a text that is not the id of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the id of a message: 32 hex digits are")]
pub struct MessageIdError(pub String);

impl MessageId {
    fn of(signing_bytes: &[u8]) -> Self {
        let digest = sha256(&[signing_bytes]);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.to_ascii_lowercase().as_bytes()).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| MessageIdError(text.chars().take(80).collect()))
    }
}

/// The reason why a signed message is invalid. It is always the sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A count or length is over its limit.
    #[error(transparent)]
    Bounds(#[from] CodecError),
    /// The signature does not match the key, the network or the fields.
    #[error("the signature is not that of {signer}")]
    Signature {
        /// The peer whose signature was expected.
        signer: PeerId,
    },
}

/// The signing bytes of a line, goodbye or profile, under construction.
struct SigningBytes(Vec<u8>);

impl SigningBytes {
    fn new(tag: &[u8], network: &NetworkId) -> Self {
        Self([tag, &network.0[..]].concat())
    }

    fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes after their length as a u16.
    ///
    /// A length never reaches the maximum of a u16: the limits of the fields are checked before
    /// signing and before verifying.
    fn counted(mut self, bytes: &[u8]) -> Self {
        self.0.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.fixed(bytes)
    }
}

/// Verifies a signature over `message` by the same rules as for transactions.
fn verify(signer: &PeerId, message: &[u8], signature: &Signature) -> Result<(), VerifyError> {
    verify_signature(&signer.0, message, signature)
        .map_err(|_| VerifyError::Signature { signer: *signer })
}

/// The placeholder for the signature in a message that is not signed yet.
const UNSIGNED: Signature = Signature([0; 64]);

impl SignedProfile {
    /// Returns the signed bytes: tag, network, peer 32, name, count of addresses u16, each address,
    /// payment (0 or 20 bytes), sequence u64.
    #[must_use]
    pub fn signing_bytes(&self, network: &NetworkId) -> Vec<u8> {
        let count = u16::try_from(self.addresses.len()).unwrap_or(u16::MAX);
        let bytes = SigningBytes::new(PROFILE_TAG, network)
            .fixed(&self.peer.0.0)
            .counted(self.name.as_bytes())
            .fixed(&count.to_le_bytes());
        let bytes =
            self.addresses.iter().fold(bytes, |bytes, address| bytes.counted(address.as_bytes()));
        let payment = self.payment.as_ref().map_or(&[][..], |owner| &owner.0[..]);
        bytes.counted(payment).fixed(&self.sequence.to_le_bytes()).0
    }

    /// Checks the limits, and that the peer signed the profile for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), VerifyError> {
        self.check_bounds()?;
        verify(&self.peer, &self.signing_bytes(network), &self.signature)
    }

    /// Makes a profile of `peer`. `signer` signs with the key of `peer`.
    pub fn sign(
        network: &NetworkId,
        peer: PeerId,
        name: &str,
        addresses: Vec<String>,
        payment: Option<Owner>,
        sequence: UnixMillis,
        signer: &dyn Fn(&[u8]) -> Signature,
    ) -> Result<Self, CodecError> {
        let mut profile =
            Self { peer, name: name.to_owned(), addresses, payment, sequence, signature: UNSIGNED };
        profile.check_bounds()?;
        profile.signature = signer(&profile.signing_bytes(network));
        Ok(profile)
    }
}

impl SignedLine {
    /// Returns the signed bytes: tag, network, author 32, to (0 or 32 bytes), time u64, counter
    /// u64, text.
    #[must_use]
    pub fn signing_bytes(&self, network: &NetworkId) -> Vec<u8> {
        SigningBytes::new(LINE_TAG, network)
            .fixed(&self.author.0.0)
            .counted(self.to.as_ref().map_or(&[][..], |to| &to.0.0[..]))
            .fixed(&self.time.to_le_bytes())
            .fixed(&self.counter.to_le_bytes())
            .counted(self.text.as_bytes())
            .0
    }

    #[must_use]
    pub fn id(&self, network: &NetworkId) -> MessageId {
        MessageId::of(&self.signing_bytes(network))
    }

    /// Checks the limits, and that the author signed the line for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), VerifyError> {
        self.check_bounds()?;
        verify(&self.author, &self.signing_bytes(network), &self.signature)
    }

    /// Makes a line of `author`, to all if `to` is `None`. `signer` signs with the key of `author`.
    pub fn sign(
        network: &NetworkId,
        author: PeerId,
        to: Option<PeerId>,
        time: UnixMillis,
        counter: u64,
        text: &str,
        signer: &dyn Fn(&[u8]) -> Signature,
    ) -> Result<Self, CodecError> {
        let mut line =
            Self { author, to, time, counter, text: text.to_owned(), signature: UNSIGNED };
        line.check_bounds()?;
        line.signature = signer(&line.signing_bytes(network));
        Ok(line)
    }
}

impl SignedQuit {
    /// Returns the signed bytes: tag, network, author 32, time u64, counter u64.
    #[must_use]
    pub fn signing_bytes(&self, network: &NetworkId) -> Vec<u8> {
        SigningBytes::new(QUIT_TAG, network)
            .fixed(&self.author.0.0)
            .fixed(&self.time.to_le_bytes())
            .fixed(&self.counter.to_le_bytes())
            .0
    }

    #[must_use]
    pub fn id(&self, network: &NetworkId) -> MessageId {
        MessageId::of(&self.signing_bytes(network))
    }

    /// Checks that the author signed the goodbye for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), VerifyError> {
        self.check_bounds()?;
        verify(&self.author, &self.signing_bytes(network), &self.signature)
    }

    /// Makes a goodbye of `author`. `signer` signs with the key of `author`.
    pub fn sign(
        network: &NetworkId,
        author: PeerId,
        time: UnixMillis,
        counter: u64,
        signer: &dyn Fn(&[u8]) -> Signature,
    ) -> Self {
        let mut quit = Self { author, time, counter, signature: UNSIGNED };
        quit.signature = signer(&quit.signing_bytes(network));
        quit
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;
    use crate::{
        primitives::{BlockHash, PublicKey},
        wire::limits::MAX_LINE_BYTES,
    };

    const NETWORK: NetworkId = BlockHash([7; 32]);
    const OTHER: NetworkId = BlockHash([8; 32]);

    fn key(seed: u8) -> (PeerId, impl Fn(&[u8]) -> Signature) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        (PeerId(PublicKey(key.verifying_key().to_bytes())), move |bytes: &[u8]| {
            Signature(key.sign(bytes).to_bytes())
        })
    }

    fn line(text: &str) -> SignedLine {
        let (author, signer) = key(1);
        SignedLine::sign(&NETWORK, author, Some(key(2).0), 5, 6, text, &signer).unwrap()
    }

    #[test]
    fn a_line_verifies_on_its_network_and_any_other_field_breaks_it() {
        let line = line("hello");
        assert_eq!(line.verify(&NETWORK), Ok(()));
        let forged = VerifyError::Signature { signer: line.author };
        assert_eq!(line.verify(&OTHER), Err(forged.clone()));
        for other in [
            SignedLine { to: None, ..line.clone() },
            SignedLine { time: 6, ..line.clone() },
            SignedLine { counter: 7, ..line.clone() },
            SignedLine { text: "hello!".to_owned(), ..line.clone() },
        ] {
            assert_eq!(other.verify(&NETWORK), Err(forged.clone()));
            assert_ne!(other.id(&NETWORK), line.id(&NETWORK));
        }
        let author = key(2).0;
        assert_eq!(
            SignedLine { author, ..line }.verify(&NETWORK),
            Err(VerifyError::Signature { signer: author })
        );
    }

    #[test]
    fn a_line_over_the_limit_is_neither_signed_nor_verified() {
        let (author, signer) = key(1);
        let text = "x".repeat(MAX_LINE_BYTES + 1);
        assert!(SignedLine::sign(&NETWORK, author, None, 0, 0, &text, &signer).is_err());
        let long = SignedLine { text, ..line("x") };
        assert!(matches!(long.verify(&NETWORK), Err(VerifyError::Bounds(_))));
    }

    #[test]
    fn a_profile_verifies_and_moving_bytes_between_its_fields_breaks_it() {
        let (peer, signer) = key(3);
        let addresses =
            vec!["/ip4/10.0.0.1/tcp/1".to_owned(), "/ip4/10.0.0.1/udp/1/quic-v1".to_owned()];
        let profile =
            SignedProfile::sign(&NETWORK, peer, "yzw", addresses, Some(Owner([4; 20])), 9, &signer)
                .unwrap();
        assert_eq!(profile.verify(&NETWORK), Ok(()));
        let joined =
            SignedProfile { addresses: vec![profile.addresses.concat()], ..profile.clone() };
        let moved = SignedProfile { name: "yz".to_owned(), ..profile.clone() };
        let unpaid = SignedProfile { payment: None, ..profile.clone() };
        for other in [joined, moved, unpaid] {
            assert!(other.verify(&NETWORK).is_err());
        }
    }

    #[test]
    fn a_goodbye_cannot_be_forged_nor_taken_for_another_kind() {
        let (author, signer) = key(1);
        let quit = SignedQuit::sign(&NETWORK, author, 5, 6, &signer);
        assert_eq!(quit.verify(&NETWORK), Ok(()));
        assert!(SignedQuit { author: key(2).0, ..quit.clone() }.verify(&NETWORK).is_err());
        assert!(SignedQuit { signature: line("x").signature, ..quit }.verify(&NETWORK).is_err());
    }

    #[test]
    fn a_key_that_is_no_point_is_refused_without_a_panic() {
        let line = SignedLine { author: PeerId(PublicKey([0xff; 32])), ..line("x") };
        assert!(line.verify(&NETWORK).is_err());
    }

    #[test]
    fn a_message_id_reads_as_it_is_written() {
        let id = line("hello").id(&NETWORK);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("1234".parse::<MessageId>().is_err());
    }
}
