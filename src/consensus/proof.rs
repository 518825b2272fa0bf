//! Proof texts, which show to any reader that a trade or note is in a block.

use data_encoding::BASE64URL_NOPAD;

use super::{
    CompactError, MAX_BLOCK_BYTES, MAX_TRANSACTION_BYTES, MIN_FLOOR_BITS, Target, TransactionError,
    check_transaction, verify_signatures,
};
use crate::primitives::{
    Block, BlockHash, DecodeError, Encode, HEADER_BYTES, Header, MerkleRoot, NetworkId,
    Transaction, TransactionKind, TxId,
    encoding::{Decode, Reader},
    leaf_hash, merkle_branch, printable, root_of_branch, sha256d,
};

/// The first characters of every proof.
pub(crate) const PROOF_PREFIX: &str = "friendchain-proof:";

/// The most steps from a transaction up to the merkle root.
///
/// A block of 2 MiB holds fewer than 2^14 of the smallest trades, as asserted below.
pub(crate) const MAX_PROOF_STEPS: usize = 14;

/// A lower bound of an encoded trade or note, in bytes: 10, and one input of 132.
const MIN_TRADE_BYTES: usize = 142;

// A tree of that height has a leaf for each trade of the fullest block, and for the coinbase.
const _: () = assert!(MIN_TRADE_BYTES * ((1 << MAX_PROOF_STEPS) - 1) >= MAX_BLOCK_BYTES);

/// The longest proof before base64, in bytes.
const MAX_PROOF_BYTES: usize =
    1 + 32 + HEADER_BYTES + MAX_TRANSACTION_BYTES + 1 + 2 + MAX_PROOF_STEPS * 32 + CHECKSUM_BYTES;

/// The longest proof, in characters: the largest transaction in the fullest block.
pub(crate) const MAX_PROOF_CHARS: usize = PROOF_PREFIX.len() + MAX_PROOF_BYTES.div_ceil(3) * 4;

/// The version of the layout.
const VERSION: u8 = 1;

/// Length of the checksum: one random change in 2^32 goes unnoticed.
///
/// The checksum guards against accidents only. The hashes and signatures catch forgeries.
const CHECKSUM_BYTES: usize = 4;

/// Evidence that a trade or note is in a block.
///
/// A value exists only after everything that needs no chain was checked: the header's work, the
/// path to its merkle root, and the transaction's form and signatures. The signatures cover the
/// network id.
///
/// # Security
///
/// The reader must still decide whether the block belongs to a chain that they trust. Work alone
/// does not show that, since any person can mine a block that is easy enough.
///
/// The proof leaves out the transaction's position on purpose. A header does not commit to the
/// number of transactions, so one path can fit several positions in trees of several sizes.
///
/// # Layout
///
/// The text is `friendchain-proof:` and then, in base64url without padding:
/// - version u8 = 1;
/// - network id 32;
/// - the header;
/// - the transaction;
/// - count of steps u8, sides u16, and for each step, from the leaf up, the sibling's hash 32;
/// - the first 4 bytes of the SHA-256d of all bytes before.
///
/// Bit *i* of the sides is set if the sibling of step *i* is the left one of its pair. A level of
/// the tree that promotes the node alone adds no step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    network: NetworkId,
    header: Header,
    transaction: Transaction,
    sides: u16,
    siblings: Vec<[u8; 32]>,
}

