//! The tables of `chain.redb`, and the layout of keys and values.
//!
//! Every table's name ends in its version. Numbers in keys are big-endian, so that keys sort
//! numerically. Numbers in values are little-endian, as everywhere else.

use std::sync::Arc;

use redb::{
    ReadOnlyTable, ReadTransaction, StorageError, Table, TableDefinition, TableError,
    WriteTransaction,
};

use crate::{
    consensus::{Coin, Work},
    primitives::{
        Amount, BlockHash, Encode, HEADER_BYTES, Header, Height, Transaction, TxId, UnixMillis,
        encoding::{Decode, DecodeError, Reader, from_bytes},
    },
};

/// The schema version that this program writes; it refuses to open a newer one.
pub(crate) const SCHEMA: u32 = 1;

/// A block's key: height big-endian, then hash. Blocks therefore sort in the order in which they
/// are connected.
pub(crate) type BlockKey = [u8; 36];
/// A coin's key: owner, txid, index big-endian.
pub(crate) type CoinBytes = [u8; 56];
/// A header's record: header, cumulative work, status, best-header flag, connection time.
pub(crate) type HeaderBytes = [u8; HEADER_RECORD_BYTES];

const HEADER_RECORD_BYTES: usize = HEADER_BYTES + 32 + 1 + 1 + 8;
/// Length of a coin's value, in bytes: value u64, height u32, coinbase u8.
pub(crate) const COIN_VALUE_BYTES: usize = 13;

/// Block key to [`HeaderRecord`].
pub(crate) const HEADERS: TableDefinition<'static, &BlockKey, &HeaderBytes> =
    TableDefinition::new("headers_1");
/// Block key to the block's canonical bytes.
pub(crate) const BLOCKS: TableDefinition<'static, &BlockKey, &[u8]> =
    TableDefinition::new("blocks_1");
/// Block key to [`Undo`], for connected blocks only.
const UNDO: TableDefinition<'static, &BlockKey, &[u8]> = TableDefinition::new("undo_1");
/// Coin key to coin.
const COINS: TableDefinition<'static, &CoinBytes, &[u8; COIN_VALUE_BYTES]> =
    TableDefinition::new("coins_1");
/// Transaction id to height and position on the best chain.
const TX_INDEX: TableDefinition<'static, &[u8; 32], &[u8; 8]> = TableDefinition::new("tx_index_1");
/// Transaction id to [`MempoolRecord`].
pub(crate) const MEMPOOL: TableDefinition<'static, &[u8; 32], &[u8]> =
    TableDefinition::new("mempool_1");
/// Transaction id to [`OwnRecord`]: every trade and note ever made on this node.
pub(crate) const OWN: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("own_1");
/// Names of the `META_` constants below to their values.
pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta_1");

/// The schema version, u32.
pub(crate) const META_SCHEMA: &str = "schema";
/// The genesis block in canonical bytes.
pub(crate) const META_GENESIS: &str = "genesis";
/// The network id.
pub(crate) const META_NETWORK: &str = "network";
/// The block key of the tip.
pub(crate) const META_TIP: &str = "tip";
/// The block key of the best header.
pub(crate) const META_BEST_HEADER: &str = "best_header";
/// The work of the checkpoint in the invite that this chain was joined with, 32 bytes big-endian.
/// Absent for a chain without an invite.
pub(crate) const META_MIN_WORK: &str = "min_work";
/// The block key of the checkpoint, which the best chain must contain.
pub(crate) const META_CHECKPOINT: &str = "checkpoint";
/// The record of attended time: milliseconds since the last mark, u32, then the block keys of the
/// marks.
pub(crate) const META_ATTENDED: &str = "attended";

/// The coins table, opened for writing.
pub(crate) type CoinTable<'txn> = Table<'txn, &'static CoinBytes, &'static [u8; COIN_VALUE_BYTES]>;

