//! The data folder of a node: its path, its lock, and its file names.
//!
//! One process at a time owns a folder, through the lock that [`DataDir::try_lock`] takes and that
//! ends with the process. A running node writes its RPC address to `node.json`. Only the holder of
//! the lock writes or removes that file.

mod kept;

use std::{
    fmt, fs, io,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    primitives::{composed, spells_word},
    storage::{
        DanglingLink, create_private_folder, dangling_link, give_to_owner_of_folder, make_private,
        prepare_private, private_options, real_place, write_private,
    },
};

/// The private key of the node's identity, which friends recognise.
pub(crate) const IDENTITY_FILE: &str = "identity.key";
/// The wallet's seed and its number of addresses.
pub(crate) const WALLET_FILE: &str = "wallet.json";
/// The search for the addresses of a restored wallet.
pub(crate) const RECOVERY_FILE: &str = "recovery.json";
/// The chain database; only the chain thread writes it.
pub(crate) const CHAIN_FILE: &str = "chain.redb";
/// The database of profiles, chat, peers and bans.
pub(crate) const FRIENDS_FILE: &str = "friends.redb";
/// The secret that authenticates RPC clients.
pub(crate) const TOKEN_FILE: &str = "rpc.token";
/// The process id and RPC address of the running node.
pub(crate) const NODE_FILE: &str = "node.json";
/// The lock file, which contains the process id of the holder.
pub(crate) const LOCK_FILE: &str = "lock";
/// The history of lines typed in the console.
pub(crate) const HISTORY_FILE: &str = "history.txt";
/// The settings of the folder.
pub(crate) const SETTINGS_FILE: &str = "friendchain.toml";
/// The first owner of the wallet for which the recovery phrase was offered or shown.
pub(crate) const PHRASE_FILE: &str = "phrase-offered";
/// The last block whose payments a console has shown.
pub(crate) const PAYMENTS_FILE: &str = "payments-seen";

/// All files that a data folder may have, besides backups of the chain.
const FILES: [&str; 12] = [
    IDENTITY_FILE,
    WALLET_FILE,
    RECOVERY_FILE,
    CHAIN_FILE,
    FRIENDS_FILE,
    TOKEN_FILE,
    NODE_FILE,
    LOCK_FILE,
    HISTORY_FILE,
    SETTINGS_FILE,
    PHRASE_FILE,
    PAYMENTS_FILE,
];

/// Folder name of a node without an id.
const DEFAULT_ID: &str = "default";

/// Maximum length of an id, in characters: twice that of a name.
const MAX_ID_CHARS: usize = 64;

/// Maximum length of an id, in bytes: leaves room under the limit of 255 for a file name.
const MAX_ID_BYTES: usize = 200;

/// Maximum length of a small file that is read whole, in bytes.
const MAX_SMALL_FILE: u64 = 64 * 1024;

/// The lowest port that needs no privilege; ids below this number are names only.
const FIRST_FREE_PORT: u16 = 1_024;

/// The id of one of several nodes on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(String);

/// The error for a text that is not a valid node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' may not be a node id: letters, digits, '-', '_' and inner dots are, {MAX_ID_CHARS} \
     characters at most; give another with --node-id"
)]
pub(crate) struct NodeIdError(String);

impl FromStr for NodeId {
    type Err = NodeIdError;

