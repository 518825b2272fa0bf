//! The commands about friends.

use super::{chat_text::write_history, outcome::CommandError, session::Session, text};
use crate::rpc::{
    FriendchainApiClient,
    types::{ChatMessage, ChatState},
};

/// The most earlier lines of a new friend that are shown. No console has shown them before.
const EARLIER_LINES: u32 = 10;

pub(super) async fn friends(session: &mut Session<'_>) -> Result<(), CommandError> {
    let friends = session.client.friends().await?;
    session.write(&friends, |out| text::write_friends(out, &friends))
}

pub(super) async fn accept_friend(
    session: &mut Session<'_>,
    friend: String,
) -> Result<(), CommandError> {
    let accepted = session.client.accept_friend(friend).await?;
    let peer = accepted.peer_id.to_string();
    // Lines from before the acceptance are in the history from now on.
    let before = if session.answer.json {
        None
    } else {
        session.client.history(Some(peer), Some(EARLIER_LINES), None, None).await.ok()
    };
    let is_received = |message: &ChatMessage| message.state == ChatState::Received;
    let before = before.filter(|history| history.messages.iter().any(is_received));
    session.write(&accepted, |out| {
        writeln!(out, "{} is your friend now.", accepted.name)?;
        before.map_or(Ok(()), |history| {
            writeln!(out, "The last lines between you:")?;
            write_history(out, &history)
        })
    })
}
