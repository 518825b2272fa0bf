//! The wallet: keys, addresses and signatures of this node's user.
//!
//! [`Wallet`] is a plain struct over one file, `wallet.json`, that only its user may read. Its disk
//! access blocks, and sealing and unlocking are slow by design, so async callers use a blocking
//! thread. A running node owns the wallet. Commands open the file themselves when no node runs.
//!
//! # Invariants
//! - All keys derive from one [`RecoveryPhrase`]. [`build`] makes the trades that the wallet signs.
//! - There is at least one address. Addresses are only ever added, in order.
//! - Secrets are zeroed on drop. No `Debug` output, error or log contains one.
//! - The wallet never overwrites a file that is unreadable, newer, or changed by another program.

pub(crate) mod build;
mod derive;
mod errors;
mod file;
pub(crate) mod history;
mod phrase;
mod recovery;
mod resend;
mod secret;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use ed25519_dalek::{Signer, SigningKey};

pub(crate) use build::{BuiltTrade, Keys, Order, build_cancel, build_trade, raise_fee};
pub(crate) use errors::{
    BuildError, LockedError, NoteError, PassphraseError, SignError, UnlockError, WalletError,
};
pub(crate) use phrase::{PhraseError, RecoveryPhrase};
pub(crate) use recovery::{AHEAD, Search};
pub(crate) use resend::{Plan, ResendError, payments, plan as plan_resend};

use crate::primitives::{
    Address, Moment, NetworkId, Owner, PublicKey, Signature, Transaction, TxId,
};
use derive::{ExtendedKey, public_key};
use file::{Fingerprint, MAX_ADDRESSES, StoredSecret, WalletFile};
use phrase::signing_key;
use secret::{Cost, Sealed, SecretBytes, UnsealError};

pub(crate) struct Wallet {
    path: PathBuf,
    fingerprint: Fingerprint,
    /// Public keys in derivation order; never empty.
    public_keys: Vec<PublicKey>,
    /// The sealed secret, if the wallet has a passphrase.
    sealed: Option<Sealed>,
    /// The secret while unlocked. Always present in a wallet without a passphrase.
    unlocked: Option<Unlocked>,
}

/// The secret and the keys derived from it.
struct Unlocked {
    phrase: RecoveryPhrase,
    account: ExtendedKey,
    /// One key for each public key. `ed25519_dalek` zeroes them on drop.
    signing_keys: Vec<SigningKey>,
    /// Moment at which the wallet locks again.
    until: Option<Moment>,
}