/// The reason why a text is not a proof, or why no proof can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofError {
    /// The text does not begin with [`PROOF_PREFIX`].
    #[error(
        "'{0}' is not a proof: proofs begin with '{PROOF_PREFIX}'; ask for the text or file that \
         prove made"
    )]
    Prefix(String),
    /// The text is longer than [`MAX_PROOF_CHARS`].
    #[error(
        "the proof has {0} characters, more than any proof has ({MAX_PROOF_CHARS}); ask for it \
         again"
    )]
    TooLong(usize),
    /// The text has a line break or a blank inside.
    #[error(
        "the proof is broken by white space at character {position}: join its lines, or ask for \
         it as a file"
    )]
    WhiteSpace {
        /// The position of the character, counted from 1 with the prefix.
        position: usize,
    },
    /// A character is not in base64url, or the last character has stray bits.
    #[error(
        "the proof is damaged at character {position}: ask for it again, whole and without changes"
    )]
    Character {
        /// The position of the character, counted from 1 with the prefix.
        position: usize,
    },
    /// Characters are missing or changed.
    #[error(
        "the proof's checksum does not fit: a part is missing or a letter has changed; ask for it \
         again"
    )]
    Checksum,
    /// This program does not know the version of the layout.
    #[error("the proof is of version {0}, and this program knows version 1 only; update it")]
    Version(u8),
    /// The checksum fits, but the layout does not.
    #[error("the proof is malformed ({0}): it proves nothing")]
    Layout(#[from] DecodeError),
    /// The path has more steps than the tree of a block can have.
    #[error(
        "the proof has {0} steps up to the merkle root, more than any block has ({MAX_PROOF_STEPS})"
    )]
    TooManySteps(usize),
    /// A bit of the sides is set for a step that the path does not have.
    #[error(
        "the proof names sides ({sides:#06x}) of more than its {steps} steps: it proves nothing"
    )]
    StraySides {
        /// The bits of all sides.
        sides: u16,
        /// The number of steps in the path.
        steps: usize,
    },
    /// The transaction is a coinbase, which no signature ties to a network.
    #[error(
        "transaction {0} is a coinbase: a proof is of a trade or a note; its block itself shows a \
         reward"
    )]
    Coinbase(TxId),
    /// The transaction breaks a rule of form, or is not signed for the proof's network.
    #[error("the proof's transaction {txid} is not a valid one of network {network}: {error}")]
    Transaction { txid: TxId, network: NetworkId, error: TransactionError },
    /// The header's bits encode no target.
    #[error("the proof's block is not valid: {0}")]
    Bits(#[from] CompactError),
    /// The header's target is easier than the easiest floor that a chain can have.
    #[error(
        "the proof's block {hash} is easier ({bits:08x}) than a block of any chain may be: it \
         proves nothing"
    )]
    TooEasy { hash: BlockHash, bits: u32 },
    /// The header's hash does not meet its bits.
    #[error("the work for the proof's block {hash} was not done: it proves nothing")]
    NotEnoughWork { hash: BlockHash },
    /// The path leads to another merkle root than the header's.
    #[error(
        "transaction {txid} is not in block {block}: the path leads to {found}, not to its merkle \
         root"
    )]
    WrongRoot {
        txid: TxId,
        block: BlockHash,
        /// The root that the path leads to.
        found: MerkleRoot,
    },
    /// The block has no transaction at that position.
    #[error("block {block} has no transaction at position {position}")]
    NoSuchPosition {
        block: BlockHash,
        /// The position asked for; the coinbase is at 0.
        position: usize,
    },
}

impl ProofError {
    /// Returns a stable name for logs and replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Prefix(_) => "not_a_proof",
            Self::TooLong(_) => "proof_too_long",
            Self::WhiteSpace { .. } | Self::Character { .. } | Self::Checksum => "proof_damaged",
            Self::Version(_) => "proof_version",
            Self::Layout(_) | Self::TooManySteps(_) | Self::StraySides { .. } => "proof_malformed",
            Self::Coinbase(_) => "proof_of_coinbase",
            Self::Transaction { .. } => "proof_transaction",
            Self::Bits(_) | Self::TooEasy { .. } | Self::NotEnoughWork { .. } => {
                "proof_without_work"
            }
            Self::WrongRoot { .. } => "proof_wrong_root",
            Self::NoSuchPosition { .. } => "no_such_position",
        }
    }
}

impl Proof {
    /// Proves that the transaction at `position` is in the block; the coinbase is at 0.
    pub(crate) fn of_block(
        network: NetworkId,
        block: &Block,
        position: usize,
    ) -> Result<Self, ProofError> {
        let no_such = || ProofError::NoSuchPosition { block: block.hash(), position };
        let transaction = block.transactions.get(position).ok_or_else(no_such)?.clone();
        let (mut at, mut sides, mut siblings) = (position, 0u16, Vec::new());
        for sibling in merkle_branch(&block.leaves(), position) {
            if let Some(sibling) = sibling {
                if at % 2 == 1 {
                    // `checked` rejects a step beyond the last bit.
                    sides |= 1u16
                        .checked_shl(u32::try_from(siblings.len()).unwrap_or(u32::MAX))
                        .unwrap_or_default();
                }
                siblings.push(sibling);
            }
            at /= 2;
        }
        Self { network, header: block.header, transaction, sides, siblings }.checked()
    }

