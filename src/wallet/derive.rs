//! Derives keys from a seed: SLIP-0010 for ed25519, which has hardened derivation only.
//!
//! <https://github.com/satoshilabs/slips/blob/master/slip-0010.md>. Address `i` of a wallet is the
//! key at `m/44'/26211'/i'`: the purpose of BIP-44, the letters `fc` as a number (friendchain has
//! no number in SLIP-0044), and one index for each address. The seed is the BIP-39 seed of the
//! recovery phrase with an empty BIP-39 passphrase.

use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::primitives::PublicKey;

/// The key of the first HMAC in SLIP-0010 for this curve.
const MASTER_KEY: &[u8] = b"ed25519 seed";
/// The bit that marks a hardened index.
const HARDENED: u32 = 0x8000_0000;
/// The purpose of BIP-44.
const PURPOSE: u32 = 44;
/// The letters `fc` in ASCII, big-endian.
const COIN_TYPE: u32 = 0x6663;
/// Block length of SHA-512, to which HMAC pads its key.
const HMAC_BLOCK: usize = 128;

/// A node of the derivation tree: a secret and its chain code.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct ExtendedKey {
    secret: [u8; 32],
    chain_code: [u8; 32],
}

impl ExtendedKey {
    /// Returns the root of the tree.
    pub(super) fn master(seed: &[u8]) -> Self {
        Self::from_hmac(MASTER_KEY, &[seed])
    }

    /// Returns the hardened child at `index`. This function sets the highest bit of the index.
    pub(super) fn child(&self, index: u32) -> Self {
        Self::from_hmac(&self.chain_code, &[&[0], &self.secret, &(index | HARDENED).to_be_bytes()])
    }

    /// Returns the node of a wallet's addresses: `m/44'/26211'`.
    pub(super) fn account(seed: &[u8]) -> Self {
        Self::master(seed).child(PURPOSE).child(COIN_TYPE)
    }

    /// Returns the key pair of this node.
    pub(super) fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    /// `key` is at most [`HMAC_BLOCK`] bytes long.
    fn from_hmac(key: &[u8], parts: &[&[u8]]) -> Self {
        // HMAC pads a short key with zeros to a block. A key that is padded already is equivalent,
        // and its length is never rejected.
        let mut padded = Zeroizing::new([0; HMAC_BLOCK]);
        for (slot, byte) in padded.iter_mut().zip(key) {
            *slot = *byte;
        }
        let mut mac = Hmac::<Sha512>::new((&*padded).into());
        for part in parts {
            mac.update(part);
        }
        let mut output = Zeroizing::new([0; 64]);
        output.copy_from_slice(&mac.finalize().into_bytes());
        let mut node = Self { secret: [0; 32], chain_code: [0; 32] };
        node.secret.copy_from_slice(&output[..32]);
        node.chain_code.copy_from_slice(&output[32..]);
        node
    }
}

/// Returns the public key of a key pair, in the chain's type.
pub(super) fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Checks the two ed25519 vectors of SLIP-0010: chain code, private key and public key along
    /// one path.
    #[test]
    fn the_vectors_of_slip_0010_are_met() {
        let first = "000102030405060708090a0b0c0d0e0f";
        let second = "\
             fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a2\
             9f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542";
        let cases: [(&str, &[u32], &str, &str, &str); 7] = [
            (
                first,
                &[],
                "90046a93de5380a72b5e45010748567d5ea02bbf6522f979e05c0d8d8ca9fffb",
                "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
                "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
            ),
            (
                first,
                &[0],
                "8b59aa11380b624e81507a27fedda59fea6d0b779a778918a2fd3590e16e9c69",
                "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
                "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
            ),
            (
                first,
                &[0, 1],
                "a320425f77d1b5c2505a6b1b27382b37368ee640e3557c315416801243552f14",
                "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
                "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
            ),
            (
                first,
                &[0, 1, 2, 2, 1_000_000_000],
                "68789923a0cac2cd5a29172a475fe9e0fb14cd6adb5ad98a3fa70333e7afa230",
                "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
                "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
            ),
            (
                second,
                &[],
                "ef70a74db9c3a5af931b5fe73ed8e1a53464133654fd55e7a66f8570b8e33c3b",
                "171cb88b1b3c1db25add599712e36245d75bc65a1a5c9e18d76f9f2b1eab4012",
                "8fe9693f8fa62a4305a140b9764c5ee01e455963744fe18204b4fb948249308a",
            ),
            (
                second,
                &[0],
                "0b78a3226f915c082bf118f83618a618ab6dec793752624cbeb622acb562862d",
                "1559eb2bbec5790b0c65d8693e4d0875b1747f4970ae8b650486ed7470845635",
                "86fab68dcb57aa196c77c5f264f215a112c22a912c10d123b0d03c3c28ef1037",
            ),
            (
                second,
                &[0, 2_147_483_647, 1, 2_147_483_646, 2],
                "5d70af781f3a37b829f0d060924d5e960bdc02e85423494afc0b1a41bbe196d4",
                "551d333177df541ad876a60ea71f00447931c0a9da16f227c11ea080d7391b8d",
                "47150c75db263559a70d5778bf36abbab30fb061ad69f69ece61a72b0cfa4fc0",
            ),
        ];
        for (seed, path, chain_code, secret, public) in cases {
            let seed = HEXLOWER.decode(seed.as_bytes()).unwrap();
            let node =
                path.iter().fold(ExtendedKey::master(&seed), |node, index| node.child(*index));
            assert_eq!(HEXLOWER.encode(&node.chain_code), chain_code, "{path:?}");
            assert_eq!(HEXLOWER.encode(&node.secret), secret, "{path:?}");
            assert_eq!(public_key(&node.signing_key()).to_string(), public, "{path:?}");
        }
    }
}
