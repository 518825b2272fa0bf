//! A network: the chain that grows from one genesis, verified.

use super::{
    ChainParams, GenesisError, MAX_GENESIS_BYTES, ParamsError, SUBSIDY, Target, Work,
    validate::{check_coinbase, check_outputs},
};
use crate::primitives::{
    Block, BlockHash, Header, NetworkId, Owner, Transaction, TxOutput, UnixMillis, leaf_hash, merkle_root,
};

/// When the genesis of `lan` says it was made: 2026-01-01 00:00:00 UTC.
const LAN_TIME: UnixMillis = 1_767_225_600_000;

/// The nonce that gives the genesis of `lan` its work.
const LAN_NONCE: u64 = 2_564_338;

/// A chain that nodes can be of: its parameters, its genesis, and the genesis's hash. Made only from a valid genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What the genesis's memo says.
    pub params: ChainParams,
    /// The block of height 0.
    pub genesis: Block,
    /// The hash of that block: the network's name everywhere.
    pub id: NetworkId,
    floor: Target,
}

impl Network {
    /// The network of a genesis, once everything about it has been verified.
    pub fn from_genesis(genesis: Block) -> Result<Self, GenesisError> {
        let header = &genesis.header;
        if header.height != 0 || header.previous != BlockHash::ZERO {
            return Err(GenesisError::NotFirst { height: header.height, previous: header.previous });
        }
        let bytes = genesis.encoded_len();
        if bytes > MAX_GENESIS_BYTES {
            return Err(GenesisError::TooLarge(bytes));
        }
        let [coinbase] = genesis.transactions.as_slice() else {
            return Err(GenesisError::TransactionCount(genesis.transactions.len()));
        };
        check_coinbase(coinbase, 0)?;
        let value = check_outputs(coinbase)?;
        if value > SUBSIDY {
            return Err(GenesisError::Value(value));
        }
        let params = ChainParams::from_genesis_memo(&coinbase.memo)?;
        let found = genesis.computed_merkle_root();
        if found != header.merkle_root {
            return Err(GenesisError::WrongMerkleRoot { expected: header.merkle_root, found });
        }
        let floor = params.floor();
        if header.bits != floor.to_compact() {
            return Err(GenesisError::WrongBits { expected: floor.to_compact(), found: header.bits });
        }
        let id = genesis.hash();
        if !floor.is_met_by(&id) {
            return Err(GenesisError::NotEnoughWork { hash: id, target: floor });
        }
        Ok(Self { params, genesis, id, floor })
    }

    /// The network that two nodes with nothing configured meet on. Its genesis pays the zero owner, who is nobody.
    #[must_use]
    pub fn lan() -> Self {
        let params = ChainParams {
            name: "lan".to_owned(),
            spacing_ms: super::DEFAULT_SPACING_MS,
            floor_bits: super::DEFAULT_FLOOR_BITS,
        };
        // The layout of the memo of these very parameters; a test proves that all this is a valid genesis.
        let memo = params.genesis_memo().unwrap_or_default();
        let mut genesis = unmined(&params, memo, Owner::ZERO, LAN_TIME);
        genesis.header.nonce = LAN_NONCE;
        Self { floor: params.floor(), id: genesis.hash(), params, genesis }
    }

    /// The genesis of a new chain that pays `owner` 100 coins: everything but the nonce, which is to be mined.
    pub fn genesis_to_mine(params: &ChainParams, owner: Owner, time: UnixMillis) -> Result<Block, ParamsError> {
        Ok(unmined(params, params.genesis_memo()?, owner, time))
    }

    /// The easiest target ever; the genesis's own.
    #[must_use]
    pub const fn floor(&self) -> Target {
        self.floor
    }

    /// The work of the genesis: what every chain of this network begins with.
    #[must_use]
    pub fn genesis_work(&self) -> Work {
        self.floor.work()
    }
}

fn unmined(params: &ChainParams, memo: Vec<u8>, owner: Owner, time: UnixMillis) -> Block {
    let outputs = vec![TxOutput { value: SUBSIDY, owner }];
    let coinbase = Transaction { inputs: Vec::new(), outputs, memo };
    let header = Header {
        previous: BlockHash::ZERO,
        merkle_root: merkle_root(&[leaf_hash(&coinbase)]),
        height: 0,
        time,
        bits: params.floor().to_compact(),
        nonce: 0,
    };
    Block { header, transactions: vec![coinbase] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_network_is_a_valid_one() {
        let lan = Network::lan();
        assert_eq!(Network::from_genesis(lan.genesis.clone()), Ok(lan));
    }
}