/// All tables, opened for writing. They open together, so that every transaction has all of them.
pub(crate) struct WriteTables<'txn> {
    pub(crate) headers: Table<'txn, &'static BlockKey, &'static HeaderBytes>,
    pub(crate) blocks: Table<'txn, &'static BlockKey, &'static [u8]>,
    pub(crate) undo: Table<'txn, &'static BlockKey, &'static [u8]>,
    pub(crate) coins: CoinTable<'txn>,
    pub(crate) tx_index: Table<'txn, &'static [u8; 32], &'static [u8; 8]>,
    pub(crate) mempool: Table<'txn, &'static [u8; 32], &'static [u8]>,
    pub(crate) own: Table<'txn, &'static [u8; 32], &'static [u8]>,
    pub(crate) meta: Table<'txn, &'static str, &'static [u8]>,
}

impl<'txn> WriteTables<'txn> {
    pub(crate) fn open(transaction: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            headers: transaction.open_table(HEADERS)?,
            blocks: transaction.open_table(BLOCKS)?,
            undo: transaction.open_table(UNDO)?,
            coins: transaction.open_table(COINS)?,
            tx_index: transaction.open_table(TX_INDEX)?,
            mempool: transaction.open_table(MEMPOOL)?,
            own: transaction.open_table(OWN)?,
            meta: transaction.open_table(META)?,
        })
    }
}

/// All tables, opened to read one snapshot.
pub(crate) struct ReadTables {
    pub(crate) headers: ReadOnlyTable<&'static BlockKey, &'static HeaderBytes>,
    pub(crate) blocks: ReadOnlyTable<&'static BlockKey, &'static [u8]>,
    pub(crate) undo: ReadOnlyTable<&'static BlockKey, &'static [u8]>,
    pub(crate) coins: ReadOnlyTable<&'static CoinBytes, &'static [u8; COIN_VALUE_BYTES]>,
    pub(crate) tx_index: ReadOnlyTable<&'static [u8; 32], &'static [u8; 8]>,
    pub(crate) mempool: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    pub(crate) own: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    pub(crate) meta: ReadOnlyTable<&'static str, &'static [u8]>,
}

impl std::fmt::Debug for ReadTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadTables").finish_non_exhaustive()
    }
}

impl ReadTables {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self, TableError> {
        Ok(Self {
            headers: transaction.open_table(HEADERS)?,
            blocks: transaction.open_table(BLOCKS)?,
            undo: transaction.open_table(UNDO)?,
            coins: transaction.open_table(COINS)?,
            tx_index: transaction.open_table(TX_INDEX)?,
            mempool: transaction.open_table(MEMPOOL)?,
            own: transaction.open_table(OWN)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// Returns the block key stored under a name in the meta table.
    pub(crate) fn meta_key(&self, name: &'static str) -> Result<BlockKey, StorageError> {
        let value = self.meta.get(name)?;
        value
            .and_then(|value| value.value().try_into().ok())
            .ok_or_else(|| StorageError::Corrupted(format!("meta '{name}' is missing")))
    }

    pub(crate) fn header(&self, key: &BlockKey) -> Result<Option<HeaderRecord>, StorageError> {
        self.headers.get(key)?.map(|value| HeaderRecord::from_bytes(value.value())).transpose()
    }

    /// Returns the first header at a height for which `wanted` is true.
    pub(crate) fn header_at(
        &self,
        height: Height,
        wanted: impl Fn(&HeaderRecord) -> bool,
    ) -> Result<Option<(BlockHash, HeaderRecord)>, StorageError> {
        let (first, last) =
            (block_key(height, &BlockHash([0; 32])), block_key(height, &BlockHash([0xff; 32])));
        for entry in self.headers.range::<&BlockKey>(&first..=&last)? {
            let (key, value) = entry?;
            let record = HeaderRecord::from_bytes(value.value())?;
            if wanted(&record) {
                return Ok(Some((split_block_key(key.value()).1, record)));
            }
        }
        Ok(None)
    }
}

/// Opens only the meta table. Its schema version decides whether the others are readable.
pub(crate) fn open_meta(
    transaction: &ReadTransaction,
) -> Result<ReadOnlyTable<&'static str, &'static [u8]>, TableError> {
    transaction.open_table(META)
}

/// Deletes the tables that can be rebuilt from the blocks.
pub(crate) fn delete_ledger(transaction: &WriteTransaction) -> Result<(), TableError> {
    transaction.delete_table(COINS)?;
    transaction.delete_table(UNDO)?;
    transaction.delete_table(TX_INDEX)?;
    Ok(())
}

/// Encodes a block's key.
pub(crate) fn block_key(height: Height, hash: &BlockHash) -> BlockKey {
    let mut key = [0; 36];
    key[..4].copy_from_slice(&height.to_be_bytes());
    key[4..].copy_from_slice(&hash.0);
    key
}

/// Decodes a block's key.
pub(crate) fn split_block_key(key: &BlockKey) -> (Height, BlockHash) {
    let (mut height, mut hash) = ([0; 4], [0; 32]);
    height.copy_from_slice(&key[..4]);
    hash.copy_from_slice(&key[4..]);
    (Height::from_be_bytes(height), BlockHash(hash))
}

/// The progress of a block from its header to the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// The header is checked; the body is not stored.
    HeaderOnly,
    /// The body is stored, and so are all bodies below it.
    Stored,
    /// The block is on the best chain.
    Connected,
    /// The block or one of its ancestors has a body that matches its merkle root but breaks a rule.
    Invalid,
}

impl Status {
    const fn to_byte(self) -> u8 {
        match self {
            Self::HeaderOnly => 0,
            Self::Stored => 1,
            Self::Connected => 2,
            Self::Invalid => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::HeaderOnly),
            1 => Some(Self::Stored),
            2 => Some(Self::Connected),
            3 => Some(Self::Invalid),
            _ => None,
        }
    }