    /// Returns the proof after checking all of it that needs no chain.
    fn checked(self) -> Result<Self, ProofError> {
        let steps = self.siblings.len();
        if steps > MAX_PROOF_STEPS {
            return Err(ProofError::TooManySteps(steps));
        }
        if usize::try_from(self.sides.checked_ilog2().map_or(0, |last| last.saturating_add(1)))
            .is_ok_and(|n| n > steps)
        {
            return Err(ProofError::StraySides { sides: self.sides, steps });
        }
        let (block, txid) = (self.block(), self.txid());
        let target = Target::from_compact(self.header.bits)?;
        if target > Target::with_zero_bits(MIN_FLOOR_BITS) {
            return Err(ProofError::TooEasy { hash: block, bits: self.header.bits });
        }
        if !target.is_met_by(&block) {
            return Err(ProofError::NotEnoughWork { hash: block });
        }
        let branch: Vec<_> = self.siblings.iter().copied().map(Some).collect();
        let found = root_of_branch(leaf_hash(&self.transaction), usize::from(self.sides), &branch);
        if found != self.header.merkle_root {
            return Err(ProofError::WrongRoot { txid, block, found });
        }
        if self.transaction.kind() == TransactionKind::Coinbase {
            return Err(ProofError::Coinbase(txid));
        }
        let verified = check_transaction(&self.transaction).and_then(|()| {
            verify_signatures(&self.network, &[(&self.transaction, txid)], 1)
                .map_err(|(_, error)| error)
        });
        verified.map_err(|error| ProofError::Transaction { txid, network: self.network, error })?;
        Ok(self)
    }

    /// Returns the network that the transaction is signed for.
    #[must_use]
    pub(crate) const fn network(&self) -> NetworkId {
        self.network
    }

    #[must_use]
    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the hash of the block that holds the transaction.
    #[must_use]
    pub(crate) fn block(&self) -> BlockHash {
        self.header.hash()
    }

    /// Returns the transaction that is proven to be in the block.
    #[must_use]
    pub(crate) const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    #[must_use]
    pub(crate) fn txid(&self) -> TxId {
        self.transaction.txid()
    }

