//! The commands about the node itself and its connections.

use super::{look::short, outcome::CommandError, session::Session, text};
use crate::rpc::FriendchainApiClient;

pub(super) async fn status(session: &mut Session<'_>) -> Result<(), CommandError> {
    let status = session.client.status().await?;
    session.write(&status, |out| text::write_status(out, &status))
}

pub(super) async fn peers(session: &mut Session<'_>) -> Result<(), CommandError> {
    let peers = session.client.peers().await?;
    session.write(&peers, |out| text::write_peers(out, &peers))
}

pub(super) async fn sync(
    session: &mut Session<'_>,
    friend: Option<String>,
) -> Result<(), CommandError> {
    let synced = session.showing_sync(session.client.sync(friend)).await?;
    session.write(&synced, |out| {
        writeln!(out, "In sync at height {}: {}", synced.height, short(synced.tip))
    })
}

pub(super) async fn ban(session: &mut Session<'_>, peer: &str) -> Result<(), CommandError> {
    let state = session.client.ban(peer.to_owned()).await?;
    session.write(&state, |out| writeln!(out, "{} is banned.", short(state.peer_id)))
}

pub(super) async fn unban(session: &mut Session<'_>, peer: &str) -> Result<(), CommandError> {
    let state = session.client.unban(peer.to_owned()).await?;
    session.write(&state, |out| writeln!(out, "{} may come back.", short(state.peer_id)))
}

pub(super) async fn stop(session: &mut Session<'_>) -> Result<(), CommandError> {
    let stopping = session.client.stop().await?;
    session.write(&stopping, |out| writeln!(out, "The node stops."))
}
