//! Errors of the wallet. Every message is a sentence with the next step for the user. No message
//! contains a secret.

use std::{fmt, path::PathBuf};

use super::phrase::PhraseError;
use crate::primitives::{Address, Amount, MAX_MEMO_BYTES};

/// Reasons why the wallet's file could not be opened, created or written.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    #[error("there is no wallet here ('{0}'): make one with create-wallet")]
    Missing(PathBuf),
    /// A file exists. The wallet never overwrites it.
    #[error(
        "there is a wallet already ('{0}'), and it is not overwritten: move it away first, or use \
         it"
    )]
    Exists(PathBuf),
    /// The file is damaged or is not a wallet.
    #[error(
        "'{path}' is not a wallet that can be read: {reason}; it was left as it is: restore a \
         copy of it, or move it away and use create-wallet --recover"
    )]
    Unreadable {
        path: PathBuf,
        /// The defect, without any value from the file.
        reason: String,
    },
    /// A newer program wrote the file.
    #[error(
        "'{path}' is a wallet of version {version}, and this program knows version 1: use a newer \
         friendchain"
    )]
    Newer { path: PathBuf, version: u32 },
    /// Another program changed the file after this one read or wrote it.
    #[error(
        "'{0}' was changed by another program while this one was using it, and was left as it is: \
         start again"
    )]
    Changed(PathBuf),
    /// The secret is locked, and a new address needs it.
    #[error(transparent)]
    Locked(#[from] LockedError),
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    #[error("the passphrase is empty: choose one of some length, or none")]
    EmptyPassphrase,
    /// The file holds the maximum number of addresses.
    #[error("the wallet has {0} addresses, and may not have more: use one of them")]
    TooManyAddresses(u32),
    /// Key derivation from the passphrase failed, for lack of memory or randomness.
    #[error(
        "the wallet could not be sealed under its passphrase: there is too little free memory (64 \
         MiB are needed)"
    )]
    Seal,
    #[error("the operating system gives no random numbers, so no safe key can be made: {0}")]
    Random(rand::rngs::SysError),
    /// A file operation failed.
    #[error("cannot {action} '{path}': {source}")]
    Io {
        /// The verb of the message, such as `read` or `write`.
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
}

/// The operation needs the secret, which is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the wallet is locked: unlock it in a shell (friendchain unlock), or give its passphrase with \
     --passphrase-file"
)]
pub struct LockedError;

/// Reasons why the wallet could not be unlocked or locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    #[error("the passphrase is wrong: the wallet stays locked")]
    WrongPassphrase,
    #[error("the wallet has no passphrase: it is always unlocked")]
    NoPassphrase,
    /// The file's Argon2id parameters are out of bounds.
    #[error(
        "the wallet's file asks for more work than it may ({0}): it was tampered with; restore a \
         copy of it"
    )]
    Cost(String),
    /// Key derivation could not allocate its memory.
    #[error("there is too little free memory to unlock the wallet (64 MiB are needed)")]
    NoMemory,
    /// The secret opened, but an address in the file is not derived from it.
    #[error(
        "address {0} in the wallet's file does not belong to its secret: the file was tampered \
         with; restore a copy of it, or move it away and use create-wallet --recover"
    )]
    ForeignAddress(Address),
    /// The decrypted bytes are not the secret of a wallet.
    #[error(
        "the wallet's secret is damaged: restore a copy of the file, or move it away and use \
         create-wallet --recover"
    )]
    Damaged,
}

/// Reasons why the passphrase was not changed. The file is as before.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    #[error(
        "the wallet has a passphrase, and the old one is needed to change it: type it on a \
         terminal, or name its file with --old-file"
    )]
    OldMissing,
    #[error(
        "the wallet has no passphrase, and none was given: type one on a terminal, or name its \
         file with --new-file"
    )]
    Nothing,
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// Reasons why a transaction was not signed. No input is signed in that case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Locked(#[from] LockedError),
    /// An input's address is not in this wallet.
    #[error(
        "{0} is not an address of this wallet, so it cannot sign for it: list-addresses shows \
         which are"
    )]
    NotOurs(Address),
}

/// Reasons why a trade or note could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The balance of the payer is too small.
    #[error(
        "{payer} has {has}{}, and this needs {needs}: {}{}",
        pending_part(*.pending), way_to_coins(*.has), more_part(*.more)
    )]
    NotEnough {
        payer: Payer,
        /// The sum of all spendable coins, pending ones included.
        has: Amount,
        /// The amount and the fee.
        needs: Amount,
        /// The part of `has` that is not mined yet.
        pending: Amount,
        /// Unmined coins from others, which the user did not allow to spend.
        more: Amount,
    },
    #[error("the amount is 0: send at least 0.00000001")]
    ZeroAmount,
    /// The sum of amount and fee exceeds the maximum supply.
    #[error("{amount} and a fee of {fee} are together more coins than there can be")]
    TooLarge { amount: Amount, fee: Amount },
    /// A trade of the maximum size cannot hold enough of these small coins.
    #[error(
        "{payer} has enough, but in coins so small that one trade cannot hold them all: send at \
         most {most} at once, for instance to {gather}, an address of your own, which gathers them \
         into one"
    )]
    TooManyCoins {
        payer: Payer,
        /// An address of the wallet that can receive the gathered coins.
        gather: Address,
        /// The maximum amount that one trade with this fee and memo can send.
        most: Amount,
    },
    /// The text exceeds `MAX_MEMO_BYTES`.
    #[error(
        "the text has {0} bytes, and may have {MAX_MEMO_BYTES}: shorten it, or write it in parts"
    )]
    TextTooLong(usize),
    #[error("a note needs a text")]
    EmptyNote,
    /// A note spends no coins, so it cannot pay a fee.
    #[error("a note pays no fee: it waits until a block has room for what is free")]
    NoteWithFee,
    /// The new fee is not higher than the current one.
    #[error("the trade pays {before} already, and a fee of {fee} is not more")]
    FeeNotRaised { before: Amount, fee: Amount },
    /// An input's address is not in this wallet.
    #[error(
        "{0} pays in this trade too, and is no address of this wallet: only whoever has all its \
         keys can replace it"
    )]
    NotOurs(Address),
}

/// The source of a payment's coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// All addresses of the wallet.
    Wallet,
    /// The one address that the user has named.
    Address(Address),
}

impl fmt::Display for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet => f.write_str("the wallet"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Returns advice for a wallet that has too few coins.
fn way_to_coins(has: Amount) -> &'static str {
    if has == Amount::ZERO {
        "mine a block with mine, or ask a friend for some"
    } else {
        "send less, wait for more, or mine some"
    }
}

fn pending_part(pending: Amount) -> String {
    if pending == Amount::ZERO {
        String::new()
    } else {
        format!(" ({pending} of it waits to be mined)")
    }
}

fn more_part(more: Amount) -> String {
    if more == Amount::ZERO {
        String::new()
    } else {
        format!("; {more} more is on its way from others, which --unconfirmed spends already")
    }
}

/// Reasons why a note was not created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The key is locked, or not in this wallet.
    #[error(transparent)]
    Sign(#[from] SignError),
}
