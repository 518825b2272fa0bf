//! What the RPC takes and answers. The JSON is the contract that users' scripts rely on: fields keep their names.
//!
//! Amounts are decimal strings, in coins (`x`) and in units (`x_units`); hashes are hex; times are unix milliseconds;
//! what does not apply is left out. The command line prints these very values under `--json`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize;

use crate::primitives::{
    Address, Amount, AmountError, Block, BlockHash, Height, MerkleRoot, NetworkId, PeerId, Transaction,
    TransactionKind, TxId, UnixMillis,
};
pub use crate::sync::Phase;

/// An amount as decimal coins: `"0.25"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Coins(pub Amount);

/// An amount as units: `"25000000"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Units(pub Amount);

/// A difference of amounts, as decimal coins: `"-10"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SignedCoins(i128);

/// A difference of amounts, as units: `"-1000000000"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SignedUnits(i128);

impl SignedCoins {
    /// What is added less what is taken.
    #[must_use]
    pub fn difference(added: Amount, taken: Amount) -> Self {
        Self(i128::from(added.units()).saturating_sub(i128::from(taken.units())))
    }

    /// The same as units.
    #[must_use]
    pub const fn units(self) -> SignedUnits {
        SignedUnits(self.0)
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is below nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// It without its sign.
    #[must_use]
    pub fn magnitude(self) -> Amount {
        Amount::from_units(u64::try_from(self.0.unsigned_abs()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Coins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Coins {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.units().to_string())
    }
}

impl FromStr for Units {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Amount::from_units).map(Self)
    }
}

impl fmt::Display for SignedCoins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}{}", if self.is_negative() { "-" } else { "" }, self.magnitude()))
    }
}

impl FromStr for SignedCoins {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, magnitude) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let units = i128::from(magnitude.parse::<Amount>()?.units());
        Ok(Self(units.saturating_mul(sign)))
    }
}

impl fmt::Display for SignedUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for SignedUnits {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Writes and reads a type as its text.
macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(Coins, Units, SignedCoins, SignedUnits);

/// The compact target as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits(pub u32);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:08x}", self.0))
    }
}

impl FromStr for Bits {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

serde_as_text!(Bits);

/// A passphrase or recovery phrase: wiped when dropped, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes it over.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Asks for a new wallet, or one more address of the wallet there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateWallet {
    /// Encrypts a new wallet; opens the one there is when it is locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
    /// Restores a wallet from its words instead, looking through 1,000 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
}

/// A wallet or address was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletCreated {
    /// The new address; the first one after a recovery.
    pub address: Address,
    /// Only when the wallet is new: to be shown once, on a terminal. The command line never prints it as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_phrase: Option<Secret>,
    /// After a recovery: how many addresses the wallet has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u32>,
}

/// Whether the wallet can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockState {
    /// It can.
    pub unlocked: bool,
}

/// An address of the wallet and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressBalance {
    /// It.
    pub address: Address,
    /// Confirmed coins; zero where there is no chain.
    pub balance: Coins,
    /// The same in units.
    pub balance_units: Units,
}

impl AddressBalance {
    /// An address with its confirmed coins.
    #[must_use]
    pub const fn new(address: Address, balance: Amount) -> Self {
        Self { address, balance: Coins(balance), balance_units: Units(balance) }
    }
}

/// The addresses of the wallet, in the order made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressList {
    /// Them.
    pub addresses: Vec<AddressBalance>,
}

/// What the console's `la` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The wallet's addresses, in the order made.
    pub addresses: Vec<AddressBalance>,
    /// How many blocks of the best chain pay one of them.
    pub blocks_won: u64,
}

/// Asks for a new chain of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateBlockchain {
    /// Whom the genesis pays.
    pub address: Address,
    /// Its name, at most 32 bytes; the node chooses one when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Wanted time between blocks, in ms; 0: the floor for ever. 10,000 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing_ms: Option<u64>,
    /// The floor, as leading zero bits, 8 to 40. 22 when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
}

