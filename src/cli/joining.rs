//! First steps on a terminal: `join` in one step, and the questions before a first console.

use std::io::{self, Write};

use super::{
    find::{Reached, reach, take_for_node},
    plan::Plan,
    questions::{ask, ask_yes_no, at_terminal},
};
use crate::{
    commands::{look::short, outcome::CommandError},
    consensus::{
        ChainParams, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, INVITE_PREFIX, Invite, Network,
    },
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE},
    node::{
        self,
        config::{checked_name, default_name},
    },
    primitives::printable,
    rpc::{
        Client, FriendchainApiClient, RpcError,
        types::{CreateBlockchain, CreateWallet, Joined},
    },
};

/// Joins the chain of an invite: asks for a name if none is set, and offers to open the console.
/// Returns the user's name if the user wants the console.
pub(crate) async fn join_at_terminal(
    folder: &DataDir,
    invite: String,
) -> Result<Option<String>, CommandError> {
    // Checked before the questions, so that a user with a mistyped invite need not answer them.
    let parsed = Invite::from_text(&invite).map_err(RpcError::from)?;
    let name = if has(folder, CHAIN_FILE) || has(folder, FRIENDS_FILE) {
        None
    } else {
        Some(ask_name(&printable(&parsed.network().params.name))?)
    };
    let joined = on_folder(folder, async |client| Ok(client.join(invite, name.clone()).await?));
    let joined = joined.await?;
    let mut out = io::stdout();
    write_joined(&mut out, &joined)?;
    let known = on_folder(folder, async |client| Ok(client.status().await?.name)).await?;
    let name = name.unwrap_or(known);
    let name = if checked_name(&name).is_ok() { name } else { default_name(None) };
    if ask_yes_no("Open the console now? [Y/n] ", true)? {
        return Ok(Some(name));
    }
    writeln!(out, "Later: friendchain people {name}")?;
    Ok(None)
}

fn write_joined(out: &mut impl Write, joined: &Joined) -> io::Result<()> {
    writeln!(out, "Joined chain {} ({}).", joined.network_name, short(joined.network_id))?;
    if joined.addresses == 0 {
        writeln!(out, "The invite holds no address: give one with --peer, or ask for a new one.")?;
    }
    Ok(())
}

/// The group of a first console.
#[derive(Debug, PartialEq, Eq)]
enum Group {
    /// The nodes on this LAN, with the built-in chain.
    Lan,
    /// The group of an invite.
    Invited(String),
    /// A new group, by its name.
    New(String),
}

/// Asks at a first `people NAME` on a terminal for the group, and prepares the folder. It does not
/// ask if the folder has a chain, without a terminal, or after the Go seed's `IP PORT NAME`.
pub(crate) async fn ask_first(plan: &mut Plan, words: &[String]) -> Result<(), CommandError> {
    let folder = &plan.folder;
    let [name] = words else { return Ok(()) };
    if has(folder, CHAIN_FILE) || !at_terminal() {
        return Ok(());
    }
    let mut out = io::stdout();
    let mut answers = |question: &str| ask(question);
    match choose_group(&mut out, &mut answers, name)? {
        Group::Lan => {}
        Group::Invited(invite) => {
            let name = Some(name.clone());
            let joined = on_folder(folder, async |client| Ok(client.join(invite, name).await?));
            write_joined(&mut out, &joined.await?)?;
        }
        Group::New(group) => {
            writeln!(out, "Making the chain of {group}: this takes some seconds …")?;
            on_folder(folder, async |client| found(client, group).await).await?;
            writeln!(
                out,
                "It is there. The command invite prints the text that friends join with."
            )?;
        }
    }
    // The questions have already told the user about the new folder and its chain.
    plan.notes.clear();
    Ok(())
}

