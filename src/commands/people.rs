//! The commands that forget, block and rename people, and the question before a payment to a shared
//! name.

use super::{outcome::CommandError, session::Session};
use crate::rpc::{FriendchainApiClient, RpcError};

pub(super) async fn forget(session: &mut Session<'_>, friend: String) -> Result<(), CommandError> {
    let forgotten = session.client.forget(friend).await?;
    session.write(&forgotten, |out| {
        writeln!(
            out,
            "{} is forgotten; the chat stays. To keep them away, block-friend {}",
            forgotten.name, forgotten.peer_id
        )
    })
}

pub(super) async fn block_friend(
    session: &mut Session<'_>,
    friend: String,
) -> Result<(), CommandError> {
    let state = session.client.block_friend(friend).await?;
    session.write(&state, |out| {
        writeln!(
            out,
            "{} is blocked: nothing of them is shown. Lines written meanwhile may come after an \
             unblock-friend.",
            state.name
        )
    })
}

pub(super) async fn unblock_friend(
    session: &mut Session<'_>,
    friend: String,
) -> Result<(), CommandError> {
    let state = session.client.unblock_friend(friend).await?;
    session.write(&state, |out| writeln!(out, "{} is no longer blocked.", state.name))
}

pub(super) async fn rename(session: &mut Session<'_>, name: String) -> Result<(), CommandError> {
    let renamed = session.client.rename(name).await?;
    session.write(&renamed, |out| writeln!(out, "You are called {} now.", renamed.name))
}

/// Returns the text to pay by. If several peers share the name, it asks on a terminal which one is
/// meant. Elsewhere it returns the text unchanged, and the node's error lists them all.
pub(super) async fn confirmed_payee(
    session: &Session<'_>,
    to: String,
) -> Result<String, CommandError> {
    if !session.asking.is_person() {
        return Ok(to);
    }
    let payee = session.client.payee(to.clone()).await?;
    let Some((first, others)) = payee.candidates.split_first() else { return Ok(to) };
    let others = others.join(", ");
    let others = if others.is_empty() { "any stranger".to_owned() } else { others };
    let others = format!("'{to}' could also mean {others}.");
    let question = format!("{others}\nPay {first}? It is asked once. [y/N] ");
    match session.asking.agrees(&question).await? {
        Some(true) => return Ok(payee.to),
        None => return Ok(to),
        Some(false) => {}
    }
    let sentence = format!("nothing was paid: write the one whom you mean, such as {first}");
    Err(RpcError::new("not_confirmed", sentence).into())
}
