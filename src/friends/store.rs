//! The tables of `friends.redb`: definitions, opening the file, commits and reads.
//!
//! Every commit is durable when it returns. Writes between [`Store::begin_batch`] and
//! [`Store::commit_batch`] share one commit, and later reads of the batch see them. This module
//! does not interpret profiles and lines.

use std::{
    cell::{Cell, RefCell},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition,
    TableError, WriteTransaction, backends::FileBackend,
};

use crate::{
    storage::{contain, frozen::FrozenFile, real_place, take_place, unfinished_private},
    wire::CodecError,
};

/// Size of redb's page cache. Chat is small and rarely read, so 4 MiB are enough.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// The version of all tables together.
const SCHEMA: u64 = 1;

/// A peer's public key, or a network id: 32 bytes.
pub(super) type Key32 = [u8; 32];

/// (Network that the profile is signed for, last seen (0: never), friend that vouched for the peer
/// (zeros: none), canonical profile).
type ProfileRow = (&'static Key32, u64, &'static Key32, &'static [u8]);
/// (Time of the first of the three, true if met nearby, true if we wrote to it, true if accepted).
type PersonRow = (u64, bool, bool, bool);
/// (Id of the line, time of arrival, state, canonical line).
type ChatRow = (&'static [u8; 16], u64, u8, &'static [u8]);
/// (Id of the line, time of arrival, canonical line).
type RequestRow = (&'static [u8; 16], u64, &'static [u8]);
/// (Id of the line, its time, its author, the network that it is signed for).
type LineToAllRow = (&'static [u8; 16], u64, &'static Key32, &'static Key32);
/// (Network that the line is signed for, canonical line).
type OutboxRow = (&'static Key32, &'static [u8]);
/// (Friend that left the line, time of its arrival, box).
type KeptRow = (&'static Key32, u64, &'static [u8]);
/// (Time added, time of the last connection (0: never), source).
type AddressRow = (u64, u64, u8);
/// (Time of the row's writing, name).
type NamedRow = (u64, &'static str);

/// Peer → its profile.
pub(super) const PROFILES: TableDefinition<'_, &Key32, ProfileRow> =
    TableDefinition::new("profiles_2");
/// Peer → its standing.
pub(super) const PEOPLE: TableDefinition<'_, &Key32, PersonRow> = TableDefinition::new("people_1");
/// (Peer, name that it has or had) → time when the peer last took the name.
pub(super) const NAMES: TableDefinition<'_, (&Key32, &str), u64> = TableDefinition::new("names_1");
/// Order of arrival → line.
pub(super) const CHAT: TableDefinition<'_, u64, ChatRow> = TableDefinition::new("chat_1");
/// Id of a line → order of arrival.
pub(super) const CHAT_IDS: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("chat_ids_1");
/// (Peer, true for direct lines, order of arrival): an index of the lines by conversation.
pub(super) const CHAT_FRIENDS: TableDefinition<'_, (&Key32, bool, u64), ()> =
    TableDefinition::new("chat_friends_2");
/// Order of arrival → line to all of the last 30 days, for peers that missed it.
pub(super) const CHAT_TO_ALL: TableDefinition<'_, u64, LineToAllRow> =
    TableDefinition::new("chat_to_all_1");
/// Order of arrival → line of an author whom the user neither accepted nor wrote to.
pub(super) const REQUESTS: TableDefinition<'_, u64, RequestRow> =
    TableDefinition::new("requests_1");
/// (Friend, order of arrival) → direct line that the friend has not received yet.
pub(super) const OUTBOX: TableDefinition<'_, (&Key32, u64), OutboxRow> =
    TableDefinition::new("outbox_1");
/// (Friend, order of arrival of a line in its outbox, friend that keeps the line too) → time.
pub(super) const LEFT: TableDefinition<'_, (&Key32, u64, &Key32), u64> =
    TableDefinition::new("left_1");
/// (Receiver, order of arrival) → sealed line that a friend has left for it.
pub(super) const KEPT: TableDefinition<'_, (&Key32, u64), KeptRow> = TableDefinition::new("kept_1");
/// Friend → (time, counter) of its last goodbye.
pub(super) const QUITS: TableDefinition<'_, &Key32, (u64, u64)> = TableDefinition::new("quits_1");
/// (Peer, address to dial) → origin and times of the address.
pub(super) const ADDRESSES: TableDefinition<'_, (&Key32, &str), AddressRow> =
    TableDefinition::new("peers_1");
/// Peer → end of its ban; `u64::MAX`: never.
pub(super) const BANS: TableDefinition<'_, &Key32, u64> = TableDefinition::new("bans_1");
/// Peer that the user blocked → time of the block, and the name that it had.
pub(super) const BLOCKED: TableDefinition<'_, &Key32, NamedRow> = TableDefinition::new("blocked_1");
/// Peer without a profile that has lines in the history → the name that it had.
pub(super) const FORMER: TableDefinition<'_, &Key32, NamedRow> = TableDefinition::new("former_1");
/// Peer → the name by which the user confirmed to pay it.
pub(super) const PAYEES: TableDefinition<'_, &Key32, &str> = TableDefinition::new("payees_1");
/// Texts of this node's own, by [`OWN_NAME`].
pub(super) const OWN: TableDefinition<'_, &str, &str> = TableDefinition::new("own_1");
/// Numbers by name, see the constants below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta_1");

/// Key in [`OWN`] of this node's name.
pub(super) const OWN_NAME: &str = "name";
/// Key in [`OWN`] of the name that the node was last started with.
pub(super) const OWN_GIVEN_NAME: &str = "given_name";
/// Key in [`META`] of the file's [`SCHEMA`].
const META_SCHEMA: &str = "schema";
/// Key in [`META`] of the next line's order of arrival.
pub(super) const META_ORDER: &str = "next_order";
/// Key in [`META`] of the counter of our next line or goodbye.
pub(super) const META_COUNTER: &str = "next_counter";
/// Key in [`META`] of the order of arrival of the first line that may be unread.
pub(super) const META_UNREAD: &str = "next_unread";
/// Key in [`META`] of our last profile's sequence.
pub(super) const META_SEQUENCE: &str = "sequence";

/// A fault of `friends.redb`. The fault is ours, and the call has changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreFault {
    /// redb returned an error.
    #[error(
        "friends.redb in the data folder cannot be used: {0}; if it is damaged, keep a copy, move \
         it away, and start again: friends are found anew, and the chat that was kept is in the \
         copy"
    )]
    Database(Arc<redb::Error>),
    /// redb panicked on a damaged page.
    #[error(
        "friends.redb in the data folder is damaged: {0}; keep a copy, move it away, and start \
         again: friends are found anew, and the chat that was kept is in the copy"
    )]
    Broken(String),
    /// The path is a folder, an empty file, or a database of another program.
    #[error("{} is not friendchain's: move it away, and start again", .0.display())]
    NotOurs(PathBuf),
    /// Creating or opening the file failed.
    #[error("{}: {reason}; check the folder's rights and the disk's free space", path.display())]
    Io { path: PathBuf, reason: String },
    /// A newer version of the program wrote the file.
    #[error(
        "friends.redb has version {found}, this program knows {SCHEMA}: use a newer friendchain"
    )]
    Newer { found: u64 },
    /// A row does not decode as the message that was stored in it.
    #[error("friends.redb is damaged: {table} holds what is no message: {error}")]
    Damaged { table: &'static str, error: CodecError },
    /// The friends thread has ended, since the node is stopping or the file has failed.
    #[error("the node is stopping")]
    Stopped,
}

