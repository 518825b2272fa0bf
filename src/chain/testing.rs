//! `testing` provides in-memory chains and mined blocks for the tests of this and other modules.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use ed25519_dalek::SigningKey;
use redb::{StorageBackend, backends::InMemoryBackend};

use super::{
    BlockAccepted, Chain, ChainEvent, ChainOptions, Origin,
    coins::Coins as _,
    errors::{AcceptBlockError, AcceptTradeError},
    store::Store,
};
pub(crate) use crate::consensus::testing::{coinbase, key, mine, note, owner, signed};
use crate::{
    consensus::{self, HeaderWindow, Network, SUBSIDY, min_time, next_bits},
    primitives::{
        Amount, Block, BlockHash, Header, MerkleRoot, OutPoint, Owner, PeerId, PublicKey,
        Transaction, TxId, TxOutput, UnixMillis, coinbase_memo,
    },
};

/// The test network: no spacing, so that difficulty stays at 8 bits; its genesis pays `key(1)`.
pub(crate) fn network() -> Network {
    consensus::testing::network(0)
}

/// A clock that is ahead of all blocks that tests make.
pub(crate) const NOW: UnixMillis = consensus::testing::GENESIS_TIME + 1_000_000_000;

pub(crate) const PEER: Origin = Origin::Peer(PeerId(PublicKey([9; 32])));

/// An in-memory disk whose bytes outlive the database on it, and which can be made to fail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    bytes: Arc<Mutex<Option<InMemoryBackend>>>,
    broken: Arc<AtomicBool>,
}

/// One opening of a [`Disk`].
#[derive(Debug)]
pub(crate) struct OpenDisk {
    disk: Disk,
    backend: Option<InMemoryBackend>,
}

impl Disk {
    /// Opens the disk for one database, which returns it when dropped.
    pub(crate) fn open(&self) -> OpenDisk {
        let backend = self.bytes.lock().expect("a lock").take().unwrap_or_default();
        OpenDisk { disk: self.clone(), backend: Some(backend) }
    }

    /// Makes all further writes fail, as on a full disk.
    pub(crate) fn fail(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

impl Drop for OpenDisk {
    fn drop(&mut self) {
        *self.disk.bytes.lock().expect("a lock") = self.backend.take();
    }
}

impl OpenDisk {
    fn backend(&self) -> &InMemoryBackend {
        self.backend.as_ref().expect("open")
    }

    fn writable(&self) -> io::Result<&InMemoryBackend> {
        if self.disk.broken.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(self.backend())
    }
}

impl StorageBackend for OpenDisk {
    fn len(&self) -> io::Result<u64> {
        self.backend().len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend().read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?.write(offset, data)
    }
}

/// A chain on a disk in memory, with a clock of its own.
pub(crate) struct TestChain {
    pub(crate) chain: Chain,
    pub(crate) disk: Disk,
    pub(crate) now: UnixMillis,
}

pub(crate) fn options() -> ChainOptions {
    ChainOptions { cache_mib: 16, threads: 1, nonce_seed: 1 }
}

/// Opens the chain on a disk, or creates it if the disk is empty.
pub(crate) fn open(disk: &Disk, network: &Network) -> Chain {
    let store = Store::on_backend(disk.open(), network, 4).expect("a store");
    Chain::on_store(store, options()).expect("a chain")
}

impl Chain {
    /// Panics unless the mempool's indexes follow from its entries and its stored coins match the
    /// chain.
    pub(crate) fn assert_consistent_mempool(&mut self) {
        self.mempool.assert_consistent();
        for (key, coin) in self.mempool.spent_coins() {
            assert_eq!(
                self.overlay.coin(&key).expect("a coin or none"),
                Some(coin),
                "a remembered coin is there"
            );
        }
    }
}

impl TestChain {
    pub(crate) fn new() -> Self {
        Self::of(&network())
    }

    pub(crate) fn of(network: &Network) -> Self {
        let disk = Disk::default();
        Self { chain: open(&disk, network), disk, now: NOW }
    }

    /// Closes without a commit and opens again.
    pub(crate) fn reopen(self) -> Self {
        let Self { chain, disk, now } = self;
        let network = Arc::clone(chain.network());
        drop(chain);
        Self { chain: open(&disk, &network), disk, now }
    }

    /// Accepts a block from a peer.
    pub(crate) fn block(&mut self, block: &Block) -> Result<BlockAccepted, AcceptBlockError> {
        self.chain.accept_block(block.clone(), PEER, self.now)
    }

    /// Accepts blocks that must connect.
    pub(crate) fn connect(&mut self, blocks: &[Block]) {
        for block in blocks {
            assert_eq!(
                self.block(block),
                Ok(BlockAccepted::Connected),
                "height {}",
                block.header.height
            );
        }
    }

    pub(crate) fn trade(
        &mut self,
        transaction: &Transaction,
        origin: Origin,
    ) -> Result<TxId, AcceptTradeError> {
        self.chain.accept_trade(transaction.clone(), origin, self.now)
    }

    /// Mines the template and connects it.
    pub(crate) fn mine(&mut self, owner: Owner) -> Block {
        let mut block = self.chain.template(owner, self.now).expect("a template").block;
        mine(&mut block);
        assert_eq!(
            self.chain.accept_block(block.clone(), Origin::Local, self.now),
            Ok(BlockAccepted::Connected)
        );
        block
    }

    pub(crate) fn events(&mut self) -> Vec<ChainEvent> {
        self.chain.commit().expect("a commit");
        self.chain.drain_events()
    }

    pub(crate) fn hash(&mut self) -> [u8; 32] {
        self.chain.coins_hash().expect("a hash")
    }

    /// Returns the sum of all coins.
    pub(crate) fn supply(&mut self) -> Amount {
        let audit = self.chain.verify(&mut |_, _| true).expect("an audit");
        assert_eq!(audit.problem, None);
        audit.supply
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.chain.tip().hash
    }

    pub(crate) fn balance(&mut self, owner: Owner) -> Amount {
        self.chain.balance(owner).expect("a balance").confirmed
    }
}

/// A builder of valid branches that needs no chain.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(super) network: Network,
    pub(super) headers: Vec<Header>,
    /// Distinguishes the coinbases of different branches.
    salt: u8,
}

impl Branch {
    pub(crate) fn new(network: &Network, salt: u8) -> Self {
        Self { network: network.clone(), headers: vec![network.genesis.header], salt }
    }

