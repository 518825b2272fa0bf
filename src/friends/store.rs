//! The tables of `friends.redb`, and nothing above them: opening, one commit, one read.
//!
//! Every commit is durable when it returns. Nothing here knows what a profile or a line means.

use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, Table,
    TableDefinition, TableError, WriteTransaction,
};

use crate::{
    consensus::Blame,
    storage::{contain, frozen::FrozenFile, sync_folder},
    wire::CodecError,
};

/// Pages held in memory: chat is small, and read rarely.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// The version of all tables together.
const SCHEMA: u64 = 1;

/// The bytes of a peer id's key.
pub(super) type Key32 = [u8; 32];

/// Peer → (network that the profile is signed for, last seen (0: never), whether we wrote to it,
/// canonical profile).
type ProfileRow = (&'static Key32, u64, bool, &'static [u8]);
/// (Line's id, when it came, state, canonical line).
type ChatRow = (&'static [u8; 16], u64, u8, &'static [u8]);
/// (Network that the line is signed for, canonical line).
type OutboxRow = (&'static Key32, &'static [u8]);
/// (When it was added, when a connection last stood (0: never), source).
type AddressRow = (u64, u64, u8);

pub(super) const PROFILES: TableDefinition<'_, &Key32, ProfileRow> =
    TableDefinition::new("profiles_1");
/// Names that a peer ever bore: (peer, name) → since when we know.
pub(super) const NAMES: TableDefinition<'_, (&Key32, &str), u64> = TableDefinition::new("names_1");
/// Order of arrival → line.
pub(super) const CHAT: TableDefinition<'_, u64, ChatRow> = TableDefinition::new("chat_1");
/// Id → order.
pub(super) const CHAT_IDS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("chat_ids_1");
/// (Friend, order): what a conversation consists of.
pub(super) const CHAT_FRIENDS: TableDefinition<'_, (&Key32, u64), ()> =
    TableDefinition::new("chat_friends_1");
/// (Friend, order) → line that waits for its receiver.
pub(super) const OUTBOX: TableDefinition<'_, (&Key32, u64), OutboxRow> =
    TableDefinition::new("outbox_1");
/// Friend → time and counter of its last goodbye.
pub(super) const QUITS: TableDefinition<'_, &Key32, (u64, u64)> = TableDefinition::new("quits_1");
/// (Peer, address).
pub(super) const ADDRESSES: TableDefinition<'_, (&Key32, &str), AddressRow> =
    TableDefinition::new("peers_1");
/// Peer → when the ban ends; `u64::MAX`: never.
pub(super) const BANS: TableDefinition<'_, &Key32, u64> = TableDefinition::new("bans_1");
/// Numbers by name: see the constants below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta_1");

/// In [`META`]: [`SCHEMA`].
const META_SCHEMA: &str = "schema";
/// In [`META`]: the order of the next line.
pub(super) const META_ORDER: &str = "next_order";
/// In [`META`]: the counter of our next line or goodbye.
pub(super) const META_COUNTER: &str = "next_counter";
/// In [`META`]: the sequence of our last profile.
pub(super) const META_SEQUENCE: &str = "sequence";

/// `friends.redb` failed: nobody's message is to blame, and what was asked is not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFault {
    /// The disk or the file.
    #[error(
        "friends.redb in the data folder cannot be used: {0}; if it is damaged, keep a copy, move \
         it away, and start again: \
         friends are found anew, and the chat that was kept is in the copy"
    )]
    Database(Arc<redb::Error>),
    /// The file, found by a panic of redb's.
    #[error(
        "friends.redb in the data folder is damaged: {0}; keep a copy, move it away, and start \
         again: friends are found \
         anew, and the chat that was kept is in the copy"
    )]
    Broken(String),
    /// Something else is in its place.
    #[error("{} is not friendchain's: move it away, and start again", .0.display())]
    NotOurs(PathBuf),
    /// The file cannot be made or opened.
    #[error("{}: {reason}; check the folder's rights and the disk's free space", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "friends.redb has version {found}, this program knows {SCHEMA}: use a newer friendchain"
    )]
    Newer {
        /// The file's.
        found: u64,
    },
    /// What the file holds is not what was put there.
    #[error("friends.redb is damaged: {table} holds what is no message: {error}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// What is wrong with it.
        error: CodecError,
    },
    /// The thread that owns the file has ended: the node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl StoreFault {
    /// Ours.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        Blame::Ours
    }

    /// The stable name of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Database(_) | Self::Io { .. } => "friends_database",
            Self::Broken(_) | Self::NotOurs(_) | Self::Damaged { .. } => "friends_damaged",
            Self::Newer { .. } => "friends_newer",
            Self::Stopped => "stopping",
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for StoreFault {
            fn from(error: redb::$error) -> Self {
                Self::Database(Arc::new(error.into()))
            }
        }
    )+};
}

from_redb!(
    DatabaseError,
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SetDurabilityError
);

