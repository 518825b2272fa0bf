//! The commands about the chain: joining and leaving it, its blocks, and its checks.

use std::io::{self, Write};

use super::{
    args::CreateBlockchainArgs,
    joining_text::{accepting, invite_holds},
    look::{short, write_sentence},
    outcome::CommandError,
    parse::{hash_text, named_address, parsed, parsed_address},
    print_chain::{BlockForm, print_chain},
    session::Session,
    text,
};
use crate::{
    primitives::Height,
    rpc::{
        FriendchainApiClient,
        types::{AuditReport, CreateBlockchain},
    },
};

pub(super) async fn create_blockchain(
    session: &mut Session<'_>,
    args: CreateBlockchainArgs,
) -> Result<(), CommandError> {
    let request = CreateBlockchain {
        address: parsed_address(&args.address)?,
        name: args.name,
        spacing_ms: args.spacing.map(|seconds| seconds.saturating_mul(1_000)),
        bits: args.bits,
    };
    let created = session.showing(session.client.create_blockchain(request)).await?;
    session.write(&created, |out| {
        writeln!(out, "Mining a new block")?;
        text::write_genesis(out, &created.genesis)?;
        writeln!(out, "\nDone!")
    })
}

pub(super) async fn invite(session: &mut Session<'_>) -> Result<(), CommandError> {
    let invite = session.client.invite().await?;
    let holds = invite_holds(&invite);
    let is_shell = session.asking.owns_stdin();
    if is_shell && !session.answer.json {
        // On stderr, so that stdout holds only the invite.
        writeln!(io::stderr(), "{holds}")?;
    }
    session.write(&invite, |out| {
        if !is_shell {
            writeln!(out, "{holds}")?;
        }
        writeln!(out, "{}", invite.invite)
    })
}

pub(super) async fn join(session: &mut Session<'_>, invite: String) -> Result<(), CommandError> {
    let joined = session.client.join(invite, None).await?;
    session.write(&joined, |out| {
        writeln!(out, "Joined chain {}: start-node fetches it.", short(joined.network_id))?;
        accepting(&joined, None).map_or(Ok(()), |step| write_sentence(out, &step))
    })
}

pub(super) async fn leave_chain(session: &mut Session<'_>) -> Result<(), CommandError> {
    let left = session.client.leave_chain().await?;
    let name =
        left.network_id.map_or_else(|| "the damaged chain".to_owned(), |id| format!("chain {id}"));
    session.write(&left, |out| {
        writeln!(
            out,
            "Left {name}. Wallet, chat and accepted friends stay; a backup is in {}.",
            left.backup
        )
    })
}

pub(super) async fn mine(
    session: &mut Session<'_>,
    count: u32,
    to: Option<String>,
) -> Result<(), CommandError> {
    let to = match to {
        Some(to) => Some(named_address(session, &to).await?),
        None => None,
    };
    let mined = session.showing(session.client.mine(Some(count), to)).await?;
    session.write(&mined, |out| text::write_mined(out, &mined))
}

pub(super) async fn blocks(
    session: &mut Session<'_>,
    from: Option<u32>,
    limit: u32,
) -> Result<(), CommandError> {
    let limit = (limit > 0).then_some(limit);
    print_chain(session.client, &mut session.answer, from, limit, BlockForm::Full).await
}

pub(super) async fn block(session: &mut Session<'_>, block: String) -> Result<(), CommandError> {
    if parsed::<Height>(&block, "bad_hash").is_err() {
        hash_text(&block, "bad_hash")?;
    }
    let block = session.client.block(block).await?;
    let names = session.names().await;
    session.write(&block, |out| text::write_block(out, &block, &names))
}

pub(super) async fn verify_chain(session: &mut Session<'_>) -> Result<(), CommandError> {
    let audit = session.showing(session.client.verify_chain()).await?;
    write_audit(session, &audit)
}

pub(super) async fn reindex(session: &mut Session<'_>) -> Result<(), CommandError> {
    let audit = session.showing(session.client.reindex()).await?;
    write_audit(session, &audit)
}

fn write_audit(session: &mut Session<'_>, audit: &AuditReport) -> Result<(), CommandError> {
    session.write(audit, |out| text::write_audit(out, audit))?;
    if audit.ok { Ok(()) } else { Err(CommandError::BadNews) }
}

pub(super) async fn accept_branch(
    session: &mut Session<'_>,
    block: &str,
) -> Result<(), CommandError> {
    let block = hash_text(block, "bad_hash")?;
    let accepted = session.showing(session.client.accept_branch(block)).await?;
    session.write(&accepted, |out| text::write_accepted(out, &accepted))
}
