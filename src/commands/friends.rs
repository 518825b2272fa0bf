//! The commands about friends.

use serde::Serialize;

use super::{chat_text::write_history, outcome::CommandError, session::Session, text};
use crate::rpc::{
    FriendchainApiClient,
    types::{ChatMessage, ChatState, FriendAccepted},
};

/// The most earlier lines of a new friend that are shown. No console has shown them before.
const EARLIER_LINES: u32 = 10;

/// The JSON reply of `accept-friend` with several names.
#[derive(Debug, Serialize)]
struct FriendsAccepted<'a> {
    accepted: &'a [FriendAccepted],
}

pub(super) async fn friends(session: &mut Session<'_>) -> Result<(), CommandError> {
    let friends = session.client.friends().await?;
    session.write(&friends, |out| text::write_friends(out, &friends))
}

/// Accepts one friend after the other. Those before a name that is refused stay accepted.
pub(super) async fn accept_friends(
    session: &mut Session<'_>,
    friends: Vec<String>,
) -> Result<(), CommandError> {
    let mut accepted = Vec::new();
    for friend in friends {
        let new = session.client.accept_friend(friend).await?;
        if !session.answer.json {
            show_accepted(session, &new).await?;
        }
        accepted.push(new);
    }
    match accepted.as_slice() {
        _ if !session.answer.json => Ok(()),
        [one] => session.write(one, |_| Ok(())),
        several => session.write(&FriendsAccepted { accepted: several }, |_| Ok(())),
    }
}

async fn show_accepted(
    session: &mut Session<'_>,
    accepted: &FriendAccepted,
) -> Result<(), CommandError> {
    let peer = accepted.peer_id.to_string();
    // Lines from before the acceptance are in the history from now on.
    let before = session.client.history(Some(peer), Some(EARLIER_LINES), None, None).await.ok();
    let is_received = |message: &ChatMessage| message.state == ChatState::Received;
    let before = before.filter(|history| history.messages.iter().any(is_received));
    session.write(accepted, |out| {
        writeln!(out, "{} is your friend now.", accepted.name)?;
        before.map_or(Ok(()), |history| {
            writeln!(out, "The last lines between you:")?;
            write_history(out, &history)
        })
    })
}
