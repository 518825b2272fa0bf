//! Makes blocks and trades by hand, valid or not, for a chain made with `--spacing 0 --bits 8`.

use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer, SigningKey};
use friendchain::{
    consensus::Invite,
    primitives::{
        Address, Amount, Block, Header, MerkleRoot, NetworkId, OutPoint, Owner, PublicKey,
        Signature, Transaction, TxId, TxInput, TxOutput, coinbase_memo,
    },
};

use super::{Folder, Node, TestNet};

/// The most that a coinbase may mint.
pub(crate) const SUBSIDY: Amount = Amount::from_coins(100);

/// A node on a chain whose genesis paid the test's key.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) forge: Forge,
}

impl Scene {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let folder = TestNet::new().folder("victim");
        folder.new_address();
        folder.create_chain(&Forge::address());
        let node = folder.start(&[]);
        let forge = Forge::of(&folder);
        Self { node, forge }
    }

    /// Returns the coin that the genesis paid to the test's key.
    pub(crate) fn coin(&self) -> OutPoint {
        OutPoint { txid: self.forge.genesis.transactions[0].txid(), index: 0 }
    }

    /// Checks that the node answers and that its chain is at this tip.
    #[track_caller]
    pub(crate) fn assert_unmoved(&self, height: u64, tip: &Header) {
        let status = self.node.status();
        assert_eq!(status["height"], height, "{status}");
        assert_eq!(status["tip"], tip.hash().to_string(), "{status}");
    }
}

/// A maker of blocks and trades that holds the key of the genesis' coin.
pub(crate) struct Forge {
    pub(crate) network: NetworkId,
    pub(crate) genesis: Block,
    key: SigningKey,
}

impl Forge {
    /// Returns the address of the test's key.
    pub(crate) fn address() -> String {
        Address(Self::owner()).to_string()
    }

    /// Returns the owner of the test's key.
    pub(crate) fn owner() -> Owner {
        public_key(&our_key()).owner()
    }

    /// Returns a forge for the chain of a folder.
    #[track_caller]
    pub(crate) fn of(folder: &Folder) -> Self {
        let genesis =
            Invite::from_text(&folder.invite()).expect("an invite").network().genesis.clone();
        Self { network: genesis.hash(), genesis, key: our_key() }
    }

    /// Makes a block that keeps every rule if its transactions do.
    pub(crate) fn block(&self, parent: &Header, transactions: Vec<Transaction>) -> Block {
        let mut block = self.unmined(parent, SUBSIDY, transactions);
        mine(&mut block);
        block
    }

    /// Makes a block like [`Forge::block`], but unmined and with a coinbase that pays `reward`.
    pub(crate) fn unmined(
        &self,
        parent: &Header,
        reward: Amount,
        transactions: Vec<Transaction>,
    ) -> Block {
        let height = parent.height + 1;
        let outputs = vec![TxOutput { value: reward, owner: Self::owner() }];
        let coinbase =
            Transaction { inputs: Vec::new(), outputs, memo: coinbase_memo(height, b"forged") };
        let header = Header {
            previous: parent.hash(),
            merkle_root: MerkleRoot::ZERO,
            height,
            time: now().max(parent.time + 1),
            // With spacing 0 the difficulty stays at its floor.
            bits: self.genesis.header.bits,
            nonce: 0,
        };
        let mut block =
            Block { header, transactions: std::iter::once(coinbase).chain(transactions).collect() };
        block.header.merkle_root = block.computed_merkle_root();
        block
    }

    /// Makes `count` valid blocks on the parent.
    pub(crate) fn chain(&self, parent: &Header, count: usize) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for _ in 0..count {
            let parent = blocks.last().map_or(parent, |block| &block.header);
            let block = self.block(parent, Vec::new());
            blocks.push(block);
        }
        blocks
    }

    /// Makes a signed trade of coins of the test's key.
    pub(crate) fn trade(&self, coins: &[OutPoint], value: Amount, to: Owner) -> Transaction {
        let outputs = vec![TxOutput { value, owner: to }];
        self.signed_with(&self.key, coins, outputs, Vec::new())
    }

    /// Makes a note with a stamp of the test's key.
    pub(crate) fn note(&self, stamp: u32, text: &str) -> Transaction {
        let stamp = OutPoint { txid: TxId::ZERO, index: stamp };
        self.signed_with(&self.key, &[stamp], Vec::new(), text.as_bytes().to_vec())
    }

    /// Makes a trade that is signed with any key.
    pub(crate) fn signed_with(
        &self,
        key: &SigningKey,
        coins: &[OutPoint],
        outputs: Vec<TxOutput>,
        memo: Vec<u8>,
    ) -> Transaction {
        let unsigned = |outpoint: &OutPoint| TxInput {
            outpoint: *outpoint,
            public_key: public_key(key),
            signature: Signature([0; 64]),
        };
        let mut transaction =
            Transaction { inputs: coins.iter().map(unsigned).collect(), outputs, memo };
        let message = Transaction::signing_message(&self.network, &transaction.txid());
        for input in &mut transaction.inputs {
            input.signature = Signature(key.sign(&message).to_bytes());
        }
        transaction
    }
}

fn our_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// Returns a key that owns no coins.
pub(crate) fn strangers_key() -> SigningKey {
    SigningKey::from_bytes(&[66; 32])
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Updates the header's merkle root after a change of the transactions.
pub(crate) fn commit(block: &mut Block) {
    block.header.merkle_root = block.computed_merkle_root();
}

/// Searches a nonce whose hash is below the target of eight bits, 00ffff00….
pub(crate) fn mine(block: &mut Block) {
    while block.hash().0[..2] >= [0, 0xff][..] {
        block.header.nonce += 1;
    }
}

/// Searches a nonce for a hash without eight zero bits.
pub(crate) fn unmine(block: &mut Block) {
    while block.hash().0[0] == 0 {
        block.header.nonce += 1;
    }
}

/// Returns the time in unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584942417")
}