    /// Starts another branch at the current block.
    pub(crate) fn fork(&self, salt: u8) -> Self {
        Self { salt, ..self.clone() }
    }

    /// Returns the next block with these trades and a coinbase of `value` to `key(1)`, without
    /// adding it.
    pub(crate) fn draft(&self, trades: &[Transaction], value: Amount) -> Block {
        let window = HeaderWindow::from_headers(&self.headers).expect("a window");
        let time =
            min_time(&window).max(window.parent_time() + self.network.params.spacing_ms.max(1_000));
        let height = window.parent_height() + 1;
        let mut minted = coinbase(height, owner(&key(1)), value);
        minted.memo = coinbase_memo(height, &[self.salt]);
        let mut transactions = vec![minted];
        transactions.extend_from_slice(trades);
        let bits = next_bits(&self.network, &window, time);
        let (previous, merkle_root) = (window.parent(), MerkleRoot::ZERO);
        let mut block = Block {
            header: Header { previous, merkle_root, height, time, bits, nonce: 0 },
            transactions,
        };
        seal(&mut block);
        block
    }

    /// Adds a drafted block to the branch.
    pub(crate) fn push(&mut self, block: &Block) {
        self.headers.push(block.header);
    }

    /// Adds and returns the next block, with these trades, which pay no fees.
    pub(crate) fn next(&mut self, trades: &[Transaction]) -> Block {
        let block = self.draft(trades, SUBSIDY);
        self.push(&block);
        block
    }

    /// Adds and returns `count` empty blocks.
    pub(crate) fn extend(&mut self, count: usize) -> Vec<Block> {
        (0..count).map(|_| self.next(&[])).collect()
    }
}

/// Sets a block's merkle root and mines it.
pub(crate) fn seal(block: &mut Block) {
    block.header.merkle_root = block.computed_merkle_root();
    mine(block);
}

/// Returns the outpoint of a transaction's output.
pub(crate) fn coin_of(transaction: &Transaction, index: u32) -> OutPoint {
    OutPoint { txid: transaction.txid(), index }
}

/// Returns the outpoint of the genesis coin, which has 100 coins and belongs to `key(1)`.
pub(crate) fn genesis_coin(network: &Network) -> OutPoint {
    coin_of(&network.genesis.transactions[0], 0)
}

/// Returns a signed trade that spends one coin and pays each owner the given units.
pub(crate) fn pay(
    network: &Network,
    from: &SigningKey,
    coin: OutPoint,
    to: &[(Owner, u64)],
) -> Transaction {
    let outputs = to
        .iter()
        .map(|(owner, units)| TxOutput { value: Amount::from_units(*units), owner: *owner });
    signed(&network.id, &[(from, coin)], outputs.collect(), b"")
}
