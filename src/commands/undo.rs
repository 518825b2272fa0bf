//! The commands that cancel a payment, or send a void one again.

use super::{
    args::{CancelArgs, ResendArgs},
    outcome::CommandError,
    parse::{hash_text, parsed},
    passphrase::to_sign,
    session::Session,
    text,
};
use crate::rpc::{
    FriendchainApiClient,
    types::{Cancel, FeeChoice, Resend},
};

pub(super) async fn cancel(
    session: &mut Session<'_>,
    args: CancelArgs,
) -> Result<(), CommandError> {
    let request = Cancel {
        txid: hash_text(&args.txid, "bad_txid")?,
        fee: args.fee.map(|fee| parsed(&fee, "bad_amount")).transpose()?,
        passphrase: to_sign(session, &args.passphrase).await?,
    };
    let sent = session.client.cancel(request).await?;
    session.write(&sent, |out| {
        text::write_submitted(out, "Trade", &sent)?;
        writeln!(out, "It pays the coins back to you, less a fee of {}.", sent.fee)
    })
}

pub(super) async fn resend(
    session: &mut Session<'_>,
    args: ResendArgs,
) -> Result<(), CommandError> {
    let request = Resend {
        txid: hash_text(&args.txid, "bad_txid")?,
        fee: args.fee.map_or(Ok(FeeChoice::default()), |fee| parsed(&fee, "bad_amount"))?,
        force: args.force,
        passphrase: to_sign(session, &args.passphrase).await?,
    };
    let sent = session.client.resend(request).await?;
    session.write(&sent, |out| text::write_submitted(out, "Trade", &sent))
}