    /// Returns the proof as one line of text without a line end.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.network.0);
        self.header.encode(&mut bytes);
        self.transaction.encode(&mut bytes);
        // A checked proof has at most 14 siblings.
        bytes.push(u8::try_from(self.siblings.len()).unwrap_or(u8::MAX));
        bytes.extend(self.sides.to_le_bytes());
        for sibling in &self.siblings {
            bytes.extend(sibling);
        }
        bytes.extend(checksum(&bytes));
        format!("{PROOF_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads and checks a proof. The text may end with one line end, and has no other white space.
    pub(crate) fn from_text(text: &str) -> Result<Self, ProofError> {
        let line =
            text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        let Some(encoded) = line.strip_prefix(PROOF_PREFIX) else {
            return Err(ProofError::Prefix(printable(&line.chars().take(24).collect::<String>())));
        };
        if line.len() > MAX_PROOF_CHARS {
            return Err(ProofError::TooLong(line.len()));
        }
        let place = |at: usize| at.saturating_add(PROOF_PREFIX.len()).saturating_add(1);
        if let Some(at) = encoded.find(char::is_whitespace) {
            return Err(ProofError::WhiteSpace { position: place(at) });
        }
        let bytes = BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|error| ProofError::Character { position: place(error.position) })?;
        let Some((payload, sum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(ProofError::Checksum);
        };
        if *sum != checksum(payload) {
            return Err(ProofError::Checksum);
        }
        Self::read(&mut Reader::new(payload))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ProofError> {
        match reader.u8()? {
            VERSION => {}
            other => return Err(ProofError::Version(other)),
        }
        let network = BlockHash(reader.array()?);
        let header = Header::decode(reader)?;
        let transaction = Transaction::decode(reader)?;
        let steps = usize::from(reader.u8()?);
        if steps > MAX_PROOF_STEPS {
            return Err(ProofError::TooManySteps(steps));
        }
        let sides = reader.u16()?;
        let siblings = (0..steps).map(|_| reader.array()).collect::<Result<Vec<_>, _>>()?;
        reader.clone().finish()?;
        Self { network, header, transaction, sides, siblings }.checked()
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = sha256d(&[payload]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        consensus::{
            HeaderWindow, Network,
            testing::{hash, key, mine, network, next_block, note, outpoint, owner, signed},
            vectors::golden,
        },
        primitives::{Amount, TxOutput},
    };

    fn trade(network: &Network, number: u8) -> Transaction {
        let outputs = vec![TxOutput { value: Amount::from_coins(10), owner: owner(&key(3)) }];
        signed(&network.id, &[(&key(2), outpoint(number + 1, 1))], outputs, b"for the tea")
    }

    /// Returns a mined block with a coinbase and `count` trades and notes.
    fn block(network: &Network, count: u8) -> Block {
        let rest = (0..count).map(|number| match number % 3 {
            2 => note(&network.id, &key(4), u32::from(number), b"a note"),
            _ => trade(network, number),
        });
        next_block(network, &HeaderWindow::genesis(network), rest.collect())
    }

    fn proof(count: u8, position: usize) -> Proof {
        let network = network(0);
        Proof::of_block(network.id, &block(&network, count), position).expect("a proof")
    }

    fn payload(proof: &Proof) -> Vec<u8> {
        let text = proof.to_text();
        let bytes = BASE64URL_NOPAD.decode(&text.as_bytes()[PROOF_PREFIX.len()..]).expect("base64");
        bytes[..bytes.len() - CHECKSUM_BYTES].to_vec()
    }

    /// Returns a text with the right checksum for any payload.
    fn sealed(payload: &[u8]) -> String {
        format!("{PROOF_PREFIX}{}", BASE64URL_NOPAD.encode(&[payload, &checksum(payload)].concat()))
    }

    #[test]
    fn every_trade_and_note_of_a_block_has_a_proof_and_the_coinbase_has_none() {
        let network = network(0);
        for count in 0..12 {
            let block = block(&network, count);
            for (position, transaction) in block.transactions.iter().enumerate().skip(1) {
                let proof = Proof::of_block(network.id, &block, position).expect("a proof");
                let read = Proof::from_text(&proof.to_text()).expect("a proof");
                assert_eq!(read, proof);
                assert_eq!((read.transaction(), read.txid()), (transaction, transaction.txid()));
                assert_eq!(
                    (read.block(), read.header(), read.network()),
                    (block.hash(), &block.header, network.id)
                );
            }
            let coinbase = block.transactions[0].txid();
            assert_eq!(Proof::of_block(network.id, &block, 0), Err(ProofError::Coinbase(coinbase)));
            let position = block.transactions.len();
            let error =
                Proof::of_block(network.id, &block, position).expect_err("no such transaction");
            assert_eq!(error, ProofError::NoSuchPosition { block: block.hash(), position });
        }
    }

    #[test]
    fn a_change_of_any_bit_of_the_text_is_caught() {
        for ending in ["", "\n", "\r\n"] {
            let text = proof(6, 5).to_text() + ending;
            assert!(Proof::from_text(&text).is_ok());
            for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                // `from_text` never gets bytes that are not UTF-8.
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert!(Proof::from_text(&changed).is_err(), "bit {bit} of byte {at}");
                }
            }
            for end in 0..text.len() - ending.len() {
                assert!(Proof::from_text(&text[..end]).is_err(), "the first {end}");
            }
        }
    }

    #[test]
    fn a_changed_bit_under_a_right_checksum_is_caught() {
        let honest = proof(6, 5);
        let whole = payload(&honest);
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            // One changed header in 256 meets its target by chance. The result is another block,
            // which the reader does not know.
            if let Ok(proof) = Proof::from_text(&sealed(&changed)) {
                assert_ne!(proof.block(), honest.block(), "bit {bit} of byte {at}");
                assert!((33..33 + HEADER_BYTES).contains(&at), "bit {bit} of byte {at}");
            }
        }
        for end in 0..whole.len() {
            assert!(
                matches!(Proof::from_text(&sealed(&whole[..end])), Err(ProofError::Layout(_))),
                "{end}"
            );
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(
            Proof::from_text(&sealed(&longer)),
            Err(ProofError::Layout(DecodeError::Trailing { extra: 1 }))
        );
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let honest = proof(6, 5);
        let error = |proof: Proof| Proof::from_text(&proof.to_text()).expect_err("no proof");
        let changed = |change: fn(&mut Proof)| {
            let mut proof = honest.clone();
            change(&mut proof);
            proof
        };
        // The path belongs to another transaction of the tree.
        let other = Proof { sides: honest.sides ^ 1, ..honest.clone() };
        assert!(matches!(error(other), ProofError::WrongRoot { .. }));
        let found = error(changed(|proof| proof.sides |= 1 << 9));
        assert_eq!(found, ProofError::StraySides { sides: honest.sides | 1 << 9, steps: 3 });
        assert!(matches!(
            error(changed(|proof| proof.siblings.truncate(2))),
            ProofError::StraySides { .. }
        ));
        let found = error(changed(|proof| proof.siblings = vec![[0; 32]; MAX_PROOF_STEPS + 1]));
        assert_eq!(found, ProofError::TooManySteps(MAX_PROOF_STEPS + 1));
        // The signatures do not fit when the proof names another network.
        assert!(matches!(
            error(changed(|proof| proof.network = hash(8))),
            ProofError::Transaction { .. }
        ));
        // Another transaction does not lead to the merkle root.
        let other = trade(&network(0), 77);
        assert!(matches!(
            error(Proof { transaction: other, ..honest.clone() }),
            ProofError::WrongRoot { .. }
        ));

        let unworked = (0..200).map(|nonce| Header { nonce, ..honest.header });
        let header = unworked.into_iter().find(|header| header.hash().0[0] != 0).expect("most are");
        let found = error(Proof { header, ..honest.clone() });
        assert_eq!(found, ProofError::NotEnoughWork { hash: header.hash() });
        let header = Header { bits: 0x207f_ffff, ..honest.header };
        assert_eq!(
            error(Proof { header, ..honest.clone() }),
            ProofError::TooEasy { hash: header.hash(), bits: 0x207f_ffff }
        );
        let header = Header { bits: 0, ..honest.header };
        assert_eq!(
            error(Proof { header, ..honest.clone() }),
            ProofError::Bits(CompactError::NotPositive(0))
        );
    }

    #[test]
    fn a_proof_text_of_a_coinbase_is_refused() {
        let network = network(0);
        let block = block(&network, 0);
        let proof = Proof {
            network: network.id,
            header: block.header,
            transaction: block.transactions[0].clone(),
            sides: 0,
            siblings: vec![],
        };
        assert_eq!(Proof::from_text(&proof.to_text()), Err(ProofError::Coinbase(proof.txid())));
    }

    #[test]
    fn a_text_that_is_no_proof_is_refused_by_cause() {
        let error = |text: &str| Proof::from_text(text).expect_err("no proof");
        assert!(matches!(error("hello"), ProofError::Prefix(_)));
        assert!(matches!(error(""), ProofError::Prefix(_)));
        assert!(!error("\u{1b}[31mred").to_string().contains('\u{1b}'));
        let text = proof(2, 1).to_text();
        assert!(matches!(error(&format!(" {text}")), ProofError::Prefix(_)));
        let broken = format!("{}\n{}", &text[..60], &text[60..]);
        assert_eq!(error(&broken), ProofError::WhiteSpace { position: 61 });
        assert_eq!(
            error(&format!("{text}\n\n")),
            ProofError::WhiteSpace { position: text.len() + 1 }
        );
        assert!(matches!(
            error(&text.replace("proof:", "proof:+")),
            ProofError::Character { position: 19 }
        ));
        assert_eq!(error(PROOF_PREFIX), ProofError::Checksum);
        let long = format!("{PROOF_PREFIX}{}", "A".repeat(MAX_PROOF_CHARS));
        assert_eq!(error(&long), ProofError::TooLong(long.len()));
        let mut newer = payload(&proof(2, 1));
        newer[0] = 2;
        assert_eq!(error(&sealed(&newer)), ProofError::Version(2));
    }

    #[test]
    fn the_longest_proof_is_within_its_limit() {
        let network = network(0);
        let inputs: Vec<_> = (0..700).map(|index| (key(2), outpoint(1, index))).collect();
        let inputs: Vec<_> = inputs.iter().map(|(key, outpoint)| (key, *outpoint)).collect();
        let outputs = vec![TxOutput { value: Amount::from_coins(1), owner: owner(&key(3)) }];
        let large = signed(&network.id, &inputs, outputs, &[b'x'; 1_024]);
        let mut block = next_block(&network, &HeaderWindow::genesis(&network), vec![large]);
        let proof = Proof::of_block(network.id, &block, 1).expect("a proof");
        assert!(proof.to_text().len() < MAX_PROOF_CHARS);
        // The last leaf of a large tree, where most levels have no sibling.
        let many = (0..300).map(|index| note(&network.id, &key(4), index, b"x"));
        block.transactions.extend(many);
        block.header.merkle_root = block.computed_merkle_root();
        mine(&mut block);
        let last = block.transactions.len() - 1;
        let proof = Proof::of_block(network.id, &block, last).expect("a proof");
        assert_eq!(Proof::from_text(&proof.to_text()), Ok(proof));
    }

    #[test]
    fn proofs_are_frozen() {
        let vector = |about: &str, count: u8, position: usize| {
            let proof = proof(count, position);
            json!({
                "about": about, "network_id": proof.network, "block": proof.block(),
                "height": proof.header.height, "time": proof.header.time, "txid": proof.txid(),
                "kind": proof.transaction.kind(),
                "steps": proof.siblings.len(), "sides": proof.sides, "text": proof.to_text(),
            })
        };
        let whole = payload(&proof(6, 5));
        let with = |at: usize, bit: u8| {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            sealed(&changed)
        };
        let text = proof(6, 5).to_text();
        let path = 1 + 32 + HEADER_BYTES + proof(6, 5).transaction.encoded_len();
        let refused = [
            ("a letter is missing", text[..text.len() - 1].to_owned()),
            ("a line break inside", format!("{}\n{}", &text[..70], &text[70..])),
            ("version 2", with(0, 3)),
            ("another network", with(1, 1)),
            ("a nonce that does no work", with(1 + 32 + 84, 1)),
            ("a signature that does not fit the merkle root", with(path - 64, 1)),
            ("a sibling on the other side", with(path + 1, 1)),
            ("a side without a step", with(path + 2, 0x80)),
            ("a step too few", with(path, 1)),
            ("one byte more", sealed(&[&whole[..], &[0]].concat())),
        ]
        .map(|(why, text)| {
            let error = Proof::from_text(&text).expect_err("refused");
            json!({ "why": why, "code": error.code(), "text": text })
        });
        let made = json!({
            "about": "Proofs that a trade or note is in a block, and texts that are none. \
                      All are of the second network of networks.json, but with spacing 0.",
            "proofs": [
                vector("the first trade of three", 3, 1),
                vector("a note, in a tree with a promoted node", 4, 3),
                vector("the last of five: promoted twice", 4, 4),
                vector("one of seven", 6, 5),
            ],
            "refused": refused,
        });
        let frozen = golden("proofs.json", &made);
        for vector in frozen["proofs"].as_array().expect("a list") {
            let proof = Proof::from_text(vector["text"].as_str().expect("text")).expect("a proof");
            assert_eq!(Value::from(proof.txid().to_string()), vector["txid"]);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            flips in proptest::collection::vec(any::<(u16, u8)>(), 0..3),
        ) {
            let _ = Proof::from_text(&sealed(&bytes));
            let mut payload = payload(&proof(4, 2));
            for (at, flip) in flips {
                let at = usize::from(at) % payload.len();
                payload[at] ^= flip;
            }
            let text = sealed(&payload);
            if let Ok(proof) = Proof::from_text(&text) {
                prop_assert_eq!(proof.to_text(), text);
            }
        }
    }
}
