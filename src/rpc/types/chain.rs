//! Requests and replies of the commands that read or change the chain.

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::values::{Bits, Coins, FeeChoice, Secret, SignedCoins, SignedUnits, Units};
use crate::{
    chain::api::MempoolEntry,
    primitives::{
        Address, Amount, Block, BlockHash, Height, MerkleRoot, NetworkId, Transaction,
        TransactionKind, TxId, UnixMillis,
    },
};

/// The request of `create_blockchain`: mine a genesis block of a new chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CreateBlockchain {
    /// The payee of the genesis coinbase.
    pub address: Address,
    /// At most 32 bytes. The node chooses a name if this is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The target time between blocks, in ms; default 10,000. With 0 the difficulty stays at the
    /// floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing_ms: Option<u64>,
    /// The difficulty floor in leading zero bits, 8 to 40; default 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
}

/// The reply of `create_blockchain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChainCreated {
    pub network_id: NetworkId,
    /// The hash of the genesis block. The network id has the same bytes.
    pub block: BlockHash,
    pub genesis: BlockView,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InviteText {
    /// A text `friendchain:…`, the argument of `join`.
    pub invite: String,
    /// The number of node addresses in the invite. It is 0 if no node runs; the joining node then
    /// needs `--peer`.
    pub addresses: u32,
    /// The machines that can use the invite's addresses.
    pub reach: Reach,
}

/// The reply of `join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    pub network_id: NetworkId,
    pub network_name: String,
    /// The number of addresses in the invite.
    pub addresses: u32,
}

/// The reply of `leave_chain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftChain {
    /// The chain that the folder held; `None` if its file could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<NetworkId>,
    /// The path of the backup file of that chain.
    pub backup: String,
}

/// The balance of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BalanceReport {
    pub address: Address,
    /// The balance on the best chain, recent block rewards included.
    pub confirmed: Coins,
    pub confirmed_units: Units,
    /// Incoming less outgoing coins of mempool entries; may be negative.
    pub pending: SignedCoins,
    pub pending_units: SignedUnits,
    /// The height of the tip at which the balance was read.
    pub height: Height,
}

impl BalanceReport {
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

/// The request of `send`: pay an address or a friend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SendTrade {
    /// The paying address, one of this wallet; default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// An address, or a friend: a name, a name with an id suffix, or a peer id. A text with the
    /// prefix of an address is parsed as an address.
    pub to: String,
    pub amount: Coins,
    /// The miner's fee; default 0.
    #[serde(default)]
    pub fee: FeeChoice,
    /// True to pay a fee that is much too large for the amount.
    #[serde(default)]
    pub force: bool,
    /// True to spend coins that others sent and that are not mined yet.
    #[serde(default)]
    pub unconfirmed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// True if this node also mines, with the reward to `from`, or to the address of the first coin
    /// spent. The reply then waits until any node has mined the trade.
    #[serde(default)]
    pub mine: bool,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// The request of `raise_fee`: replace a trade of this wallet in the mempool by the same trade with
/// a higher fee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RaiseFee {
    /// The trade's id, or the start of it.
    pub txid: String,
    /// The whole new fee, not the increase.
    pub fee: FeeChoice,
    /// True to pay a fee that is much too large for the amount, and to void later payments.
    #[serde(default)]
    pub force: bool,
    /// True to void later payments that spend the trade's change.
    #[serde(default)]
    pub voids: bool,
    /// True if this node also mines, with the reward to the sender. The reply then waits until any
    /// node has mined the trade.
    #[serde(default)]
    pub mine: bool,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// The request of `note`: write a text on the chain and start mining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WriteNote {
    pub text: String,
    /// True if the reply waits until any node has mined the note.
    #[serde(default)]
    pub wait: bool,
    /// Unlocks the wallet for this request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// The state of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TxStateName {
    Mempool,
    /// Part of a block of the best chain.
    Mined,
    /// A transaction of this wallet that can no longer be mined.
    Void,
}

/// The reply of `send`, `raise_fee`, `cancel`, `resend` and `note`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Submitted {
    pub txid: TxId,
    pub state: TxStateName,
    /// Present only if `state` is `Mined`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockHash>,
    /// True if an input spends a block reward so recent that a reorg could undo it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests_on_young_coins: bool,
    /// The fee for the miner.
    #[serde(default)]
    pub fee: Coins,
    /// True if an input spends a coin that is not mined yet.
    #[serde(default)]
    pub rests_on_unconfirmed: bool,
    /// The waiting transactions that made those coins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<TxId>,
    /// The trade that this one replaces, after `raise_fee`, `cancel` and `resend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<TxId>,
    /// Descendants of the replaced trade, which became void with it. Present after `raise_fee` and
    /// `cancel`, even if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also_void: Option<Vec<TxId>>,
    /// True if the transaction waits, this node does not mine, and no connected peer claims to
    /// mine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nobody_mines: bool,
}