impl StoreFault {
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
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

/// All tables, open in one write transaction.
pub(super) struct Tables<'txn> {
    pub(super) profiles: Table<'txn, &'static Key32, ProfileRow>,
    pub(super) people: Table<'txn, &'static Key32, PersonRow>,
    pub(super) names: Table<'txn, (&'static Key32, &'static str), u64>,
    pub(super) chat: Table<'txn, u64, ChatRow>,
    pub(super) chat_ids: Table<'txn, &'static [u8; 16], u64>,
    pub(super) chat_friends: Table<'txn, (&'static Key32, bool, u64), ()>,
    pub(super) chat_to_all: Table<'txn, u64, LineToAllRow>,
    pub(super) requests: Table<'txn, u64, RequestRow>,
    pub(super) outbox: Table<'txn, (&'static Key32, u64), OutboxRow>,
    pub(super) left: Table<'txn, (&'static Key32, u64, &'static Key32), u64>,
    pub(super) kept: Table<'txn, (&'static Key32, u64), KeptRow>,
    pub(super) quits: Table<'txn, &'static Key32, (u64, u64)>,
    pub(super) addresses: Table<'txn, (&'static Key32, &'static str), AddressRow>,
    pub(super) bans: Table<'txn, &'static Key32, u64>,
    pub(super) blocked: Table<'txn, &'static Key32, NamedRow>,
    pub(super) former: Table<'txn, &'static Key32, NamedRow>,
    pub(super) payees: Table<'txn, &'static Key32, &'static str>,
    pub(super) own: Table<'txn, &'static str, &'static str>,
    pub(super) meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    fn open(transaction: &'txn WriteTransaction) -> Result<Self, StoreFault> {
        Ok(Self {
            profiles: transaction.open_table(PROFILES)?,
            people: transaction.open_table(PEOPLE)?,
            names: transaction.open_table(NAMES)?,
            chat: transaction.open_table(CHAT)?,
            chat_ids: transaction.open_table(CHAT_IDS)?,
            chat_friends: transaction.open_table(CHAT_FRIENDS)?,
            chat_to_all: transaction.open_table(CHAT_TO_ALL)?,
            requests: transaction.open_table(REQUESTS)?,
            outbox: transaction.open_table(OUTBOX)?,
            left: transaction.open_table(LEFT)?,
            kept: transaction.open_table(KEPT)?,
            quits: transaction.open_table(QUITS)?,
            addresses: transaction.open_table(ADDRESSES)?,
            bans: transaction.open_table(BANS)?,
            blocked: transaction.open_table(BLOCKED)?,
            former: transaction.open_table(FORMER)?,
            payees: transaction.open_table(PAYEES)?,
            own: transaction.open_table(OWN)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// Returns the number of that name in [`META`], which starts at 0, and increments it.
    pub(super) fn next(&mut self, name: &str) -> Result<u64, StoreFault> {
        self.next_from(name, 0)
    }

    /// Returns the number of that name in [`META`], but at least `least`, and stores one more.
    pub(super) fn next_from(&mut self, name: &str, least: u64) -> Result<u64, StoreFault> {
        let number = self.meta.get(name)?.map_or(0, |number| number.value()).max(least);
        self.meta.insert(name, number.saturating_add(1))?;
        Ok(number)
    }
}

/// The open `friends.redb`.
pub(super) struct Store {
    /// The open batch, if any. It stands before the database, because fields drop in order and a
    /// database with an open transaction cannot be closed.
    batch: RefCell<Option<Batch>>,
    database: Database,
    /// True if a write failed: redb then refuses further writes.
    failed: Cell<bool>,
}

/// Changes that share one commit.
#[derive(Default)]
struct Batch {
    /// Begun by the first read or write.
    transaction: Option<WriteTransaction>,
    changed: bool,
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Returns true if the file exists. Refuses an empty file, which redb would treat as a new one, and
/// anything that is not a regular file.
fn check_file(path: &Path) -> Result<bool, StoreFault> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Ok(true),
        Ok(_) => Err(StoreFault::NotOurs(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreFault::Io { path: path.to_owned(), reason: error.to_string() }),
    }
}

impl Store {
    /// Opens the file, or creates it. A crash leaves a whole file or none.
    pub(super) fn open(path: &Path) -> Result<Self, StoreFault> {
        if !check_file(path)? {
            let failed = |error: io::Error| StoreFault::Io {
                path: path.to_owned(),
                reason: error.to_string(),
            };
            // A missing target disk is no reason to create a new file.
            real_place(path).map_err(failed)?;
            let unfinished = path.with_extension("redb-unfinished");
            let file = FileBackend::new(unfinished_private(&unfinished).map_err(failed)?)?;
            Self::with(builder().create_with_backend(file)?)?.database.close()?;
            take_place(&unfinished, path).map_err(failed)?;
        }
        Self::existing(path, || Ok(builder().open(path)?))
    }

    /// Opens the file without changing it: writes stay in memory and are lost at the end.
    pub(super) fn open_frozen(path: &Path) -> Result<Self, StoreFault> {
        let failed =
            |error: io::Error| StoreFault::Io { path: path.to_owned(), reason: error.to_string() };
        check_file(path)?;
        Self::existing(path, || {
            Ok(builder().create_with_backend(FrozenFile::open(path).map_err(failed)?)?)
        })
    }

    /// Opens an existing file, and checks that it is ours before the first write.
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

    /// Opens a database on any redb backend.
    #[cfg(test)]
    pub(super) fn on_backend(backend: impl redb::StorageBackend) -> Result<Self, StoreFault> {
        Self::with(builder().create_with_backend(backend)?)
    }

    /// True if a write failed: the file must be opened again before the next one.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Opens an empty database in memory.
    #[cfg(test)]
    pub(super) fn in_memory() -> Result<Self, StoreFault> {
        let backend = redb::backends::InMemoryBackend::new();
        Self::with(builder().create_with_backend(backend)?)
    }

    fn with(database: Database) -> Result<Self, StoreFault> {
        let store = Self { database, failed: Cell::new(false), batch: RefCell::default() };
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

    /// Begins a batch. Its writes become durable when [`Self::commit_batch`] returns.
    pub(super) fn begin_batch(&self) {
        *self.batch.borrow_mut() = Some(Batch::default());
    }

    /// Commits the batch, if it changed anything.
    pub(super) fn commit_batch(&self) -> Result<(), StoreFault> {
        match self.batch.take() {
            Some(Batch { transaction: Some(transaction), changed: true }) => {
                self.commit(transaction)
            }
            _ => Ok(()),
        }
    }

    /// Runs `change` in one commit: all of it is durable when this returns, or none of it. In a
    /// batch, the batch's commit makes it durable.
    ///
    /// An error of `change` undoes nothing in a batch. A change must therefore make its checks and
    /// read its rows before its first write.
    pub(super) fn write<T, E: From<StoreFault>>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(batch) = &mut *self.batch.borrow_mut() {
            batch.changed = true;
            return change(&mut Tables::open(self.in_batch(batch)?)?);
        }
        let transaction = self.begin()?;
        let done = change(&mut Tables::open(&transaction)?)?;
        self.commit(transaction)?;
        Ok(done)
    }

    /// Runs `read` on the state after the last write, committed or not.
    pub(super) fn view<T, E: From<StoreFault>>(
        &self,
        read: impl FnOnce(&Tables<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(batch) = &mut *self.batch.borrow_mut() {
            return read(&Tables::open(self.in_batch(batch)?)?);
        }
        // Dropped without a commit, which writes nothing.
        let transaction = self.begin()?;
        read(&Tables::open(&transaction)?)
    }

    fn in_batch<'batch>(
        &self,
        batch: &'batch mut Batch,
    ) -> Result<&'batch WriteTransaction, StoreFault> {
        let transaction = match batch.transaction.take() {
            Some(transaction) => transaction,
            None => self.begin()?,
        };
        Ok(batch.transaction.insert(transaction))
    }

    fn begin(&self) -> Result<WriteTransaction, StoreFault> {
        // An error of a change leaves `failed` false, since it may be a mere refusal. After a disk
        // fault, the next `begin_write` or commit fails.
        let begun = self.database.begin_write();
        self.failed.set(begun.is_err());
        let mut transaction = begun?;
        transaction.set_durability(Durability::Immediate)?;
        // Without this, opening after a crash would read the whole file.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    fn commit(&self, transaction: WriteTransaction) -> Result<(), StoreFault> {
        let committed = transaction.commit();
        self.failed.set(committed.is_err());
        Ok(committed?)
    }
}