    /// True if the block's body is on the disk.
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Stored | Self::Connected)
    }
}

/// The stored form of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderRecord {
    pub(crate) header: Header,
    /// Cumulative work, genesis included.
    pub(crate) work: Work,
    pub(crate) status: Status,
    /// True if the header is on the header chain with the most work.
    pub(crate) on_best_headers: bool,
    /// Time when this node connected the block, in unix ms. Zero if the block is not connected,
    /// unless a reindex kept the time of an earlier connection.
    pub(crate) connected_at: UnixMillis,
}

impl HeaderRecord {
    pub(crate) fn to_bytes(self) -> HeaderBytes {
        let mut bytes = [0; HEADER_RECORD_BYTES];
        bytes[..92].copy_from_slice(&self.header.to_array());
        bytes[92..124].copy_from_slice(&self.work.to_be_bytes());
        bytes[124] = self.status.to_byte();
        bytes[125] = u8::from(self.on_best_headers);
        bytes[126..].copy_from_slice(&self.connected_at.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &HeaderBytes) -> Result<Self, StorageError> {
        Self::read(&mut Reader::new(bytes))
            .ok()
            .flatten()
            .ok_or_else(|| StorageError::Corrupted("a header's record does not read back".into()))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let header = Header::decode(reader)?;
        let work = Work::from_be_bytes(reader.array()?);
        let status = Status::from_byte(reader.u8()?);
        let on_best_headers = reader.flag("on the best headers")?;
        let connected_at = reader.u64()?;
        Ok(status.map(|status| Self { header, work, status, on_best_headers, connected_at }))
    }
}

/// Encodes a coin as a stored value.
pub(crate) fn coin_to_bytes(coin: &Coin) -> [u8; COIN_VALUE_BYTES] {
    let mut bytes = [0; COIN_VALUE_BYTES];
    bytes[..8].copy_from_slice(&coin.value.units().to_le_bytes());
    bytes[8..12].copy_from_slice(&coin.height.to_le_bytes());
    bytes[12] = u8::from(coin.coinbase);
    bytes
}

/// Decodes a stored coin, which has one valid encoding.
pub(crate) fn coin_from_bytes(bytes: &[u8; COIN_VALUE_BYTES]) -> Result<Coin, StorageError> {
    read_coin(&mut Reader::new(bytes))
        .map_err(|error| StorageError::Corrupted(format!("a coin does not read back: {error}")))
}

fn read_coin(reader: &mut Reader<'_>) -> Result<Coin, DecodeError> {
    let (value, height) = (Amount::from_units(reader.u64()?), reader.u32()?);
    Ok(Coin { value, height, coinbase: reader.flag("coinbase")? })
}

/// The data to disconnect a block: the spent coins of each transaction, in the order of its inputs.
/// The list of a coinbase or a note is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Undo {
    pub(crate) spent: Vec<Vec<Coin>>,
}

