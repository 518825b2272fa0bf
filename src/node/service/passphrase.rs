//! The wallet's passphrase and its recovery phrase.

use super::{Service, paid::note_offer};
use crate::{
    datadir::PHRASE_FILE,
    node::{blocking::blocking, clock::moment_with_sleep},
    rpc::{
        RpcError,
        types::{ChangePassphrase, PassphraseChanged, Secret, WalletState},
    },
};

impl Service {
    /// Sets, changes or removes the passphrase.
    pub(super) async fn replace_passphrase(
        &self,
        request: ChangePassphrase,
    ) -> Result<PassphraseChanged, RpcError> {
        let mut wallet = self.keyring.open().await?;
        // Two key derivations take about half a second.
        blocking(move || {
            let (old, new) = (request.old.as_ref(), request.new.as_ref());
            wallet.change_passphrase(old.map(Secret::expose), new.map(Secret::expose))?;
            Ok(PassphraseChanged { locked: wallet.has_passphrase() })
        })
        .await?
    }

    pub(super) async fn state_of_wallet(&self) -> Result<WalletState, RpcError> {
        let Some(mut wallet) = self.keyring.open_if_there().await? else {
            return Ok(WalletState::default());
        };
        Ok(WalletState {
            exists: true,
            has_passphrase: wallet.has_passphrase(),
            locked: wallet.is_locked(moment_with_sleep()),
        })
    }

    /// Returns the recovery phrase. After that, the node no longer offers to write it down.
    pub(super) async fn reveal_phrase(
        &self,
        passphrase: Option<Secret>,
    ) -> Result<Secret, RpcError> {
        let mut wallet = self.keyring.open_with(passphrase).await?;
        let phrase = wallet.recovery_phrase(moment_with_sleep())?;
        let (path, first) = (self.datadir.file(PHRASE_FILE), wallet.first_address().0);
        blocking(move || note_offer(&path, first)).await?;
        Ok(Secret::new(phrase.reveal().to_string()))
    }
}
