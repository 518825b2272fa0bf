//! The commands about proofs that a trade or note is in a block.

use std::path::{Path, PathBuf};

use super::{
    answer::Answer, outcome::CommandError, parse::hash_text, proof_file, session::Session, text,
};
use crate::rpc::{FriendchainApiClient, types::ProofReport};

pub(super) async fn prove(
    session: &mut Session<'_>,
    txid: &str,
    output: Option<PathBuf>,
) -> Result<(), CommandError> {
    let made = session.client.prove(hash_text(txid, "bad_txid")?).await?;
    let file = output.filter(|path| path.as_os_str() != "-");
    if let Some(path) = &file {
        proof_file::write(path, &made.proof)?;
    }
    session.write(&made, |out| match &file {
        Some(path) => {
            writeln!(out, "The proof is in {}: verify-proof checks it.", path.display())
        }
        None => writeln!(out, "{}", made.proof),
    })
}

pub(super) async fn verify_proof(
    session: &mut Session<'_>,
    file: &Path,
    trust: Option<String>,
) -> Result<(), CommandError> {
    let (proof, trust) = proof_to_verify(file, trust, session.asking.owns_stdin())?;
    write_verdict(&mut session.answer, &session.client.verify_proof(proof, trust).await?)
}

/// Reads a proof from its file, and checks the form of the trusted block's hash.
pub(crate) fn proof_to_verify(
    file: &Path,
    trust: Option<String>,
    owns_stdin: bool,
) -> Result<(String, Option<String>), CommandError> {
    let trust = trust.map(|trust| hash_text(&trust, "bad_hash")).transpose()?;
    Ok((proof_file::read(file, owns_stdin)?, trust))
}

/// Writes the verdict on a proof. An invalid proof is [`CommandError::BadNews`].
pub(crate) fn write_verdict(
    answer: &mut Answer<'_>,
    report: &ProofReport,
) -> Result<(), CommandError> {
    answer.write(report, |out| text::write_proof_report(out, report))?;
    if report.valid { Ok(()) } else { Err(CommandError::BadNews) }
}