impl Encode for Undo {
    fn encode(&self, out: &mut Vec<u8>) {
        for coins in &self.spent {
            out.extend(u16::try_from(coins.len()).unwrap_or(u16::MAX).to_le_bytes());
            for coin in coins {
                out.extend(coin_to_bytes(coin));
            }
        }
    }
}

impl Decode for Undo {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut spent = Vec::new();
        while reader.remaining() > 0 {
            let count = usize::from(reader.u16()?);
            spent.push((0..count).map(|_| read_coin(reader)).collect::<Result<_, _>>()?);
        }
        Ok(Self { spent })
    }
}

impl Undo {
    /// Returns the fee of each transaction of the undo record's block; zero for coinbase and notes.
    pub(crate) fn fees(&self, transactions: &[Transaction]) -> Vec<Amount> {
        let spent = self.spent.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
        let fee = |(transaction, spent): (&Transaction, &[Coin])| {
            let taken: Amount = spent.iter().map(|coin| coin.value).sum();
            let given: Amount = transaction.outputs.iter().map(|output| output.value).sum();
            taken.checked_sub(given).unwrap_or_default()
        };
        transactions.iter().zip(spent).map(fee).collect()
    }
}

/// The stored form of a mempool entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MempoolRecord {
    /// Order of admission.
    pub(crate) sequence: u64,
    pub(crate) added: UnixMillis,
    pub(crate) local: bool,
    pub(crate) transaction: Arc<Transaction>,
}

impl Encode for MempoolRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(17usize.saturating_add(self.transaction.encoded_len()));
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.added.to_le_bytes());
        out.push(u8::from(self.local));
        self.transaction.encode(out);
    }
}

impl Decode for MempoolRecord {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sequence: reader.u64()?,
            added: reader.u64()?,
            local: reader.flag("local")?,
            transaction: Arc::new(Transaction::decode(reader)?),
        })
    }
}

/// A transaction made on this node. The record is never deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnRecord {
    pub(crate) added: UnixMillis,
    /// The reason why the transaction is void; empty if it is not.
    pub(crate) void: String,
    pub(crate) transaction: Transaction,
}

impl Encode for OwnRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.added.to_le_bytes());
        out.extend(u32::try_from(self.void.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(self.void.as_bytes());
        self.transaction.encode(out);
    }
}

impl Decode for OwnRecord {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let added = reader.u64()?;
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let void = std::str::from_utf8(reader.take(length)?)
            .map_err(|_| DecodeError::NotText { what: "the reason" })?;
        Ok(Self { added, void: void.to_owned(), transaction: Transaction::decode(reader)? })
    }
}

/// Decodes a stored value. This program wrote the bytes, so a failure is corruption.
pub(crate) fn stored<T: Decode>(what: &str, bytes: &[u8]) -> Result<T, StorageError> {
    from_bytes(bytes)
        .map_err(|error| StorageError::Corrupted(format!("{what} does not read back: {error}")))
}

/// The location of a transaction on the best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TxLocation {
    pub(crate) height: Height,
    /// The position in the block; 0 is the coinbase.
    pub(crate) position: u32,
}

impl TxLocation {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.height.to_le_bytes());
        bytes[4..].copy_from_slice(&self.position.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        let (mut height, mut position) = ([0; 4], [0; 4]);
        height.copy_from_slice(&bytes[..4]);
        position.copy_from_slice(&bytes[4..]);
        Self { height: Height::from_le_bytes(height), position: u32::from_le_bytes(position) }
    }
}

/// The transaction's key in the tables.
pub(crate) fn tx_key(txid: &TxId) -> &[u8; 32] {
    &txid.0
}