    /// Reads an id, and composes its accents, so that one spelling is one folder.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = composed(text);
        let fits = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.chars().count() <= MAX_ID_CHARS;
        let letters = fits && id.split(['-', '_', '.']).all(spells_word);
        let inner_dots = !id.starts_with('.') && !id.ends_with('.');
        // With a leading dash, the command line would treat the id as a flag.
        if fits && letters && inner_dots && !id.starts_with('-') {
            Ok(Self(id))
        } else {
            Err(NodeIdError(crate::primitives::printable(
                &text.chars().take(80).collect::<String>(),
            )))
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl NodeId {
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the P2P port of an id such as `3000`; `None` outside 1024 to 65535.
    #[must_use]
    pub(crate) fn port(&self) -> Option<u16> {
        let digits = self.0.bytes().all(|b| b.is_ascii_digit());
        self.0.parse().ok().filter(|port| digits && *port >= FIRST_FREE_PORT)
    }
}

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The platform defines no folder for program data.
    #[error("this system has no folder for data of programs: give one with --data-dir")]
    NoPlatformFolder,
    /// A file or folder cannot be read, created or written.
    #[error(
        "{path}: {cause}; check the folder's rights, or give another with --data-dir",
        path = .path.display()
    )]
    Io {
        path: PathBuf,
        /// The error from the operating system.
        cause: io::Error,
    },
    /// The folder does not exist; probably a name is mistyped.
    #[error(
        "there is no data folder {path}: check --data-dir and --node-id; create-wallet, \
         create-blockchain, join, \
         start-node and people make one",
        path = .0.display()
    )]
    Absent(PathBuf),
    /// A file of the folder is a link to a file that is missing.
    #[error(transparent)]
    Dangling(DanglingLink),
    /// Another process has locked the folder.
    #[error("{}", in_use_sentence(.path, *.pid))]
    InUse {
        path: PathBuf,
        /// The process id of the holder, if the lock file was readable.
        pid: Option<u32>,
    },
    /// A file has unexpected contents.
    #[error("{path}: {problem}", path = .path.display())]
    Malformed {
        path: PathBuf,
        /// The fault, and what the user can do.
        problem: String,
    },
}

fn in_use_sentence(path: &Path, pid: Option<u32>) -> String {
    let process = pid
        .map_or_else(|| "another friendchain process".to_owned(), |pid| format!("process {pid}"));
    let id = path.file_name().and_then(|id| id.to_str()).filter(|id| *id != "default");
    let id = id.map(|id| format!("--node-id {id} ")).unwrap_or_default();
    format!(
        "the data folder {} is in use by {process}: open it with `friendchain {id}console`, end it \
         with `friendchain {id}stop`, or give another folder with --data-dir or --node-id",
        path.display()
    )
}

impl DataDirError {
    /// Returns a converter that adds the path to an I/O error.
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }

    /// Returns the stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPlatformFolder => "no_data_folder",
            Self::Io { .. } => "data_folder",
            Self::Absent(_) => "no_such_folder",
            Self::Dangling(_) => "dangling_link",
            Self::InUse { .. } => "folder_in_use",
            Self::Malformed { .. } => "malformed_file",
        }
    }
}

/// Contents of `node.json`, written by the running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeFile {
    pub pid: u32,
    /// Address of the RPC listener.
    pub rpc: SocketAddr,
    /// Address that serves health and metrics, if enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

