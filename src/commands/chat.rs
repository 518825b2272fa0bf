//! The commands about chat.

use super::{chat_text, outcome::CommandError, session::Session};
use crate::rpc::{FriendchainApiClient, types::ChatState};

/// Sends a line to one friend. With `wait`, a line that is still queued is a failure.
pub(super) async fn chat(
    session: &mut Session<'_>,
    friend: String,
    words: &[String],
    wait: bool,
) -> Result<(), CommandError> {
    let waits = wait.then_some(true);
    let sent = session.client.chat(friend.clone(), words.join(" "), waits).await?;
    session.write(&sent, |out| chat_text::write_chat(out, &friend, &sent))?;
    if wait && sent.state != ChatState::Delivered { Err(CommandError::BadNews) } else { Ok(()) }
}

pub(super) async fn broadcast(
    session: &mut Session<'_>,
    words: &[String],
) -> Result<(), CommandError> {
    let sent = session.client.broadcast(words.join(" ")).await?;
    session.write(&sent, |out| chat_text::write_broadcast(out, &sent))
}

pub(super) async fn history(
    session: &mut Session<'_>,
    friend: Option<String>,
    limit: Option<u32>,
    requests: bool,
    search: Option<String>,
) -> Result<(), CommandError> {
    let history = session.client.history(friend, limit, Some(requests), search).await?;
    session.write(&history, |out| chat_text::write_history(out, &history))
}