/// All tables, in one transaction that writes.
pub(super) struct Tables<'txn> {
    pub(super) profiles: Table<'txn, &'static Key32, ProfileRow>,
    pub(super) names: Table<'txn, (&'static Key32, &'static str), u64>,
    pub(super) chat: Table<'txn, u64, ChatRow>,
    pub(super) chat_ids: Table<'txn, &'static [u8; 16], u64>,
    pub(super) chat_friends: Table<'txn, (&'static Key32, u64), ()>,
    pub(super) outbox: Table<'txn, (&'static Key32, u64), OutboxRow>,
    pub(super) quits: Table<'txn, &'static Key32, (u64, u64)>,
    pub(super) addresses: Table<'txn, (&'static Key32, &'static str), AddressRow>,
    pub(super) bans: Table<'txn, &'static Key32, u64>,
    pub(super) meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, StoreFault> {
        Ok(Self {
            profiles: transaction.open_table(PROFILES)?,
            names: transaction.open_table(NAMES)?,
            chat: transaction.open_table(CHAT)?,
            chat_ids: transaction.open_table(CHAT_IDS)?,
            chat_friends: transaction.open_table(CHAT_FRIENDS)?,
            outbox: transaction.open_table(OUTBOX)?,
            quits: transaction.open_table(QUITS)?,
            addresses: transaction.open_table(ADDRESSES)?,
            bans: transaction.open_table(BANS)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// The number of that name, which begins at 0, and counts it up.
    pub(super) fn next(&mut self, name: &str) -> Result<u64, StoreFault> {
        let number = self.meta.get(name)?.map_or(0, |number| number.value());
        self.meta.insert(name, number.saturating_add(1))?;
        Ok(number)
    }
}

/// The open file.
pub(super) struct Store {
    database: Database,
    /// A write failed; redb then takes no more.
    failed: Cell<bool>,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Refuses an empty file, which redb would take for a new one, and what is no file. Whether there
/// is one.
fn check_file(path: &Path) -> Result<bool, StoreFault> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(true),
        Ok(_) => Err(StoreFault::NotOurs(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreFault::Io { path: path.to_owned(), reason: error.to_string() }),
    }
}

impl Store {
    /// Opens the file, or makes it: whole or not at all.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        if !check_file(path)? {
            let failed = |error: io::Error| StoreFault::Io {
                path: path.to_owned(),
                reason: error.to_string(),
            };
            let unfinished = path.with_extension("redb-unfinished");
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
            drop(Self::with(builder().create(&unfinished)?)?);
            fs::rename(&unfinished, path).and_then(|()| sync_folder(path)).map_err(failed)?;
        }
        Self::existing(path, || Ok(builder().open(path)?))
    }

    /// Opens the file so that it stays as it is: what is written is kept in memory, and lost at the
    /// end.
    pub(super) fn open_frozen(path: &Path) -> Result<Self, StoreFault> {
        let failed =
            |error: io::Error| StoreFault::Io { path: path.to_owned(), reason: error.to_string() };
        check_file(path)?;
        Self::existing(path, || {
            Ok(builder().create_with_backend(FrozenFile::open(path).map_err(failed)?)?)
        })
    }

    /// Checks that a file is ours before anything is written to it.
    fn existing(
        path: &Path,
        open: impl FnOnce() -> Result<Database, StoreFault>,
    ) -> Result<Self, StoreFault> {
        let opened = contain(|| {
            let database = open()?;
            match database.begin_read()?.open_table(META) {
                Ok(_) => {}
                Err(TableError::TableDoesNotExist(_)) => {
                    return Err(StoreFault::NotOurs(path.to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
            Self::with(database)
        });
        opened.unwrap_or_else(|reason| Err(StoreFault::Broken(reason)))
    }

    /// On any backend, for tests.
    #[cfg(test)]
    pub(super) fn on_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreFault> {
        Self::with(builder().create_with_backend(backend)?)
    }

    /// Whether a write failed: the file must be opened again before anything can be written.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// In memory, for tests.
    #[cfg(test)]
    pub(super) fn in_memory() -> Result<Self, StoreFault> {
        let backend = redb::backends::InMemoryBackend::new();
        Self::with(builder().create_with_backend(backend)?)
    }

    fn with(database: Database) -> Result<Self, StoreFault> {
        let store = Self { database, failed: Cell::new(false) };
        store.write(|tables| {
            let found = tables.meta.get(META_SCHEMA)?.map(|found| found.value());
            match found {
                None => tables.meta.insert(META_SCHEMA, SCHEMA).map(drop).map_err(StoreFault::from),
                Some(found) if found > SCHEMA => Err(StoreFault::Newer { found }),
                Some(_) => Ok(()),
            }
        })?;
        Ok(store)
    }

    /// One commit: all of `change`, durable when this returns, or nothing.
    pub(super) fn write<T, E: From<StoreFault>>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        // Until it is done: what fails in between may be the disk, or a refusal, after which
        // beginning again works.
        let begun = self.database.begin_write();
        self.failed.set(begun.is_err());
        let mut transaction = begun.map_err(StoreFault::from)?;
        transaction.set_durability(Durability::Immediate).map_err(StoreFault::from)?;
        // Opening after a crash takes milliseconds, whatever the size.
        transaction.set_quick_repair(true);
        let done = change(&mut Tables::open(&transaction)?)?;
        let committed = transaction.commit();
        self.failed.set(committed.is_err());
        committed.map_err(StoreFault::from)?;
        Ok(done)
    }

    /// A view of the last commit.
    pub(super) fn read(&self) -> Result<ReadTransaction, StoreFault> {
        Ok(self.database.begin_read()?)
    }
}