impl Submitted {
    #[must_use]
    pub(crate) const fn waits(txid: TxId, rests_on_young_coins: bool) -> Self {
        Self {
            txid,
            state: TxStateName::Mempool,
            block: None,
            rests_on_young_coins,
            fee: Coins(Amount::ZERO),
            rests_on_unconfirmed: false,
            rests_on: Vec::new(),
            replaces: None,
            also_void: None,
            nobody_mines: false,
        }
    }
}

/// The reply of `mine`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MinedBlocks {
    pub blocks: Vec<BlockHash>,
}

/// The output that an input spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InputView {
    /// The transaction that created the output; zeros for the stamp of a note.
    pub txid: TxId,
    pub index: u32,
    pub address: Address,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutputView {
    pub address: Address,
    pub value: Coins,
    pub value_units: Units,
}

/// A transaction in the JSON form of the RPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxView {
    pub txid: TxId,
    pub kind: TransactionKind,
    pub inputs: Vec<InputView>,
    pub outputs: Vec<OutputView>,
    /// The text as its author wrote it; `None` if it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Inputs less outputs; 0 in a coinbase.
    pub fee: Coins,
    pub state: TxStateName,
    /// Present only if `state` is `Mined`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<Height>,
    /// The number of blocks from its block to the tip, both included; 0 without a block.
    pub confirmations: u32,
    /// The reason why a void transaction is void, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Details of the mempool entry; present only in the reply of `mempool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingView>,
}

/// The details of a mempool entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingView {
    pub bytes: usize,
    /// The fee for each 1,000 bytes.
    pub fee_rate: Coins,
    pub fee_rate_units: Units,
    /// The time of entry into the mempool, in unix ms.
    pub since: UnixMillis,
    /// The time of eviction if it is not mined before, in unix ms. `None` for transactions made on
    /// this node, which do not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixMillis>,
    /// True if this node made the transaction.
    pub own: bool,
}

impl WaitingView {
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

/// The state of a transaction with its place: mempool, best chain, or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TxPlace {
    Mempool,
    Mined {
        block: BlockHash,
        height: Height,
        /// The height of the tip, from which confirmations are counted.
        tip_height: Height,
    },
    /// A transaction that can no longer be mined.
    Void {
        /// The cause, as a sentence.
        reason: String,
    },
}

impl TxView {
    #[must_use]
    pub(crate) fn new(transaction: &Transaction, txid: TxId, fee: Amount, place: TxPlace) -> Self {
        let memo = transaction.memo_text();
        // A coinbase memo may hold a miner's binary counter instead of text.
        let is_text = transaction.kind() != TransactionKind::Coinbase
            || !memo.chars().any(|c| c == char::REPLACEMENT_CHARACTER || c.is_control());
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

/// A block in the JSON form of the RPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockView {
    pub hash: BlockHash,
    pub height: Height,
    pub version: u32,
    /// The hash of the parent; zeros in a genesis block.
    pub previous_hash: BlockHash,
    pub merkle_root: MerkleRoot,
    /// The miner's timestamp, in unix ms.
    pub time: UnixMillis,
    pub bits: Bits,
    pub nonce: u64,
    /// True if the hash meets the target.
    pub pow: bool,
    /// All transactions, the coinbase first.
    pub transactions: Vec<TxView>,
}

impl BlockView {
    /// Returns the view of a block of the best chain. `fees` has one entry per transaction, in
    /// order. `pow` is true if the caller found that the hash meets the target.
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

/// A list of blocks, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockList {
    pub blocks: Vec<BlockView>,
}

/// A list of transactions, parents before children.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TxList {
    pub transactions: Vec<TxView>,
}

/// The result of a full check or rebuild of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditReport {
    pub height: Height,
    pub tip: BlockHash,
    /// The number of unspent outputs.
    pub coins: u64,
    pub supply: Coins,
    pub supply_units: Units,
    /// A hash over all unspent outputs, 64 hex digits; equal on nodes with the same coins.
    pub coins_hash: String,
    pub ok: bool,
    /// The fault, as a sentence; present only if `ok` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