/// The data folder of one node. The folder may not exist, and this process may not own it: see
/// [`FolderLock`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Returns the folder of `id` under `base`, or under the platform's folder for program data.
    pub(crate) fn resolve(base: Option<&Path>, id: Option<&NodeId>) -> Result<Self, DataDirError> {
        let base = kept::base_folder(base)?;
        Ok(Self { path: base.join(id.map_or(DEFAULT_ID, NodeId::as_str)) })
    }

    /// Returns the folder at a path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the folder.
    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Locks the folder for this process, and creates it (mode 0700) if absent. Removes a
    /// `node.json` that a crashed node left, so that clients do not take the node for a running
    /// one.
    pub(crate) fn try_lock(&self) -> Result<FolderLock, DataDirError> {
        create_private_folder(&self.path).map_err(DataDirError::at(&self.path))?;
        self.check_links()?;
        let path = self.file(LOCK_FILE);
        let io = |cause| DataDirError::Io { path: path.clone(), cause };
        let mut file = private_options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let pid = read_small(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(DataDirError::InUse { path: self.path.clone(), pid });
            }
            Err(fs::TryLockError::Error(cause)) => return Err(io(cause)),
        }
        give_to_owner_of_folder(&path);
        self.make_files_private();
        remove_if_there(&self.file(NODE_FILE))?;
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
        Ok(FolderLock { folder: self.clone(), is_read_only: false, _file: Some(file) })
    }

    /// Like [`DataDir::try_lock`], but never creates the folder.
    ///
    /// A folder without files of friendchain is [`DataDirError::Absent`] and stays unchanged. A
    /// folder that cannot be written is locked for reading, shared with other readers.
    pub(crate) fn try_lock_existing(&self) -> Result<FolderLock, DataDirError> {
        if !self.is_there() {
            return Err(DataDirError::Absent(self.path.clone()));
        }
        match self.try_lock() {
            Err(DataDirError::Io { cause, .. })
                if matches!(
                    cause.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                ) =>
            {
                self.try_lock_shared()
            }
            locked => locked,
        }
    }

    /// Checks that no file of the folder is a link to a missing target. Such a link must not lead
    /// to a new wallet or chain while the disk of the old one is missing.
    fn check_links(&self) -> Result<(), DataDirError> {
        let dangling = FILES.iter().find_map(|name| dangling_link(&self.file(name)));
        dangling.map_or(Ok(()), |link| Err(DataDirError::Dangling(link)))
    }

    /// Removes the rights of group and others from files that an older version or a copy left open.
    /// Ignores failures, since a file may belong to another user.
    fn make_files_private(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let is_ours = |name: &String| {
            FILES.iter().any(|file| name.starts_with(file))
                || (name.starts_with("chain-")
                    && Path::new(name).extension().is_some_and(|extension| extension == "redb"))
        };
        for name in names.filter(is_ours) {
            if let Err(error) = make_private(&self.file(&name)) {
                tracing::debug!(%error, name, "a file's mode could not be narrowed");
            }
        }
    }

    /// Returns the path of the console's history, as a private file that exists where possible.
    #[must_use]
    pub(crate) fn history_file(&self) -> PathBuf {
        let path = self.file(HISTORY_FILE);
        if let Err(error) = prepare_private(&path) {
            tracing::debug!(%error, "the console has no history");
        }
        path
    }

    /// Takes a shared lock that excludes writers, if the folder has a lock file.
    fn try_lock_shared(&self) -> Result<FolderLock, DataDirError> {
        self.check_links()?;
        let path = self.file(LOCK_FILE);
        let file = match fs::File::open(&path) {
            Ok(file) => Some(file),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(DataDirError::Io { path, cause }),
        };
        match file.as_ref().map_or(Ok(()), fs::File::try_lock_shared) {
            Ok(()) => Ok(FolderLock { folder: self.clone(), is_read_only: true, _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                let pid = read_small(&path).ok().and_then(|text| text.trim().parse().ok());
                Err(DataDirError::InUse { path: self.path.clone(), pid })
            }
            Err(fs::TryLockError::Error(cause)) => Err(DataDirError::Io { path, cause }),
        }
    }

    /// Reads `node.json`; `None` if it is absent or malformed.
    #[must_use]
    pub(crate) fn node_file(&self) -> Option<NodeFile> {
        let text = read_small(&self.file(NODE_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Reads the RPC token; `None` if it is absent, unreadable or empty.
    #[must_use]
    pub(crate) fn token(&self) -> Option<Zeroizing<String>> {
        let text = Zeroizing::new(read_small(&self.file(TOKEN_FILE)).ok()?);
        let token = text.trim();
        (!token.is_empty()).then(|| Zeroizing::new(token.to_owned()))
    }

    /// Returns the total size of the files in the folder, in bytes.
    #[must_use]
    pub(crate) fn disk_bytes(&self) -> u64 {
        let Ok(entries) = fs::read_dir(&self.path) else { return 0 };
        entries
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .filter(fs::Metadata::is_file)
            .fold(0, |sum, metadata| metadata.len().saturating_add(sum))
    }
}

/// The lock on a data folder. It is released on drop, or when the process ends for any reason.
#[derive(Debug)]
pub(crate) struct FolderLock {
    folder: DataDir,
    is_read_only: bool,
    _file: Option<fs::File>,
}

impl FolderLock {
    #[must_use]
    pub(crate) const fn folder(&self) -> &DataDir {
        &self.folder
    }

    /// True if files in the folder cannot be written.
    #[must_use]
    pub(crate) const fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Writes `node.json` with this node's addresses. The RPC token must exist before.
    pub(crate) fn write_node_file(
        &self,
        rpc: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> Result<(), DataDirError> {
        let node = NodeFile { pid: std::process::id(), rpc, metrics };
        let path = self.folder.file(NODE_FILE);
        let text = serde_json::to_string(&node).map_err(|cause| DataDirError::Malformed {
            path: path.clone(),
            problem: cause.to_string(),
        })?;
        write_private(&path, text.as_bytes()).map_err(DataDirError::at(&path))
    }

    /// Removes `node.json` at a clean stop.
    pub(crate) fn remove_node_file(&self) -> Result<(), DataDirError> {
        remove_if_there(&self.folder.file(NODE_FILE))
    }

    /// Writes a new RPC token, 32 random bytes in hex, to a file of mode 0600. The old token
    /// becomes invalid.
    pub(crate) fn new_token(&self) -> Result<Zeroizing<String>, DataDirError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes[..]);
        let token = Zeroizing::new(data_encoding::HEXLOWER.encode(&bytes[..]));
        let path = self.folder.file(TOKEN_FILE);
        write_private(&path, token.as_bytes()).map_err(DataDirError::at(&path))?;
        Ok(token)
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if !self.is_read_only {
            // A stale node file does little harm: its readers only wait for a connection.
            let _ = self.remove_node_file();
        }
    }
}

fn read_small(path: &Path) -> Result<String, DataDirError> {
    use std::io::Read;
    let io = |cause| DataDirError::Io { path: path.to_owned(), cause };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(MAX_SMALL_FILE.saturating_add(1)).read_to_string(&mut text).map_err(io)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_SMALL_FILE {
        let problem =
            format!("the file is longer than {MAX_SMALL_FILE} bytes: is it the right one?");
        return Err(DataDirError::Malformed { path: path.to_owned(), problem });
    }
    Ok(text)
}

/// Removes a file. A link stays, and the file that it points to becomes empty.
fn remove_if_there(path: &Path) -> Result<(), DataDirError> {
    let removed = match real_place(path) {
        Ok(place) if place == path => fs::remove_file(path),
        Ok(place) => fs::OpenOptions::new().write(true).truncate(true).open(place).map(drop),
        Err(cause) => Err(cause),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(DataDirError::Io { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_script_pass_and_paths_do_not() {
        for id in "3000 yzw 李雷 a.b a-b_c Zoë ก้อง मुक्ता கார்த்திக்".split(' ')
        {
            assert_eq!(id.parse::<NodeId>().map(|id| id.0).as_deref(), Ok(id));
        }
        assert_eq!("Zoe\u{308}".parse(), Ok(NodeId("Zoë".to_owned())), "one spelling");
        for id in "|.|..|a/b|a\\b|.a|a.|a b|-a|a\0|a:b|a\u{202e}b|a\u{ad}|\u{e49}a".split('|') {
            assert!(id.parse::<NodeId>().is_err(), "{id:?}");
        }
        assert!("x".repeat(65).parse::<NodeId>().is_err());
    }

    #[test]
    fn a_number_that_can_be_a_free_port_is_the_port() {
        let port = |text: &str| text.parse::<NodeId>().expect("an id").port();
        assert_eq!(port("3000"), Some(3000));
        assert_eq!(port("65535"), Some(65535));
        for text in ["80", "65536", "yzw", "1e4"] {
            assert_eq!(port(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_names_a_folder_under_the_base() {
        let base = Path::new("/base");
        let id = "yzw".parse().expect("an id");
        assert_eq!(
            DataDir::resolve(Some(base), Some(&id)).expect("a folder").path(),
            base.join("yzw")
        );
        assert_eq!(
            DataDir::resolve(Some(base), None).expect("a folder").path(),
            base.join("default")
        );
    }

    #[test]
    fn one_process_at_a_time_holds_a_folder() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path().join("node"));
        let lock = folder.try_lock().expect("the lock");
        match folder.try_lock() {
            Err(DataDirError::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        folder.try_lock().expect("the lock again");
    }

    #[test]
    fn a_stale_node_file_is_gone_once_the_lock_is_taken() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        fs::write(folder.file(NODE_FILE), r#"{"pid":1,"rpc":"127.0.0.1:9"}"#).expect("a file");
        let lock = folder.try_lock().expect("the lock");
        assert_eq!(folder.node_file(), None);
        let rpc = "127.0.0.1:1234".parse().expect("an address");
        lock.write_node_file(rpc, None).expect("written");
        assert_eq!(
            folder.node_file(),
            Some(NodeFile { pid: std::process::id(), rpc, metrics: None })
        );
        drop(lock);
        assert_eq!(folder.node_file(), None);
    }

    #[test]
    fn a_mistyped_folder_is_not_made_by_who_only_reads() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path().join("typo"));
        assert!(matches!(folder.try_lock_existing(),
                Err(DataDirError::Absent(path)) if path == folder.path()));
        assert!(!folder.path().exists());
        // A folder with only foreign files stays unchanged too.
        let other = DataDir::at(temporary.path());
        fs::write(other.file("notes.txt"), "notes").expect("a file");
        assert!(matches!(other.try_lock_existing(), Err(DataDirError::Absent(_))));
        assert!(!other.file(LOCK_FILE).exists());
        fs::write(other.file(WALLET_FILE), "{}").expect("a file");
        assert!(!other.try_lock_existing().expect("the lock").is_read_only());
    }

    #[test]
    fn readers_share_a_folder_and_keep_writers_off() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        drop(folder.try_lock().expect("the lock"));
        let readers =
            [folder.try_lock_shared().expect("a lock"), folder.try_lock_shared().expect("another")];
        assert!(readers.iter().all(FolderLock::is_read_only));
        assert!(matches!(folder.try_lock(), Err(DataDirError::InUse { .. })));
        drop(readers);
        let _lock = folder.try_lock().expect("the lock");
        assert!(matches!(folder.try_lock_shared(), Err(DataDirError::InUse { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_missing_disk_is_an_error_and_stays() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path().join("node"));
        drop(folder.try_lock().expect("the lock"));
        for name in FILES {
            let path = folder.file(name);
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink(temporary.path().join("disk/file"), &path).expect("a link");
            for refused in [folder.try_lock(), folder.try_lock_existing(), folder.try_lock_shared()]
            {
                let refused = refused.expect_err("refused");
                assert_eq!(refused.code(), "dangling_link", "{name}");
                assert!(refused.to_string().contains("is the disk mounted?"), "{refused}");
            }
            assert!(fs::symlink_metadata(&path).expect("there").is_symlink());
            fs::remove_file(&path).expect("removed");
            // This file marks the folder as one of this program.
            fs::write(folder.file(LOCK_FILE), "").expect("a file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_node_file_stays_a_link_through_a_run() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path().join("node"));
        drop(folder.try_lock().expect("the lock"));
        let place = temporary.path().join("elsewhere.json");
        fs::write(&place, r#"{"pid":1,"rpc":"127.0.0.1:9"}"#).expect("a file");
        std::os::unix::fs::symlink(&place, folder.file(NODE_FILE)).expect("a link");
        let lock = folder.try_lock().expect("the lock");
        assert_eq!(folder.node_file(), None, "what a crash left is gone");
        let rpc = "127.0.0.1:1234".parse().expect("an address");
        lock.write_node_file(rpc, None).expect("written");
        assert_eq!(folder.node_file().map(|node| node.rpc), Some(rpc));
        drop(lock);
        assert_eq!(folder.node_file(), None);
        assert!(fs::symlink_metadata(folder.file(NODE_FILE)).expect("there").is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_could_read_are_private_once_the_folder_is_locked() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        let names = [CHAIN_FILE, FRIENDS_FILE, LOCK_FILE, HISTORY_FILE, "chain-damaged-1.redb"];
        for name in names {
            fs::write(folder.file(name), "x").expect("a file");
            let wide = fs::Permissions::from_mode(0o644);
            fs::set_permissions(folder.file(name), wide).expect("widened");
        }
        let _lock = folder.try_lock().expect("the lock");
        for name in names {
            let mode = fs::metadata(folder.file(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn folder_and_token_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path().join("a/b"));
        let lock = folder.try_lock().expect("the lock");
        let token = lock.new_token().expect("a token");
        assert_eq!(token.len(), 64);
        assert_eq!(folder.token().expect("the token"), token);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(mode(&folder.file(TOKEN_FILE)), 0o600);
    }
}
