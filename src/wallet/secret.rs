//! Secret bytes: zeroed on drop, hidden from `Debug`, and sealed under a passphrase.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use bip39::Mnemonic;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use data_encoding::HEXLOWER;
use rand::{
    TryRng,
    rngs::{SysError, SysRng},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// Associated data of the cipher. A ciphertext made for another purpose does not open as a wallet's
/// secret.
const SEAL_CONTEXT: &[u8] = b"friendchain/wallet/1";
/// Key length of XChaCha20-Poly1305.
const KEY_BYTES: usize = 32;

/// Upper bound on the memory that a file may require to open, in KiB: 1 GiB.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Upper bound on the Argon2id passes that a file may require.
const MAX_PASSES: u32 = 16;
/// Upper bound on the Argon2id lanes that a file may require.
const MAX_LANES: u32 = 16;
/// Upper bound on memory in KiB times passes: about 10 s on a slow machine.
const MAX_KIB_PASSES: u64 = 4 * 1024 * 1024;

/// Secret bytes, zeroed on drop and hidden from `Debug`. Serialised as hex, for the wallet's file
/// only.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Draws `count` random bytes from the operating system.
    pub(super) fn random(count: usize) -> Result<Self, SysError> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        SysRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Returns the bytes. The name makes every access easy to find.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(HEXLOWER.encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = SecretBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hex digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                // The decoder's own error would reveal a digit of the secret and its position.
                HEXLOWER
                    .decode(text.as_bytes())
                    .map(SecretBytes::new)
                    .map_err(|_| E::custom("not hex digits"))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// The cost of one passphrase attempt: the parameters of Argon2id (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// Cost for new wallets: 64 MiB and 3 passes, as in RFC 9106's second recommendation, but in
    /// one lane (about 0.2 s).
    pub(super) const NEW: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// Minimum that Argon2 allows, for fast tests.
    #[cfg(test)]
    pub(super) const TEST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// Returns the parameters, or `None` if they are out of bounds: the file is untrusted.
    fn params(self) -> Option<Params> {
        let work = u64::from(self.memory_kib).saturating_mul(u64::from(self.passes));
        let in_bounds = self.memory_kib <= MAX_MEMORY_KIB
            && (1..=MAX_PASSES).contains(&self.passes)
            && (1..=MAX_LANES).contains(&self.lanes)
            && work <= MAX_KIB_PASSES;
        in_bounds
            .then(|| Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES)).ok())
            .flatten()
    }
}

/// Reasons why a sealed secret does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnsealError {
    /// The passphrase is wrong, or the file was changed. The cipher cannot distinguish the two.
    WrongPassphrase,
    /// The file's parameters are out of bounds.
    Cost(Cost),
    /// Key derivation could not allocate its memory.
    NoMemory,
}

/// A secret encrypted under a passphrase, as stored in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    argon2id: Cost,
    #[serde(with = "hex_array")]
    salt: [u8; 16],
    #[serde(with = "hex_array")]
    nonce: [u8; 24],
    #[serde(with = "hex_vec")]
    xchacha20poly1305: Vec<u8>,
}

impl Sealed {
    /// Encrypts `secret` under `passphrase`. Returns `None` if memory or randomness is unavailable.
    pub(super) fn seal(secret: &SecretBytes, passphrase: &str, cost: Cost) -> Option<Self> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        SysRng.try_fill_bytes(&mut salt).ok()?;
        SysRng.try_fill_bytes(&mut nonce).ok()?;
        let cipher = cipher(passphrase, &salt, cost).ok()?;
        let payload = Payload { msg: secret.expose(), aad: SEAL_CONTEXT };
        let xchacha20poly1305 = cipher.encrypt(&nonce.into(), payload).ok()?;
        Some(Self { argon2id: cost, salt, nonce, xchacha20poly1305 })
    }

    /// Decrypts the secret. By design this takes about 0.2 s and 64 MiB, so never call it in an
    /// async task.
    pub(super) fn unseal(&self, passphrase: &str) -> Result<SecretBytes, UnsealError> {
        let cipher = cipher(passphrase, &self.salt, self.argon2id)?;
        let payload = Payload { msg: &self.xchacha20poly1305, aad: SEAL_CONTEXT };
        let secret = cipher
            .decrypt(&self.nonce.into(), payload)
            .map_err(|_| UnsealError::WrongPassphrase)?;
        Ok(SecretBytes::new(secret))
    }
}

/// Derives the key from the passphrase and returns the cipher.
fn cipher(passphrase: &str, salt: &[u8], cost: Cost) -> Result<XChaCha20Poly1305, UnsealError> {
    let params = cost.params().ok_or(UnsealError::Cost(cost))?;
    // NFKD, as in BIP-39: keyboards compose accents differently.
    let mut normal = std::borrow::Cow::Borrowed(passphrase);
    Mnemonic::normalize_utf8_cow(&mut normal);
    let normal = Zeroizing::new(normal.into_owned());
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(normal.as_bytes(), salt, key.as_mut_slice())
        .map_err(|_| UnsealError::NoMemory)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

mod hex_array {
    use super::{Deserializer, de};

    pub(super) use super::hex_vec::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = super::hex_vec::deserialize(deserializer)?;
        let length = bytes.len();
        bytes.try_into().map_err(|_| de::Error::invalid_length(length, &"another number of bytes"))
    }
}

mod hex_vec {
    use super::{Deserialize, Deserializer, HEXLOWER, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_passphrase_alone() {
        let secret = SecretBytes::new(vec![7; 16]);
        let sealed = Sealed::seal(&secret, "Zoë's pass", Cost::TEST).unwrap();
        assert_eq!(sealed.unseal("Zoë's pass"), Ok(secret.clone()));
        assert_eq!(
            sealed.unseal("Zoe\u{308}'s pass"),
            Ok(secret),
            "composed otherwise, it is the same passphrase"
        );
        assert_eq!(sealed.unseal("zoë's pass"), Err(UnsealError::WrongPassphrase));
    }

    #[test]
    fn a_file_cannot_ask_for_endless_work() {
        let secret = SecretBytes::new(vec![7; 16]);
        let sealed = Sealed::seal(&secret, "x", Cost::TEST).unwrap();
        for cost in [
            Cost { memory_kib: MAX_MEMORY_KIB + 1, ..Cost::TEST },
            Cost { passes: MAX_PASSES + 1, ..Cost::TEST },
            Cost { passes: 0, ..Cost::TEST },
            Cost { lanes: u32::MAX, ..Cost::TEST },
            Cost { memory_kib: MAX_MEMORY_KIB, passes: MAX_PASSES, lanes: 1 },
        ] {
            let sealed = Sealed { argon2id: cost, ..sealed.clone() };
            assert_eq!(sealed.unseal("x"), Err(UnsealError::Cost(cost)));
        }
        assert!(Cost::NEW.params().is_some());
    }
}