impl Wallet {
    /// Opens the wallet at `path`. A wallet with a passphrase starts locked.
    pub(crate) fn open(path: &Path) -> Result<Self, WalletError> {
        let (file, fingerprint) = WalletFile::read(path)?;
        let mut wallet = Self {
            path: path.to_owned(),
            fingerprint,
            public_keys: file.public_keys,
            sealed: None,
            unlocked: None,
        };
        match file.secret {
            StoredSecret::Sealed(sealed) => wallet.sealed = Some(sealed),
            StoredSecret::Plain(entropy) => {
                let unlocked = Unlocked::new(&entropy, &wallet.public_keys, None);
                wallet.unlocked = Some(unlocked.map_err(|error| WalletError::Unreadable {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?);
            }
        }
        Ok(wallet)
    }

    /// Opens the wallet at `path`. Creates one without a passphrase if the file is missing.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, WalletError> {
        match Self::open(path) {
            Err(WalletError::Missing(_)) => Self::create(path, None),
            other => other,
        }
    }

    /// Creates an unlocked wallet with one address. With a passphrase, the file's secret is sealed.
    pub(crate) fn create(path: &Path, passphrase: Option<&str>) -> Result<Self, WalletError> {
        let phrase = RecoveryPhrase::generate().map_err(WalletError::Random)?;
        Self::make(path, phrase, 1, passphrase, Cost::NEW)
    }

    /// Restores an unlocked wallet from its phrase, with its first `addresses` addresses (at least
    /// one). A [`Search`] finds the number of addresses in use.
    ///
    /// If the wallet at `path` has the same phrase, its missing addresses are added and its
    /// passphrase is kept. Any other wallet at `path` is an error.
    pub(crate) fn recover(
        path: &Path,
        phrase: RecoveryPhrase,
        addresses: u32,
        passphrase: Option<&str>,
    ) -> Result<Self, WalletError> {
        match Self::open(path) {
            Err(WalletError::Missing(_)) => {
                Self::make(path, phrase, addresses, passphrase, Cost::NEW)
            }
            Err(other) => Err(other),
            Ok(mut wallet) => {
                let entropy = phrase.entropy();
                wallet.unlocked = match Unlocked::new(&entropy, &wallet.public_keys, None) {
                    Ok(unlocked) => Some(unlocked),
                    Err(_) => return Err(WalletError::Exists(path.to_owned())),
                };
                wallet.extend(addresses)?;
                Ok(wallet)
            }
        }
    }

    /// Checks a passphrase of this wallet, which may be unlocked already. As slow as `unlock`.
    pub(crate) fn check_passphrase(&self, passphrase: &str) -> Result<(), UnlockError> {
        let sealed = self.sealed.as_ref().ok_or(UnlockError::NoPassphrase)?;
        unseal(sealed, passphrase).map(drop)
    }

    /// Checks that a phrase belongs to this wallet.
    pub(crate) fn check_phrase(&self, phrase: &RecoveryPhrase) -> Result<(), WalletError> {
        if phrase.public_keys(self.public_keys.len()) == self.public_keys {
            Ok(())
        } else {
            Err(WalletError::Exists(self.path.clone()))
        }
    }

    fn make(
        path: &Path,
        phrase: RecoveryPhrase,
        addresses: u32,
        passphrase: Option<&str>,
        cost: Cost,
    ) -> Result<Self, WalletError> {
        let entropy = phrase.entropy();
        let sealed = match passphrase {
            None => None,
            Some("") => return Err(WalletError::EmptyPassphrase),
            Some(passphrase) => {
                Some(Sealed::seal(&entropy, passphrase, cost).ok_or(WalletError::Seal)?)
            }
        };
        let account = phrase.account();
        let mut unlocked = Unlocked { phrase, account, signing_keys: Vec::new(), until: None };
        let public_keys = unlocked.grow(0, addresses.max(1))?;
        let secret = sealed.clone().map_or(StoredSecret::Plain(entropy), StoredSecret::Sealed);
        let file = WalletFile::new(public_keys, secret);
        let fingerprint = file.write(path, None)?;
        let public_keys = file.public_keys;
        Ok(Self {
            path: path.to_owned(),
            fingerprint,
            public_keys,
            sealed,
            unlocked: Some(unlocked),
        })
    }

    /// Returns the addresses in derivation order, at least one. Works while locked.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.public_keys.iter().map(|key| Address(key.owner())).collect()
    }

    /// Returns the first address, the default recipient.
    pub(crate) fn first_address(&self) -> Address {
        Address(self.public_keys.first().map_or(Owner::ZERO, PublicKey::owner))
    }

    /// Returns all public keys by their owners. Works while locked.
    pub(crate) fn keys(&self) -> Keys {
        self.public_keys.iter().map(|key| (key.owner(), *key)).collect()
    }

    /// Returns this wallet's public key with the hash `owner`, if any. Works while locked.
    pub(crate) fn public_key(&self, owner: &Owner) -> Option<PublicKey> {
        self.public_keys.iter().find(|key| key.owner() == *owner).copied()
    }

    /// Adds an address. The address is durable when this returns.
    pub(crate) fn new_address(&mut self, now: Moment) -> Result<Address, WalletError> {
        self.expire(now);
        let count = u32::try_from(self.public_keys.len()).unwrap_or(u32::MAX);
        self.extend(count.saturating_add(1))?;
        Ok(Address(self.public_keys.last().map_or(Owner::ZERO, PublicKey::owner)))
    }

    /// Adds addresses until there are `count` of them.
    fn extend(&mut self, count: u32) -> Result<(), WalletError> {
        let unlocked = self.unlocked.as_mut().ok_or(LockedError)?;
        let added = unlocked.grow(unlocked.signing_keys.len(), count)?;
        self.add_keys(&added)
    }

    /// Adds the addresses of these public keys, which must continue the wallet's own from the first
    /// one on. Works while locked: the next unlock checks them.
    pub(crate) fn add_found(&mut self, found: &[PublicKey]) -> Result<(), WalletError> {
        let added = found.get(self.public_keys.len()..).unwrap_or_default();
        if found.len() > MAX_ADDRESSES || !found.starts_with(&self.public_keys) {
            return Ok(());
        }
        if let Some(unlocked) = &mut self.unlocked {
            let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
            let made = unlocked.grow(unlocked.signing_keys.len(), count)?;
            if made != added {
                unlocked.signing_keys.truncate(self.public_keys.len());
                return Ok(());
            }
        }
        self.add_keys(added)
    }

