//! What each command asks of the node and answers: shared by the shell's command line and the
//! console.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    str::FromStr,
};

use serde::Serialize;

use super::{
    outcome::CommandError,
    progress::{ProgressMode, while_showing},
    proof_file, secrets, text,
};
use crate::{
    cli::args::ClientCommand,
    consensus::Invite,
    node::verify_without_chain,
    primitives::{Address, AddressError, BlockHash, Height, PeerId, TxId},
    rpc::{
        Client, FriendchainApiClient, RpcError,
        api::MAX_PRINTED_BLOCKS,
        types::{
            Coins, CreateBlockchain, CreateWallet, ProofReport, RaiseFee, SendTrade, TxList,
            WalletCreated, WriteNote,
        },
    },
};

/// Who is asked, and how the answer is written.
#[derive(Debug, Clone)]
pub struct Context {
    /// Speaks to the node, or the opened folder.
    pub client: Client,
    /// One JSON document instead of text.
    pub json: bool,
    /// How long work is shown.
    pub progress: ProgressMode,
    /// Whether a command may read standard input: in the console, that is the user's.
    pub owns_stdin: bool,
}

/// Does one command and writes its answer.
pub async fn execute(
    command: ClientCommand,
    context: &Context,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let client = &context.client;
    let mut answer = Answer { json: context.json, out };
    match command {
        ClientCommand::CreateWallet { recover, passphrase } => {
            let passphrase = secrets::passphrase(&passphrase)?;
            let recovery_phrase =
                recover.then(|| secrets::ask("Recovery phrase: ", false)).transpose()?;
            let work = client.create_wallet(CreateWallet { passphrase, recovery_phrase });
            let created = while_showing(client, context.progress, work).await?;
            write_created(&mut answer, &created)
        }
        ClientCommand::RecoveryPhrase { passphrase } => {
            if !io::stdout().is_terminal() {
                let sentence = "the recovery phrase is shown on a terminal only: run this where \
                     you can see it";
                return Err(RpcError::new("terminal_only", sentence).into());
            }
            let phrase = client.recovery_phrase(secrets::passphrase(&passphrase)?).await?;
            Ok(writeln!(answer.out, "{}", phrase.expose())?)
        }
        ClientCommand::Unlock { seconds, passphrase } => {
            let secret = match secrets::passphrase(&passphrase)? {
                Some(secret) => secret,
                None => secrets::ask("Passphrase: ", true)?,
            };
            let state =
                client.unlock(secret, seconds.map(|seconds| seconds.saturating_mul(1_000))).await?;
            answer.write(&state, |out| writeln!(out, "The wallet is open."))
        }
        ClientCommand::Lock => {
            let state = client.lock().await?;
            answer.write(&state, |out| writeln!(out, "The wallet is locked."))
        }
        ClientCommand::ListAddresses => {
            let list = client.list_addresses().await?;
            answer.write(&list, |out| text::write_addresses(out, &list))
        }
        ClientCommand::CreateBlockchain { address, name, spacing, bits } => {
            let spacing_ms = spacing.map(|seconds| seconds.saturating_mul(1_000));
            let request =
                CreateBlockchain { address: parsed_address(&address)?, name, spacing_ms, bits };
            let created =
                while_showing(client, context.progress, client.create_blockchain(request)).await?;
            if answer.json {
                return answer.write(&created, |_| Ok(()));
            }
            writeln!(answer.out, "Mining a new block")?;
            text::write_genesis(answer.out, &created.genesis)?;
            Ok(writeln!(answer.out, "\nDone!")?)
        }
        ClientCommand::Invite => {
            let invite = client.invite().await?;
            if invite.addresses == 0 && !answer.json {
                // Beside the invite, not in it: the invite is what gets copied.
                writeln!(
                    io::stderr(),
                    "The invite holds no addresses, since no node runs: whoever joins needs --peer."
                )?;
            }
            answer.write(&invite, |out| text::write_invite(out, &invite))
        }
        ClientCommand::Join { invite } => {
            let joined = client.join(invite).await?;
            answer.write(&joined, |out| {
                writeln!(out, "Joined chain {}: start-node fetches it.", joined.network_id)
            })
        }
        ClientCommand::LeaveChain => {
            let left = client.leave_chain().await?;
            let name = left
                .network_id
                .map_or_else(|| "the damaged chain".to_owned(), |id| format!("chain {id}"));
            answer.write(&left, |out| {
                writeln!(
                    out,
                    "Left {name}. Wallet and friends stay; a backup is in {}.",
                    left.backup
                )
            })
        }
        ClientCommand::GetBalance { address } => {
            let balance = client.get_balance(parsed_address(&address)?).await?;
            answer.write(&balance, |out| text::write_balance(out, &balance))
        }
        ClientCommand::Send { from, to, amount, fee, memo, mine, passphrase } => {
            let request = SendTrade {
                from: parsed_address(&from)?,
                to: checked_recipient(to)?,
                amount: parse(&amount, "bad_amount")?,
                fee: fee.map_or(Ok(Coins::default()), |fee| parse(&fee, "bad_amount"))?,
                memo,
                mine,
                passphrase: secrets::passphrase(&passphrase)?,
            };
            let sent = while_showing(client, context.progress, client.send(request)).await?;
            answer.write(&sent, |out| text::write_submitted(out, "Trade", &sent))
        }
        ClientCommand::RaiseFee { txid, fee, mine, passphrase } => {
            let request = RaiseFee {
                txid: parse(&txid, "bad_txid")?,
                fee: parse(&fee, "bad_amount")?,
                mine,
                passphrase: secrets::passphrase(&passphrase)?,
            };
            let sent = while_showing(client, context.progress, client.raise_fee(request)).await?;
            answer.write(&sent, |out| text::write_submitted(out, "Trade", &sent))
        }
        ClientCommand::Note { text, wait, passphrase } => {
            let note = WriteNote {
                text: text.join(" "),
                wait,
                passphrase: secrets::passphrase(&passphrase)?,
            };
            let sent = while_showing(client, context.progress, client.note(note)).await?;
            answer.write(&sent, |out| text::write_submitted(out, "Note", &sent))
        }
        ClientCommand::Mine { count, to } => {
            let to = to.map(|to| parsed_address(&to)).transpose()?;
            let mined =
                while_showing(client, context.progress, client.mine(Some(count), to)).await?;
            answer.write(&mined, |out| text::write_mined(out, &mined))
        }
        ClientCommand::PrintChain { limit, from } => {
            print_chain(client, &mut answer, from, limit, false).await
        }
        ClientCommand::Block { block } => {
            if block.parse::<Height>().is_err() {
                parse::<BlockHash>(&block, "bad_hash")?;
            }
            let block = client.block(block).await?;
            answer.write(&block, |out| text::write_block(out, &block))
        }
        ClientCommand::Mempool => {
            let waiting = client.mempool().await?;
            answer.write(&waiting, |out| write_mempool(out, &waiting))
        }
        ClientCommand::Tx { txid } => {
            let tx = client.tx(parse::<TxId>(&txid, "bad_txid")?).await?;
            answer.write(&tx, |out| text::write_tx(out, &tx, true))
        }
        ClientCommand::VerifyChain => {
            let audit = while_showing(client, context.progress, client.verify_chain()).await?;
            answer.write(&audit, |out| text::write_audit(out, &audit))?;
            if audit.ok { Ok(()) } else { Err(CommandError::BadNews) }
        }
        ClientCommand::Reindex => {
            let audit = while_showing(client, context.progress, client.reindex()).await?;
            answer.write(&audit, |out| text::write_audit(out, &audit))?;
            if audit.ok { Ok(()) } else { Err(CommandError::BadNews) }
        }
        ClientCommand::AcceptBranch { block } => {
            let block = parse::<BlockHash>(&block, "bad_hash")?;
            let accepted =
                while_showing(client, context.progress, client.accept_branch(block)).await?;
            answer.write(&accepted, |out| text::write_accepted(out, &accepted))
        }
        ClientCommand::Prove { txid, output } => {
            let made = client.prove(parse::<TxId>(&txid, "bad_txid")?).await?;
            let file = output.filter(|path| path.as_os_str() != "-");
            if let Some(path) = &file {
                proof_file::write(path, &made.proof)?;
            }
            answer.write(&made, |out| match &file {
                Some(path) => {
                    writeln!(out, "The proof is in {}: verify-proof checks it.", path.display())
                }
                None => writeln!(out, "{}", made.proof),
            })
        }
        ClientCommand::VerifyProof { file, trust } => {
            let (proof, trust) = proof_to_verify(&file, trust, context.owns_stdin)?;
            write_verdict(&mut answer, &client.verify_proof(proof, trust).await?)
        }
        ClientCommand::Status => {
            let status = client.status().await?;
            answer.write(&status, |out| text::write_status(out, &status))
        }
        ClientCommand::Peers => {
            let peers = client.peers().await?;
            answer.write(&peers, |out| text::write_peers(out, &peers))
        }
        ClientCommand::Friends => {
            let friends = client.friends().await?;
            answer.write(&friends, |out| text::write_friends(out, &friends))
        }
        ClientCommand::Chat { friend, text } => {
            let sent = client.chat(friend.clone(), text.join(" ")).await?;
            answer.write(&sent, |out| text::write_chat(out, &friend, &sent))
        }
        ClientCommand::Broadcast { text } => {
            let sent = client.broadcast(text.join(" ")).await?;
            answer.write(&sent, |out| text::write_broadcast(out, &sent))
        }
        ClientCommand::History { friend, limit } => {
            let history = client.history(friend, limit).await?;
            answer.write(&history, |out| text::write_history(out, &history))
        }
        ClientCommand::Sync { friend } => {
            let synced = while_showing(client, context.progress, client.sync(friend)).await?;
            answer.write(&synced, |out| {
                writeln!(out, "In sync at height {}: {}", synced.height, synced.tip)
            })
        }
        ClientCommand::Ban { peer } => {
            let state = client.ban(parse::<PeerId>(&peer, "bad_peer_id")?).await?;
            answer.write(&state, |out| writeln!(out, "{} is banned.", state.peer_id))
        }
        ClientCommand::Unban { peer } => {
            let state = client.unban(parse::<PeerId>(&peer, "bad_peer_id")?).await?;
            answer.write(&state, |out| writeln!(out, "{} may come back.", state.peer_id))
        }
        ClientCommand::Stop => {
            let stopping = client.stop().await?;
            answer.write(&stopping, |out| writeln!(out, "The node stops."))
        }
    }
}