/// A chain was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainCreated {
    /// Its name everywhere.
    pub network_id: NetworkId,
    /// Its genesis block: the same hash.
    pub block: BlockHash,
    /// That block, whole.
    pub genesis: BlockView,
}

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteText {
    /// `friendchain:…`, to be given to `join`.
    pub invite: String,
    /// How many addresses it holds; 0 when no node runs, so that whoever joins needs `--peer`.
    pub addresses: u32,
}

/// A chain was joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The chain.
    pub network_id: NetworkId,
}

/// The chain was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftChain {
    /// The chain that was here.
    pub network_id: NetworkId,
    /// The file that keeps it.
    pub backup: String,
}

/// What an address has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceReport {
    /// Whose.
    pub address: Address,
    /// On the best chain, young coinbases included.
    pub confirmed: Coins,
    /// The same in units.
    pub confirmed_units: Units,
    /// What waiting trades will add, less what they will take: may be below zero.
    pub pending: SignedCoins,
    /// The same in units.
    pub pending_units: SignedUnits,
    /// Of the tip that this was read at.
    pub height: Height,
}

impl BalanceReport {
    /// From the chain's figures.
    #[must_use]
    pub fn new(address: Address, confirmed: Amount, pending_in: Amount, pending_out: Amount, height: Height) -> Self {
        let pending = SignedCoins::difference(pending_in, pending_out);
        Self {
            address,
            confirmed: Coins(confirmed),
            confirmed_units: Units(confirmed),
            pending,
            pending_units: pending.units(),
            height,
        }
    }
}

/// Asks to pay somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendTrade {
    /// An address of this wallet.
    pub from: Address,
    /// An address, or a friend: a name, a name with an id suffix, or a peer id. What begins as an address is one.
    pub to: String,
    /// How much.
    pub amount: Coins,
    /// For the miner; nothing when not given.
    #[serde(default)]
    pub fee: Coins,
    /// Written down with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Also mine, reward to `from`, and wait until it is mined by anyone.
    #[serde(default)]
    pub mine: bool,
    /// Opens the wallet for this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// Asks to write a text on the chain, and starts mining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteNote {
    /// The whole text.
    pub text: String,
    /// Wait until it is mined by anyone.
    #[serde(default)]
    pub wait: bool,
    /// Opens the wallet for this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TxStateName {
    /// It waits.
    Mempool,
    /// It is in a block of the best chain.
    Mined,
    /// One of our own that can never be mined any more.
    Void,
}

/// A transaction was made and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id.
    pub txid: TxId,
    /// Where it is.
    pub state: TxStateName,
    /// The block that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockHash>,
    /// Whether it rests on rewards so young that a reorganisation could undo them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests_on_young_coins: bool,
}

/// Blocks were mined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinedBlocks {
    /// Oldest first.
    pub blocks: Vec<BlockHash>,
}

/// What an input spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputView {
    /// The transaction whose output it is; zeros for the stamp of a note.
    pub txid: TxId,
    /// Which of its outputs.
    pub index: u32,
    /// Whose key signed.
    pub address: Address,
}

/// What an output pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputView {
    /// Whom.
    pub address: Address,
    /// How much.
    pub value: Coins,
    /// The same in units.
    pub value_units: Units,
}

/// A transaction as people and scripts see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxView {
    /// Its id.
    pub txid: TxId,
    /// What it is.
    pub kind: TransactionKind,
    /// What it spends.
    pub inputs: Vec<InputView>,
    /// What it pays.
    pub outputs: Vec<OutputView>,
    /// Its text, made printable; none when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Inputs less outputs; zero in a coinbase.
    pub fee: Coins,
    /// Where it is.
    pub state: TxStateName,
    /// The block that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockHash>,
    /// The height of that block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// How many blocks stand on it, its own included; 0 when it is in none.
    pub confirmations: u32,
    /// Of a void one: why, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where a transaction that is to be shown lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxPlace {
    /// It waits.
    Mempool,
    /// In a block of the best chain.
    Mined {
        /// The block.
        block: BlockHash,
        /// Its height.
        height: Height,
        /// Of the tip, for the confirmations.
        tip_height: Height,
    },
    /// It can never be mined any more.
    Void {
        /// Why, as a sentence.
        reason: String,
    },
}

