//! Converts the errors of every module into the RPC's error: a stable code and a sentence.

use super::{
    metrics::ListenError,
    open::OpenChainError,
    router::{LineError, NodeStopping},
};
use crate::{
    chain::errors::{AcceptBranchError, AcceptTradeError, ChainFault, OpenError},
    consensus::{GenesisError, InviteError, ParamsError, ProofError},
    datadir::DataDirError,
    friends::{ChatError, FindError, OwnProfileError, StoreFault},
    miner::{MineError, MineGenesisError},
    net::{CommandError, IdentityError, NetError},
    primitives::{AddressError, HashParseError},
    rpc::RpcError,
    wallet::{
        BuildError, LockedError, NoteError, PassphraseError, PhraseError, ResendError, SignError,
        UnlockError, WalletError,
    },
};

/// Converts errors whose variants each have a code.
macro_rules! coded {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for RpcError {
            fn from(error: $error) -> Self {
                Self::new(error.code(), error.to_string())
            }
        }
    )*};
}

/// Converts errors that have one code.
macro_rules! named {
    ($($error:ty => $code:literal),* $(,)?) => {$(
        impl From<$error> for RpcError {
            fn from(error: $error) -> Self {
                Self::new($code, error.to_string())
            }
        }
    )*};
}

coded!(
    AcceptBranchError,
    AcceptTradeError,
    ChainFault,
    DataDirError,
    GenesisError,
    ProofError,
    ChatError,
    FindError,
    OwnProfileError,
    StoreFault
);

named! {
    AddressError => "bad_address",
    HashParseError => "bad_hash",
    InviteError => "bad_invite",
    ParamsError => "bad_parameters",
    LockedError => "wallet_locked",
    PhraseError => "bad_recovery_phrase",
    MineGenesisError => "not_mined",
    IdentityError => "bad_identity",
    CommandError => "network_busy",
    NodeStopping => "stopping",
}

impl From<OpenError> for RpcError {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::NoChain { .. } => return Self::no_chain(),
            OpenError::Exists { .. } => "chain_exists",
            OpenError::Locked { .. } => "folder_in_use",
            OpenError::NotAChain { .. } | OpenError::Corrupt { .. } | OpenError::Lost { .. } => {
                "bad_chain_file"
            }
            OpenError::NewerSchema { .. } => "newer_schema",
            OpenError::OtherNetwork { .. } => "other_network",
            OpenError::Disk { .. } => "disk",
        };
        Self::new(code, error.to_string())
    }
}

impl From<OpenChainError> for RpcError {
    fn from(error: OpenChainError) -> Self {
        match error {
            OpenChainError::File(error) => error.into(),
            OpenChainError::Thread(error) => error,
        }
    }
}

impl From<LineError> for RpcError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Stopping(error) => error.into(),
            LineError::Friend(error) => error.into(),
            LineError::Line(error) => error.into(),
            LineError::Network(error) => error.into(),
        }
    }
}

impl From<ListenError> for RpcError {
    fn from(error: ListenError) -> Self {
        let code = match &error {
            ListenError::InUse(_) => "metrics_port_in_use",
            ListenError::Bind { .. } => "metrics_bind",
            ListenError::Address(_) => return Self::internal(error),
        };
        Self::new(code, error.to_string())
    }
}

impl From<WalletError> for RpcError {
    fn from(error: WalletError) -> Self {
        let code = match &error {
            WalletError::Missing(_) => "no_wallet",
            WalletError::Exists(_) => "wallet_exists",
            WalletError::Unreadable { .. }
            | WalletError::Newer { .. }
            | WalletError::Changed(_) => "bad_wallet",
            WalletError::Locked(_) => "wallet_locked",
            WalletError::Phrase(_) => "bad_recovery_phrase",
            WalletError::EmptyPassphrase => "bad_passphrase",
            WalletError::TooManyAddresses(_) => "too_many_addresses",
            WalletError::Seal | WalletError::Random(_) | WalletError::Io { .. } => "wallet_failed",
        };
        Self::new(code, error.to_string())
    }
}

impl From<UnlockError> for RpcError {
    fn from(error: UnlockError) -> Self {
        let code = match &error {
            UnlockError::WrongPassphrase => "wrong_passphrase",
            UnlockError::NoPassphrase => "no_passphrase",
            _ => "bad_wallet",
        };
        Self::new(code, error.to_string())
    }
}

impl From<PassphraseError> for RpcError {
    fn from(error: PassphraseError) -> Self {
        match error {
            PassphraseError::OldMissing => Self::new("wrong_passphrase", error.to_string()),
            PassphraseError::Nothing => Self::new("no_passphrase", error.to_string()),
            PassphraseError::Unlock(error) => error.into(),
            PassphraseError::Wallet(error) => error.into(),
        }
    }
}

impl From<SignError> for RpcError {
    fn from(error: SignError) -> Self {
        let code = match &error {
            SignError::Locked(_) => "wallet_locked",
            SignError::NotOurs(_) => "not_our_address",
        };
        Self::new(code, error.to_string())
    }
}

impl From<BuildError> for RpcError {
    fn from(error: BuildError) -> Self {
        let code = match &error {
            BuildError::NotEnough { .. } => "not_enough",
            BuildError::ZeroAmount | BuildError::TooLarge { .. } => "bad_amount",
            BuildError::TooManyCoins { .. } => "too_many_coins",
            BuildError::TextTooLong(_) => "text_too_long",
            BuildError::EmptyNote => "empty_note",
            BuildError::NoteWithFee => "note_without_fee",
            BuildError::NotOurs(_) => "not_our_address",
            BuildError::FeeNotRaised { .. } => "fee_not_raised",
        };
        Self::new(code, error.to_string())
    }
}

impl From<ResendError> for RpcError {
    fn from(error: ResendError) -> Self {
        let code = match &error {
            ResendError::Note(_) => "stamp_used",
            ResendError::AlreadyPaid { .. } | ResendError::PaidSince { .. } => "already_paid",
            ResendError::NotSettled { .. } | ResendError::CoinMayReturn { .. } => "could_pay_twice",
        };
        Self::new(code, error.to_string())
    }
}

impl From<NoteError> for RpcError {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Build(error) => error.into(),
            NoteError::Sign(error) => error.into(),
        }
    }
}

impl From<MineError> for RpcError {
    fn from(error: MineError) -> Self {
        let code = match &error {
            MineError::TooMany(_) => "too_many_blocks",
            MineError::Busy => "busy",
            MineError::Void { .. } => "void",
            MineError::Unknown(_) => "unknown_transaction",
            MineError::Stopped => "stopping",
            MineError::Refused(_) | MineError::Chain(_) => "internal",
        };
        Self::new(code, error.to_string())
    }
}

impl From<NetError> for RpcError {
    fn from(error: NetError) -> Self {
        let code = match &error {
            NetError::AddressInUse { .. } => "port_in_use",
            NetError::Address(_) => "bad_address",
            _ => "network_failed",
        };
        Self::new(code, error.to_string())
    }
}
