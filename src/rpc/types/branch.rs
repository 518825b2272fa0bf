//! Replies of the commands about branches and proofs.

use serde::{Deserialize, Serialize};

use super::chain::{InputView, OutputView, TxPlace, TxView};
use crate::{
    chain::{Divergence, DivergenceReason, Tip},
    consensus::Proof,
    primitives::{
        Amount, BlockHash, Height, NetworkId, TransactionKind, TxId, UnixMillis, count_of_blocks,
    },
};

/// The tip of a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BranchView {
    pub tip: BlockHash,
    pub height: Height,
    /// The expected number of hashes behind the tip, in hex.
    pub work: String,
}

impl From<Tip> for BranchView {
    fn from(tip: Tip) -> Self {
        Self { tip: tip.hash, height: tip.height, work: tip.work.to_string() }
    }
}

/// Two branches between which the user has to choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DivergenceView {
    /// The reason why the node does not switch by itself: `settled`, `checkpoint` or `too_large`.
    #[serde(default)]
    pub reason: String,
    /// The last block common to both branches.
    pub fork: BlockHash,
    pub fork_height: Height,
    /// The time at which this node connected its first block above the fork, in unix ms.
    pub since: UnixMillis,
    /// The best chain of this node.
    pub ours: BranchView,
    /// The other branch, which has more work.
    pub theirs: BranchView,
    /// The number of blocks of the other branch that this node has not received yet.
    pub missing: Height,
    /// The memory that the reorg to the other branch needs, in MiB. Present only if it is more than
    /// this node may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_mib: Option<usize>,
    /// The user's options, as a sentence.
    pub advice: String,
}

impl From<Divergence> for DivergenceView {
    fn from(found: Divergence) -> Self {
        let Divergence { reason, fork, fork_height, since, ours, theirs, missing, needs_mib } =
            found;
        let stay = "do nothing to stay on yours";
        let why = match reason {
            DivergenceReason::Checkpoint => {
                "a branch with more work leaves out the block that your invite names, so it is \
                 probably not the chain that you were invited to"
            }
            DivergenceReason::Settled | DivergenceReason::TooLarge => {
                "a branch with more work would undo blocks that this node had for more than 72 \
                 hours while friends shared them"
            }
        };
        let advice = match (needs_mib.filter(|_| reason == DivergenceReason::TooLarge), missing) {
            (Some(mib), _) => format!(
                "the branch of your friends with more work is too large for the memory this node \
                 may take: start it again with \
                 --cache-mib {mib} to take it, or {stay}"
            ),
            (None, 0) => format!(
                "{why}: ask your friends which one is right; accept-branch {} takes it, or {stay}",
                theirs.hash
            ),
            (None, missing) => format!(
                "{why}: ask your friends which one is right; once {} more of it {} here, \
                 accept-branch {} takes it, or {stay}",
                count_of_blocks(missing.into()),
                if missing == 1 { "is" } else { "are" },
                theirs.hash
            ),
        };
        Self {
            reason: reason.code().to_owned(),
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

/// The reply of `accept_branch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BranchAccepted {
    /// The tip after the reorg.
    pub tip: BlockHash,
    pub height: Height,
}

/// The reply of `prove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofMade {
    /// A text `friendchain-proof:…`, the argument of `verify-proof`.
    pub proof: String,
    /// The transaction whose inclusion in `block` is proven.
    pub txid: TxId,
    pub block: BlockHash,
    pub height: Height,
    /// The miner's timestamp of the block, in unix ms.
    pub time: UnixMillis,
    /// The number of blocks from its block to the tip, both included.
    pub confirmations: u32,
}

/// The trusted block that anchors a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Anchor {
    /// The proof's block is on the best chain of this node.
    Chain,
    /// The proof's block is the one that the user named as trusted.
    Trust,
}

/// The reply of `verify_proof`. If the proof is unsound, all facts about its block are null.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofReport {
    /// True if the proof is both sound and anchored.
    pub valid: bool,
    /// True if the proof's block is on the best chain of this node, or is the trusted block.
    pub anchored: bool,
    pub anchor: Option<Anchor>,
    pub height: Option<Height>,
    /// The miner's timestamp of the block, in unix ms.
    pub time: Option<UnixMillis>,
    /// The number of blocks from its block to the tip, both included; 0 if the block is not on the
    /// best chain of this node.
    pub confirmations: u32,
    /// The index of the transaction in its block; the coinbase has 0. Present only if this node has
    /// the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    pub block: Option<BlockHash>,
    /// The chain for which the transaction is signed.
    pub network_id: Option<NetworkId>,
    /// The transaction whose inclusion in `block` is proven.
    pub txid: Option<TxId>,
    pub kind: Option<TransactionKind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputView>,
    /// The text as its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<String>,
    /// A reservation about a valid proof, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The reason why the proof is not valid, as a code for scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same reason as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ProofReport {
    /// Returns the report of a text that is not a sound proof.
    #[must_use]
    pub(crate) fn unsound(code: &str, problem: String) -> Self {
        Self { code: Some(code.to_owned()), problem: Some(problem), ..Self::default() }
    }

    /// Returns the report of a sound proof. The caller sets the anchor afterwards.
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
