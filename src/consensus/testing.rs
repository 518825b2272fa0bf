//! Helpers for the tests of this module and those above: small networks, mined blocks, keys, and
//! crafted signatures.

#[cfg(test)]
pub(crate) mod crafted;

use ed25519_dalek::{Signer, SigningKey};

use super::{
    ChainParams, CheckedHeader, HeaderWindow, Network, SUBSIDY, Target, check_header, min_time,
    next_bits,
};
use crate::{
    miner::NonceSearch,
    primitives::{
        Amount, Block, BlockHash, Header, NetworkId, OutPoint, Owner, PublicKey, Signature,
        Transaction, TxId, TxInput, TxOutput, UnixMillis, coinbase_memo,
    },
};

/// The time of the genesis of each test network.
pub(crate) const GENESIS_TIME: UnixMillis = 1_700_000_000_000;

/// Returns a different key pair for each number.
pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Returns the public key in the form that an input holds.
pub(crate) fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

pub(crate) fn owner(key: &SigningKey) -> Owner {
    public_key(key).owner()
}

/// Raises the nonce until the block's own bits are met.
pub(crate) fn mine(block: &mut Block) {
    let target = Target::from_compact(block.header.bits).expect("bits");
    let search = NonceSearch::new(&block.header, &target);
    block.header.nonce = search.find_portable(block.header.nonce..=u64::MAX).expect("a nonce");
}

/// Returns a network with a floor of 8 bits whose genesis pays `key(1)`.
pub(crate) fn network(spacing_ms: u64) -> Network {
    let params = ChainParams::new("test", spacing_ms, 8).expect("params");
    let mut genesis =
        Network::genesis_to_mine(&params, owner(&key(1)), GENESIS_TIME).expect("params");
    mine(&mut genesis);
    Network::from_genesis(genesis).expect("a genesis")
}

/// Returns a coinbase with one output for a block of `height`.
pub(crate) fn coinbase(height: u32, owner: Owner, value: Amount) -> Transaction {
    Transaction {
        inputs: vec![],
        outputs: vec![TxOutput { value, owner }],
        memo: coinbase_memo(height, b""),
    }
}

/// Mines the block after the window's last: a coinbase that pays the subsidy, and `rest`.
pub(crate) fn next_block(
    network: &Network,
    window: &HeaderWindow,
    rest: Vec<Transaction>,
) -> Block {
    let time = min_time(window).max(window.parent_time().saturating_add(network.params.spacing_ms));
    let height = window.parent_height() + 1;
    let mut transactions = vec![coinbase(height, owner(&key(1)), SUBSIDY)];
    transactions.extend(rest);
    let header = Header {
        previous: window.parent(),
        merkle_root: crate::primitives::MerkleRoot::ZERO,
        height,
        time,
        bits: next_bits(network, window, time),
        nonce: 0,
    };
    let mut block = Block { header, transactions };
    block.header.merkle_root = block.computed_merkle_root();
    mine(&mut block);
    block
}

/// Checks the header of a block at its own time.
pub(crate) fn checked(network: &Network, window: &HeaderWindow, block: &Block) -> CheckedHeader {
    check_header(&block.header, network, window, block.header.time).expect("a valid header")
}

/// Returns a transaction in which each key signs the input that is paired with it.
pub(crate) fn signed(
    network: &NetworkId,
    inputs: &[(&SigningKey, OutPoint)],
    outputs: Vec<TxOutput>,
    memo: &[u8],
) -> Transaction {
    let unsigned = |(key, outpoint): &(&SigningKey, OutPoint)| TxInput {
        outpoint: *outpoint,
        public_key: public_key(key),
        signature: Signature([0; 64]),
    };
    let mut transaction =
        Transaction { inputs: inputs.iter().map(unsigned).collect(), outputs, memo: memo.to_vec() };
    let message = Transaction::signing_message(network, &transaction.txid());
    for (input, (key, _)) in transaction.inputs.iter_mut().zip(inputs) {
        input.signature = Signature(key.sign(&message).to_bytes());
    }
    transaction
}

/// Returns a note that `key` signed.
pub(crate) fn note(network: &NetworkId, key: &SigningKey, index: u32, text: &[u8]) -> Transaction {
    signed(network, &[(key, OutPoint { txid: TxId::ZERO, index })], vec![], text)
}

/// Returns the outpoint of some coin.
pub(crate) fn outpoint(number: u8, index: u32) -> OutPoint {
    OutPoint { txid: TxId([number; 32]), index }
}

pub(crate) const fn hash(number: u8) -> BlockHash {
    BlockHash([number; 32])
}
