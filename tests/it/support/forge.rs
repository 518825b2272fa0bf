//! Blocks and trades made by hand, honest or not, for a chain made with `--spacing 0 --bits 8`.

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

/// What a block may mint.
pub(crate) const SUBSIDY: Amount = Amount::from_coins(100);

/// A node on a chain whose genesis paid a key of ours.
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

    /// The coin that the genesis paid to our key.
    pub(crate) fn coin(&self) -> OutPoint {
        OutPoint { txid: self.forge.genesis.transactions[0].txid(), index: 0 }
    }

    /// The node answers, and its chain is what it was.
    #[track_caller]
    pub(crate) fn assert_unmoved(&self, height: u64, tip: &Header) {
        let status = self.node.status();
        assert_eq!(status["height"], height, "{status}");
        assert_eq!(status["tip"], tip.hash().to_string(), "{status}");
    }
}

/// Makes blocks and trades, with the key that owns the genesis' coin.
pub(crate) struct Forge {
    pub(crate) network: NetworkId,
    pub(crate) genesis: Block,
    key: SigningKey,
}

impl Forge {
    /// The address of our key.
    pub(crate) fn address() -> String {
        Address(Self::owner()).to_string()
    }

    /// The owner that our key speaks for.
    pub(crate) fn owner() -> Owner {
        public_key(&our_key()).owner()
    }

    /// For the chain of a folder.
    #[track_caller]
    pub(crate) fn of(folder: &Folder) -> Self {
        let genesis =
            Invite::from_text(&folder.invite()).expect("an invite").network().genesis.clone();
        Self { network: genesis.hash(), genesis, key: our_key() }
    }

    /// A block that keeps every rule, if the transactions do.
    pub(crate) fn block(&self, parent: &Header, transactions: Vec<Transaction>) -> Block {
        let mut block = self.unmined(parent, SUBSIDY, transactions);
        mine(&mut block);
        block
    }

    /// As [`Forge::block`], with its coinbase paying `reward` and no work done.
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
            // With spacing 0 the floor is for ever.
            bits: self.genesis.header.bits,
            nonce: 0,
        };
        let mut block =
            Block { header, transactions: std::iter::once(coinbase).chain(transactions).collect() };
        block.header.merkle_root = block.computed_merkle_root();
        block
    }

    /// So many honest blocks after the parent.
    pub(crate) fn chain(&self, parent: &Header, count: usize) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for _ in 0..count {
            let parent = blocks.last().map_or(parent, |block| &block.header);
            let block = self.block(parent, Vec::new());
            blocks.push(block);
        }
        blocks
    }

    /// A trade of coins of our key, signed.
    pub(crate) fn trade(&self, coins: &[OutPoint], value: Amount, to: Owner) -> Transaction {
        let outputs = vec![TxOutput { value, owner: to }];
        self.signed_with(&self.key, coins, outputs, Vec::new())
    }

    /// A note with a stamp of our key.
    pub(crate) fn note(&self, stamp: u32, text: &str) -> Transaction {
        let stamp = OutPoint { txid: TxId::ZERO, index: stamp };
        self.signed_with(&self.key, &[stamp], Vec::new(), text.as_bytes().to_vec())
    }

    /// A trade signed with any key.
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

/// The key of somebody who owns nothing.
pub(crate) fn strangers_key() -> SigningKey {
    SigningKey::from_bytes(&[66; 32])
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// Names the transactions in the header again, after they were tampered with.
pub(crate) fn commit(block: &mut Block) {
    block.header.merkle_root = block.computed_merkle_root();
}

/// Does the work: eight zero bits.
pub(crate) fn mine(block: &mut Block) {
    while block.hash().0[0] != 0 {
        block.header.nonce += 1;
    }
}

/// Makes sure that no work is done.
pub(crate) fn unmine(block: &mut Block) {
    while block.hash().0[0] == 0 {
        block.header.nonce += 1;
    }
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 584942417")
}
