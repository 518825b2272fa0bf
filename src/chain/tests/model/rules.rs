//! The consensus rules, written a second time straight from the text, without a thought for speed:
//! difficulty, headers, the form of blocks and transactions, and their effect on coins. Only
//! hashing, layouts and the check of one signature are shared with the chain. A verdict is the name
//! of a broken rule.

use std::collections::{BTreeMap, BTreeSet};

use ruint::Uint;

use crate::primitives::{
    Block, BlockHash, Encode, Header, Height, LeafHash, NetworkId, OutPoint, Owner, Transaction,
    TxId, UnixMillis, sha256d,
};

/// An integer that holds 2²⁵⁶ with room to spare.
pub(super) type Wide = Uint<320, 5>;

const COIN: u64 = 100_000_000;
const SUBSIDY: u64 = 100 * COIN;

/// A coin, or a stamp's entry without value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Money {
    pub(super) units: u64,
    pub(super) height: Height,
    pub(super) coinbase: bool,
}

/// All coins and stamps by owner, txid and index.
pub(super) type Purse = BTreeMap<(Owner, TxId, u32), Money>;

/// The parameters in a chain's genesis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Params {
    pub(super) network: NetworkId,
    pub(super) spacing: u64,
    pub(super) floor_bits: u32,
}

/// The fault of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Rule(&'static str),
    /// The header is valid from this time on.
    Early(UnixMillis),
}

// Work and difficulty

pub(super) fn target_of(bits: u32) -> Wide {
    let (length, mantissa) = (bits >> 24, Wide::from(bits & 0x007f_ffff));
    if length >= 3 { mantissa << (8 * (length - 3)) } else { mantissa >> (8 * (3 - length)) }
}

pub(super) fn bits_of(target: Wide) -> u32 {
    let mut bytes: Vec<u8> =
        target.to_be_bytes_vec().into_iter().skip_while(|byte| *byte == 0).collect();
    if bytes.first().is_none_or(|first| *first >= 0x80) {
        bytes.insert(0, 0);
    }
    let length = u32::try_from(bytes.len()).expect("at most 41");
    bytes.resize(bytes.len().max(3), 0);
    length << 24 | u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

pub(super) fn work_of(bits: u32) -> Wide {
    (Wide::from(1) << 256) / (target_of(bits) + Wide::from(1))
}

impl Params {
    pub(super) fn floor(&self) -> Wide {
        target_of(bits_of((Wide::from(1) << (256 - self.floor_bits)) - Wide::from(1)))
    }

    pub(super) fn future_limit(&self) -> u64 {
        (12 * self.spacing).clamp(10_000, 120_000)
    }

    /// Returns the bits of a block at `time` after all of `chain`, genesis first.
    pub(super) fn next_bits(&self, chain: &[Header], time: UnixMillis) -> u32 {
        let floor = self.floor();
        if self.spacing == 0 {
            return bits_of(floor);
        }
        let t = i128::from(self.spacing);
        let k = t * 1_830;
        let genesis = i128::from(chain[0].time);
        let mut blocks: Vec<(i128, Wide)> =
            (1..=61).rev().map(|back| (genesis - back * t, floor)).collect();
        blocks.extend(chain.iter().map(|header| (i128::from(header.time), target_of(header.bits))));
        let window = &blocks[blocks.len() - 61..];
        let (mut before, mut weighted, mut shares) = (window[0].0, 0, Wide::ZERO);
        for (weight, (time, target)) in (1..).zip(&window[1..]) {
            let monotone = (*time).max(before + 1);
            weighted += weight * (monotone - before).min(6 * t);
            shares += *target / Wide::from(60);
            before = monotone;
        }
        let l = weighted.max(k / 10);
        let wide = |number: i128| Wide::from(u128::try_from(number).expect("positive"));
        let mut next = (shares / wide(k) * wide(l)).min(floor);
        let parent = i128::from(chain.last().expect("a parent").time);
        let mut late = i128::from(time) - parent - i128::from(self.future_limit()) - 12 * t;
        while late > 0 && next < floor {
            next = (next * Wide::from(2)).min(floor);
            late -= 6 * t;
        }
        bits_of(next)
    }

    /// True if a header after all of `chain` is cheaper than one that is not late.
    pub(super) fn is_cheap(&self, chain: &[Header], header: &Header) -> bool {
        let in_time = self.next_bits(chain, chain.last().expect("a parent").time);
        number(&header.hash()) > target_of(in_time)
    }

    pub(super) fn earliest(chain: &[Header]) -> UnixMillis {
        let mut times: Vec<_> = chain.iter().rev().take(11).map(|header| header.time).collect();
        times.sort_unstable();
        times[times.len() / 2] + 1
    }

    /// Returns the fault of a header after all of `chain`, genesis first.
    pub(super) fn header_fault(
        &self,
        chain: &[Header],
        header: &Header,
        now: UnixMillis,
    ) -> Option<HeaderFault> {
        let parent = chain.last().expect("a parent");
        let rule = |code| Some(HeaderFault::Rule(code));
        if header.height != parent.height + 1 {
            return rule("header_wrong_height");
        }
        if header.time < Self::earliest(chain) {
            return rule("header_time_too_old");
        }
        if header.bits != self.next_bits(chain, header.time) {
            return rule("header_wrong_bits");
        }
        if number(&header.hash()) > target_of(header.bits) {
            return rule("header_not_enough_work");
        }
        let due = header.time.saturating_sub(self.future_limit());
        (due > now).then_some(HeaderFault::Early(due))
    }
}

fn number(hash: &BlockHash) -> Wide {
    hash.0.iter().fold(Wide::ZERO, |number, byte| (number << 8) | Wide::from(*byte))
}

// Form

pub(super) fn leaf(transaction: &Transaction) -> LeafHash {
    LeafHash(sha256d(&[&[0], &transaction.to_bytes()]))
}

/// Returns the root as RFC 6962 defines it: split at the largest power of two below the count.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => [0; 32],
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256d(&[&[1], &root(left), &root(right)])
        }
    }
}

