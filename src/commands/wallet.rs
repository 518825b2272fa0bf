//! The commands about the wallet: its addresses, its lock and its recovery phrase.

use std::io::{self, IsTerminal};

use serde::Serialize;

use super::{
    answer::Answer,
    args::PassphraseFlag,
    asking::Echo,
    outcome::CommandError,
    parse::named_address,
    passphrase::{self, PROMPT},
    secrets,
    session::Session,
    text,
};
use crate::{
    primitives::{Address, counted},
    rpc::{
        FriendchainApiClient, RpcError,
        types::{CreateWallet, WalletCreated},
    },
};

pub(super) async fn create_wallet(
    session: &mut Session<'_>,
    recover: bool,
    flag: &PassphraseFlag,
) -> Result<(), CommandError> {
    let recovery_phrase = if recover {
        Some(secrets::ask(session.asking, "Recovery phrase: ", Echo::Visible).await?)
    } else {
        None
    };
    let passphrase = passphrase::to_create(session, flag).await?;
    let request = CreateWallet { passphrase, recovery_phrase };
    let created = session.showing(session.client.create_wallet(request)).await?;
    write_created(&mut session.answer, &created)
}

pub(super) async fn recovery_phrase(
    session: &mut Session<'_>,
    flag: &PassphraseFlag,
) -> Result<(), CommandError> {
    if !io::stdout().is_terminal() {
        let sentence =
            "the recovery phrase is shown on a terminal only: run this where you can see it";
        return Err(RpcError::new("terminal_only", sentence).into());
    }
    let passphrase = passphrase::to_sign(session, flag).await?;
    let phrase = session.client.recovery_phrase(passphrase).await?;
    Ok(writeln!(session.answer.out, "{}", phrase.expose())?)
}

pub(super) async fn unlock(
    session: &mut Session<'_>,
    seconds: Option<u64>,
    passphrase: &PassphraseFlag,
) -> Result<(), CommandError> {
    let secret = match secrets::passphrase(passphrase)? {
        Some(secret) => secret,
        None => secrets::ask(session.asking, PROMPT, Echo::Hidden).await?,
    };
    let milliseconds = seconds.map(|seconds| seconds.saturating_mul(1_000));
    let state = session.client.unlock(secret, milliseconds).await?;
    session.write(&state, |out| writeln!(out, "The wallet is open."))
}

pub(super) async fn lock(session: &mut Session<'_>) -> Result<(), CommandError> {
    let state = session.client.lock().await?;
    session.write(&state, |out| writeln!(out, "The wallet is locked."))
}

pub(super) async fn list_addresses(session: &mut Session<'_>) -> Result<(), CommandError> {
    let list = session.client.list_addresses().await?;
    session.write(&list, |out| text::write_addresses(out, &list))
}

pub(super) async fn get_balance(
    session: &mut Session<'_>,
    address: &str,
) -> Result<(), CommandError> {
    let address = named_address(session, address).await?;
    let balance = session.client.get_balance(address).await?;
    session.write(&balance, |out| text::write_balance(out, &balance))
}

/// The JSON answer of `create-wallet`. It has no recovery phrase, since scripts often log their
/// output.
#[derive(Serialize)]
struct NewAddress {
    address: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<u32>,
}

fn write_created(answer: &mut Answer<'_>, created: &WalletCreated) -> Result<(), CommandError> {
    let document = NewAddress { address: created.address, recovered: created.recovered };
    answer.write(&document, |out| {
        match created.recovered {
            Some(count) => {
                let addresses = counted(count.into(), "address", "addresses");
                writeln!(out, "Recovered {addresses}; the first is {}", created.address)?;
                writeln!(
                    out,
                    "These are all that the blocks here have paid. A node on this folder goes on \
                     looking in each block that comes, and adds what it finds."
                )?;
            }
            None => writeln!(out, "Your new address: {}", created.address)?,
        }
        match &created.recovery_phrase {
            Some(phrase) if io::stdout().is_terminal() => {
                writeln!(
                    out,
                    "\nWrite down these words; whoever has them has the coins:\n\n  {}\n",
                    phrase.expose()
                )
            }
            _ => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{primitives::Owner, rpc::types::Secret};

    #[test]
    fn a_recovery_phrase_is_never_in_the_json() {
        let phrase = Secret::new("abandon abandon".to_owned());
        let address = Address(Owner::ZERO);
        let created = WalletCreated { address, recovery_phrase: Some(phrase), recovered: None };
        let mut out = Vec::new();
        write_created(&mut Answer { json: true, out: &mut out }, &created).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            format!("{{\"address\":\"{address}\"}}\n")
        );
    }
}
