//! Sentences about invites, the addresses that a node tries, and trades that nobody mines.

use std::io::{self, Write};

use super::look::write_hanging;
use crate::{
    consensus::Network,
    primitives::{counted, printable},
    rpc::types::{InviteText, Joined, Reach, StatusReport, Submitted},
};

/// The label of a tried address, as wide as the labels of `status`.
const TRIES: &str = "tries      ";

/// Returns a sentence on the number of addresses in an invite, and who can use them.
pub(super) fn invite_holds(invite: &InviteText) -> String {
    let addresses = counted(invite.addresses.into(), "address", "addresses");
    let who = match invite.reach {
        Reach::Nobody => {
            return "The invite holds no address, since no node runs or listens: whoever joins \
                    needs --peer."
                .to_owned();
        }
        Reach::ThisMachine => "friends on this machine only",
        Reach::Lan => "friends on this LAN",
        Reach::Internet => "friends on the internet, if no firewall is between",
    };
    format!("The invite holds {addresses}, for {who}.")
}

/// Returns the next step after a join: both sides accept each other. `None` on the built-in chain,
/// where everybody nearby is a friend. `name` is the user's own name, if it is known.
pub(crate) fn accepting(joined: &Joined, name: Option<&str>) -> Option<String> {
    if joined.network_id == Network::lan().id {
        return None;
    }
    let name = name.map_or_else(|| "with your name".to_owned(), printable);
    Some(format!("Next: your friends type accept-friend {name}, and you accept them as they come."))
}

/// Returns the offer to move from the built-in chain to another one.
pub(crate) fn move_offer(name: &str) -> String {
    format!(
        "Move from lan to the chain {name}? Wallet, chat, and the friends whom you accepted stay;\n\
         whoever is a friend only by being on this LAN does not. A backup of lan is kept.\nCoins \
         of lan are not coins of {name}."
    )
}

/// Writes the addresses that the node tries, and the reasons why they fail.
pub(super) fn write_tries(out: &mut dyn Write, status: &StatusReport) -> io::Result<()> {
    if status.running && status.peers == 0 && status.tries.is_empty() {
        let none = "nobody, since no address is known: give --peer, or ask a friend for an invite";
        return write_hanging(out, TRIES, none);
    }
    status.tries.iter().try_for_each(|tried| {
        write_hanging(out, TRIES, &format!("{}: {}", tried.place(), tried.words()))
    })
}

/// Writes a warning if nobody mines a trade.
pub(super) fn write_who_mines(out: &mut dyn Write, sent: &Submitted) -> io::Result<()> {
    if !sent.nobody_mines {
        return Ok(());
    }
    writeln!(
        out,
        "Nobody mines it: this node does not, and no connected friend says that he does."
    )?;
    writeln!(out, "Type mine, or send with --mine; start-node --mine on-demand does it by itself.")
}
