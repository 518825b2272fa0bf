//! Commands about proofs: making them from the chain, and checking them with or without a chain.

use super::ids::needs_whole_hash;
use crate::{
    chain::{ChainReader, TxState},
    consensus::Proof,
    node::{blocking::blocking, parts::ChainParts},
    primitives::{BlockHash, Height, NetworkId, Transaction, TxId, printable},
    rpc::{
        RpcError,
        types::{Anchor, ProofMade, ProofReport},
    },
};

/// Makes a proof that a trade or note is in a block of the best chain.
pub(super) async fn prove(chain: &ChainParts, txid: TxId) -> Result<ProofMade, RpcError> {
    let info = chain.handle.transaction(txid).await?;
    let block = match info.map(|info| info.state) {
        Some(TxState::Mined { block, .. }) => block,
        Some(TxState::Mempool) => {
            let sentence =
                format!("{txid} waits to be mined: it can be proven once it is in a block");
            return Err(RpcError::new("not_mined", sentence));
        }
        Some(TxState::Void { reason }) => {
            return Err(RpcError::new(
                "void",
                format!("{txid} is void, and in no block: {reason}"),
            ));
        }
        None => {
            let sentence = format!("neither the chain nor the mempool has {txid}");
            return Err(RpcError::new("unknown_transaction", sentence));
        }
    };
    let (reader, network) = (chain.reader.clone(), chain.handle.summary().network.id);
    blocking(move || proof_from(&reader, network, block, txid)).await?
}

fn proof_from(
    reader: &ChainReader,
    network: NetworkId,
    block: BlockHash,
    txid: TxId,
) -> Result<ProofMade, RpcError> {
    // A reorg may have happened since the transaction was looked up.
    let moved =
        || RpcError::new("reorganised", format!("{txid} has just left its block: try again"));
    let info = reader.block(&block).ok_or_else(moved)?;
    let position =
        info.block.transactions.iter().position(|transaction| transaction.txid() == txid);
    let proof = Proof::of_block(network, &info.block, position.ok_or_else(moved)?)?;
    let height = proof.header().height;
    Ok(ProofMade {
        proof: proof.to_text(),
        txid,
        block,
        height,
        time: proof.header().time,
        confirmations: info.tip_height.saturating_sub(height).saturating_add(1),
    })
}

/// Checks a proof against a chain, if there is one, and against a trusted block, if one is given.
/// An invalid proof is an answer, not an error.
pub(super) async fn verify(
    chain: Option<&ChainParts>,
    text: String,
    trust: Option<BlockHash>,
) -> Result<ProofReport, RpcError> {
    let here = chain.map(|chain| {
        let summary = chain.handle.summary();
        LocalChain {
            reader: chain.reader.clone(),
            network: summary.network.id,
            height: summary.tip.height,
        }
    });
    blocking(move || match Proof::from_text(&text) {
        Ok(proof) => anchored(&proof, here.as_ref(), trust),
        Err(error) => ProofReport::unsound(error.code(), error.to_string()),
    })
    .await
}

/// Checks a proof without a chain. An invalid proof is an answer, not an error.
///
/// # Errors
/// The trusted block is not a whole hash, or the check panicked.
pub(crate) async fn verify_without_chain(
    proof: String,
    trust: Option<String>,
) -> Result<ProofReport, RpcError> {
    let whole = |text: String| text.parse().map_err(|_| needs_whole_hash(&printable(&text)));
    let trust = trust.map(whole).transpose()?;
    verify(None, proof, trust).await
}

/// The chain that a proof is checked against.
struct LocalChain {
    reader: ChainReader,
    network: NetworkId,
    height: u32,
}

fn anchored(proof: &Proof, here: Option<&LocalChain>, trust: Option<BlockHash>) -> ProofReport {
    let (block, mut report) = (proof.block(), ProofReport::sound(proof));
    let of_chain = here.filter(|here| here.network == proof.network());
    if let Some(info) = of_chain.and_then(|here| here.reader.block(&block)) {
        report.anchor = Some(Anchor::Chain);
        report.confirmations =
            info.tip_height.saturating_sub(proof.header().height).saturating_add(1);
        let position =
            info.block.transactions.iter().position(|transaction| is_proven(transaction, proof));
        report.position = position.and_then(|position| u32::try_from(position).ok());
        report.warning = trust.filter(|trusted| *trusted != block).map(|other| {
            format!(
                "the trusted {other} is another block: the chain here alone vouches for this one"
            )
        });
    } else if trust == Some(block) {
        report.anchor = Some(Anchor::Trust);
        report.warning = of_chain.and_then(|here| contradiction(here, proof.header().height));
    } else {
        let (code, problem) = unanchored(proof, here, trust);
        (report.code, report.problem) = (Some(code.to_owned()), Some(problem));
    }
    report.anchored = report.anchor.is_some();
    report.valid = report.anchored;
    report
}

/// True if `transaction` is the one in the proof.
fn is_proven(transaction: &Transaction, proof: &Proof) -> bool {
    transaction == proof.transaction()
}

/// Returns a warning if the best chain has another block at the height of the trusted one.
fn contradiction(here: &LocalChain, height: Height) -> Option<String> {
    let ours = here.reader.block_at(height)?.hash;
    Some(format!(
        "the best chain here has another block at height {height}, {ours}: only your trust \
         vouches for this one"
    ))
}

/// Returns the code and the sentence for a sound proof whose block is neither on the chain nor
/// trusted.
fn unanchored(
    proof: &Proof,
    here: Option<&LocalChain>,
    trust: Option<BlockHash>,
) -> (&'static str, String) {
    let (block, height) = (proof.block(), proof.header().height);
    let trusted = format!("if somebody you trust confirms that block, say --trust {block}");
    match (trust, here) {
        (Some(other), _) => (
            "other_block",
            format!(
                "the proof is of block {block} at height {height}, which is not the trusted {other}"
            ),
        ),
        (None, None) => {
            let problem = format!(
                "the proof is sound, but there is no chain here to find its block in: join its \
                 chain, or {trusted}"
            );
            ("not_anchored", problem)
        }
        (None, Some(here)) if here.network != proof.network() => {
            let (theirs, ours) = (proof.network(), here.network);
            (
                "other_network",
                format!(
                    "the proof is sound, but of chain {theirs}, and the one here is {ours}: \
                     {trusted}"
                ),
            )
        }
        (None, Some(here)) if here.height < height => {
            let problem = format!(
                "the proof is sound, but its block is at height {height}, and the chain here ends \
                 at {}: sync first, or {trusted}",
                here.height
            );
            ("not_anchored", problem)
        }
        (None, Some(_)) => {
            let problem = format!(
                "the proof is sound, but its block {block} at height {height} is not on the best \
                 chain here: {trusted}"
            );
            ("not_anchored", problem)
        }
    }
}
