//! First steps on a terminal: `join` in one step, and the questions before a first console.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    find::{Reached, reach, take_for_node, until_free},
    folders::{Choice, choice_of, home_of, listed},
    plan::Plan,
    questions::{AtTerminal, Person, ask_yes_no, at_terminal},
};
use crate::{
    commands::{
        joining_text::{accepting, move_offer},
        look::{broken, short, write_sentence},
        outcome::CommandError,
    },
    consensus::{
        ChainParams, DEFAULT_FLOOR_BITS, DEFAULT_SPACING_MS, INVITE_PREFIX, Invite, Network,
    },
    datadir::{CHAIN_FILE, DataDir, FRIENDS_FILE, NodeId},
    node::{
        self,
        config::{checked_name, default_name},
    },
    primitives::printable,
    rpc::{
        Client, FriendchainApiClient, RpcError,
        types::{CreateBlockchain, CreateWallet, Joined, StatusReport},
    },
};

/// The question for further rows of an invite.
const MORE_ROWS: &str = "The invite is not whole: paste the rest, or press Enter alone: ";

/// The next step after a `join` on a terminal.
pub(crate) enum Next {
    /// The user does not want a console.
    Nothing,
    /// A node of this process, with a console.
    People { folder: DataDir, name: String },
    /// A console on the node that runs.
    Console { folder: DataDir },
}

/// Joins the chain of an invite: asks for a name if none is set, offers to move from `lan`, and
/// offers to open the console.
pub(crate) async fn join_at_terminal(
    base: Option<&Path>,
    id: Option<&NodeId>,
    invite: String,
) -> Result<Next, CommandError> {
    let person = &mut AtTerminal;
    // Checked before the questions, so that a user with a mistyped invite need not answer them.
    let (invite, parsed) = checked_invite(invite, person)?;
    let group = printable(&parsed.network().params.name);
    let (folder, name) = folder_to_join(base, id, &group, person)?;
    if has(&folder, CHAIN_FILE) {
        let status = on_folder(&folder, async |client| Ok(client.status().await?)).await?;
        if status.network_id == parsed.network().id {
            writeln!(io::stdout(), "You are in {group} already.")?;
            return offer_console(base, folder, status.name, status.running);
        }
        if status.network_id == Network::lan().id {
            return offer_move(base, folder, &invite, &group, status).await;
        }
    }
    let name = match name {
        None if !has(&folder, CHAIN_FILE) && !has(&folder, FRIENDS_FILE) => {
            Some(ask_name(&group, person)?)
        }
        name => name,
    };
    let joined = on_folder(&folder, async |client| Ok(client.join(invite, name.clone()).await?));
    let joined = joined.await?;
    let known = on_folder(&folder, async |client| Ok(client.status().await?.name)).await?;
    let name = name.unwrap_or(known);
    write_joined(&mut io::stdout(), &joined, &name)?;
    offer_console(base, folder, name, false)
}

/// Reads the further rows of an invite, and checks it.
fn checked_invite(
    mut text: String,
    person: &mut impl Person,
) -> Result<(String, Invite), CommandError> {
    loop {
        match Invite::from_text(&text) {
            Ok(invite) => return Ok((text, invite)),
            Err(error) => {
                let row = if Invite::is_beginning(&text) { person.row(MORE_ROWS)? } else { None };
                let Some(row) = row.filter(|row| !row.is_empty()) else {
                    person.drop_rows()?;
                    return Err(RpcError::from(error).into());
                };
                text.push_str(&row);
            }
        }
    }
}

/// Returns the folder of a `join`. If several qualify, the user's name decides, and is returned.
fn folder_to_join(
    base: Option<&Path>,
    id: Option<&NodeId>,
    group: &str,
    person: &mut impl Person,
) -> Result<(DataDir, Option<String>), CommandError> {
    let several = match choice_of(base, id, false)? {
        Choice::One(folder) => return Ok((folder, None)),
        Choice::Several(several) => several,
    };
    let mut out = io::stdout();
    write_sentence(&mut out, &already_here(&several))?;
    let name = ask_name(group, person)?;
    let folder = home_of(base, &name)?.folder;
    // A folder that is there has a name.
    let name = (!has(&folder, FRIENDS_FILE)).then_some(name);
    Ok((folder, name))
}

/// Returns the sentence that lists the folders of this machine.
fn already_here(folders: &[(NodeId, DataDir)]) -> String {
    let names = listed(folders.iter().map(|(id, _)| id.to_string()));
    format!("On this machine are {names} already: another name makes a new folder.")
}

