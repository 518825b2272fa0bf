//! What commands on the chain take and answer.

use serde::{Deserialize, Serialize};

use super::values::{Bits, Coins, Secret, SignedCoins, SignedUnits, Units};
use crate::{
    chain::api::MempoolEntry,
    primitives::{
        Address, Amount, Block, BlockHash, Height, MerkleRoot, NetworkId, Transaction,
        TransactionKind, TxId, UnixMillis,
    },
};

/// Asks for a new chain of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateBlockchain {
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
pub(crate) struct ChainCreated {
    pub network_id: NetworkId,
    /// Its genesis block: the same hash.
    pub block: BlockHash,
    pub genesis: BlockView,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InviteText {
    /// `friendchain:…`, to be given to `join`.
    pub invite: String,
    /// How many addresses it holds; 0 when no node runs, so that whoever joins needs `--peer`.
    pub addresses: u32,
}

/// A chain was joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub network_id: NetworkId,
}

/// The chain was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftChain {
    /// The chain that was here; none when its file could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<NetworkId>,
    /// The file that keeps it.
    pub backup: String,
}

/// What an address has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BalanceReport {
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
    pub(crate) fn new(
        address: Address,
        confirmed: Amount,
        pending_in: Amount,
        pending_out: Amount,
        height: Height,
    ) -> Self {
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
pub(crate) struct SendTrade {
    /// An address of this wallet.
    pub from: Address,
    /// An address, or a friend: a name, a name with an id suffix, or a peer id. What begins as an
    /// address is one.
    pub to: String,
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

/// Asks to replace an own trade that waits by the same one with a higher fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaiseFee {
    pub txid: TxId,
    /// For the miner, instead of what it pays now.
    pub fee: Coins,
    /// Also mine, reward to the sender, and wait until it is mined by anyone.
    #[serde(default)]
    pub mine: bool,
    /// Opens the wallet for this alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// Asks to write a text on the chain, and starts mining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriteNote {
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
pub(crate) enum TxStateName {
    Mempool,
    /// It is in a block of the best chain.
    Mined,
    /// One of our own that can never be mined any more.
    Void,
}

/// A transaction was made and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    pub txid: TxId,
    pub state: TxStateName,
    /// The block that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockHash>,
    /// Whether it rests on rewards so young that a reorganisation could undo them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests_on_young_coins: bool,
    /// The trade that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<TxId>,
    /// What rested on that trade, and is void with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_void: Vec<TxId>,
}

impl Submitted {
    #[must_use]
    pub(crate) const fn waits(txid: TxId, rests_on_young_coins: bool) -> Self {
        Self {
            txid,
            state: TxStateName::Mempool,
            block: None,
            rests_on_young_coins,
            replaces: None,
            also_void: Vec::new(),
        }
    }
}

/// Blocks were mined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MinedBlocks {
    pub blocks: Vec<BlockHash>,
}

/// What an input spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputView {
    /// The transaction whose output it is; zeros for the stamp of a note.
    pub txid: TxId,
    /// Which of its outputs.
    pub index: u32,
    pub address: Address,
}

/// What an output pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputView {
    pub address: Address,
    pub value: Coins,
    /// The same in units.
    pub value_units: Units,
}

/// A transaction as people and scripts see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxView {
    pub txid: TxId,
    pub kind: TransactionKind,
    pub inputs: Vec<InputView>,
    pub outputs: Vec<OutputView>,
    /// Its text, made printable; none when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Inputs less outputs; zero in a coinbase.
    pub fee: Coins,
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
    /// Of one in a list of those that wait: how it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
}

/// How a trade or note waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingView {
    pub bytes: usize,
    /// Its fee for each 1,000 bytes.
    pub fee_rate: Coins,
    /// The same in units.
    pub fee_rate_units: Units,
    /// Since when, in unix ms.
    pub since: UnixMillis,
    /// When it is forgotten here if it is not mined before, in unix ms; never, when it was made
    /// here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixMillis>,
    /// Whether it was made here.
    pub own: bool,
}

impl WaitingView {
    /// Of an entry of the mempool.
    #[must_use]
    pub(crate) fn new(entry: &MempoolEntry) -> Self {
        let rate = Amount::from_units(entry.rate().units());
        Self {
            bytes: entry.bytes,
            fee_rate: Coins(rate),
            fee_rate_units: Units(rate),
            since: entry.added,
            expires: entry.expires,
            own: entry.local,
        }
    }
}

/// Where a transaction that is to be shown lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TxPlace {
    Mempool,
    /// In a block of the best chain.
    Mined {
        block: BlockHash,
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
    pub(crate) fn new(transaction: &Transaction, txid: TxId, fee: Amount, place: TxPlace) -> Self {
        let memo = transaction.memo_text();
        // A miner's counter in a coinbase is no text.
        let is_text = transaction.kind() != TransactionKind::Coinbase
            || !memo.contains(char::REPLACEMENT_CHARACTER);
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
            waiting: None,
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
pub(crate) struct BlockView {
    pub hash: BlockHash,
    /// Distance from genesis.
    pub height: Height,
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
    /// A block of the best chain as it is shown. `fees` are one for each transaction, in order;
    /// `pow` says whether the hash was found to meet the target.
    #[must_use]
    pub(crate) fn new(
        hash: BlockHash,
        block: &Block,
        fees: &[Amount],
        tip_height: Height,
        pow: bool,
    ) -> Self {
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
pub(crate) struct BlockList {
    pub blocks: Vec<BlockView>,
}

/// Transactions, parents first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxList {
    pub transactions: Vec<TxView>,
}

/// What a whole check or rebuild found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    pub height: Height,
    pub tip: BlockHash,
    /// How many coins there are.
    pub coins: u64,
    pub supply: Coins,
    /// The same in units.
    pub supply_units: Units,
    /// 64 hex digits over all coins: equal on nodes that agree.
    pub coins_hash: String,
    pub ok: bool,
    /// When it does not: what was found, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