/// Refuses what was typed wrong before a folder is made for it.
pub(crate) fn check_before_making(command: &ClientCommand) -> Result<(), CommandError> {
    match command {
        ClientCommand::CreateBlockchain { address, .. } => parsed_address(address).map(drop),
        ClientCommand::Join { invite } => {
            Ok(Invite::from_text(invite).map(drop).map_err(RpcError::from)?)
        }
        _ => Ok(()),
    }
}

/// Blocks newest first, page by page, written as they come. `short` is one line a block, as text
/// only.
pub(crate) async fn print_chain(
    client: &Client,
    answer: &mut Answer<'_>,
    from: Option<u32>,
    limit: Option<u32>,
    short: bool,
) -> Result<(), CommandError> {
    let mut left = limit.unwrap_or(u32::MAX);
    let mut from = from;
    let mut separator = r#"{"blocks":["#;
    while left > 0 {
        // The first page comes before the first byte, so that a refusal is the whole answer.
        let page = client.print_chain(from, Some(left.min(MAX_PRINTED_BLOCKS))).await?;
        for block in &page.blocks {
            match (answer.json, short) {
                (true, _) => {
                    write!(answer.out, "{separator}{}", to_json(block)?)?;
                    separator = ",";
                }
                (false, true) => text::write_block_short(answer.out, block)?,
                (false, false) => text::write_block(answer.out, block)?,
            }
            left = left.saturating_sub(1);
        }
        match page.blocks.last().and_then(|block| block.height.checked_sub(1)) {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    if answer.json {
        let head = if separator == "," { "" } else { separator };
        writeln!(answer.out, "{head}]}}")?;
    }
    Ok(())
}

/// What `verify-proof` is about.
fn proof_to_verify(
    file: &Path,
    trust: Option<String>,
    owns_stdin: bool,
) -> Result<(String, Option<BlockHash>), CommandError> {
    let trust = trust.map(|trust| parse::<BlockHash>(&trust, "bad_hash")).transpose()?;
    Ok((proof_file::read(file, owns_stdin)?, trust))
}

fn write_verdict(answer: &mut Answer<'_>, report: &ProofReport) -> Result<(), CommandError> {
    answer.write(report, |out| text::write_proof_report(out, report))?;
    if report.valid { Ok(()) } else { Err(CommandError::BadNews) }
}

/// `verify-proof` where there is no data folder at all: a proof needs none if its block is trusted.
pub(crate) async fn verify_proof_alone(
    file: &Path,
    trust: Option<String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let (proof, trust) = proof_to_verify(file, trust, true)?;
    let report = verify_without_chain(proof, trust).await?;
    write_verdict(&mut Answer { json, out }, &report)
}

fn write_mempool(out: &mut dyn Write, waiting: &TxList) -> io::Result<()> {
    if waiting.transactions.is_empty() {
        return writeln!(out, "nothing waits to be mined");
    }
    waiting.transactions.iter().try_for_each(|tx| text::write_tx(out, tx, false))
}

/// The contract's `{"address"}`: the phrase is for eyes alone.
#[derive(Serialize)]
struct NewAddress {
    address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<u32>,
}

fn write_created(answer: &mut Answer<'_>, created: &WalletCreated) -> Result<(), CommandError> {
    let document = NewAddress { address: created.address, recovered: created.recovered };
    answer.write(&document, |out| {
        match created.recovered {
            Some(count) => {
                let addresses = if count == 1 { "address" } else { "addresses" };
                writeln!(out, "Recovered {count} {addresses}; the first is {}", created.address)?;
                writeln!(
                    out,
                    "That is how many the chain here knows: once it is in sync, run this again, \
                     and it finds any later ones."
                )?;
            }
            None => writeln!(out, "Your new address: {}", created.address)?,
        }
        match &created.recovery_phrase {
            Some(phrase) if io::stdout().is_terminal() => {
                writeln!(
                    out,
                    "\nWrite down these words; whoever has them has the coins:\n\n  {}\n",
                    phrase.expose()
                )
            }
            _ => Ok(()),
        }
    })
}

/// An answer as it is written: JSON or text.
pub(crate) struct Answer<'a> {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// Where to.
    pub(crate) out: &'a mut dyn Write,
}

impl Answer<'_> {
    fn write<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CommandError> {
        if self.json {
            writeln!(self.out, "{}", to_json(value)?)?;
        } else {
            text(self.out)?;
        }
        Ok(())
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String, CommandError> {
    Ok(serde_json::to_string(value).map_err(RpcError::internal)?)
}

/// A value that a person wrote, or the sentence why it is none.
fn parse<T>(text: &str, code: &'static str) -> Result<T, CommandError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.trim()
        .parse()
        .map_err(|error: T::Err| CommandError::Usage(RpcError::new(code, error.to_string())))
}

/// An address that a person wrote, or the sentence why it is none: what has the form of one, but
/// not its checksum, is no wrong usage, but refused.
pub(crate) fn parsed_address(text: &str) -> Result<Address, CommandError> {
    text.trim().parse().map_err(|error: AddressError| match error {
        AddressError::Checksum(_) => CommandError::Failed(error.into()),
        AddressError::Malformed(_) => CommandError::Usage(error.into()),
    })
}

/// What reads as an address must be one: a wrong letter never makes it a friend's name.
fn checked_recipient(to: String) -> Result<String, CommandError> {
    if Address::looks_like(&to) {
        parsed_address(&to)?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Owner;

    #[test]
    fn one_wrong_letter_in_an_address_is_its_own_error() {
        let address = Address(Owner::ZERO).to_string();
        assert!(checked_recipient(address.clone()).is_ok());
        assert!(checked_recipient("yzw".to_owned()).is_ok());
        let last = if address.ends_with('q') { 'p' } else { 'q' };
        let wrong: String = address.chars().take(40).chain([last]).collect();
        let CommandError::Failed(error) = checked_recipient(wrong).expect_err("refused") else {
            panic!("refused")
        };
        assert_eq!(error.code, "bad_address");
        assert!(error.message.contains("a letter is wrong"), "{error}");
        let short = checked_recipient("fc1?".to_owned()).expect_err("wrong usage");
        assert!(matches!(short, CommandError::Usage(_)), "{short:?}");
    }

    #[test]
    fn a_recovery_phrase_is_never_in_the_json() {
        let phrase = crate::rpc::types::Secret::new("abandon abandon".to_owned());
        let address = Address(Owner::ZERO);
        let created = WalletCreated { address, recovery_phrase: Some(phrase), recovered: None };
        let mut out = Vec::new();
        write_created(&mut Answer { json: true, out: &mut out }, &created).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            format!("{{\"address\":\"{address}\"}}\n")
        );
    }
}
