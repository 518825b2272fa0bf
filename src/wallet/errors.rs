//! Why the wallet could not do what it was asked. Every message is a sentence that says what to do
//! next; none holds a secret.

use std::path::PathBuf;

use super::phrase::PhraseError;
use crate::primitives::{Address, Amount, MAX_MEMO_BYTES};

/// Why the wallet's file could not be opened, made or written.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// There is no file.
    #[error("there is no wallet here ('{0}'): make one with create-wallet")]
    Missing(PathBuf),
    /// There is a file already, and it is never overwritten.
    #[error(
        "there is a wallet already ('{0}'), and it is not overwritten: move it away first, or use \
         it"
    )]
    Exists(PathBuf),
    /// The file is there, but it is not a wallet, or a damaged one.
    #[error(
        "'{path}' is not a wallet that can be read: {reason}; it was left as it is: restore a \
         copy of it, or move it away and use create-wallet --recover"
    )]
    Unreadable {
        path: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// The file was written by a newer program.
    #[error(
        "'{path}' is a wallet of version {version}, and this program knows version 1: use a newer \
         friendchain"
    )]
    Newer { path: PathBuf, version: u32 },
    /// The file is another one than this wallet read or wrote.
    #[error(
        "'{0}' was changed by another program while this one was using it, and was left as it is: \
         start again"
    )]
    Changed(PathBuf),
    /// The secret is locked, and a new address needs it.
    #[error(transparent)]
    Locked(#[from] LockedError),
    /// The words are not a recovery phrase.
    #[error(transparent)]
    Phrase(#[from] PhraseError),
    /// An empty passphrase was given.
    #[error(
        "the passphrase is empty: choose one of some length, or leave --passphrase-file out for \
         none"
    )]
    EmptyPassphrase,
    /// The file holds as many addresses as it may.
    #[error("the wallet has {0} addresses, and may not have more: use one of them")]
    TooManyAddresses(u32),
    /// The passphrase's key could not be made.
    #[error(
        "the wallet could not be sealed under its passphrase: there is too little free memory (64 \
         MiB are needed)"
    )]
    Seal,
    /// The operating system gave no randomness.
    #[error("the operating system gives no random numbers, so no safe key can be made: {0}")]
    Random(rand::rngs::SysError),
    /// The disk said no.
    #[error("cannot {action} '{path}': {source}")]
    Io {
        /// `read`, `write` …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// The secret is needed, and it is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the wallet is locked: unlock it first (unlock), or give its passphrase with --passphrase-file"
)]
pub struct LockedError;

/// Why the wallet was not unlocked, or not locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// It does not open with this passphrase.
    #[error("the passphrase is wrong: the wallet stays locked")]
    WrongPassphrase,
    #[error("the wallet has no passphrase: it is always unlocked")]
    NoPassphrase,
    /// What the file asks for before it opens is out of bounds.
    #[error(
        "the wallet's file asks for more work than it may ({0}): it was tampered with; restore a \
         copy of it"
    )]
    Cost(String),
    /// There is not that much memory.
    #[error("there is too little free memory to unlock the wallet (64 MiB are needed)")]
    NoMemory,
    /// The secret opened, but the file's addresses are not its own.
    #[error(
        "address {0} in the wallet's file does not belong to its secret: the file was tampered \
         with; restore a copy of it, or move it away and use create-wallet --recover"
    )]
    ForeignAddress(Address),
    /// What opened is not the secret of a wallet.
    #[error(
        "the wallet's secret is damaged: restore a copy of the file, or move it away and use \
         create-wallet --recover"
    )]
    Damaged,
}

/// Why a transaction was not signed. Nothing of it is signed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The secret is locked.
    #[error(transparent)]
    Locked(#[from] LockedError),
    /// An input's address is not in this wallet.
    #[error(
        "{0} is not an address of this wallet, so it cannot sign for it: list-addresses shows \
         which are"
    )]
    NotOurs(Address),
}

/// Why a trade or note could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The address has too little.
    #[error("{address} has {has}{}, and this needs {needs}: send less, or wait for more or mine it", pending_part(*.pending))]
    NotEnough {
        address: Address,
        /// All that it could spend next, what is pending included.
        has: Amount,
        /// Amount and fee.
        needs: Amount,
        /// How much of `has` waits to be mined.
        pending: Amount,
    },
    /// Nothing would be sent.
    #[error("the amount is 0: send at least 0.00000001")]
    ZeroAmount,
    /// Amount and fee together are more than there can be.
    #[error("{amount} and a fee of {fee} are together more coins than there can be")]
    TooLarge {
        /// What would be sent.
        amount: Amount,
        /// What the miner would get.
        fee: Amount,
    },
    /// The coins are so small that a trade of the largest size cannot gather enough of them.
    #[error(
        "{address} has enough, but in coins so small that one trade cannot hold them all: send at \
         most {most} at once, for instance to {address} itself, which gathers them into one"
    )]
    TooManyCoins {
        address: Address,
        /// The most that one trade with this fee and memo can send.
        most: Amount,
    },
    /// The text is longer than a memo may be.
    #[error(
        "the text has {0} bytes, and may have {MAX_MEMO_BYTES}: shorten it, or write it in parts"
    )]
    TextTooLong(usize),
    /// A note without text.
    #[error("a note needs a text")]
    EmptyNote,
    /// A note has no coins to pay a fee from.
    #[error("a note pays no fee: it waits until a block has room for what is free")]
    NoteWithFee,
    /// The fee would not be higher.
    #[error("the trade pays {before} already, and a fee of {fee} is not more")]
    FeeNotRaised {
        before: Amount,
        /// What it should pay.
        fee: Amount,
    },
}

fn pending_part(pending: Amount) -> String {
    if pending == Amount::ZERO {
        String::new()
    } else {
        format!(" ({pending} of it waits to be mined)")
    }
}

/// Why a note was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text cannot be a note.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The key is not at hand.
    #[error(transparent)]
    Sign(#[from] SignError),
}
