//! Sentences about who can reach the node, and about a copy of it.

use std::io::{self, Write};

use super::look::{write_hanging, write_sentence};
use crate::{primitives::UnixMillis, rpc::types::StatusReport};

/// The text of an empty friends list, if no other machine can reach the node.
pub(super) const NOBODY_ELSE: &str = "no friends yet, and only this machine can reach this node: \
                                      end it, and type\nfriendchain people NAME";

/// Writes who can reach the node, if the user should know, and the warning of a copy. `seen` is the
/// time at which the copy was seen.
pub(super) fn write_reach(
    out: &mut dyn Write,
    status: &StatusReport,
    seen: impl FnOnce(UnixMillis) -> String,
) -> io::Result<()> {
    if let Some(reach) = status.reach.as_ref().filter(|_| !status.only_this_machine) {
        write_hanging(out, "reached by ", &reach.words())?;
        if let Some(advice) = &reach.advice {
            write_hanging(out, "           ", advice)?;
        }
    }
    if status.only_this_machine {
        writeln!(out, "Only this machine can reach this node: its addresses are loopback ones.")?;
        writeln!(out, "For friends on other machines:\n  friendchain people {}", status.name)?;
    }
    let Some(copy) = &status.copy else { return Ok(()) };
    let place =
        copy.address.as_deref().map_or_else(String::new, |address| format!(" at {address}"));
    let seen = seen(copy.seen);
    let warning =
        format!("WARNING: a copy of this node's folder runs{place} (seen {seen}): stop one.");
    write_sentence(out, &warning)
}