impl TxView {
    /// A transaction as it is shown.
    #[must_use]
    pub fn new(transaction: &Transaction, txid: TxId, fee: Amount, place: TxPlace) -> Self {
        let memo = transaction.memo_text();
        // A miner's counter in a coinbase is no text.
        let is_text = transaction.kind() != TransactionKind::Coinbase || !memo.contains(char::REPLACEMENT_CHARACTER);
        let mut view = Self {
            txid,
            kind: transaction.kind(),
            inputs: transaction
                .inputs
                .iter()
                .map(|input| InputView {
                    txid: input.outpoint.txid,
                    index: input.outpoint.index,
                    address: Address(input.public_key.owner()),
                })
                .collect(),
            outputs: transaction
                .outputs
                .iter()
                .map(|output| OutputView {
                    address: Address(output.owner),
                    value: Coins(output.value),
                    value_units: Units(output.value),
                })
                .collect(),
            memo: (is_text && !memo.is_empty()).then_some(memo),
            fee: Coins(fee),
            state: TxStateName::Mempool,
            block: None,
            height: None,
            confirmations: 0,
            reason: None,
        };
        match place {
            TxPlace::Mempool => {}
            TxPlace::Mined { block, height, tip_height } => {
                view.state = TxStateName::Mined;
                view.block = Some(block);
                view.height = Some(height);
                view.confirmations = tip_height.saturating_sub(height).saturating_add(1);
            }
            TxPlace::Void { reason } => {
                view.state = TxStateName::Void;
                view.reason = Some(reason);
            }
        }
        view
    }
}

/// A block as people and scripts see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its name.
    pub hash: BlockHash,
    /// Distance from genesis.
    pub height: Height,
    /// Always 1.
    pub version: u32,
    /// The parent; zeros in a genesis.
    pub previous_hash: BlockHash,
    /// Over the transactions.
    pub merkle_root: MerkleRoot,
    /// When its miner says it was made.
    pub time: UnixMillis,
    /// The target in compact form.
    pub bits: Bits,
    /// What the miner varied.
    pub nonce: u64,
    /// Whether the hash meets the target.
    pub pow: bool,
    /// The coinbase first.
    pub transactions: Vec<TxView>,
}

impl BlockView {
    /// A block of the best chain as it is shown. `fees` are one for each transaction, in order; `pow` says whether the
    /// hash was found to meet the target.
    #[must_use]
    pub fn new(hash: BlockHash, block: &Block, fees: &[Amount], tip_height: Height, pow: bool) -> Self {
        let header = &block.header;
        let transactions = block
            .transactions
            .iter()
            .enumerate()
            .map(|(position, transaction)| {
                let fee = fees.get(position).copied().unwrap_or_default();
                let place = TxPlace::Mined { block: hash, height: header.height, tip_height };
                TxView::new(transaction, transaction.txid(), fee, place)
            })
            .collect();
        Self {
            hash,
            height: header.height,
            version: 1,
            previous_hash: header.previous,
            merkle_root: header.merkle_root,
            time: header.time,
            bits: Bits(header.bits),
            nonce: header.nonce,
            pow,
            transactions,
        }
    }
}

/// Blocks, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockList {
    /// Them.
    pub blocks: Vec<BlockView>,
}

/// Transactions, parents first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxList {
    /// Them.
    pub transactions: Vec<TxView>,
}

/// What a whole check or rebuild found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Of the tip.
    pub height: Height,
    /// The tip.
    pub tip: BlockHash,
    /// How many coins there are.
    pub coins: u64,
    /// Their sum.
    pub supply: Coins,
    /// The same in units.
    pub supply_units: Units,
    /// 64 hex digits over all coins: equal on nodes that agree.
    pub coins_hash: String,
    /// Whether everything agrees.
    pub ok: bool,
    /// When it does not: what was found, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// When a node mines by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MineMode {
    /// Only when asked: `mine`, `send --mine`, `note`.
    #[default]
    Off,
    /// While trades wait: own ones at once, others' after a random wait.
    OnDemand,
    /// Always.
    Always,
}

