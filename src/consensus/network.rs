//! Networks: each is defined by one verified genesis block.

use super::{
    ChainParams, GenesisError, MAX_GENESIS_BYTES, ParamsError, SUBSIDY, Target, Work,
    validate::{check_coinbase, check_outputs},
};
use crate::primitives::{
    Block, BlockHash, Header, NetworkId, Owner, Transaction, TxOutput, UnixMillis, leaf_hash,
    merkle_root,
};

/// The time in the genesis of `lan`: 2026-01-01 00:00:00 UTC.
const LAN_TIME: UnixMillis = 1_767_225_600_000;

/// The nonce with which the genesis of `lan` meets its target.
const LAN_NONCE: u64 = 2_564_338;

/// A chain's parameters, genesis and id, all verified.
///
/// A value can only be made from a valid genesis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The parameters in the genesis's memo.
    pub params: ChainParams,
    /// The block of height 0.
    pub genesis: Block,
    /// The hash of the genesis, which identifies the network.
    pub id: NetworkId,
    floor: Target,
}

impl Network {
    /// Verifies a genesis and returns its network.
    pub fn from_genesis(genesis: Block) -> Result<Self, GenesisError> {
        let header = &genesis.header;
        if header.height != 0 || header.previous != BlockHash::ZERO {
            return Err(GenesisError::NotFirst {
                height: header.height,
                previous: header.previous,
            });
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
            return Err(GenesisError::WrongBits {
                expected: floor.to_compact(),
                found: header.bits,
            });
        }
        let id = genesis.hash();
        if !floor.is_met_by(&id) {
            return Err(GenesisError::NotEnoughWork { hash: id, target: floor });
        }
        Ok(Self { params, genesis, id, floor })
    }

    /// Returns the built-in network, which nodes use if no chain is configured.
    ///
    /// Its genesis pays the zero owner, so no key can spend it.
    #[must_use]
    pub(crate) fn lan() -> Self {
        let params = ChainParams {
            name: "lan".to_owned(),
            spacing_ms: super::DEFAULT_SPACING_MS,
            floor_bits: super::DEFAULT_FLOOR_BITS,
        };
        // These parameters always have a memo. A test proves that the result is a valid genesis.
        let memo = params.genesis_memo().unwrap_or_default();
        let mut genesis = unmined(&params, memo, Owner::ZERO, LAN_TIME);
        genesis.header.nonce = LAN_NONCE;
        Self { floor: params.floor(), id: genesis.hash(), params, genesis }
    }

    /// Returns the genesis of a new chain, which pays `owner` 100 coins.
    ///
    /// The nonce is 0; the caller mines it.
    pub fn genesis_to_mine(
        params: &ChainParams,
        owner: Owner,
        time: UnixMillis,
    ) -> Result<Block, ParamsError> {
        Ok(unmined(params, params.genesis_memo()?, owner, time))
    }

    /// Returns the easiest target that a block may have, which the genesis has too.
    #[must_use]
    pub(crate) const fn floor(&self) -> Target {
        self.floor
    }

    /// Returns the work of the genesis.
    #[must_use]
    pub(crate) fn genesis_work(&self) -> Work {
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
    use crate::{
        consensus::{
            TransactionError,
            testing::{hash, mine, network},
        },
        primitives::{Amount, Encode, coinbase_memo, encoding::from_bytes},
    };

    /// Returns the error for a changed genesis.
    ///
    /// The merkle root and the work are made right again after the change.
    fn changed(change: impl Fn(&mut Block)) -> GenesisError {
        let mut genesis = network(0).genesis;
        change(&mut genesis);
        genesis.header.merkle_root = genesis.computed_merkle_root();
        mine(&mut genesis);
        Network::from_genesis(genesis).expect_err("changed")
    }

    #[test]
    fn the_built_in_network_is_valid_and_pays_the_zero_owner() {
        let lan = Network::lan();
        assert_eq!(Network::from_genesis(lan.genesis.clone()), Ok(lan.clone()));
        assert_eq!(
            lan.id.to_string(),
            "000003057476b60e8c823bf8be45fbed81a0fd5a306464eb3270f2c3d6389d01"
        );
        assert_eq!(lan.genesis.transactions[0].outputs[0].owner, Owner::ZERO);
        assert_eq!(from_bytes(&lan.genesis.to_bytes()), Ok(lan.genesis));
    }

    #[test]
    fn a_network_has_the_parameters_of_its_genesis() {
        let network = network(1_234);
        assert_eq!(network.params, ChainParams::new("test", 1_234, 8).expect("params"));
        assert_eq!(network.id, network.genesis.hash());
        assert_eq!(network.genesis_work(), network.params.floor().work());
    }

    #[test]
    fn a_block_that_is_no_genesis_is_refused_by_cause() {
        assert!(matches!(
            changed(|block| block.header.height = 1),
            GenesisError::NotFirst { height: 1, .. }
        ));
        assert!(matches!(
            changed(|block| block.header.previous = hash(1)),
            GenesisError::NotFirst { .. }
        ));
        let twice = changed(|block| block.transactions.push(block.transactions[0].clone()));
        assert_eq!(twice, GenesisError::TransactionCount(2));
        assert_eq!(changed(|block| block.transactions.clear()), GenesisError::TransactionCount(0));
        let many = changed(|block| {
            let output = block.transactions[0].outputs[0];
            block.transactions[0].outputs = vec![output; 150];
        });
        assert!(matches!(many, GenesisError::TooLarge(bytes) if bytes > MAX_GENESIS_BYTES));
        let unpaid = changed(|block| block.transactions[0].outputs.clear());
        assert_eq!(unpaid, GenesisError::Coinbase(TransactionError::NoOutputs));
        let rich = SUBSIDY.saturating_add(Amount::from_units(1));
        assert_eq!(
            changed(|block| block.transactions[0].outputs[0].value = rich),
            GenesisError::Value(rich)
        );
        let unnamed = changed(|block| block.transactions[0].memo = coinbase_memo(0, b""));
        assert!(matches!(unnamed, GenesisError::Params(_)));
        let floor = network(0).floor().to_compact();
        let harder = changed(|block| block.header.bits -= 1);
        assert_eq!(harder, GenesisError::WrongBits { expected: floor, found: floor - 1 });
    }

    #[test]
    fn a_genesis_without_its_own_merkle_root_or_work_is_refused() {
        let mut genesis = network(0).genesis;
        genesis.header.merkle_root.0[0] ^= 1;
        assert!(matches!(
            Network::from_genesis(genesis),
            Err(GenesisError::WrongMerkleRoot { .. })
        ));
        let mut genesis = network(0).genesis;
        while network(0).floor().is_met_by(&genesis.hash()) {
            genesis.header.nonce += 1;
        }
        assert!(matches!(Network::from_genesis(genesis), Err(GenesisError::NotEnoughWork { .. })));
    }
}