pub(super) fn is_note(transaction: &Transaction) -> bool {
    transaction.inputs.iter().any(|input| input.outpoint.txid == TxId::ZERO)
}

fn sizes_fault(transaction: &Transaction) -> Option<&'static str> {
    if transaction.to_bytes().len() > 100_000 {
        return Some("transaction_too_large");
    }
    (transaction.memo.len() > 1_024).then_some("memo_too_long")
}

fn outputs_fault(transaction: &Transaction) -> Option<&'static str> {
    let units = || transaction.outputs.iter().map(|output| u128::from(output.value.units()));
    if units().count() == 0 {
        Some("no_outputs")
    } else if units().any(|units| units == 0) {
        Some("zero_output")
    } else if units().sum::<u128>() > u128::from(u64::MAX) {
        Some("outputs_overflow")
    } else {
        None
    }
}

/// Returns the fault in the form of a trade or note.
pub(super) fn form_fault(transaction: &Transaction) -> Option<&'static str> {
    let Transaction { inputs, outputs, memo } = transaction;
    if let Some(code) = sizes_fault(transaction) {
        return Some(code);
    }
    if inputs.is_empty() {
        return Some("stray_coinbase");
    }
    if is_note(transaction) {
        return if inputs.len() > 1 {
            Some("stamp_with_inputs")
        } else if !outputs.is_empty() {
            Some("note_with_outputs")
        } else {
            memo.is_empty().then_some("empty_note")
        };
    }
    if let Some(code) = outputs_fault(transaction) {
        return Some(code);
    }
    let different: BTreeSet<_> = inputs.iter().map(|input| input.outpoint).collect();
    (different.len() < inputs.len()).then_some("duplicate_input")
}

/// Returns the fault in the form of a block.
pub(super) fn block_fault(block: &Block) -> Option<&'static str> {
    let leaves: Vec<_> = block.transactions.iter().map(|transaction| leaf(transaction).0).collect();
    if root(&leaves) != block.header.merkle_root.0 {
        return Some("wrong_merkle_root");
    }
    if block.to_bytes().len() > 2 * 1_024 * 1_024 {
        return Some("block_too_large");
    }
    let Some((coinbase, rest)) = block.transactions.split_first() else {
        return Some("block_empty");
    };
    let coinbase_fault = sizes_fault(coinbase).or_else(|| {
        if !coinbase.inputs.is_empty() {
            return Some("not_a_coinbase");
        }
        if !coinbase.memo.starts_with(&block.header.height.to_le_bytes()) {
            return Some("coinbase_height");
        }
        outputs_fault(coinbase)
    });
    coinbase_fault.or_else(|| rest.iter().find_map(form_fault))
}

// Coins

/// Returns the keys of the coins that a trade spends, or of the stamp that a note uses.
pub(super) fn places(transaction: &Transaction) -> Vec<(Owner, TxId, u32)> {
    let place = |OutPoint { txid, index }, owner| (owner, txid, index);
    transaction.inputs.iter().map(|input| place(input.outpoint, input.public_key.owner())).collect()
}

/// Returns the entries that a transaction creates.
pub(super) fn made(transaction: &Transaction, height: Height) -> Vec<((Owner, TxId, u32), Money)> {
    if is_note(transaction) {
        let entry = Money { units: 0, height, coinbase: false };
        return places(transaction).into_iter().map(|place| (place, entry)).collect();
    }
    let (txid, coinbase) = (transaction.txid(), transaction.inputs.is_empty());
    let outputs = (0..).zip(&transaction.outputs);
    outputs
        .map(|(index, output)| {
            ((output.owner, txid, index), Money { units: output.value.units(), height, coinbase })
        })
        .collect()
}

/// Applies a trade or note to the coins. Returns its fee, or the rule that it breaks; the coins are
/// then unusable.
pub(super) fn spend(
    purse: &mut Purse,
    transaction: &Transaction,
    height: Height,
) -> Result<u64, &'static str> {
    let mut taken = 0u128;
    if is_note(transaction) {
        if places(transaction).iter().any(|place| purse.contains_key(place)) {
            return Err("stamp_used");
        }
    } else {
        for place in places(transaction) {
            taken += u128::from(purse.remove(&place).ok_or("missing_coin")?.units);
        }
    }
    let given: u128 =
        transaction.outputs.iter().map(|output| u128::from(output.value.units())).sum();
    let fee = taken.checked_sub(given).ok_or("overspent")?;
    purse.extend(made(transaction, height));
    Ok(u64::try_from(fee).expect("fewer than all units"))
}

/// Applies a block to the coins without checking signatures. Returns the rule that it breaks, if
/// any.
pub(super) fn connect(purse: &mut Purse, block: &Block) -> Result<(), &'static str> {
    let height = block.header.height;
    let mut earned = u128::from(SUBSIDY);
    for transaction in block.transactions.iter().skip(1) {
        earned += u128::from(spend(purse, transaction, height)?);
    }
    let Some(coinbase) = block.transactions.first() else { return Err("block_empty") };
    let claimed: u128 =
        coinbase.outputs.iter().map(|output| u128::from(output.value.units())).sum();
    if claimed > earned {
        return Err("coinbase_value");
    }
    purse.extend(made(coinbase, height));
    Ok(())
}
