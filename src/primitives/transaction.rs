//! Transactions and their encoding: coinbases, trades and notes.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use super::{
    Amount, DecodeError, Height, NetworkId, Owner, PublicKey, Signature, TxId,
    encoding::{Decode, Encode, Reader},
    sha256d,
};

/// The longest memo, in bytes: a page of text.
pub(crate) const MAX_MEMO_BYTES: usize = 1_024;

/// The domain tag at the start of every message that a transaction's signatures cover.
const SIGNING_TAG: &[u8] = b"friendchain/transaction/1";

/// A reference to one output of an earlier transaction, or to a stamp.
///
/// A stamp is a number that an owner can use once, for a note.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct OutPoint {
    /// The id of the transaction; zero for a stamp.
    pub txid: TxId,
    /// The position of the output; any number for a stamp.
    pub index: u32,
}

/// A claim on a coin, signed by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxInput {
    pub outpoint: OutPoint,
    /// The key of the coin's owner.
    pub public_key: PublicKey,
    /// The signature over [`Transaction::signing_message`].
    pub signature: Signature,
}

/// A coin that a transaction creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TxOutput {
    /// The value: at least one unit.
    pub value: Amount,
    pub owner: Owner,
}

/// A decoded transaction: only its layout has been checked.
///
/// Layout:
/// - version u32 = 1;
/// - count of inputs u16, then for each: txid 32, index u32, public key 32, signature 64;
/// - count of outputs u16, then for each: value u64, owner 20;
/// - length of the memo u16, then the memo.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The inputs: none in a coinbase, one stamp in a note.
    pub inputs: Vec<TxInput>,
    /// The outputs: none in a note.
    pub outputs: Vec<TxOutput>,
    /// The text of the transaction. In a coinbase it begins with the height, 4 bytes.
    pub memo: Vec<u8>,
}

/// The kind of a transaction, which follows from its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransactionKind {
    /// A transaction without inputs, which mints coins.
    Coinbase,
    /// A transaction that spends coins.
    Trade,
    /// A transaction with a stamp among its inputs, which publishes a text.
    Note,
}

/// Returns the memo of a coinbase: the height, then `rest`.
#[must_use]
pub fn coinbase_memo(height: Height, rest: &[u8]) -> Vec<u8> {
    [&height.to_le_bytes()[..], rest].concat()
}

impl OutPoint {
    /// True if this refers to a stamp and not to a coin.
    #[must_use]
    pub(crate) fn is_stamp(&self) -> bool {
        self.txid == TxId::ZERO
    }
}

impl Transaction {
    #[must_use]
    pub(crate) fn kind(&self) -> TransactionKind {
        if self.inputs.is_empty() {
            TransactionKind::Coinbase
        } else if self.inputs.iter().any(|input| input.outpoint.is_stamp()) {
            TransactionKind::Note
        } else {
            TransactionKind::Trade
        }
    }

    /// Returns the hash of the encoding without the signatures.
    #[must_use]
    pub fn txid(&self) -> TxId {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode_with(&mut bytes, false);
        TxId(sha256d(&[&bytes]))
    }

    /// Returns the message that every input signs: a domain tag, the network id and the txid.
    #[must_use]
    pub fn signing_message(network: &NetworkId, txid: &TxId) -> Vec<u8> {
        [SIGNING_TAG, network.as_bytes(), txid.as_bytes()].concat()
    }

    /// Returns the memo as text, without the height in a coinbase. It may hold control characters.
    ///
    /// Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub(crate) fn memo_text(&self) -> String {
        let text = match self.kind() {
            TransactionKind::Coinbase => self.memo.get(4..).unwrap_or_default(),
            _ => &self.memo,
        };
        String::from_utf8_lossy(text).into_owned()
    }

    /// Returns the length of the encoding, in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let counts = 4 + 2 + 2 + 2;
        let inputs = self.inputs.len().saturating_mul(TxInput::BYTES);
        let outputs = self.outputs.len().saturating_mul(TxOutput::BYTES);
        inputs.saturating_add(outputs).saturating_add(self.memo.len()).saturating_add(counts)
    }

    fn encode_with(&self, out: &mut Vec<u8>, signatures: bool) {
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
        out.extend(1u32.to_le_bytes());
        out.extend(count(self.inputs.len()));
        for input in &self.inputs {
            out.extend(input.outpoint.txid.0);
            out.extend(input.outpoint.index.to_le_bytes());
            out.extend(input.public_key.0);
            if signatures {
                out.extend(input.signature.0);
            }
        }
        out.extend(count(self.outputs.len()));
        for output in &self.outputs {
            out.extend(output.value.units().to_le_bytes());
            out.extend(output.owner.0);
        }
        out.extend(count(self.memo.len()));
        out.extend(&self.memo);
    }
}

impl TxInput {
    /// Length of an encoded input: txid, index, public key and signature.
    pub const BYTES: usize = 32 + 4 + 32 + 64;
}

impl TxOutput {
    /// Length of an encoded output: value and owner.
    pub const BYTES: usize = 8 + 20;
}

impl Encode for Transaction {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        self.encode_with(out, true);
    }
}

impl Decode for Transaction {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version()?;
        let inputs = read_list(reader, TxInput::BYTES, |reader| {
            Ok(TxInput {
                outpoint: OutPoint { txid: TxId(reader.array()?), index: reader.u32()? },
                public_key: PublicKey(reader.array()?),
                signature: Signature(reader.array()?),
            })
        })?;
        let outputs = read_list(reader, TxOutput::BYTES, |reader| {
            Ok(TxOutput { value: Amount::from_units(reader.u64()?), owner: Owner(reader.array()?) })
        })?;
        let length = usize::from(reader.u16()?);
        if length > MAX_MEMO_BYTES {
            return Err(DecodeError::TooMany {
                what: "memo bytes",
                count: length,
                limit: MAX_MEMO_BYTES,
            });
        }
        let memo = reader.take(length)?.to_vec();
        Ok(Self { inputs, outputs, memo })
    }
}

/// Reads a u16 count and that many items of `width` bytes.
///
/// The list is allocated only if the remaining bytes can hold it.
fn read_list<T>(
    reader: &mut Reader<'_>,
    width: usize,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(reader.u16()?);
    let needed = count.saturating_mul(width);
    if needed > reader.remaining() {
        return Err(DecodeError::Truncated { missing: needed.saturating_sub(reader.remaining()) });
    }
    (0..count).map(|_| item(reader)).collect()
}