impl fmt::Display for MineMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::OnDemand => "on-demand",
            Self::Always => "always",
        })
    }
}

/// The state of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// What the node calls itself.
    pub name: String,
    /// Its identity.
    pub peer_id: PeerId,
    /// The chain.
    pub network_id: NetworkId,
    /// The name of the chain.
    pub network_name: String,
    /// How far it is.
    pub phase: Phase,
    /// Of the tip.
    pub height: Height,
    /// The tip.
    pub tip: BlockHash,
    /// Of the best header known.
    pub best_header_height: Height,
    /// Expected hashes behind the tip, hex.
    pub work: String,
    /// How many peers are connected.
    pub peers: u32,
    /// How many trades wait.
    pub mempool: u32,
    /// Where it accepts connections, as multiaddrs.
    pub listen: Vec<String>,
    /// Of the program.
    pub version: String,
    /// Whether a node runs on the folder; else the folder was opened for this answer.
    pub running: bool,
    /// When it mines by itself.
    pub mining: MineMode,
    /// Who is paid for blocks mined here; none when there is no wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<Address>,
    /// Blocks a second, while it syncs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks_per_second: Option<u64>,
    /// Seconds until synced at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Of the data folder's files.
    pub disk_bytes: u64,
    /// Of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Our clock less our friends', in ms, where it is far enough off to matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
    /// The data folder.
    pub data_dir: String,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Who.
    pub peer_id: PeerId,
    /// By its profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its address as this node sees it.
    pub address: String,
    /// Whether the peer dialed.
    pub inbound: bool,
    /// 0 is good; penalties take from it.
    pub score: i64,
    /// Of its tip, when it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// Since when, in unix ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMillis>,
}

/// Connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// Them.
    pub peers: Vec<PeerView>,
    /// Banned, not connected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub banned: Vec<PeerId>,
}

/// A friend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FriendView {
    /// By its signed profile, made printable.
    pub name: String,
    /// Hex digits of its identity that tell it from others of the name.
    pub suffix: String,
    /// Its identity.
    pub peer_id: PeerId,
    /// Whether it is here.
    pub online: bool,
    /// Where coins for it go; none when it has no wallet.
    pub address: Option<Address>,
    /// When it was last here; none when it was only heard of.
    pub last_seen: Option<UnixMillis>,
}

/// Friends, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FriendList {
    /// Them.
    pub friends: Vec<FriendView>,
}

/// How a direct line fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatState {
    /// The friend's node has it on disk.
    Delivered,
    /// It waits here until the friend is back.
    Queued,
    /// The friend's node will not have it.
    Refused,
    /// It came from a friend.
    Received,
    /// It was told to all.
    Sent,
}

impl fmt::Display for ChatState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Sent => "sent",
        })
    }
}

/// A direct line was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSent {
    /// Of the line.
    pub id: String,
    /// `delivered` or `queued`.
    pub state: ChatState,
}

/// A line to all was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastSent {
    /// Of the line.
    pub id: String,
    /// How many friends are here to hear it.
    pub peers: u32,
}

/// A chat line that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Of the line.
    pub id: String,
    /// Who wrote it, by name.
    pub from: String,
    /// To whom, by name; none when to all.
    pub to: Option<String>,
    /// The whole line, made printable.
    pub text: String,
    /// When, by its author's clock.
    pub time: UnixMillis,
    /// How it fares.
    pub state: ChatState,
}

/// Chat lines, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatHistory {
    /// Them.
    pub messages: Vec<ChatMessage>,
}

/// Where the chain stands after a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Of the tip.
    pub height: Height,
    /// The tip.
    pub tip: BlockHash,
}

/// Whether a peer may connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanState {
    /// Who.
    pub peer_id: PeerId,
    /// It may not.
    pub banned: bool,
}

/// The node is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Always true.
    pub stopping: bool,
}

