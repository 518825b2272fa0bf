//! The command `backup`: the node makes the file, and this process moves it to the user's place.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{outcome::CommandError, session::Session};
use crate::{
    rpc::{
        FriendchainApiClient, RpcError,
        types::{BackupFile, BackupMade},
    },
    storage::{place_new, unfinished_private},
};

pub(super) async fn backup(session: &mut Session<'_>, file: &Path) -> Result<(), CommandError> {
    // An early check, before the work begins. The last step checks again.
    if file.symlink_metadata().is_ok() {
        return Err(exists(file).into());
    }
    let made = session.showing(session.client.backup()).await?;
    let (from, to) = (PathBuf::from(&made.path), file.to_owned());
    let moved = tokio::task::spawn_blocking(move || take(&from, &to));
    moved.await.map_err(RpcError::internal)??;
    let BackupMade { bytes, parts, .. } = made;
    let kept = BackupFile { file: file.display().to_string(), bytes, parts };
    session.write(&kept, |out| {
        writeln!(out, "Saved {} in {}, {bytes} bytes.", kept.parts.join(", "), kept.file)?;
        writeln!(out, "It holds the keys of your coins: keep it where nobody else reads it.")?;
        writeln!(
            out,
            "The blocks are not in it, friends have them. friendchain restore FILE brings the rest \
             back."
        )
    })
}

/// Returns the error of `restore` where a node or console runs: its folder is not empty.
pub(super) fn restore_elsewhere() -> CommandError {
    let sentence = "a backup is restored into an empty folder: leave the console, then friendchain \
                    --node-id NEW restore FILE";
    RpcError::new("folder_not_empty", sentence).into()
}

fn exists(file: &Path) -> RpcError {
    let sentence = format!(
        "'{}' exists, and a backup replaces no file: give another name, or remove that file first",
        file.display()
    );
    RpcError::new("file_exists", sentence)
}

/// Copies the finished file to its place, as a whole or not at all, and removes the original.
fn take(from: &Path, to: &Path) -> Result<(), RpcError> {
    let taken = copy(from, to);
    // It holds secrets, and no later command needs it.
    let _ = fs::remove_file(from);
    taken.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(to),
        io::ErrorKind::NotFound => RpcError::new(
            "backup_failed",
            format!("'{}' could not be written: is its folder there? ({error})", to.display()),
        ),
        _ => RpcError::new(
            "backup_failed",
            format!("'{}' could not be written: {error}; choose another place", to.display()),
        ),
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(format!(".unfinished-{}", std::process::id()));
    let unfinished = PathBuf::from(name);
    let copied = (|| {
        let mut source = File::open(from)?;
        let mut target = unfinished_private(&unfinished)?;
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        place_new(&unfinished, to)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied
}
