//! Makes valid headers, blocks and folders with the library, at any time in the past.

use std::path::Path;

use ed25519_dalek::{Signer, SigningKey};
use friendchain::{
    chain::{Chain, ChainOptions, Origin},
    consensus::{ChainParams, HeaderWindow, Network, Target, Work, min_time, next_bits},
    miner::NonceSearch,
    primitives::{
        Amount, Block, Encode, Header, MerkleRoot, NetworkId, OutPoint, Owner, PublicKey,
        Signature, Transaction, TxId, TxInput, TxOutput, coinbase_memo,
    },
};

pub(crate) use crate::support::forge::now;

/// The number of ancestors that the difficulty of the next block depends on.
const WINDOW: usize = 61;

/// Mines a header at its own bits.
pub(crate) fn solve(header: &mut Header) {
    let target = Target::from_compact(header.bits).expect("a target");
    let search = NonceSearch::new(header, &target);
    header.nonce = search.find(0..=u64::MAX - 1).expect("a nonce");
}

/// Returns a network with a genesis of a given time.
pub(crate) fn network(spacing_ms: u64, bits: u8, time: u64) -> Network {
    let params = ChainParams::new("arena", spacing_ms, bits).expect("parameters");
    let mut genesis = Network::genesis_to_mine(&params, Owner([9; 20]), time).expect("parameters");
    solve(&mut genesis.header);
    Network::from_genesis(genesis).expect("a genesis")
}

/// Returns a header that follows the last of `ancestors`, which are all or at least 61.
pub(crate) fn child(
    network: &Network,
    ancestors: &[Header],
    time: u64,
    root: MerkleRoot,
) -> Header {
    let from = ancestors.len().saturating_sub(WINDOW);
    let window = HeaderWindow::from_headers(&ancestors[from..]).expect("ancestors");
    let parent = ancestors.last().expect("a parent");
    let time = time.max(min_time(&window));
    let bits = next_bits(network, &window, time);
    let mut header = Header {
        previous: parent.hash(),
        merkle_root: root,
        height: parent.height + 1,
        time,
        bits,
        nonce: 0,
    };
    solve(&mut header);
    header
}

/// Returns the genesis and `count` headers without bodies, all of the least difficulty.
pub(crate) fn cheap_headers(network: &Network, count: usize, salt: u8) -> Vec<Header> {
    let genesis = network.genesis.header;
    // A tenth beyond the spacing keeps the difficulty at its minimum.
    let step = network.params.spacing_ms * 11 / 10;
    let mut headers = vec![genesis];
    headers.reserve_exact(count);
    let root = MerkleRoot([salt; 32]);
    // The rule rounds the first targets down, until the longer gaps outweigh this.
    for time in (1..=WINDOW.min(count) as u64).map(|number| genesis.time + number * step) {
        headers.push(child(network, &headers, time, root));
    }
    let mut header = *headers.last().expect("a genesis");
    while headers.len() <= count {
        header = Header {
            previous: header.hash(),
            height: header.height + 1,
            time: header.time + step,
            bits: genesis.bits,
            nonce: 0,
            ..header
        };
        solve(&mut header);
        headers.push(header);
    }
    headers
}

/// Returns whole blocks on the genesis, the last one about `age_ms` ago. Each of `runs` is a count
/// of blocks and the milliseconds between them.
pub(crate) fn blocks(network: &Network, runs: &[(usize, u64)], age_ms: u64) -> Vec<Block> {
    let mut headers = vec![network.genesis.header];
    let mut blocks = Vec::new();
    let gaps: Vec<u64> =
        runs.iter().flat_map(|(count, gap)| std::iter::repeat_n(*gap, *count)).collect();
    let mut time = now() - age_ms - gaps.iter().sum::<u64>();
    for gap in gaps {
        time += gap;
        let block = block(network, &headers, time);
        headers.push(block.header);
        blocks.push(block);
    }
    blocks
}

/// Returns a block with a coinbase alone.
pub(crate) fn block(network: &Network, ancestors: &[Header], time: u64) -> Block {
    let height = ancestors.last().expect("a parent").height + 1;
    let outputs = vec![TxOutput { value: Amount::from_coins(100), owner: Owner([9; 20]) }];
    let coinbase = Transaction { inputs: Vec::new(), outputs, memo: coinbase_memo(height, b"") };
    let mut block = Block { header: network.genesis.header, transactions: vec![coinbase] };
    let root = block.computed_merkle_root();
    block.header = child(network, ancestors, time, root);
    block
}

/// Writes a folder's chain file, with the blocks connected.
pub(crate) fn write_chain(folder: &Path, network: &Network, blocks: &[Block]) {
    let path = folder.join("chain.redb");
    let mut chain =
        Chain::create(&path, network, ChainOptions::default()).expect("a new chain file");
    for block in blocks {
        chain.accept_block(block.clone(), Origin::Local, now()).expect("a good block");
    }
    chain.commit().expect("a commit");
}

/// Returns the cumulative work of headers.
pub(crate) fn total_work(headers: &[Header]) -> Work {
    let of = |header: &Header| Target::from_compact(header.bits).expect("a target").work();
    headers.iter().map(of).fold(Work::ZERO, |sum, work| sum.checked_add(work).expect("little"))
}

/// Returns a note of a new key, which costs its author nothing.
pub(crate) fn note(network: &NetworkId, seed: u64, text: &str) -> Transaction {
    let mut secret = [5; 32];
    secret[..8].copy_from_slice(&seed.to_le_bytes());
    let key = SigningKey::from_bytes(&secret);
    signed(network, &key, OutPoint { txid: TxId::ZERO, index: 0 }, Vec::new(), text)
}

/// Returns a trade of a coin that does not exist.
pub(crate) fn phantom_trade(network: &NetworkId, seed: u64) -> Transaction {
    let mut txid = [6; 32];
    txid[..8].copy_from_slice(&seed.to_le_bytes());
    let key = SigningKey::from_bytes(&[7; 32]);
    let outputs = vec![TxOutput { value: Amount::from_coins(1), owner: Owner([3; 20]) }];
    signed(network, &key, OutPoint { txid: TxId(txid), index: 0 }, outputs, "")
}

fn signed(
    network: &NetworkId,
    key: &SigningKey,
    outpoint: OutPoint,
    outputs: Vec<TxOutput>,
    text: &str,
) -> Transaction {
    let public_key = PublicKey(key.verifying_key().to_bytes());
    let input = TxInput { outpoint, public_key, signature: Signature([0; 64]) };
    let mut transaction =
        Transaction { inputs: vec![input], outputs, memo: text.as_bytes().to_vec() };
    let message = Transaction::signing_message(network, &transaction.txid());
    transaction.inputs[0].signature = Signature(key.sign(&message).to_bytes());
    transaction
}

/// Returns the bytes of a header.
pub(crate) fn header_bytes(header: &Header) -> Vec<u8> {
    header.to_bytes()
}