/// How far the long work is that the node does for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What: `verify`, `reindex`, `mine`, `sync`, `create`.
    pub task: String,
    /// How much is done: blocks, or hashes in `create`.
    pub done: u64,
    /// Of how much; none where nobody can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// When it began.
    pub started: UnixMillis,
}

/// Something that a console shows above its prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ConsoleEvent {
    /// A chat line came.
    Chat {
        /// Its author's name; with a suffix where two friends share it.
        from: String,
        /// The whole line, made printable.
        text: String,
        /// Whether it is to this node alone.
        direct: bool,
        /// When, by its author's clock.
        time: UnixMillis,
    },
    /// A queued line of ours was kept by its receiver.
    ChatDelivered {
        /// To whom, by name.
        to: String,
        /// Of the line.
        id: String,
    },
    /// A friend is here.
    FriendJoined {
        /// By its profile.
        name: String,
        /// Its identity.
        peer_id: PeerId,
    },
    /// A friend is gone.
    FriendLeft {
        /// By its profile.
        name: String,
        /// Its identity.
        peer_id: PeerId,
        /// Whether it said goodbye.
        quit: bool,
    },
    /// Blocks joined the best chain; one event for many while the node syncs.
    BlockConnected {
        /// The newest.
        hash: BlockHash,
        /// Its height.
        height: Height,
        /// How many.
        count: u32,
        /// The texts of the notes in it, made printable; left out when there were many blocks.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// This node found a block.
    BlockMined {
        /// Its name.
        hash: BlockHash,
        /// Its height.
        height: Height,
    },
    /// Another branch became the best chain.
    Reorganised {
        /// The new tip.
        tip: BlockHash,
        /// Its height.
        height: Height,
        /// How many blocks left.
        disconnected: u32,
    },
    /// A trade or note of this wallet was mined.
    TradeMined {
        /// Its id.
        txid: TxId,
        /// The block.
        block: BlockHash,
        /// Its height.
        height: Height,
    },
    /// A trade or note of this wallet can never be mined any more.
    TradeVoid {
        /// Its id.
        txid: TxId,
        /// Why, as a sentence.
        reason: String,
    },
    /// A sentence that the node wants a person to read.
    Notice {
        /// It.
        text: String,
    },
    /// The node ends: nothing follows.
    Stopping,
}

