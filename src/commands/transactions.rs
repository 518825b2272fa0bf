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
    undo::agrees_to_void,
};
use crate::rpc::{
    FriendchainApiClient,
    types::{FeeChoice, RaiseFee, SendTrade, Submitted, TxStateName, TxView, WriteNote},
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
    let sent = as_it_is_now(session, sent).await;
    session.write(&sent, |out| write_sent(out, &sent, amount, &to, &names))
}

pub(super) async fn raise_fee(
    session: &mut Session<'_>,
    args: RaiseFeeArgs,
) -> Result<(), CommandError> {
    let txid = hash_text(&args.txid, "bad_txid")?;
    let request = RaiseFee {
        fee: parsed(&args.fee, "bad_amount")?,
        force: args.force,
        voids: args.force || agrees_to_void(session, &txid).await?,
        txid,
        mine: args.mine,
        passphrase: to_sign(session, &args.passphrase).await?,
    };
    let sent = session.showing(session.client.raise_fee(request)).await?;
    let sent = as_it_is_now(session, sent).await;
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
    let sent = as_it_is_now(session, sent).await;
    session.write(&sent, |out| text::write_submitted(out, "Note", &sent))
}

/// Returns what was sent in its present state, for text output: a fast miner may have it in a block
/// before the answer is shown. JSON keeps the state of the moment of sending.
async fn as_it_is_now(session: &Session<'_>, mut sent: Submitted) -> Submitted {
    if session.answer.json || sent.state != TxStateName::Mempool {
        return sent;
    }
    if let Ok(TxView { state: TxStateName::Mined, block, .. }) =
        session.client.tx(sent.txid.to_string()).await
    {
        sent.state = TxStateName::Mined;
        sent.block = block;
        sent.nobody_mines = false;
    }
    sent
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

#[cfg(test)]
mod tests {
    use jsonrpsee::RpcModule;

    use super::*;
    use crate::{
        commands::{asking::Asking, progress::ProgressMode, session::Context},
        primitives::{Amount, BlockHash, Transaction, TxId},
        rpc::{Client, RpcError, types::TxPlace},
    };

    #[tokio::test]
    async fn an_answer_shows_the_state_of_the_moment_in_which_it_is_shown() {
        let txid = TxId([3; 32]);
        let block = BlockHash([1; 32]);
        let place = TxPlace::Mined { block, height: 2, tip_height: 2 };
        let transaction = Transaction { inputs: vec![], outputs: vec![], memo: vec![] };
        let view = TxView::new(&transaction, txid, Amount::ZERO, place);
        let mut node = RpcModule::new(view);
        node.register_method("tx", |_, view, _| Ok::<_, RpcError>(view.clone())).expect("a method");
        let mut context = Context {
            client: Client::local(node),
            json: false,
            full: false,
            progress: ProgressMode::Lines,
            asking: Asking::Nobody,
        };
        let (mut text, mut json) = (Vec::new(), Vec::new());
        let sent = Submitted { nobody_mines: true, ..Submitted::waits(txid, false) };
        let now = as_it_is_now(&Session::new(&context, &mut text), sent.clone()).await;
        assert_eq!((now.state, now.block), (TxStateName::Mined, Some(block)));
        assert!(!now.nobody_mines);
        context.json = true;
        let kept = as_it_is_now(&Session::new(&context, &mut json), sent.clone()).await;
        assert_eq!(kept.state, TxStateName::Mempool);
        // A node that does not know it leaves the answer as it was.
        context = Context { client: Client::local(RpcModule::new(())), json: false, ..context };
        let unknown = as_it_is_now(&Session::new(&context, &mut json), sent).await;
        assert_eq!(unknown.state, TxStateName::Mempool);
    }
}
