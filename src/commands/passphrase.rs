//! Passphrases for commands: read from a file, or typed on a terminal.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use super::{
    args::{ChangePassphraseArgs, PassphraseFlag},
    asking::{Asking, Echo},
    outcome::CommandError,
    secrets,
    session::Session,
};
use crate::rpc::{
    FriendchainApiClient, RpcError,
    types::{ChangePassphrase, Secret},
};

/// The prompt for the wallet's present passphrase.
pub(super) const PROMPT: &str = "Passphrase: ";

/// Returns the passphrase that a command needs to sign: from the file, or typed on a terminal.
/// `None` if the wallet is unlocked, or if nobody can be asked.
pub(super) async fn to_sign(
    session: &Session<'_>,
    flag: &PassphraseFlag,
) -> Result<Option<Secret>, CommandError> {
    if let Some(given) = secrets::passphrase(flag)? {
        return Ok(Some(given));
    }
    if !session.asking.is_person() || !session.client.wallet_state().await?.locked {
        return Ok(None);
    }
    Ok(Some(secrets::ask(session.asking, PROMPT, Echo::Hidden).await?))
}

/// Returns the passphrase for `create-wallet`. For a new wallet it may be empty. For a locked
/// wallet that gets one more address, it is the present one.
///
/// A script that reads the answer is not asked for a new passphrase.
pub(super) async fn to_create(
    session: &Session<'_>,
    flag: &PassphraseFlag,
) -> Result<Option<Secret>, CommandError> {
    let is_person =
        session.asking.is_person() && io::stdout().is_terminal() && !session.answer.json;
    if flag.passphrase_file.is_some() || !is_person || session.client.wallet_state().await?.exists {
        return to_sign(session, flag).await;
    }
    Ok(new_one(session.asking, "Passphrase for the new wallet (Enter: none): ").await?)
}

/// Asks for a new passphrase twice. `None` if the first is empty.
async fn new_one(asking: &Asking, prompt: &str) -> Result<Option<Secret>, RpcError> {
    let Some(new) = secrets::ask_optional(asking, prompt).await? else { return Ok(None) };
    let again = secrets::ask_optional(asking, "The same again: ").await?;
    if again.as_ref() != Some(&new) {
        let sentence = "the two are not the same, and nothing was changed: try again";
        return Err(RpcError::new("bad_passphrase", sentence));
    }
    Ok(Some(new))
}

/// Runs `change-passphrase`.
pub(super) async fn change(
    session: &mut Session<'_>,
    args: &ChangePassphraseArgs,
) -> Result<(), CommandError> {
    let read = |file: Option<&Path>| file.map(secrets::read_optional).transpose();
    let (mut old, given) = (read(args.old_file.as_deref())?.flatten(), args.old_file.is_some());
    let may_ask = session.asking.is_person();
    let has_new = args.new_file.is_some() || args.remove;
    if !has_new && !given && !may_ask {
        let sentence = "there is no terminal to ask on: name the passphrases with --old-file and \
             --new-file, or run change-passphrase in a shell";
        return Err(RpcError::new("no_secret", sentence).into());
    }
    let is_open = !given && may_ask && !session.client.wallet_state().await?.has_passphrase;
    if !given && may_ask && !is_open {
        old = Some(secrets::ask(session.asking, "Old passphrase: ", Echo::Hidden).await?);
    }
    let new = match read(args.new_file.as_deref())? {
        Some(new) => new,
        None if args.remove || !may_ask => None,
        None => new_one(session.asking, "New passphrase (Enter: none): ").await?,
    };
    if is_open && !has_new && new.is_none() {
        let sentence = "the wallet has no passphrase, as before: nothing was changed";
        return Err(RpcError::new("no_secret", sentence).into());
    }
    let request = ChangePassphrase { old, new };
    let changed = session.client.change_passphrase(request).await?;
    session.write(&changed, |out| {
        if changed.locked {
            writeln!(out, "The wallet has the new passphrase, and is locked: unlock opens it.")
        } else {
            writeln!(
                out,
                "The wallet has no passphrase now: whoever can read its file has the coins."
            )
        }
    })
}
