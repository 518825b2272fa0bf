//! Makes backups, and restores them: one file with wallet, identity, chat, settings and the invite.
//!
//! The node makes the file in its own folder, and the command moves it to the user's place. The
//! file therefore belongs to the user of the command, and no secret crosses the RPC.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::Service;
use crate::{
    consensus::{Invite, MAX_INVITE_CHARS, Network},
    datadir::{
        CHAIN_FILE, DataDir, FRIENDS_FILE, FolderLock, IDENTITY_FILE, PHRASE_FILE, RECOVERY_FILE,
        SETTINGS_FILE, WALLET_FILE,
    },
    friends::{Friends, FriendsConfig},
    net::Identity,
    node::{
        blocking::blocking,
        clock::{moment, now},
        open::create_chain,
        settings::read_settings,
    },
    peers::Trust,
    rpc::{
        RpcError,
        types::{BackupFile, BackupMade},
    },
    storage::{
        bundle::{BundleError, BundleWriter, Part, unpack},
        create_private_folder, take_place, unfinished_private,
    },
    wallet::{Search, Wallet},
};

/// The part that names the chain: an invite without addresses.
const INVITE_PART: &str = "invite.txt";

/// The largest `friends.redb`, in bytes: ten times the largest that the tables' bounds allow.
const MAX_FRIENDS_BYTES: u64 = 4 << 30;

/// The largest `phrase-offered`, in bytes: it holds one address.
const MAX_PHRASE_FILE: u64 = 256;

/// The parts of a backup in their order, with the most bytes that their readers accept.
const PARTS: [Part; 7] = [
    Part { name: IDENTITY_FILE, max: 64 * 1024 },
    Part { name: WALLET_FILE, max: 1024 * 1024 },
    Part { name: RECOVERY_FILE, max: 1024 * 1024 },
    Part { name: PHRASE_FILE, max: MAX_PHRASE_FILE },
    Part { name: SETTINGS_FILE, max: 64 * 1024 },
    Part { name: INVITE_PART, max: MAX_INVITE_CHARS as u64 },
    Part { name: FRIENDS_FILE, max: MAX_FRIENDS_BYTES },
];

/// The files that a folder must not have when a backup is restored into it.
const OCCUPIED: [&str; 7] = [
    IDENTITY_FILE,
    WALLET_FILE,
    RECOVERY_FILE,
    PHRASE_FILE,
    SETTINGS_FILE,
    CHAIN_FILE,
    FRIENDS_FILE,
];

/// First part of the name of an unfinished backup in the data folder.
const UNFINISHED: &str = "backup-unfinished-";

/// The folder inside the data folder in which a restore checks the parts.
const STAGE: &str = "restore-unfinished";

/// Age from which an unfinished backup counts as abandoned.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

impl Service {
    /// Makes a backup in the data folder. The caller moves it to its place.
    pub(super) async fn make_backup(&self) -> Result<BackupMade, RpcError> {
        let invite = match &self.chain {
            Some(chain) => {
                let checkpoint = chain.handle.invite_checkpoint().await?;
                let network = Network::clone(&chain.handle.summary().network);
                Some(Invite::new(network, checkpoint, Vec::new())?.to_text())
            }
            None => None,
        };
        let unique = format!("{UNFINISHED}{}-{}", now(), rand::random::<u32>());
        let place = self.datadir.file(&unique);
        let copy = self.datadir.file(&format!("{unique}-friends"));
        match (&self.friends, &self.unusable.friends) {
            // The friends thread copies the file, since it is the file's only writer.
            (Some(friends), _) => {
                friends.copy_to(self.datadir.file(FRIENDS_FILE), copy.clone()).await?;
            }
            (None, Some(error)) => return Err(error.clone()),
            // The folder has no such file.
            (None, None) => {}
        }
        let datadir = self.datadir.clone();
        let made = blocking(move || {
            clean_up(datadir.path());
            let made = write(&datadir, &place, &copy, invite.as_deref());
            // The copy was never made, or is in the backup now.
            let _ = fs::remove_file(&copy);
            if made.is_err() {
                let _ = fs::remove_file(&place);
            }
            made.map(|(bytes, parts)| BackupMade {
                path: place.display().to_string(),
                bytes,
                parts,
            })
        });
        made.await?.map_err(|error| {
            RpcError::new("backup_failed", format!("the backup could not be made: {error}"))
        })
    }
}

/// Writes the backup. Returns its length, and the names of its parts.
fn write(
    datadir: &DataDir,
    place: &Path,
    friends: &Path,
    invite: Option<&str>,
) -> Result<(u64, Vec<String>), BundleError> {
    let file = unfinished_private(place)?;
    let mut bundle = BundleWriter::begin(io::BufWriter::new(&file))?;
    let mut names = Vec::new();
    for part in PARTS {
        if part.name == INVITE_PART {
            let Some(text) = invite else { continue };
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            bundle.add(part, length, &mut text.as_bytes())?;
        } else {
            let path = datadir.file(part.name);
            let path = if part.name == FRIENDS_FILE { friends } else { &path };
            let mut source = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            bundle.add(part, source.metadata()?.len(), &mut source)?;
        }
        names.push(part.name.to_owned());
    }
    let bytes = bundle.finish()?;
    file.sync_all()?;
    Ok((bytes, names))
}

