//! What commands about branches and proofs take and answer.

use serde::{Deserialize, Serialize};

use super::chain::{InputView, OutputView, TxPlace, TxView};
use crate::{
    chain::{Divergence, Tip},
    consensus::Proof,
    primitives::{Amount, BlockHash, Height, NetworkId, TransactionKind, TxId, UnixMillis},
};

/// The end of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BranchView {
    pub tip: BlockHash,
    /// The height of that.
    pub height: Height,
    /// Expected hashes behind it, hex.
    pub work: String,
}

impl From<Tip> for BranchView {
    fn from(tip: Tip) -> Self {
        Self { tip: tip.hash, height: tip.height, work: tip.work.to_string() }
    }
}

/// Two branches that a person has to choose between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DivergenceView {
    /// The last block that both have.
    pub fork: BlockHash,
    pub fork_height: Height,
    /// When this node connected its first block above the fork, in unix ms.
    pub since: UnixMillis,
    /// The branch that this node is on.
    pub ours: BranchView,
    /// The other one, which has more work.
    pub theirs: BranchView,
    /// How many blocks of the other branch are not here yet.
    pub missing: Height,
    /// The memory that taking it needs, in MiB, when there may not be so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_mib: Option<usize>,
    /// What to do, as a sentence.
    pub advice: String,
}

impl From<Divergence> for DivergenceView {
    fn from(found: Divergence) -> Self {
        let Divergence { fork, fork_height, since, ours, theirs, missing, needs_mib } = found;
        let stay = "do nothing to stay on yours";
        let advice = match (needs_mib, missing) {
            (Some(mib), _) => format!(
                "the branch of your friends with more work is too large for the memory this node \
                 may take: start it again with \
                 --cache-mib {mib} to take it, or {stay}"
            ),
            (None, 0) => format!(
                "a branch with more work would undo blocks that this node connected more than 72 \
                 hours ago: ask your friends which \
                 one is right; accept-branch {} takes it, or {stay}",
                theirs.hash
            ),
            (None, missing) => format!(
                "a branch with more work would undo blocks that this node connected more than 72 \
                 hours ago: ask your friends which \
                 one is right; once the {missing} blocks of it that are missing are here, \
                 accept-branch {} takes it, or {stay}",
                theirs.hash
            ),
        };
        Self {
            fork,
            fork_height,
            since,
            ours: ours.into(),
            theirs: theirs.into(),
            missing,
            needs_mib,
            advice,
        }
    }
}

/// The other branch was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BranchAccepted {
    /// The tip now.
    pub tip: BlockHash,
    pub height: Height,
}

/// A proof was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofMade {
    /// `friendchain-proof:…`, to be given to `verify-proof`.
    pub proof: String,
    /// What it proves to be in the block.
    pub txid: TxId,
    pub block: BlockHash,
    pub height: Height,
    /// When its miner says it was made.
    pub time: UnixMillis,
    /// How many blocks stand on it, its own included.
    pub confirmations: u32,
}

/// What ties a proof to something that the reader believes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Anchor {
    /// Its block is on the best chain here.
    Chain,
    /// Its block is the one that the user trusts.
    Trust,
}

/// What a proof is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofReport {
    /// Whether it proves what it says: it is sound, and anchored.
    pub valid: bool,
    /// Whether its block is on the best chain here, or is the one that the user trusts.
    pub anchored: bool,
    pub anchor: Option<Anchor>,
    /// Of its block; null when the proof is not sound, as all below.
    pub height: Option<Height>,
    /// When its block's miner says it was made.
    pub time: Option<UnixMillis>,
    /// How many blocks of the best chain here stand on it, its own included; 0 when it is not on
    /// that.
    pub confirmations: u32,
    /// Where the transaction stands in its block, the coinbase first, when the block is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    pub block: Option<BlockHash>,
    /// The chain that it is signed for.
    pub network_id: Option<NetworkId>,
    /// What is proven to be in the block.
    pub txid: Option<TxId>,
    pub kind: Option<TransactionKind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputView>,
    /// Its text, made printable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// Of one that is valid: what speaks against it all the same, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Of one that is not valid: the cause, for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// And as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ProofReport {
    /// Of a text that proves nothing.
    #[must_use]
    pub(crate) fn unsound(code: &str, problem: String) -> Self {
        Self { code: Some(code.to_owned()), problem: Some(problem), ..Self::default() }
    }

    /// Of a sound proof that is not anchored yet.
    #[must_use]
    pub(crate) fn sound(proof: &Proof) -> Self {
        let view = TxView::new(proof.transaction(), proof.txid(), Amount::ZERO, TxPlace::Mempool);
        Self {
            height: Some(proof.header().height),
            time: Some(proof.header().time),
            block: Some(proof.block()),
            network_id: Some(proof.network()),
            txid: Some(view.txid),
            kind: Some(view.kind),
            inputs: view.inputs,
            outputs: view.outputs,
            memo: view.memo,
            ..Self::default()
        }
    }
}
