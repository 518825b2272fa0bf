//! The recovery phrase: BIP-39 words that restore a wallet on any machine.

use std::fmt;

use bip39::{Language, Mnemonic};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::{
    derive::{ExtendedKey, public_key},
    secret::SecretBytes,
};
use crate::primitives::PublicKey;

/// Bytes of entropy behind the 12 words of a new wallet.
const ENTROPY_BYTES: usize = 16;

/// Reasons why words are not a recovery phrase. No message contains the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhraseError {
    /// The number of words is not 12, 15, 18, 21 or 24.
    #[error(
        "a recovery phrase has 12 words (or 15, 18, 21 or 24), and these are {0}: write them all \
         on one line"
    )]
    WordCount(usize),
    /// A word is not in the list; the first word is 1.
    #[error("word {0} is not a word of recovery phrases: check how it is spelt")]
    UnknownWord(usize),
    /// All words are in the list, but the checksum is wrong.
    #[error("these words are not a recovery phrase: one is wrong, or two have changed places")]
    Checksum,
}

/// A recovery phrase. Anybody who has it has the coins, so `Debug` hides it and there is no
/// `Display`.
#[derive(Clone)]
pub(crate) struct RecoveryPhrase {
    mnemonic: Mnemonic,
}

impl RecoveryPhrase {
    /// Parses words in upper or lower case, with any white space between them.
    pub(crate) fn parse(text: &str) -> Result<Self, PhraseError> {
        let lower = Zeroizing::new(text.to_lowercase());
        Mnemonic::parse_in_normalized(Language::English, &lower)
            .map(|mnemonic| Self { mnemonic })
            .map_err(|error| match error {
                bip39::Error::BadWordCount(count) => PhraseError::WordCount(count),
                bip39::Error::UnknownWord(index) => {
                    PhraseError::UnknownWord(index.saturating_add(1))
                }
                _ => PhraseError::Checksum,
            })
    }

    /// Returns the words. Show them on their owner's terminal only.
    #[must_use]
    pub(crate) fn reveal(&self) -> Zeroizing<String> {
        // Reserves room for 24 words of at most 8 letters, so that growing leaves no copy in
        // memory.
        let mut words = Zeroizing::new(String::with_capacity(24 * 9));
        for word in self.mnemonic.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// Returns the public keys of the phrase's first `count` addresses, in order.
    pub(crate) fn public_keys(&self, count: usize) -> Vec<PublicKey> {
        let account = self.account();
        (0..).take(count).map(|index| public_key(&signing_key(&account, index))).collect()
    }

    /// Returns the node of the wallet's addresses in the derivation tree.
    pub(super) fn account(&self) -> ExtendedKey {
        let seed = Zeroizing::new(self.mnemonic.to_seed_normalized(""));
        ExtendedKey::account(&*seed)
    }

    /// Returns the entropy, which the file stores.
    pub(super) fn entropy(&self) -> SecretBytes {
        SecretBytes::new(self.mnemonic.to_entropy())
    }

    /// Returns the phrase for stored entropy; `None` if the entropy has the wrong length.
    pub(super) fn from_entropy(entropy: &SecretBytes) -> Option<Self> {
        Mnemonic::from_entropy_in(Language::English, entropy.expose())
            .ok()
            .map(|mnemonic| Self { mnemonic })
    }

    /// Draws a new phrase of 12 words from the operating system's randomness.
    pub(super) fn generate() -> Result<Self, rand::rngs::SysError> {
        let entropy = SecretBytes::random(ENTROPY_BYTES)?;
        // 16 bytes always make a phrase, so this error never occurs.
        Self::from_entropy(&entropy).ok_or(rand::rngs::SysError::UNEXPECTED)
    }
}

/// Returns the key pair of address `index`.
pub(super) fn signing_key(account: &ExtendedKey, index: u32) -> SigningKey {
    account.child(index).signing_key()
}

impl fmt::Debug for RecoveryPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryPhrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "legal winner thank year wave sausage worth useful legal winner thank yellow";

    #[test]
    fn a_phrase_reads_back_as_it_was_revealed_whatever_its_case_and_spaces() {
        let phrase =
            RecoveryPhrase::parse(&format!("  {}\n", WORDS.to_uppercase().replace(' ', "   ")))
                .unwrap();
        assert_eq!(*phrase.reveal(), WORDS);
        assert_eq!(phrase.entropy().expose(), [0x7f; 16]);
    }

    #[test]
    fn what_is_wrong_with_a_phrase_is_said_without_its_words() {
        let parse = |text: &str| RecoveryPhrase::parse(text).unwrap_err();
        assert_eq!(parse("legal winner"), PhraseError::WordCount(2));
        assert_eq!(parse(&WORDS.replace("year", "yzw")), PhraseError::UnknownWord(4));
        assert_eq!(parse(&WORDS.replace("yellow", "thank")), PhraseError::Checksum);
        assert!(!parse(&WORDS.replace("year", "yzw")).to_string().contains("yzw"));
    }

    /// Frozen: an old phrase must lead to the old addresses for ever.
    #[test]
    fn the_first_addresses_of_a_known_phrase_never_change() {
        let phrase = RecoveryPhrase::parse(WORDS).unwrap();
        let keys = phrase.public_keys(3);
        let owners: Vec<String> = keys.iter().map(|key| key.owner().to_string()).collect();
        assert_eq!(owners, FROZEN);
    }

    const FROZEN: [&str; 3] = [
        "0db663fcd18e602331eb6f11b299d1f755e051e2",
        "eed5a3379046cc439d74ba518a5409ddd085bfd4",
        "607ffec541e1a3f7534184ff3a319a606099d456",
    ];
}
