//! The offer to move from the built-in chain `lan` to the chain of an invite, in `people`.

use crate::{
    consensus::{INVITE_PREFIX, Invite, Network},
    primitives::printable,
    rpc::{Client, FriendchainApiClient},
};

/// The next step after a line.
pub(super) enum Step {
    /// The line is not about moving, and is handled like any other.
    Pass,
    /// The answer to the line.
    Say(String),
    /// The user agreed to move to the chain of this invite.
    Move(String),
}

/// The invite of an open offer to move.
#[derive(Debug, Default)]
pub(super) struct Moving(Option<String>);

impl Moving {
    /// Handles a typed line. `owns_node` is true if the console's process runs the node.
    pub(super) async fn step(&mut self, client: &Client, line: &str, owns_node: bool) -> Step {
        if let Some(invite) = self.0.take() {
            return match line.trim().to_lowercase().as_str() {
                "y" | "yes" => Step::Move(invite),
                "n" | "no" | "" => Step::Say("This console stays on lan.".to_owned()),
                // Another line is not an answer, and runs as usual.
                _ => Step::Pass,
            };
        }
        let Some(invite) = invite_in(line) else { return Step::Pass };
        let (Ok(status), Ok(parsed)) = (client.status().await, Invite::from_text(invite)) else {
            // The command itself reports the error.
            return Step::Pass;
        };
        let wanted = parsed.network();
        let name = printable(&wanted.params.name);
        if status.network_id == wanted.id {
            return Step::Say(format!("This node is on the chain {name} already."));
        }
        if status.network_id != Network::lan().id {
            return Step::Pass;
        }
        if !owns_node {
            return Step::Say(
                "This node is on lan, and a console cannot move it. In a shell: friendchain stop,\n\
                 friendchain leave-chain, friendchain join INVITE, and start it again."
                    .to_owned(),
            );
        }
        self.0 = Some(invite.to_owned());
        Step::Say(format!(
            "Move from lan to the chain {name}? Wallet, chat, and the friends whom you accepted \
             stay;\nwhoever is a friend only by being on this LAN does not. A backup of lan is \
             kept.\nCoins of lan are not coins of {name}. y/n"
        ))
    }
}

/// Returns the invite of a line `join INVITE`.
fn invite_in(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = line.strip_prefix('/').unwrap_or(line).strip_prefix("join")?;
    let invite = rest.trim_start();
    (invite.len() < rest.len() && invite.starts_with(INVITE_PREFIX)).then_some(invite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_join_with_an_invite_is_about_moving() {
        assert_eq!(invite_in("join friendchain:abc "), Some("friendchain:abc"));
        assert_eq!(invite_in("/join  friendchain:abc"), Some("friendchain:abc"));
        for other in ["join", "joinfriendchain:a", "join me", "c yzw join friendchain:a", "y"] {
            assert_eq!(invite_in(other), None, "{other}");
        }
    }
}
