//! The commands about trades and notes: making them, and looking them up.

use super::{
    args::{PassphraseFlag, RaiseFeeArgs, SendArgs},
    outcome::CommandError,
    parse::{checked_recipient, hash_text, parsed, parsed_address},
    passphrase::to_sign,
    payments_text::write_sent,
    people::confirmed_payee,
    session::Session,
    text,
};
use crate::rpc::{
    FriendchainApiClient,
    types::{FeeChoice, RaiseFee, SendTrade, WriteNote},
};

pub(super) async fn send(session: &mut Session<'_>, args: SendArgs) -> Result<(), CommandError> {
    let (amount, to) = args.amount_and_recipient()?;
    let (amount, to) = (parsed(&amount, "bad_amount")?, checked_recipient(&to)?);
    let request = SendTrade {
        from: args.from.as_deref().map(parsed_address).transpose()?,
        to: confirmed_payee(session, to.clone()).await?,
        amount,
        fee: args.fee.map_or(Ok(FeeChoice::default()), |fee| parsed(&fee, "bad_amount"))?,
        force: args.force,
        memo: args.memo,
        unconfirmed: args.unconfirmed,
        mine: args.mine,
        passphrase: to_sign(session, &args.passphrase).await?,
    };
    let sent = session.showing(session.client.send(request)).await?;
    let names = session.names().await;
    session.write(&sent, |out| write_sent(out, &sent, amount, &to, &names))
}

pub(super) async fn raise_fee(
    session: &mut Session<'_>,
    args: RaiseFeeArgs,
) -> Result<(), CommandError> {
    let request = RaiseFee {
        txid: hash_text(&args.txid, "bad_txid")?,
        fee: parsed(&args.fee, "bad_amount")?,
        force: args.force,
        mine: args.mine,
        passphrase: to_sign(session, &args.passphrase).await?,
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
    let passphrase = to_sign(session, passphrase).await?;
    let request = WriteNote { text: words.join(" "), wait, passphrase };
    let sent = session.showing(session.client.note(request)).await?;
    session.write(&sent, |out| text::write_submitted(out, "Note", &sent))
}

pub(super) async fn mempool(session: &mut Session<'_>) -> Result<(), CommandError> {
    let list = session.client.mempool().await?;
    let names = session.names().await;
    session.write(&list, |out| text::write_mempool(out, &list, &names))
}

pub(super) async fn tx(session: &mut Session<'_>, txid: &str) -> Result<(), CommandError> {
    let tx = session.client.tx(hash_text(txid, "bad_txid")?).await?;
    let names = session.names().await;
    session.write(&tx, |out| text::write_tx(out, &tx, true, &names))
}
