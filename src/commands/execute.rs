//! The dispatcher: runs the function of a parsed command.

use std::io::Write;

pub(crate) use super::session::Context;
use super::{
    args::ClientCommand, backup, chain, chat, config, friends, look::Look, network,
    outcome::CommandError, parse::parsed_address, passphrase, payments, people, proofs,
    session::Session, transactions, undo, wallet,
};
use crate::{consensus::Invite, rpc::RpcError};

/// Runs one command and writes its answer.
pub(crate) async fn execute(
    command: ClientCommand,
    context: &Context,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let look = Look { full: context.full, ..Look::of_stdout() };
    look.scope(run(command, &mut Session::new(context, out))).await
}

async fn run(command: ClientCommand, session: &mut Session<'_>) -> Result<(), CommandError> {
    match command {
        ClientCommand::CreateWallet { recover, passphrase } => {
            wallet::create_wallet(session, recover, &passphrase).await
        }
        ClientCommand::RecoveryPhrase { passphrase } => {
            wallet::recovery_phrase(session, &passphrase).await
        }
        ClientCommand::Unlock { seconds, passphrase } => {
            wallet::unlock(session, seconds, &passphrase).await
        }
        ClientCommand::ChangePassphrase(args) => passphrase::change(session, &args).await,
        ClientCommand::Balance => payments::balance(session).await,
        ClientCommand::Payments(args) => payments::payments(session, args).await,
        ClientCommand::Lock => wallet::lock(session).await,
        ClientCommand::ListAddresses => wallet::list_addresses(session).await,
        ClientCommand::GetBalance { address } => wallet::get_balance(session, &address).await,
        ClientCommand::CreateBlockchain(args) => chain::create_blockchain(session, args).await,
        ClientCommand::Invite => chain::invite(session).await,
        ClientCommand::Join { invite } => chain::join(session, invite.join(" ")).await,
        ClientCommand::LeaveChain => chain::leave_chain(session).await,
        ClientCommand::Mine { count, to } => chain::mine(session, count, to).await,
        ClientCommand::PrintChain { limit, from } => chain::blocks(session, from, limit).await,
        ClientCommand::Block { block } => chain::block(session, block).await,
        ClientCommand::VerifyChain => chain::verify_chain(session).await,
        ClientCommand::Reindex => chain::reindex(session).await,
        ClientCommand::AcceptBranch { block } => chain::accept_branch(session, &block).await,
        ClientCommand::Send(args) => transactions::send(session, args).await,
        ClientCommand::RaiseFee(args) => transactions::raise_fee(session, args).await,
        ClientCommand::Cancel(args) => undo::cancel(session, args).await,
        ClientCommand::Resend(args) => undo::resend(session, args).await,
        ClientCommand::Note { text, wait, passphrase } => {
            transactions::note(session, &text, wait, &passphrase).await
        }
        ClientCommand::Mempool => transactions::mempool(session).await,
        ClientCommand::Tx { txid } => transactions::tx(session, &txid).await,
        ClientCommand::Prove { txid, output } => proofs::prove(session, &txid, output).await,
        ClientCommand::VerifyProof { file, trust } => {
            proofs::verify_proof(session, &file, trust).await
        }
        ClientCommand::Friends => friends::friends(session).await,
        ClientCommand::AcceptFriend { friends } => friends::accept_friends(session, friends).await,
        ClientCommand::Forget { friend } => people::forget(session, friend).await,
        ClientCommand::BlockFriend { friend } => people::block_friend(session, friend).await,
        ClientCommand::UnblockFriend { friend } => people::unblock_friend(session, friend).await,
        ClientCommand::Rename { name } => people::rename(session, name).await,
        ClientCommand::Chat { friend, text, wait } => {
            chat::chat(session, friend, &text, wait).await
        }
        ClientCommand::Broadcast { text } => chat::broadcast(session, &text).await,
        ClientCommand::History { friend, limit, requests, search } => {
            chat::history(session, friend, limit, requests, search).await
        }
        ClientCommand::Status => network::status(session).await,
        ClientCommand::Peers => network::peers(session).await,
        ClientCommand::Sync { friend } => network::sync(session, friend).await,
        ClientCommand::Ban { peer } => network::ban(session, &peer).await,
        ClientCommand::Unban { peer } => network::unban(session, &peer).await,
        ClientCommand::Backup { file } => backup::backup(session, &file).await,
        ClientCommand::Restore { .. } => Err(backup::restore_elsewhere()),
        ClientCommand::Config { action } => config::config(session, action).await,
        ClientCommand::Stop => network::stop(session).await,
    }
}

/// Checks the arguments of a command that creates the data folder, before it does so.
pub(crate) fn check_before_making(command: &ClientCommand) -> Result<(), CommandError> {
    match command {
        ClientCommand::CreateBlockchain(args) => parsed_address(&args.address).map(drop),
        ClientCommand::Join { invite } => {
            Ok(Invite::from_text(&invite.join(" ")).map(drop).map_err(RpcError::from)?)
        }
        _ => Ok(()),
    }
}
