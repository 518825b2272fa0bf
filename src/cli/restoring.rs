//! The command `restore`: unpacks a backup into an empty folder.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::find::take_for_node;
use crate::{
    commands::{answer::Answer, outcome::CommandError},
    datadir::DataDir,
    node,
    rpc::RpcError,
};

/// Restores a backup into a folder, which it creates.
pub(crate) async fn restore(
    folder: &DataDir,
    file: PathBuf,
    json: bool,
) -> Result<(), CommandError> {
    // Checked before the folder is created, so that a mistyped name leaves no folder behind.
    if let Err(error) = std::fs::File::open(&file) {
        let sentence = format!("'{}' does not open: {error}; check its name", file.display());
        return Err(RpcError::new("bad_backup", sentence).into());
    }
    let lock = take_for_node(folder).await?;
    let restored = node::restore(&lock, file).await?;
    drop(lock);
    let mut out = io::stdout();
    let place = folder.path().display();
    Answer { json, out: &mut out }.write(&restored, |out| {
        writeln!(out, "Restored {} to {place}.", restored.parts.join(", "))?;
        writeln!(
            out,
            "Never run this folder and the one that was saved at the same time: they are"
        )?;
        writeln!(out, "one person. The next start fetches the chain from friends.")
    })?;
    Ok(out.flush()?)
}