/// Removes files of commands that were killed. Ignores failures.
fn clean_up(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        let made = entry.metadata().and_then(|metadata| metadata.modified());
        let age = made.ok().and_then(|made| SystemTime::now().duration_since(made).ok());
        if ours && age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Restores a backup into a folder that is empty except for its lock.
///
/// # Errors
/// The folder is not empty, or the file is not a complete backup. The folder is then unchanged.
pub(crate) async fn restore(lock: &FolderLock, file: PathBuf) -> Result<BackupFile, RpcError> {
    let folder = lock.folder().clone();
    check_empty(&folder)?;
    let stage = folder.file(STAGE);
    let (from, to) = (file.clone(), stage.clone());
    let shown = file.display().to_string();
    // The user does not know the folder in which the parts were unpacked.
    let inside = format!("{}{}", stage.display(), std::path::MAIN_SEPARATOR);
    let refused = |reason: String| {
        let reason = reason.replace(&inside, "");
        RpcError::new("bad_backup", format!("'{shown}' cannot be restored: {reason}"))
    };
    let read = blocking(move || read(&from, &to)).await?;
    let restored = match read {
        Ok((bytes, parts)) => match check(stage.clone(), parts.clone()).await {
            Ok(invite) => place(&folder, &stage, invite).await.map(|()| (bytes, parts)),
            Err(error) => Err(refused(error.message)),
        },
        Err(error) => Err(refused(error.to_string())),
    };
    // The rest of the stage is in its place, or useless.
    let _ = blocking(move || fs::remove_dir_all(stage)).await?;
    let (bytes, parts) = restored?;
    let parts = parts.into_iter().map(str::to_owned).collect();
    Ok(BackupFile { file: shown, bytes, parts })
}

fn check_empty(folder: &DataDir) -> Result<(), RpcError> {
    let there = OCCUPIED.iter().find(|name| folder.file(name).symlink_metadata().is_ok());
    there.map_or(Ok(()), |name| {
        let sentence = format!(
            "the folder {} is not empty, since it holds {name}: restore into a new one, as in \
             friendchain --node-id NEW restore FILE",
            folder.path().display()
        );
        Err(RpcError::new("folder_not_empty", sentence))
    })
}

/// Unpacks the backup into the folder `stage`. Returns its length and the names of its parts.
fn read(file: &Path, stage: &Path) -> Result<(u64, Vec<&'static str>), BundleError> {
    match fs::remove_dir_all(stage) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => create_private_folder(stage)?,
    }
    let mut input = File::open(file)?;
    let bytes = input.metadata()?.len();
    let mut input = io::BufReader::new(&mut input);
    let parts = unpack(&mut input, &PARTS, |name| unfinished_private(&stage.join(name)))?;
    Ok((bytes, parts))
}

/// Opens each part as the node will, and begins the search for later addresses of the wallet.
/// Returns the invite, if there is one.
async fn check(stage: PathBuf, parts: Vec<&'static str>) -> Result<Option<Invite>, RpcError> {
    blocking(move || {
        let has = |name| parts.contains(&name);
        let invite = if has(INVITE_PART) {
            let text = fs::read_to_string(stage.join(INVITE_PART));
            let text = text.map_err(|error| RpcError::new("bad_backup", error.to_string()))?;
            Some(Invite::from_text(&text)?)
        } else {
            None
        };
        let identity = if has(IDENTITY_FILE) {
            Identity::load(&stage.join(IDENTITY_FILE))?
        } else {
            Identity::generate()
        };
        if has(WALLET_FILE) {
            let wallet = Wallet::open(&stage.join(WALLET_FILE))?;
            // The wallet may have got further addresses after the backup.
            if !has(RECOVERY_FILE) {
                wallet.search().write(&stage.join(RECOVERY_FILE))?;
            }
        }
        if has(RECOVERY_FILE) {
            Search::read(&stage.join(RECOVERY_FILE))?;
        }
        if has(SETTINGS_FILE) {
            read_settings(&DataDir::at(&stage))?;
        }
        if has(FRIENDS_FILE) {
            let network =
                invite.as_ref().map_or_else(|| Network::lan().id, |invite| invite.network().id);
            let me = identity.peer_id();
            let agreeing = identity.clone();
            let config = FriendsConfig {
                me,
                network,
                signer: Box::new(move |message| identity.sign(message)),
                agree: Box::new(move |theirs| agreeing.agree(theirs)),
                trust: Trust::default(),
                clock: Box::new(moment),
            };
            drop(Friends::open_frozen(&stage.join(FRIENDS_FILE), config)?);
        }
        Ok(invite)
    })
    .await?
}