/// Offers to move the folder from `lan` to the invite's chain.
async fn offer_move(
    base: Option<&Path>,
    folder: DataDir,
    invite: &str,
    group: &str,
    status: StatusReport,
) -> Result<Next, CommandError> {
    let mut out = io::stdout();
    writeln!(out, "{}", broken(&move_offer(group)))?;
    if status.running {
        writeln!(out, "{}", broken("The node that runs on lan is stopped first."))?;
    }
    if !ask_yes_no("Move? [y/N] ", false)? {
        writeln!(out, "This node stays on lan.")?;
        return Ok(Next::Nothing);
    }
    if status.running {
        on_folder(&folder, async |client| Ok(client.stop().await?)).await?;
        until_free(&folder).await?;
    }
    move_folder(&folder, invite).await?;
    offer_console(base, folder, status.name, false)
}

/// Asks if the console opens now, or says how to open it later.
fn offer_console(
    base: Option<&Path>,
    folder: DataDir,
    name: String,
    is_running: bool,
) -> Result<Next, CommandError> {
    let name = if checked_name(&name).is_ok() { name } else { default_name(None) };
    if ask_yes_no("Open the console now? [Y/n] ", true)? {
        return Ok(if is_running {
            Next::Console { folder }
        } else {
            Next::People { folder, name }
        });
    }
    writeln!(io::stdout(), "Later: {}", later(base, &folder, &name, is_running))?;
    Ok(Next::Nothing)
}

/// Returns the command that opens the console on a folder.
fn later(base: Option<&Path>, folder: &DataDir, name: &str, is_running: bool) -> String {
    let is_found = if is_running {
        matches!(choice_of(base, None, false), Ok(Choice::One(found)) if found == *folder)
    } else {
        home_of(base, name).is_ok_and(|home| home.folder == *folder)
    };
    let id = folder.path().file_name().and_then(|id| id.to_str()).filter(|_| !is_found);
    let id = id.map(|id| format!("--node-id {id} ")).unwrap_or_default();
    let command = if is_running { "console".to_owned() } else { format!("people {name}") };
    format!("friendchain {id}{command}")
}

