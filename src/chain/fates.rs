//! `fates` finds the state of each coin that a void transaction would spend, so that `resend` never
//! pays twice.

use redb::ReadableTable as _;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    api::{InputFate, MempoolEntry, OwnedCoin},
    errors::ChainFault,
    store::tables::{
        HeaderRecord, META_TIP, OwnRecord, ReadTables, Status, TxLocation, block_key,
        coin_from_bytes, split_block_key, stored, tx_key,
    },
};
use crate::{
    consensus::{Coin, CoinKey},
    primitives::{Block, BlockHash, Height, OutPoint, Transaction, TxId, TxInput, TxOutput},
};

/// A transaction that has spent a coin, and the height of its block.
type Spender = (TxId, Arc<Transaction>, Option<Height>);

/// Returns the fates of a transaction's inputs, in their order.
pub(super) fn input_fates(
    tables: &ReadTables,
    transaction: &Transaction,
    waiting: &[MempoolEntry],
) -> Result<Vec<InputFate>, ChainFault> {
    if let Some(input) = transaction.inputs.iter().find(|input| input.outpoint.is_stamp()) {
        return Ok(vec![stamp_fate(tables, input, waiting)?]);
    }
    let mut spenders: HashMap<OutPoint, Spender> = HashMap::new();
    for entry in waiting {
        for input in &entry.transaction.inputs {
            let spender = (entry.txid, Arc::clone(&entry.transaction), None);
            spenders.insert(input.outpoint, spender);
        }
    }
    let (mut free, mut open, mut since) = (HashMap::new(), HashSet::new(), Height::MAX);
    for input in &transaction.inputs {
        let (key, outpoint) = (CoinKey::of_input(input), input.outpoint);
        if spenders.contains_key(&outpoint) {
            continue;
        }
        let stored = tables.coins.get(&key.to_bytes())?;
        let coin = stored.map(|value| coin_from_bytes(value.value())).transpose()?;
        if let Some(coin) = coin.or_else(|| waiting_output(waiting, &key)) {
            free.insert(outpoint, OwnedCoin { owner: key.owner, outpoint, coin });
        } else if let Some(location) = tables.tx_index.get(tx_key(&outpoint.txid))? {
            open.insert(outpoint);
            since = since.min(TxLocation::from_bytes(*location.value()).height);
        }
    }
    find_spenders(tables, open, since, &mut spenders)?;
    let fate = |outpoint: OutPoint| match (free.get(&outpoint), spenders.get(&outpoint)) {
        (Some(coin), _) => InputFate::Free(*coin),
        (None, Some((by, transaction, height))) => {
            InputFate::Spent { by: *by, transaction: Arc::clone(transaction), height: *height }
        }
        (None, None) => InputFate::Missing(outpoint),
    };
    Ok(transaction.inputs.iter().map(|input| fate(input.outpoint)).collect())
}

/// Returns another own transaction that makes the same payments with the same memo. It is at least
/// as new as `txid` and not void.
pub(super) fn paid_since(
    tables: &ReadTables,
    txid: &TxId,
    payments: &[TxOutput],
    memo: &[u8],
) -> Result<Option<TxId>, ChainFault> {
    let Some(bytes) = tables.own.get(tx_key(txid))? else { return Ok(None) };
    let since = stored::<OwnRecord>("an own trade", bytes.value())?.added;
    if payments.is_empty() {
        return Ok(None);
    }
    for entry in tables.own.iter()? {
        let (key, value) = entry?;
        let record: OwnRecord = stored("an own trade", value.value())?;
        let made = &record.transaction;
        let is_alike = record.void.is_empty()
            && record.added >= since
            && made.memo == memo
            && payments.iter().all(|payment| made.outputs.contains(payment));
        let other = TxId(*key.value());
        if is_alike && other != *txid {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

/// Returns the fate of a note's stamp. A used stamp counts as missing.
fn stamp_fate(
    tables: &ReadTables,
    input: &TxInput,
    waiting: &[MempoolEntry],
) -> Result<InputFate, ChainFault> {
    let (key, outpoint) = (CoinKey::of_input(input), input.outpoint);
    let is_same =
        |other: &TxInput| other.outpoint == outpoint && other.public_key == input.public_key;
    let waits = waiting.iter().any(|entry| entry.transaction.inputs.iter().any(is_same));
    let is_used = waits || tables.coins.get(&key.to_bytes())?.is_some();
    let coin = OwnedCoin { owner: key.owner, outpoint, coin: Coin::stamp(0) };
    Ok(if is_used { InputFate::Missing(outpoint) } else { InputFate::Free(coin) })
}

/// Returns the output of a mempool entry.
fn waiting_output(waiting: &[MempoolEntry], key: &CoinKey) -> Option<Coin> {
    let entry = waiting.iter().find(|entry| entry.txid == key.outpoint.txid)?;
    let output = entry.transaction.outputs.get(usize::try_from(key.outpoint.index).ok()?)?;
    let coin = Coin { value: output.value, height: Height::MAX, coinbase: false };
    (output.owner == key.owner).then_some(coin)
}

/// Searches for the transactions that spent `open`, from the tip down to the height `since`.
fn find_spenders(
    tables: &ReadTables,
    mut open: HashSet<OutPoint>,
    since: Height,
    found: &mut HashMap<OutPoint, Spender>,
) -> Result<(), ChainFault> {
    if open.is_empty() {
        return Ok(());
    }
    let (tip, _) = split_block_key(&tables.meta_key(META_TIP)?);
    let (first, last) =
        (block_key(since, &BlockHash::ZERO), block_key(tip, &BlockHash([0xff; 32])));
    for entry in tables.headers.range::<&[u8; 36]>(&first..=&last)?.rev() {
        let (key, value) = entry?;
        let record = HeaderRecord::from_bytes(value.value())?;
        if record.status != Status::Connected {
            continue;
        }
        let Some(bytes) = tables.blocks.get(key.value())? else { continue };
        let block: Block = stored("a block", bytes.value())?;
        for transaction in block.transactions {
            let spends: Vec<_> = transaction
                .inputs
                .iter()
                .map(|input| input.outpoint)
                .filter(|outpoint| open.contains(outpoint))
                .collect();
            if spends.is_empty() {
                continue;
            }
            let txid = transaction.txid();
            let transaction = Arc::new(transaction);
            for outpoint in spends {
                open.remove(&outpoint);
                let spender = (txid, Arc::clone(&transaction), Some(record.header.height));
                found.insert(outpoint, spender);
            }
        }
        if open.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}
