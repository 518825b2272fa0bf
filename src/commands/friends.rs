//! The commands on friends and chat.

use super::{outcome::CommandError, session::Session, text};
use crate::rpc::FriendchainApiClient;

pub(super) async fn friends(session: &mut Session<'_>) -> Result<(), CommandError> {
    let friends = session.client.friends().await?;
    session.write(&friends, |out| text::write_friends(out, &friends))
}

pub(super) async fn accept_friend(
    session: &mut Session<'_>,
    friend: String,
) -> Result<(), CommandError> {
    let accepted = session.client.accept_friend(friend).await?;
    session.write(&accepted, |out| writeln!(out, "{} is your friend now.", accepted.name))
}

pub(super) async fn chat(
    session: &mut Session<'_>,
    friend: String,
    words: &[String],
) -> Result<(), CommandError> {
    let sent = session.client.chat(friend.clone(), words.join(" ")).await?;
    session.write(&sent, |out| text::write_chat(out, &friend, &sent))
}

pub(super) async fn broadcast(
    session: &mut Session<'_>,
    words: &[String],
) -> Result<(), CommandError> {
    let sent = session.client.broadcast(words.join(" ")).await?;
    session.write(&sent, |out| text::write_broadcast(out, &sent))
}

pub(super) async fn history(
    session: &mut Session<'_>,
    friend: Option<String>,
    limit: Option<u32>,
    requests: bool,
) -> Result<(), CommandError> {
    let history = session.client.history(friend, limit, Some(requests)).await?;
    session.write(&history, |out| text::write_history(out, &history))
}