    /// Returns the public keys of the wallet's first `count` addresses, whether added or not.
    pub(crate) fn keys_ahead(
        &mut self,
        count: usize,
        now: Moment,
    ) -> Result<Vec<PublicKey>, LockedError> {
        self.unlocked(now).map(|unlocked| unlocked.phrase.public_keys(count))
    }

    /// Starts a search for addresses beyond these: another copy of the wallet may have made some.
    /// Works while locked.
    pub(crate) fn search(&self) -> Search {
        Search::new(self.public_keys.clone())
    }

    /// Writes the file with these keys after the others. If that fails, the wallet is unchanged.
    fn add_keys(&mut self, added: &[PublicKey]) -> Result<(), WalletError> {
        if added.is_empty() {
            return Ok(());
        }
        let have = self.public_keys.len();
        let secret = match (&self.sealed, &self.unlocked) {
            (Some(sealed), _) => StoredSecret::Sealed(sealed.clone()),
            (None, Some(unlocked)) => StoredSecret::Plain(unlocked.phrase.entropy()),
            (None, None) => return Err(LockedError.into()),
        };
        let public_keys = [self.public_keys.as_slice(), added].concat();
        let file = WalletFile::new(public_keys, secret);
        match file.write(&self.path, Some(self.fingerprint)) {
            Ok(fingerprint) => {
                self.fingerprint = fingerprint;
                self.public_keys = file.public_keys;
                Ok(())
            }
            Err(error) => {
                if let Some(unlocked) = &mut self.unlocked {
                    unlocked.signing_keys.truncate(have);
                }
                Err(error)
            }
        }
    }

    /// True if the file's secret is sealed under a passphrase.
    pub(crate) const fn has_passphrase(&self) -> bool {
        self.sealed.is_some()
    }

    /// True if signing requires `unlock` first.
    pub(crate) fn is_locked(&mut self, now: Moment) -> bool {
        self.expire(now);
        self.unlocked.is_none()
    }

    /// Unlocks the secret until `until` or [`Wallet::lock`]. The new deadline replaces an older
    /// one.
    ///
    /// By design this takes about 0.2 s and 64 MiB.
    pub(crate) fn unlock(
        &mut self,
        passphrase: &str,
        until: Option<Moment>,
    ) -> Result<(), UnlockError> {
        let sealed = self.sealed.as_ref().ok_or(UnlockError::NoPassphrase)?;
        let entropy = unseal(sealed, passphrase)?;
        self.unlocked = Some(Unlocked::new(&entropy, &self.public_keys, until)?);
        Ok(())
    }