/// Moves the files of the stage to their places, and creates the chain. After a failure the folder
/// is empty as before.
async fn place(folder: &DataDir, stage: &Path, invite: Option<Invite>) -> Result<(), RpcError> {
    if let Some(invite) = invite {
        let network = invite.network().clone();
        create_chain(folder, network, Some(*invite.checkpoint())).await?;
    }
    let moved: io::Result<()> = PARTS
        .iter()
        .map(|part| (stage.join(part.name), folder.file(part.name)))
        .filter(|(staged, _)| !staged.ends_with(INVITE_PART) && staged.exists())
        .try_for_each(|(staged, place)| take_place(&staged, &place));
    moved.map_err(|error| {
        for name in OCCUPIED {
            // The file was not there before.
            let _ = fs::remove_file(folder.file(name));
        }
        let sentence =
            format!("the data folder {} is not writable: {error}", folder.path().display());
        RpcError::new("disk", sentence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::PublicKey;

    /// Writes a backup of these parts, and restores it. Returns the folder too.
    async fn restored(
        temporary: &tempfile::TempDir,
        parts: &[(&str, &[u8])],
    ) -> (Result<BackupFile, RpcError>, DataDir) {
        let file = temporary.path().join("me.backup");
        let mut bundle = BundleWriter::begin(File::create(&file).expect("a file")).expect("begun");
        for part in PARTS {
            if let Some((_, bytes)) = parts.iter().find(|(name, _)| *name == part.name) {
                bundle.add(part, bytes.len() as u64, &mut &**bytes).expect("added");
            }
        }
        bundle.finish().expect("written");
        let folder = DataDir::at(temporary.path().join("new"));
        let lock = folder.try_lock().expect("the lock");
        (restore(&lock, file).await, folder)
    }

    #[tokio::test]
    async fn a_restored_folder_goes_on_looking_for_addresses_and_offers_no_phrase_again() {
        let temporary = tempfile::tempdir().expect("a folder");
        let search = temporary.path().join("search");
        Search::new(vec![PublicKey([7; 32])]).write(&search).expect("written");
        let search = fs::read(search).expect("read");
        let parts: [(&str, &[u8]); 3] =
            [(RECOVERY_FILE, &search), (PHRASE_FILE, b"fc1\n"), (SETTINGS_FILE, b"port = 9000\n")];
        let (done, folder) = restored(&temporary, &parts).await;
        assert_eq!(done.expect("restored").parts, [RECOVERY_FILE, PHRASE_FILE, SETTINGS_FILE]);
        for (name, bytes) in parts {
            assert_eq!(fs::read(folder.file(name)).expect("there"), bytes, "{name}");
        }
        assert!(PARTS.iter().all(|part| part.name == INVITE_PART || OCCUPIED.contains(&part.name)));
    }

    #[tokio::test]
    async fn a_restored_wallet_looks_for_addresses_that_were_made_after_the_backup() {
        let temporary = tempfile::tempdir().expect("a folder");
        let path = temporary.path().join(WALLET_FILE);
        let wallet = Wallet::create(&path, None).expect("a wallet");
        let wallet_bytes = fs::read(path).expect("read");
        let (done, folder) = restored(&temporary, &[(WALLET_FILE, &wallet_bytes)]).await;
        assert_eq!(done.expect("restored").parts, [WALLET_FILE]);
        let search = Search::read(&folder.file(RECOVERY_FILE)).expect("read").expect("a search");
        assert_eq!(search, wallet.search());
        assert!(search.wants_keys(1).is_some(), "it asks for further keys");
    }

    #[tokio::test]
    async fn a_backup_with_settings_or_a_search_that_no_node_takes_restores_nothing() {
        for (name, bytes) in [
            (SETTINGS_FILE, &b"prot = 9000\n"[..]),
            (SETTINGS_FILE, b"port = 'high'\n"),
            (SETTINGS_FILE, b"\xff\xfe"),
            (RECOVERY_FILE, b"{}"),
            (WALLET_FILE, b"[]"),
            (IDENTITY_FILE, b"x"),
            (FRIENDS_FILE, b"not a database"),
            (INVITE_PART, b"friendchain:"),
        ] {
            let temporary = tempfile::tempdir().expect("a folder");
            let (done, folder) = restored(&temporary, &[(name, bytes), (PHRASE_FILE, b"x")]).await;
            let error = done.expect_err("refused");
            assert_eq!(error.code, "bad_backup", "{error}");
            assert!(error.message.contains(name.trim_end_matches(".txt")), "{error}");
            assert!(error.message.contains("me.backup"), "{error}");
            assert!(!error.message.contains(STAGE), "{error}");
            assert!(OCCUPIED.iter().all(|name| !folder.file(name).exists()), "{name}");
            assert!(!folder.file(STAGE).exists());
        }
    }
}