/// Writes which chain the user has joined, and the next steps. `name` is the user's own name.
fn write_joined(out: &mut impl Write, joined: &Joined, name: &str) -> io::Result<()> {
    writeln!(out, "Joined chain {} ({}).", joined.network_name, short(joined.network_id))?;
    if joined.addresses == 0 {
        writeln!(out, "The invite holds no address: give one with --peer, or ask for a new one.")?;
    }
    accepting(joined, Some(name)).map_or(Ok(()), |step| writeln!(out, "{}", broken(&step)))
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

/// Asks at a first `people NAME` on a terminal for the group, and prepares the folder. Returns
/// false if the user leaves.
///
/// It does not ask if the folder has a chain, without a terminal, or after the Go seed's
/// `IP PORT NAME`.
pub(crate) async fn ask_first(plan: &mut Plan, words: &[String]) -> Result<bool, CommandError> {
    let folder = &plan.folder;
    let [name] = words else { return Ok(true) };
    if has(folder, CHAIN_FILE) || !at_terminal() {
        return Ok(true);
    }
    let mut out = io::stdout();
    let state = if has(folder, FRIENDS_FILE) { "is on no chain now" } else { "is new here" };
    writeln!(out, "{name} {state}. Which group?")?;
    match choose_group(&mut out, &mut AtTerminal)? {
        None => {
            writeln!(out, "\nNothing was made.")?;
            return Ok(false);
        }
        Some(Group::Lan) => {}
        Some(Group::Invited(invite)) => {
            let own = Some(name.clone());
            let joined = on_folder(folder, async |client| Ok(client.join(invite, own).await?));
            write_joined(&mut out, &joined.await?, name)?;
        }
        Some(Group::New(group)) => {
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
    Ok(true)
}

/// Asks until there is an answer. Enter means the LAN. `None` at the end of the input.
fn choose_group(
    out: &mut impl Write,
    person: &mut impl Person,
) -> Result<Option<Group>, CommandError> {
    writeln!(out, "  Enter   whoever is on this LAN")?;
    writeln!(out, "  i       I have an invite")?;
    writeln!(out, "  n       a new group")?;
    loop {
        let Some(answer) = person.ask("> ")? else { return Ok(None) };
        let invite = match answer.to_lowercase().as_str() {
            "" => return Ok(Some(Group::Lan)),
            "q" | "quit" | "exit" => return Ok(None),
            "n" | "new" => return Ok(ask_group(out, person)?.map(Group::New)),
            "i" | "invite" => match person.ask("The invite: ")? {
                Some(invite) => invite,
                None => return Ok(None),
            },
            _ if answer.starts_with(INVITE_PREFIX) => answer,
            _ => {
                writeln!(out, "Type i, n, or Enter alone; q leaves.")?;
                continue;
            }
        };
        match checked_invite(invite, person) {
            Ok((invite, _)) => return Ok(Some(Group::Invited(invite))),
            Err(CommandError::Failed(error)) => {
                writeln!(out, "{}", broken(&error.message))?;
                writeln!(out, "Type i, n, or Enter alone; q leaves.")?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Asks for the name of a new group until it is one. `None` at the end of the input.
fn ask_group(
    out: &mut impl Write,
    person: &mut impl Person,
) -> Result<Option<String>, CommandError> {
    let mut usual = "friends".to_owned();
    loop {
        let Some(typed) = person.ask(&format!("The group's name [{usual}]: "))? else {
            return Ok(None);
        };
        let group = if typed.is_empty() { usual.clone() } else { typed };
        let checked = |name: &str| ChainParams::new(name, DEFAULT_SPACING_MS, DEFAULT_FLOOR_BITS);
        let Err(error) = checked(&group) else { return Ok(Some(group)) };
        let near = group_name_near(&group);
        if checked(&near).is_ok() {
            let sentence = format!("A group's name has no spaces and no #. Enter takes {near}.");
            writeln!(out, "{}", broken(&sentence))?;
            usual = near;
        } else {
            writeln!(out, "{}", broken(&error.to_string()))?;
        }
    }
}

/// Returns a text with a hyphen for each gap between words, and without characters that no name of
/// a network has.
fn group_name_near(typed: &str) -> String {
    let is_gap = |c: char| c.is_whitespace() || c.is_control() || c == '#';
    let words = printable(typed).replace(char::REPLACEMENT_CHARACTER, " ");
    let words = words.split(is_gap).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
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
    drop(lock);
    let name = on_folder(folder, async |client| Ok(client.status().await?.name)).await?;
    let mut out = io::stdout();
    write_joined(&mut out, &joined, &name)?;
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

fn ask_name(group: &str, person: &mut impl Person) -> Result<String, CommandError> {
    let usual = default_name(None);
    let question = format!("Your name in {group} [{usual}]: ");
    loop {
        let Some(answer) = person.ask(&question)? else { return Ok(usual) };
        if answer.is_empty() {
            return Ok(usual);
        }
        match checked_name(&answer) {
            Ok(name) => return Ok(name),
            Err(error) => writeln!(io::stdout(), "{}", broken(&error.to_string()))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::primitives::BlockHash;

    /// A person who has typed all answers ahead. Rows of a pasted text are a part of them.
    struct Typed(VecDeque<String>);

    impl Person for Typed {
        fn ask(&mut self, _: &str) -> io::Result<Option<String>> {
            Ok(self.0.pop_front())
        }

        fn row(&mut self, question: &str) -> io::Result<Option<String>> {
            self.ask(question)
        }

        fn drop_rows(&mut self) -> io::Result<()> {
            while self.0.front().is_some_and(|row| row.len() > 40) {
                self.0.pop_front();
            }
            Ok(())
        }
    }

    fn chosen(typed: &[&str]) -> (Option<Group>, String) {
        let mut person = Typed(typed.iter().map(|line| (*line).to_owned()).collect());
        let mut out = Vec::new();
        let group = choose_group(&mut out, &mut person).expect("an answer");
        (group, String::from_utf8(out).expect("text"))
    }

    fn new_group(name: &str) -> Group {
        Group::New(name.to_owned())
    }

    fn invite() -> String {
        let network = Network::lan();
        let checkpoint = crate::consensus::Checkpoint {
            height: 0,
            hash: network.id,
            work: network.genesis_work(),
        };
        Invite::new(network, checkpoint, Vec::new()).expect("an invite").to_text()
    }

    #[test]
    fn enter_alone_means_the_lan_and_the_end_of_the_input_nothing() {
        assert_eq!(chosen(&[""]).0, Some(Group::Lan));
        let (group, said) = chosen(&["what", "q"]);
        assert_eq!(group, None);
        assert!(said.contains("Type i, n, or Enter alone"), "{said}");
        let unanswered: [&[&str]; 4] = [&[], &["i"], &["n"], &["n", "a group"]];
        for ended in unanswered {
            assert_eq!(chosen(ended).0, None, "{ended:?}");
        }
    }

    #[test]
    fn a_groups_name_with_a_space_is_asked_again_and_one_with_a_hyphen_is_proposed() {
        let (group, said) = chosen(&["n", "tea club", ""]);
        assert_eq!(group, Some(new_group("tea-club")));
        assert!(said.contains("Enter takes tea-club"), "{said}");
        assert!(!said.contains("U+"), "{said}");
        assert_eq!(chosen(&["n", " #tea  club\u{a0}2 ", ""]).0, Some(new_group("tea-club-2")));
        assert_eq!(chosen(&["n", "tea club", "club"]).0, Some(new_group("club")));
        assert_eq!(chosen(&["N", ""]).0, Some(new_group("friends")));
        let long = "x".repeat(500);
        assert_eq!(chosen(&["n", &long, "", "never read"]).0, Some(new_group("friends")));
    }

    #[test]
    fn an_invite_may_be_pasted_at_once_or_in_rows_and_a_damaged_one_is_said() {
        let invite = invite();
        let invited = Some(Group::Invited(invite.clone()));
        assert_eq!(chosen(&[&invite]).0, invited);
        assert_eq!(chosen(&["i", &invite]).0, invited);
        let rows: Vec<&str> = (0..invite.len().div_ceil(80))
            .map(|row| &invite[row * 80..invite.len().min(row * 80 + 80)])
            .collect();
        assert!(rows.len() > 2, "{}", rows.len());
        assert_eq!(chosen(&rows).0, invited);
        assert_eq!(chosen(&[&["i"][..], &rows[..]].concat()).0, invited);
        let (group, said) = chosen(&["i", "friendchain:x.", ""]);
        assert_eq!(group, Some(Group::Lan));
        assert!(said.contains("invite"), "{said}");
        let (group, said) = chosen(&["i", rows[0], "", "q"]);
        assert_eq!(group, None);
        assert!(said.contains("checksum does not fit"), "{said}");
        // The rows after a damaged one answer no question.
        let damaged = format!("{}.", rows[1]);
        let (group, said) = chosen(&["i", rows[0], &damaged, rows[1], rows[1], "n", "club"]);
        assert_eq!(group, Some(new_group("club")));
        assert!(said.contains("is damaged at character"), "{said}");
    }

    fn joined(network: BlockHash, addresses: u32) -> String {
        let joined = Joined { network_id: network, network_name: "tea".to_owned(), addresses };
        let mut out = Vec::new();
        write_joined(&mut out, &joined, "ann").expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn who_joins_a_group_is_told_once_that_both_sides_accept_each_other() {
        let tea = BlockHash([7; 32]);
        for addresses in [0, 2] {
            let said = joined(tea, addresses);
            let step = said.lines().filter(|line| line.contains("accept-friend ann"));
            assert_eq!(step.count(), 1, "{said}");
            assert!(said.lines().all(|line| line.len() <= 80), "{said}");
        }
        let said = joined(Network::lan().id, 2);
        assert!(!said.contains("accept"), "on lan, everybody nearby is a friend: {said}");
    }

    #[test]
    fn a_join_lists_only_a_few_of_many_folders() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folders: Vec<_> = (0..40)
            .map(|number| {
                let id: NodeId = format!("ann{number}").parse().expect("an id");
                (id.clone(), DataDir::resolve(Some(temporary.path()), Some(&id)).expect("one"))
            })
            .collect();
        let said = already_here(&folders);
        assert!(said.contains("ann0, ann1, ann2, ann3, ann4, 35 more already"), "{said}");
        let said = already_here(&folders[..5]);
        assert!(said.contains("ann4 already") && !said.contains("more"), "{said}");
    }

    #[test]
    fn the_command_for_later_finds_the_folder() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = Some(temporary.path());
        let make = |id: &str| {
            let folder = DataDir::resolve(base, Some(&id.parse().expect("an id")));
            let folder = folder.expect("a folder");
            drop(folder.try_lock().expect("the lock"));
            folder
        };
        let folder = make("default");
        assert_eq!(later(base, &folder, "ann", false), "friendchain people ann");
        assert_eq!(later(base, &folder, "ann", true), "friendchain console");
        let tea = make("tea2");
        assert_eq!(later(base, &tea, "ann", false), "friendchain --node-id tea2 people ann");
        assert_eq!(later(base, &tea, "ann", true), "friendchain --node-id tea2 console");
        assert_eq!(later(base, &tea, "tea2", false), "friendchain people tea2");
    }
}