    /// Sets, changes or removes the passphrase. Afterwards a wallet with a passphrase is locked.
    ///
    /// `old` is needed if there is a passphrase, even while the wallet is unlocked. The new file is
    /// durable when this returns. After an error, the file is unchanged.
    pub(crate) fn change_passphrase(
        &mut self,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Result<(), PassphraseError> {
        self.change_passphrase_at(old, new, Cost::NEW)
    }

    fn change_passphrase_at(
        &mut self,
        old: Option<&str>,
        new: Option<&str>,
        cost: Cost,
    ) -> Result<(), PassphraseError> {
        let entropy = match (&self.sealed, old, &self.unlocked) {
            (Some(sealed), Some(old), _) => unseal(sealed, old)?,
            (Some(_), None, _) => return Err(PassphraseError::OldMissing),
            (None, Some(_), _) => return Err(UnlockError::NoPassphrase.into()),
            (None, None, Some(unlocked)) => unlocked.phrase.entropy(),
            (None, None, None) => return Err(UnlockError::Damaged.into()),
        };
        let unlocked = Unlocked::new(&entropy, &self.public_keys, None)?;
        let sealed = match new {
            None if self.sealed.is_none() => return Err(PassphraseError::Nothing),
            None => None,
            Some("") => return Err(WalletError::EmptyPassphrase.into()),
            Some(new) => Some(Sealed::seal(&entropy, new, cost).ok_or(WalletError::Seal)?),
        };
        let secret = sealed.clone().map_or(StoredSecret::Plain(entropy), StoredSecret::Sealed);
        let file = WalletFile::new(self.public_keys.clone(), secret);
        self.fingerprint = file.write(&self.path, Some(self.fingerprint))?;
        self.unlocked = sealed.is_none().then_some(unlocked);
        self.sealed = sealed;
        Ok(())
    }

    /// Drops the secret from memory until the next `unlock`.
    pub(crate) fn lock(&mut self) -> Result<(), UnlockError> {
        if self.sealed.is_none() {
            return Err(UnlockError::NoPassphrase);
        }
        self.unlocked = None;
        Ok(())
    }

    /// Locks the wallet once the deadline of `unlock` has passed. Every method that needs the
    /// secret calls this first. The node also calls it regularly, so that the secret leaves memory
    /// in time.
    pub(crate) fn expire(&mut self, now: Moment) {
        let due = self
            .unlocked
            .as_ref()
            .and_then(|unlocked| unlocked.until)
            .is_some_and(|until| now >= until);
        if due && self.sealed.is_some() {
            self.unlocked = None;
        }
    }

    /// Returns the phrase that restores this wallet.
    pub(crate) fn recovery_phrase(&mut self, now: Moment) -> Result<RecoveryPhrase, LockedError> {
        self.unlocked(now).map(|unlocked| unlocked.phrase.clone())
    }

    /// Signs every input for `network` and returns the transaction's id. Signs no input if any key
    /// is not in this wallet.
    pub(crate) fn sign(
        &mut self,
        transaction: &mut Transaction,
        network: &NetworkId,
        now: Moment,
    ) -> Result<TxId, SignError> {
        let foreign =
            transaction.inputs.iter().find(|input| !self.public_keys.contains(&input.public_key));
        if let Some(input) = foreign {
            return Err(SignError::NotOurs(Address(input.public_key.owner())));
        }
        let unlocked = self.unlocked(now)?;
        let txid = transaction.txid();
        let message = Transaction::signing_message(network, &txid);
        for input in &mut transaction.inputs {
            let key = unlocked
                .signing_keys
                .iter()
                .find(|key| key.verifying_key().as_bytes() == &input.public_key.0);
            let key = key.ok_or_else(|| SignError::NotOurs(Address(input.public_key.owner())))?;
            input.signature = Signature(key.sign(&message).to_bytes());
        }
        Ok(txid)
    }

    /// Builds and signs a note of `text` with the key of `owner`.
    pub(crate) fn note(
        &mut self,
        owner: &Owner,
        text: &str,
        network: &NetworkId,
        now: Moment,
    ) -> Result<Transaction, NoteError> {
        let key = self.public_key(owner).ok_or(SignError::NotOurs(Address(*owner)))?;
        let mut note = build::build_note(key, text, rand::random())?;
        self.sign(&mut note, network, now)?;
        Ok(note)
    }

    fn unlocked(&mut self, now: Moment) -> Result<&Unlocked, LockedError> {
        self.expire(now);
        self.unlocked.as_ref().ok_or(LockedError)
    }
}

fn unseal(sealed: &Sealed, passphrase: &str) -> Result<SecretBytes, UnlockError> {
    sealed.unseal(passphrase).map_err(|error| match error {
        UnsealError::WrongPassphrase => UnlockError::WrongPassphrase,
        UnsealError::NoMemory => UnlockError::NoMemory,
        UnsealError::Cost(cost) => UnlockError::Cost(format!("{cost:?}")),
    })
}

impl Unlocked {
    /// Derives the keys and checks the file's public keys against them, since those are not sealed.
    fn new(
        entropy: &SecretBytes,
        public_keys: &[PublicKey],
        until: Option<Moment>,
    ) -> Result<Self, UnlockError> {
        let phrase = RecoveryPhrase::from_entropy(entropy).ok_or(UnlockError::Damaged)?;
        let account = phrase.account();
        let signing_keys: Vec<_> =
            (0_u32..).zip(public_keys).map(|(index, _)| signing_key(&account, index)).collect();
        for (listed, key) in public_keys.iter().zip(&signing_keys) {
            if *listed != public_key(key) {
                return Err(UnlockError::ForeignAddress(Address(listed.owner())));
            }
        }
        Ok(Self { phrase, account, signing_keys, until })
    }

    /// Derives the keys with indexes `from..count` and returns their public keys.
    fn grow(&mut self, from: usize, count: u32) -> Result<Vec<PublicKey>, WalletError> {
        if usize::try_from(count).unwrap_or(usize::MAX) > MAX_ADDRESSES {
            return Err(WalletError::TooManyAddresses(u32::try_from(from).unwrap_or(u32::MAX)));
        }
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        let added: Vec<_> = (from..count).map(|index| signing_key(&self.account, index)).collect();
        let public_keys = added.iter().map(public_key).collect();
        self.signing_keys.extend(added);
        Ok(public_keys)
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet")
            .field("path", &self.path)
            .field("addresses", &self.public_keys.len())
            .field("has_passphrase", &self.sealed.is_some())
            .field("unlocked", &self.unlocked.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
