//! Decodes the chain's fixed layouts: headers, transactions, blocks, memos of coinbases, genesis
//! blocks, coin keys and targets.

use std::{fmt, sync::Arc};

use crate::{
    consensus::{
        ChainParams, CheckedHeader, Checkpoint, CoinKey, Invite, Network, SUBSIDY, Target, Work,
        check_block, check_coinbase_value, check_coins, check_transaction, created_coins,
        spent_coins, testing::mine, verify_signatures,
    },
    primitives::{
        Block, BlockHash, Decode, Encode, Header, Signature, Transaction, encoding::from_bytes,
        merkle_branch, merkle_root, root_of_branch, shown,
    },
};

/// The most leading zero bits of a genesis that is mined here. More would take too long.
const MAX_MINED_BITS: u8 = 10;

/// Runs the target: decodes the bytes as each layout. An accepted value has these bytes as its only
/// encoding, and no function on it panics.
pub fn consensus_layouts(data: &[u8]) {
    if let Some(header) = one_encoding::<Header>(data) {
        examine_header(&header);
    }
    if let Some(transaction) = one_encoding::<Transaction>(data) {
        examine_transaction(&transaction);
    }
    if let Some(block) = one_encoding::<Block>(data) {
        examine_block(&block);
    }
    if let Ok(params) = ChainParams::from_genesis_memo(data) {
        assert_eq!(params.genesis_memo().as_deref(), Ok(data), "a second encoding of {params:?}");
    }
    if let Ok(bytes) = data.try_into() {
        assert_eq!(&CoinKey::from_bytes(bytes).to_bytes(), bytes);
    }
    if let Ok(bytes) = data.try_into() {
        examine_bits(u32::from_le_bytes(bytes));
    }
    if let Ok(bytes) = data.try_into() {
        let work = Work::from_be_bytes(bytes);
        assert_eq!(work.to_be_bytes(), bytes);
        assert_eq!(work.to_string().parse(), Ok(work));
    }
}

/// Decodes `data`, and checks that it is the value's only encoding.
pub(super) fn one_encoding<T: Encode + Decode + PartialEq + fmt::Debug>(data: &[u8]) -> Option<T> {
    let value = from_bytes::<T>(data).ok()?;
    assert_eq!(value.to_bytes(), data, "a second encoding of {value:?}");
    assert!(from_bytes::<T>(&data[..data.len() - 1]).is_err(), "a part of it is a value too");
    assert!(from_bytes::<T>(&[data, &[0]].concat()).is_err(), "a byte more is overlooked");
    Some(value)
}

fn examine_bits(bits: u32) {
    let Ok(target) = Target::from_compact(bits) else { return };
    assert_eq!(target.to_compact(), bits);
    assert!(target.work() > Work::ZERO);
    assert!(target.is_met_by(&BlockHash(target.to_be_bytes())));
}

fn examine_header(header: &Header) {
    assert_eq!(header.to_bytes(), header.to_array());
    examine_bits(header.bits);
    if let Ok(checked) = CheckedHeader::from_store(*header) {
        assert_eq!(checked.hash(), header.hash());
    }
}

fn examine_transaction(transaction: &Transaction) {
    assert_eq!(transaction.encoded_len(), transaction.to_bytes().len());
    let txid = transaction.txid();
    let mut resigned = transaction.clone();
    for input in &mut resigned.inputs {
        input.signature = Signature([0; 64]);
    }
    assert_eq!(resigned.txid(), txid, "a signature is part of the id");
    let shown = shown(&transaction.memo_text());
    assert!(!shown.contains(['\u{1b}', '\u{202e}', '\r']), "{shown:?}");

    let verdict = check_transaction(transaction);
    if let Err(error) = verdict {
        assert!(!error.to_string().is_empty());
    }
    let created = created_coins(transaction, txid, 1).count();
    if verdict.is_ok() {
        assert!(created > 0, "it leaves no mark");
        assert!(spent_coins(transaction).count() <= transaction.inputs.len());
    }
    let _ = check_coins(transaction, &[], 1);
    let _ = check_coinbase_value(transaction, SUBSIDY);
    if verdict.is_ok() {
        let one = [(transaction, txid)];
        let alone = verify_signatures(&BlockHash::ZERO, &one, 1);
        let twice = verify_signatures(&BlockHash::ZERO, &[one[0], one[0]], 1);
        assert_eq!(alone, twice, "the verdict on signatures depends on what is beside them");
    }
}

fn examine_block(block: &Block) {
    examine_header(&block.header);
    assert_eq!(block.encoded_len(), block.to_bytes().len());
    let leaves = block.leaves();
    let root = merkle_root(&leaves);
    assert_eq!(block.computed_merkle_root(), root);
    for (index, leaf) in leaves.iter().enumerate().take(16) {
        assert_eq!(root_of_branch(*leaf, index, &merkle_branch(&leaves, index)), root);
    }
    for transaction in block.transactions.iter().take(4) {
        examine_transaction(transaction);
    }

    // Bodies are only checked under a header that commits to them.
    let mut promised = block.clone();
    promised.header.merkle_root = root;
    for block in [block, &promised] {
        let Ok(header) = CheckedHeader::from_store(block.header) else { continue };
        match check_block(Arc::new(block.clone()), &header) {
            Ok(checked) => assert_eq!(*checked.into_parts().0, *block),
            Err(error) => {
                assert_eq!(error.condemns_header(), block.header.merkle_root == root, "{error}");
            }
        }
    }
    examine_genesis(block);
    if let Some(genesis) = repaired_genesis(block) {
        examine_genesis(&genesis);
    }
}

/// Returns the block with the header fields of a genesis, mined; `None` if mining takes too long.
fn repaired_genesis(block: &Block) -> Option<Block> {
    let params = ChainParams::from_genesis_memo(&block.transactions.first()?.memo).ok()?;
    if params.floor_bits > MAX_MINED_BITS {
        return None;
    }
    let mut genesis = block.clone();
    genesis.header.height = 0;
    genesis.header.previous = BlockHash::ZERO;
    genesis.header.bits = params.floor().to_compact();
    genesis.header.merkle_root = genesis.computed_merkle_root();
    genesis.header.nonce &= u64::from(u32::MAX);
    mine(&mut genesis);
    Some(genesis)
}

fn examine_genesis(genesis: &Block) {
    let Ok(network) = Network::from_genesis(genesis.clone()) else { return };
    assert_eq!((network.id, &network.genesis), (genesis.hash(), genesis));
    let work = network.genesis_work();
    let checkpoint = Checkpoint { height: 0, hash: network.id, work };
    let invite =
        Invite::new(network, checkpoint, Vec::new()).expect("a chain can be joined at its genesis");
    assert_eq!(Invite::from_text(&invite.to_text()), Ok(invite));
}