/// Asks until there is an answer. Enter or the end of the input means the LAN.
fn choose_group(
    out: &mut impl Write,
    ask: &mut impl FnMut(&str) -> io::Result<Option<String>>,
    name: &str,
) -> Result<Group, CommandError> {
    writeln!(out, "{name} is new here. Which group?")?;
    writeln!(out, "  Enter   whoever is on this LAN")?;
    writeln!(out, "  i       I have an invite")?;
    writeln!(out, "  n       a new group")?;
    loop {
        let answer = ask("> ")?.unwrap_or_default();
        match answer.to_lowercase().as_str() {
            "" => return Ok(Group::Lan),
            "i" | "invite" => {
                let invite = ask("The invite: ")?.unwrap_or_default();
                match Invite::from_text(&invite) {
                    Ok(_) => return Ok(Group::Invited(invite)),
                    Err(error) => writeln!(out, "{error}")?,
                }
            }
            "n" | "new" => {
                let group = ask("The group's name [friends]: ")?.unwrap_or_default();
                let group = if group.is_empty() { "friends".to_owned() } else { group };
                match ChainParams::new(&group, DEFAULT_SPACING_MS, DEFAULT_FLOOR_BITS) {
                    Ok(_) => return Ok(Group::New(group)),
                    Err(error) => writeln!(out, "{error}")?,
                }
            }
            _ if answer.starts_with(INVITE_PREFIX) => match Invite::from_text(&answer) {
                Ok(_) => return Ok(Group::Invited(answer)),
                Err(error) => writeln!(out, "{error}")?,
            },
            _ => writeln!(out, "Type i, n, or Enter alone.")?,
        }
    }
}

/// Creates a wallet if there is none, and a chain whose first block pays it.
async fn found(client: &Client, group: String) -> Result<(), CommandError> {
    let listed = client.list_addresses().await.ok();
    let first = listed.and_then(|list| list.addresses.first().map(|entry| entry.address));
    let address = match first {
        Some(address) => address,
        None => client.create_wallet(CreateWallet::default()).await?.address,
    };
    let request = CreateBlockchain { address, name: Some(group), spacing_ms: None, bits: None };
    client.create_blockchain(request).await?;
    Ok(())
}

/// Moves a folder from the chain `lan` to an invite's chain. The folder's node has ended.
pub(crate) async fn move_folder(folder: &DataDir, invite: &str) -> Result<(), CommandError> {
    let lock = take_for_node(folder).await?;
    let (joined, backup) = node::move_to(&lock, Network::lan().id, invite).await?;
    let mut out = io::stdout();
    write_joined(&mut out, &joined)?;
    writeln!(out, "The chain lan is kept in {backup}.")?;
    Ok(())
}

/// Runs a request on the node of the folder, or on the folder itself.
async fn on_folder<T>(
    folder: &DataDir,
    work: impl AsyncFnOnce(&Client) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    match reach(folder, true).await? {
        Reached::Running(client) => work(&client).await,
        Reached::Opened(opened) => {
            let done = work(&opened.client).await;
            drop(opened.client);
            opened.close.await;
            done
        }
    }
}

fn has(folder: &DataDir, file: &str) -> bool {
    folder.file(file).symlink_metadata().is_ok()
}

fn ask_name(group: &str) -> Result<String, CommandError> {
    let usual = default_name(None);
    let question = format!("Your name in {group} [{usual}]: ");
    loop {
        let Some(answer) = ask(&question)? else { return Ok(usual) };
        if answer.is_empty() {
            return Ok(usual);
        }
        match checked_name(&answer) {
            Ok(name) => return Ok(name),
            Err(error) => writeln!(io::stdout(), "{error}")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(typed: &[&str]) -> (Group, String) {
        let mut typed = typed.iter();
        let mut out = Vec::new();
        let mut answers = |_: &str| Ok(typed.next().map(|line| (*line).to_owned()));
        let group = choose_group(&mut out, &mut answers, "yzw").expect("a group");
        (group, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn enter_alone_means_the_lan_and_a_wrong_answer_is_asked_again() {
        assert_eq!(chosen(&[""]).0, Group::Lan);
        assert_eq!(chosen(&[]).0, Group::Lan);
        let (group, said) = chosen(&["what", "n", "chess club", "n", "chess-club"]);
        assert_eq!(group, Group::New("chess-club".to_owned()));
        assert!(said.contains("Type i, n, or Enter alone."), "{said}");
        assert!(said.contains("'chess club'"), "{said}");
        assert_eq!(chosen(&["N", ""]).0, Group::New("friends".to_owned()));
    }

    #[test]
    fn an_invite_may_be_pasted_at_once_and_a_damaged_one_is_said() {
        let network = Network::lan();
        let checkpoint = crate::consensus::Checkpoint {
            height: 0,
            hash: network.id,
            work: network.genesis_work(),
        };
        let invite = Invite::new(network, checkpoint, Vec::new()).expect("an invite").to_text();
        assert_eq!(chosen(&[&invite]).0, Group::Invited(invite.clone()));
        assert_eq!(chosen(&["i", &invite]).0, Group::Invited(invite.clone()));
        let (group, said) = chosen(&["i", "friendchain:x", ""]);
        assert_eq!(group, Group::Lan);
        assert!(said.contains("invite"), "{said}");
    }
}
