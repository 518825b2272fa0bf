//! All data folders on this machine, and a folder's `friendchain.toml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    CHAIN_FILE, DataDir, DataDirError, FRIENDS_FILE, IDENTITY_FILE, LOCK_FILE, NODE_FILE, NodeId,
    SETTINGS_FILE, TOKEN_FILE, WALLET_FILE, read_small,
};
use crate::storage::{dangling_link, write_private};

/// The files that mark a folder as one of this program.
const OURS: [&str; 7] =
    [LOCK_FILE, IDENTITY_FILE, CHAIN_FILE, FRIENDS_FILE, WALLET_FILE, NODE_FILE, SETTINGS_FILE];

/// The most entries of the base folder that are read: more than anybody has nodes.
const MAX_FOLDERS: usize = 10_000;

impl DataDir {
    /// Returns the folders of this program under `base` with their ids, including `default`. Skips
    /// ids that a command line cannot name. A base that cannot be read has none.
    pub(crate) fn all(base: Option<&Path>) -> Result<Vec<(NodeId, Self)>, DataDirError> {
        let entries = fs::read_dir(base_folder(base)?).into_iter().flatten().flatten();
        let named = entries.take(MAX_FOLDERS).filter_map(|entry| {
            let id: NodeId = entry.file_name().to_str()?.parse().ok()?;
            Some((id, Self { path: entry.path() }))
        });
        let mut all: Vec<_> = named.filter(|(_, folder)| folder.is_there()).collect();
        all.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Ok(all)
    }

    /// True if the folder has a file of this program.
    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        OURS.iter().any(|name| self.file(name).symlink_metadata().is_ok())
    }

    /// True if a node was ever started on the folder.
    #[must_use]
    pub(crate) fn was_started(&self) -> bool {
        self.file(TOKEN_FILE).symlink_metadata().is_ok()
    }

    /// True if a process has locked the folder: a node, or for a moment a command.
    #[must_use]
    pub(crate) fn is_held(&self) -> bool {
        let lock = fs::File::open(self.file(LOCK_FILE));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Reads `friendchain.toml`; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read, is not a plain file, is too long, or is not UTF-8.
    pub(crate) fn settings_text(&self) -> Result<Option<String>, DataDirError> {
        let path = self.file(SETTINGS_FILE);
        if let Some(link) = dangling_link(&path) {
            return Err(DataDirError::Dangling(link));
        }
        let wrong = |problem: &str| {
            let problem = format!("{problem}: correct the file, or remove it");
            Err(DataDirError::Malformed { path: path.clone(), problem })
        };
        match fs::metadata(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Opening a pipe would wait for its writer.
            Ok(there) if !there.is_file() => return wrong("this is not a plain file"),
            _ => {}
        }
        match read_small(&path) {
            Err(DataDirError::Io { cause, .. }) if cause.kind() == io::ErrorKind::InvalidData => {
                wrong("this is not a text in UTF-8")
            }
            read => read.map(Some),
        }
    }

    /// Replaces `friendchain.toml`, or creates it with mode 0600. The process holds the lock.
    pub(crate) fn write_settings_text(&self, text: &str) -> Result<(), DataDirError> {
        let path = self.file(SETTINGS_FILE);
        write_private(&path, text.as_bytes()).map_err(DataDirError::at(&path))
    }
}

/// Returns the folder that holds one folder for each node: the given one, or the platform's.
pub(super) fn base_folder(base: Option<&Path>) -> Result<PathBuf, DataDirError> {
    if let Some(base) = base {
        return Ok(base.to_owned());
    }
    let platform = directories::ProjectDirs::from("", "", "friendchain");
    Ok(platform.ok_or(DataDirError::NoPlatformFolder)?.data_dir().to_owned())
}
