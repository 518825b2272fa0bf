//! Answers about the folder's settings.

use super::Service;
use crate::{
    node::{
        blocking::blocking,
        settings::{Key, Layers, Value, read_settings, write_settings},
    },
    rpc::{RpcError, types::SettingList},
};

impl Service {
    pub(super) async fn settings(&self) -> Result<SettingList, RpcError> {
        let datadir = self.datadir.clone();
        let file = blocking(move || read_settings(&datadir)).await??;
        let layers = self.layers.clone().unwrap_or_else(|| Layers::of_file(file.clone()));
        Ok(SettingList { settings: layers.views(&file) })
    }

    /// Stores a new name of the node in the settings, for the next start.
    pub(super) async fn keep_name(&self, name: &str) -> Result<(), RpcError> {
        let (datadir, name) = (self.datadir.clone(), Value::text(name));
        blocking(move || write_settings(&datadir, &[(Key::Name, Some(name))])).await?
    }

    pub(super) async fn change_setting(
        &self,
        key: &str,
        value: &str,
    ) -> Result<SettingList, RpcError> {
        let key = Key::of(key)?;
        let value = Value::typed(key, value)?;
        let datadir = self.datadir.clone();
        let change = move || {
            write_settings(&datadir, &[(key, value)])?;
            read_settings(&datadir)
        };
        let file = blocking(change).await??;
        let layers = self.layers.clone().unwrap_or_else(|| Layers::of_file(file.clone()));
        Ok(SettingList { settings: layers.changed(key, &file) })
    }
}
