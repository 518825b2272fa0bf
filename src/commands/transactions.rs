//! The commands on trades and notes: making them, and looking them up.

use super::{
    args::{PassphraseFlag, RaiseFeeArgs, SendArgs},
    outcome::CommandError,
    parse::{checked_recipient, hash_text, parsed, parsed_address},
    people::confirmed_payee,
    secrets,
    session::Session,
    text,
};
use crate::rpc::{
    FriendchainApiClient,
    types::{Coins, RaiseFee, SendTrade, WriteNote},
};

pub(super) async fn send(session: &mut Session<'_>, args: SendArgs) -> Result<(), CommandError> {
    let request = SendTrade {
        from: args.from.as_deref().map(parsed_address).transpose()?,
        to: confirmed_payee(session, checked_recipient(args.to)?).await?,
        amount: parsed(&args.amount, "bad_amount")?,
        fee: args.fee.map_or(Ok(Coins::default()), |fee| parsed(&fee, "bad_amount"))?,
        memo: args.memo,
        unconfirmed: args.unconfirmed,
        mine: args.mine,
        passphrase: secrets::passphrase(&args.passphrase)?,
    };
    let sent = session.showing(session.client.send(request)).await?;
    session.write(&sent, |out| text::write_submitted(out, "Trade", &sent))
}

pub(super) async fn raise_fee(
    session: &mut Session<'_>,
    args: RaiseFeeArgs,
) -> Result<(), CommandError> {
    let request = RaiseFee {
        txid: hash_text(&args.txid, "bad_txid")?,
        fee: parsed(&args.fee, "bad_amount")?,
        mine: args.mine,
        passphrase: secrets::passphrase(&args.passphrase)?,
    };
    let sent = session.showing(session.client.raise_fee(request)).await?;
    session.write(&sent, |out| text::write_submitted(out, "Trade", &sent))
}

pub(super) async fn note(
    session: &mut Session<'_>,
    words: &[String],
    wait: bool,
    passphrase: &PassphraseFlag,
) -> Result<(), CommandError> {
    let passphrase = secrets::passphrase(passphrase)?;
    let request = WriteNote { text: words.join(" "), wait, passphrase };
    let sent = session.showing(session.client.note(request)).await?;
    session.write(&sent, |out| text::write_submitted(out, "Note", &sent))
}

pub(super) async fn mempool(session: &mut Session<'_>) -> Result<(), CommandError> {
    let list = session.client.mempool().await?;
    session.write(&list, |out| text::write_mempool(out, &list))
}

pub(super) async fn tx(session: &mut Session<'_>, txid: &str) -> Result<(), CommandError> {
    let tx = session.client.tx(hash_text(txid, "bad_txid")?).await?;
    session.write(&tx, |out| text::write_tx(out, &tx, true))
}
