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
    FriendchainApiClient, RpcError,
    types::{Cancel, FeeChoice, Resend},
};

pub(super) async fn cancel(
    session: &mut Session<'_>,
    args: CancelArgs,
) -> Result<(), CommandError> {
    let txid = hash_text(&args.txid, "bad_txid")?;
    let request = Cancel {
        fee: args.fee.map(|fee| parsed(&fee, "bad_amount")).transpose()?,
        voids: args.force || agrees_to_void(session, &txid).await?,
        txid,
        passphrase: to_sign(session, &args.passphrase).await?,
    };
    let sent = session.client.cancel(request).await?;
    session.write(&sent, |out| {
        text::write_submitted(out, "Trade", &sent)?;
        writeln!(out, "It pays the coins back to you, less a fee of {}.", sent.fee)
    })
}

/// Asks on a terminal before later payments become void, and returns true if the user agrees.
/// Elsewhere it returns false, and the node's error names the payments.
pub(super) async fn agrees_to_void(
    session: &Session<'_>,
    txid: &str,
) -> Result<bool, CommandError> {
    if !session.asking.is_person() {
        return Ok(false);
    }
    let voided = session.client.voided_by(txid.to_owned()).await?;
    if voided.payments.is_empty() {
        return Ok(false);
    }
    let question = format!(
        "What you paid later spends its change, and becomes void: {voided}.\nReplace it? resend \
         then pays them again. [y/N] "
    );
    match session.asking.agrees(&question).await? {
        Some(false) => {
            let sentence = "nothing was replaced: all payments wait as before";
            Err(RpcError::new("not_confirmed", sentence).into())
        }
        answer => Ok(answer == Some(true)),
    }
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

#[cfg(test)]
mod tests {
    use jsonrpsee::RpcModule;
    use tokio::sync::mpsc;
    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        commands::{
            asking::{Asking, QUESTIONS},
            progress::ProgressMode,
            session::Context,
        },
        primitives::{Amount, TxId},
        rpc::{
            Client,
            types::{Coins, VoidedPayment, VoidedPayments},
        },
    };

    fn paying(payees: &[&str]) -> VoidedPayments {
        let payment = |to: &&str| VoidedPayment {
            txid: TxId::ZERO,
            to: (*to).to_owned(),
            amount: Coins(Amount::from_coins(5)),
        };
        VoidedPayments { payments: payees.iter().map(payment).collect() }
    }

    /// Returns the question about these payments, and the result after an answer to it.
    async fn asked(payees: &[&str], answer: &str) -> (Option<String>, Result<bool, CommandError>) {
        let mut node = RpcModule::new(paying(payees));
        node.register_method("voided_by", |_, voided, _| Ok::<_, RpcError>(voided.clone()))
            .expect("a method");
        let (console, mut questions) = mpsc::channel(QUESTIONS);
        let context = Context {
            client: Client::local(node),
            json: false,
            full: false,
            progress: ProgressMode::Lines,
            asking: Asking::Console(console),
        };
        let user = async {
            let question = questions.recv().await?;
            question.answer.send(Zeroizing::new(answer.to_owned())).expect("taken");
            Some(question.prompt)
        };
        let mut out = Vec::new();
        let session = Session::new(&context, &mut out);
        tokio::join!(user, agrees_to_void(&session, "5f0c"))
    }

    #[tokio::test]
    async fn a_person_is_asked_before_later_payments_become_void() {
        let (question, agrees) = asked(&["yjf", "fc1x"], "y").await;
        let question = question.expect("a question");
        assert!(question.contains("5 to yjf, 5 to fc1x"), "{question}");
        assert!(agrees.expect("an answer"));
        assert!(asked(&["yjf"], "n").await.1.is_err());
    }

    #[test]
    fn many_payments_are_counted() {
        let names: Vec<_> = (0..10).map(|number| format!("f{number}")).collect();
        let many = paying(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(many.to_string().ends_with("5 to f7, and 2 more"), "{many}");
    }
}