/// The next events of the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPage {
    /// What to give as `after` next.
    pub next: u64,
    /// How many were dropped because nobody fetched them in time.
    #[serde(default)]
    pub missed: u64,
    /// Oldest first; empty when none came in time.
    pub events: Vec<ConsoleEvent>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::primitives::{Header, Owner, PublicKey, TxOutput};

    /// The fields of a JSON object.
    fn fields(value: &impl Serialize) -> BTreeSet<String> {
        let Value::Object(object) = serde_json::to_value(value).expect("JSON") else { panic!("no object") };
        object.into_iter().map(|(field, _)| field).collect()
    }

    #[track_caller]
    fn assert_fields(value: &impl Serialize, expected: &[&str]) {
        let expected: BTreeSet<_> = expected.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(fields(value), expected);
    }

    fn block() -> BlockView {
        let coinbase = Transaction {
            inputs: Vec::new(),
            outputs: vec![TxOutput { value: Amount::from_coins(100), owner: Owner::ZERO }],
            memo: vec![0; 4],
        };
        let header = Header {
            previous: BlockHash::ZERO,
            merkle_root: MerkleRoot::ZERO,
            height: 3,
            time: 1_700_000_000_000,
            bits: 0x1e03_ffff,
            nonce: u64::MAX,
        };
        let block = Block { header, transactions: vec![coinbase] };
        BlockView::new(BlockHash([1; 32]), &block, &[Amount::ZERO], 5, true)
    }

    #[test]
    fn blocks_and_transactions_keep_the_contract() {
        let block = block();
        assert_fields(
            &block,
            &[
                "hash",
                "height",
                "version",
                "previous_hash",
                "merkle_root",
                "time",
                "bits",
                "nonce",
                "pow",
                "transactions",
            ],
        );
        let value = serde_json::to_value(&block).expect("JSON");
        assert_eq!(value["bits"], "1e03ffff");
        assert_eq!(value["hash"], "01".repeat(32));
        assert_eq!(value["nonce"], u64::MAX);
        let tx = &value["transactions"][0];
        assert_fields(tx, &["txid", "kind", "inputs", "outputs", "fee", "state", "block", "height", "confirmations"]);
        assert_eq!((&tx["kind"], &tx["state"], &tx["confirmations"]), (&json!("coinbase"), &json!("mined"), &json!(3)));
        let paid = json!({"address": Address(Owner::ZERO), "value": "100", "value_units": "10000000000"});
        assert_eq!(tx["outputs"][0], paid);
        assert_eq!(serde_json::from_value::<BlockView>(value).expect("it reads back"), block);
    }

    #[test]
    fn a_balance_keeps_the_contract() {
        let amount = Amount::from_units;
        let report = BalanceReport::new(Address(Owner::ZERO), amount(25_000_000), amount(0), amount(1), 7);
        let expected = json!({
            "address": Address(Owner::ZERO),
            "confirmed": "0.25",
            "confirmed_units": "25000000",
            "pending": "-0.00000001",
            "pending_units": "-1",
            "height": 7,
        });
        let value = serde_json::to_value(&report).expect("JSON");
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_value::<BalanceReport>(value).expect("it reads back"), report);
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let sent =
            Submitted { txid: TxId::ZERO, state: TxStateName::Mempool, block: None, rests_on_young_coins: false };
        assert_fields(&sent, &["txid", "state"]);
        let mined = Submitted { state: TxStateName::Mined, block: Some(BlockHash::ZERO), ..sent };
        assert_fields(&mined, &["txid", "state", "block"]);
        let audit = AuditReport {
            height: 1,
            tip: BlockHash::ZERO,
            coins: 2,
            supply: Coins(Amount::from_coins(200)),
            supply_units: Units(Amount::from_coins(200)),
            coins_hash: "00".repeat(32),
            ok: true,
            problem: None,
        };
        assert_fields(&audit, &["height", "tip", "coins", "supply", "supply_units", "coins_hash", "ok"]);
    }

    #[test]
    fn friends_and_chat_keep_the_contract() {
        let friend = FriendView {
            name: "yzw".to_owned(),
            suffix: "3f2a0000".to_owned(),
            peer_id: PeerId(PublicKey([5; 32])),
            online: false,
            address: None,
            last_seen: None,
        };
        // Address and last_seen are there even where nothing is known: null.
        assert_fields(&friend, &["name", "suffix", "peer_id", "online", "address", "last_seen"]);
        assert_fields(&ChatSent { id: "a".to_owned(), state: ChatState::Queued }, &["id", "state"]);
        assert_fields(&BroadcastSent { id: "a".to_owned(), peers: 4 }, &["id", "peers"]);
        assert_eq!(serde_json::to_value(ChatState::Delivered).expect("JSON"), "delivered");
        assert_eq!(serde_json::to_value(MineMode::OnDemand).expect("JSON"), "on-demand");
        let message = ChatMessage {
            id: "a".to_owned(),
            from: "yzw".to_owned(),
            to: None,
            text: "hi".to_owned(),
            time: 1,
            state: ChatState::Received,
        };
        assert_fields(&message, &["id", "from", "to", "text", "time", "state"]);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("open sesame".to_owned());
        assert!(!format!("{secret:?}").contains("sesame"));
        let request = WriteNote { text: "hi".to_owned(), wait: false, passphrase: Some(secret) };
        assert!(!format!("{request:?}").contains("sesame"));
    }

    #[test]
    fn amounts_in_a_request_are_decimal_coins() {
        let request = json!({"from": Address(Owner::ZERO), "to": "yjf", "amount": "0.25"});
        let send: SendTrade = serde_json::from_value(request).expect("a request");
        assert_eq!((send.amount.0.units(), send.fee.0.units(), send.mine), (25_000_000, 0, false));
        let request = json!({"from": Address(Owner::ZERO), "to": "yjf", "amount": 0.25});
        assert!(serde_json::from_value::<SendTrade>(request).is_err(), "a number is not exact");
    }
}
