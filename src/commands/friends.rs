//! The commands on friends.

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
