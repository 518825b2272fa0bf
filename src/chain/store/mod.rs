//! The store creates, opens and checks `chain.redb`, and gives access to it through [`Store`].
//!
//! One process opens the file, and one thread writes it. Every commit is durable, and a file
//! repairs quickly after a crash. `tables.rs` describes the tables. Calls into redb are contained:
//! a panic on a damaged page becomes an error about a damaged file.

pub(super) mod header_changes;
pub(super) mod layer;
pub(super) mod overlay;
mod prefixes;
pub(super) mod reader;
pub(crate) mod tables;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use redb::{
    ConcurrencyMode, Database, DatabaseError, Durability, ReadOnlyDatabase, ReadableDatabase as _,
    ReadableTable as _, StorageBackend, StorageError, TableError, backends::FileBackend,
};

pub use self::tables::Status;
use self::tables::{
    HeaderRecord, META_BEST_HEADER, META_CHECKPOINT, META_GENESIS, META_MIN_WORK, META_NETWORK,
    META_SCHEMA, META_TIP, ReadTables, SCHEMA, TxLocation, Undo, WriteTables, block_key,
    coin_to_bytes, stored, tx_key,
};
use super::errors::{ChainFault, OpenError};
use crate::{
    consensus::{Checkpoint, Network, created_coins},
    primitives::{Block, Encode},
    storage::{
        contain, create_folder,
        frozen::{Commit, FrozenFile},
        take_place, unfinished_private,
    },
    telemetry::metrics::StoreMetrics,
};

/// Default memory of an open chain, in MiB.
pub const DEFAULT_CACHE_MIB: usize = 128;

/// The open file, or another redb backend, with its network. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Arc<Database>,
    network: Arc<Network>,
    /// True once writes are refused, because they would be lost.
    sealed: bool,
    metrics: StoreMetrics,
}

/// Returns true if a file exists at the chain's path; opens nothing.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Creates a chain that contains only the genesis of `network`, completely or not at all.
/// `checkpoint` is the invite's block that the chain must contain.
///
/// # Errors
/// The file already exists, or the disk fails.
pub fn create(
    path: &Path,
    network: &Network,
    checkpoint: Option<&Checkpoint>,
    cache_mib: usize,
) -> Result<Store, OpenError> {
    if exists(path) {
        return Err(OpenError::Exists { path: path.to_owned() });
    }
    let failed =
        |error: io::Error| OpenError::Disk { path: path.to_owned(), reason: error.to_string() };
    if let Some(folder) = path.parent() {
        create_folder(folder).map_err(failed)?;
    }
    // Created under another name, so that a crash leaves no partial chain under this one.
    let unfinished = path.with_extension("redb-unfinished");
    let file = unfinished_private(&unfinished).map_err(failed)?;
    let database = FileBackend::new(file)
        .and_then(|file| builder(cache_mib).create_with_backend(file))
        .map_err(|error| OpenError::from_database(&unfinished, error))?;
    initialise(&database, network, checkpoint)
        .map_err(|fault| OpenError::from_fault(path, fault))?;
    database.close().map_err(|error| OpenError::from_database(&unfinished, error))?;
    take_place(&unfinished, path).map_err(failed)?;
    open(path, cache_mib)
}

/// Opens the chain in a file.
///
/// # Errors
/// See [`OpenError`]; the file is then unchanged.
pub fn open(path: &Path, cache_mib: usize) -> Result<Store, OpenError> {
    contained(path, || {
        // Checked on a frozen copy first, because redb writes to every file that it opens, even a
        // foreign one.
        read_network(&frozen_database(path, cache_mib)?, path)?;
        let database =
            builder(cache_mib).open(path).map_err(|error| OpenError::from_database(path, error))?;
        let network = read_network(&database, path)?;
        Ok(Store::of(database, network))
    })
}

/// Opens the chain in a file that stays unchanged: writes stay in memory and are lost at the end.
///
/// # Errors
/// See [`OpenError`].
pub fn open_frozen(path: &Path, cache_mib: usize) -> Result<Store, OpenError> {
    contained(path, || {
        let database = frozen_database(path, cache_mib)?;
        let network = read_network(&database, path)?;
        Ok(Store::of(database, network))
    })
}

/// Opens the database for [`open_frozen`] without a check of its contents. May panic on a damaged
/// file.
pub(super) fn frozen_database(path: &Path, cache_mib: usize) -> Result<Database, OpenError> {
    builder(cache_mib)
        .create_with_backend(frozen_file(FrozenFile::open, path)?)
        .map_err(|error| OpenError::from_database(path, error))
}

/// Opens a commit of a file with unreadable parts, read-only and without a repair. May panic.
pub(super) fn damaged_database(
    path: &Path,
    commit: Commit,
    cache_mib: usize,
) -> Result<ReadOnlyDatabase, OpenError> {
    let file = frozen_file(|path| FrozenFile::open_damaged(path, commit), path)?;
    // In this mode a reader needs no record of the free pages, which may be damaged.
    builder(cache_mib)
        .set_concurrency_mode(ConcurrencyMode::MultiWriter)
        .open_read_only_with_backend(file)
        .map_err(|error| OpenError::from_database(path, error))
}

fn frozen_file(
    open: impl FnOnce(&Path) -> io::Result<FrozenFile>,
    path: &Path,
) -> Result<FrozenFile, OpenError> {
    let length = check_is_file(path)?;
    if length == 0 {
        // redb would initialise an empty file as a new database.
        return Err(OpenError::NotAChain { path: path.to_owned() });
    }
    let failed =
        |error: io::Error| OpenError::Disk { path: path.to_owned(), reason: error.to_string() };
    open(path).map_err(failed)
}

/// Returns the length of a regular file in bytes; anything else is an error.
fn check_is_file(path: &Path) -> Result<u64, OpenError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
        Ok(_) => Err(OpenError::NotAChain { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::NoChain { path: path.to_owned() })
        }
        Err(error) => Err(OpenError::Disk { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Runs a function that reads a possibly damaged file, and turns its panic into an error.
pub(super) fn contained<T>(
    path: &Path,
    open: impl FnOnce() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    contain(open).unwrap_or_else(|reason| Err(OpenError::Corrupt { path: path.to_owned(), reason }))
}

fn builder(cache_mib: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_mib.clamp(1, 1 << 20).saturating_mul(1 << 20));
    builder.set_repair_callback(|session| {
        tracing::debug!(
            progress = session.progress(),
            "the chain's file was not closed cleanly and is being checked"
        );
    });
    builder
}

/// Writes the genesis block and the network's metadata in one commit.
fn initialise(
    database: &Database,
    network: &Network,
    checkpoint: Option<&Checkpoint>,
) -> Result<(), ChainFault> {
    let genesis = &network.genesis;
    let (hash, header) = (network.id, genesis.header);
    let key = block_key(0, &hash);
    let work = network.genesis_work();
    let record = HeaderRecord {
        header,
        work,
        status: Status::Connected,
        on_best_headers: true,
        connected_at: header.time,
    };
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    {
        let mut tables = WriteTables::open(&transaction)?;
        tables.headers.insert(&key, &record.to_bytes())?;
        tables.blocks.insert(&key, genesis.to_bytes().as_slice())?;
        tables.meta.insert(META_SCHEMA, SCHEMA.to_le_bytes().as_slice())?;
        tables.meta.insert(META_GENESIS, genesis.to_bytes().as_slice())?;
        tables.meta.insert(META_NETWORK, hash.as_bytes().as_slice())?;
        tables.meta.insert(META_BEST_HEADER, key.as_slice())?;
        if let Some(Checkpoint { height, hash, work }) = checkpoint {
            tables.meta.insert(META_MIN_WORK, work.to_be_bytes().as_slice())?;
            tables.meta.insert(META_CHECKPOINT, block_key(*height, hash).as_slice())?;
        }
        connect_genesis(&mut tables, network)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Writes the changes of connecting the genesis.
fn connect_genesis(tables: &mut WriteTables<'_>, network: &Network) -> Result<(), ChainFault> {
    let key = block_key(0, &network.id);
    let genesis = &network.genesis;
    let undo = Undo { spent: genesis.transactions.iter().map(|_| Vec::new()).collect() };
    tables.undo.insert(&key, undo.to_bytes().as_slice())?;
    for (position, transaction) in (0u32..).zip(&genesis.transactions) {
        let txid = transaction.txid();
        let location = TxLocation { height: 0, position };
        tables.tx_index.insert(tx_key(&txid), &location.to_bytes())?;
        for (key, coin) in created_coins(transaction, txid, 0) {
            tables.coins.insert(&key.to_bytes(), &coin_to_bytes(&coin))?;
        }
    }
    tables.meta.insert(META_TIP, key.as_slice())?;
    Ok(())
}

/// Checks the schema version, then reads the network of a database.
fn read_network(database: &Database, path: &Path) -> Result<Network, OpenError> {
    let corrupt =
        |what: &str| OpenError::Corrupt { path: path.to_owned(), reason: what.to_owned() };
    let fault = |error: StorageError| OpenError::from_fault(path, error.into());
    let transaction =
        database.begin_read().map_err(|error| OpenError::from_fault(path, error.into()))?;
    let meta = match tables::open_meta(&transaction) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            return Err(OpenError::NotAChain { path: path.to_owned() });
        }
        Err(error) => return Err(OpenError::from_fault(path, error.into())),
    };
    let schema =
        meta.get(META_SCHEMA).map_err(fault)?.ok_or_else(|| corrupt("it has no schema version"))?;
    let schema = schema
        .value()
        .try_into()
        .map(u32::from_le_bytes)
        .map_err(|_| corrupt("its schema version"))?;
    if schema > SCHEMA {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found: schema, known: SCHEMA });
    }
    let genesis =
        meta.get(META_GENESIS).map_err(fault)?.ok_or_else(|| corrupt("it has no genesis"))?;
    let genesis: Block = stored("the genesis", genesis.value()).map_err(fault)?;
    let network = Network::from_genesis(genesis)
        .map_err(|error| corrupt(&format!("its genesis: {error}")))?;
    // Opens all tables, so that a missing one is detected now.
    ReadTables::open(&transaction).map_err(|error| OpenError::from_fault(path, error.into()))?;
    Ok(network)
}

impl Store {
    fn of(database: Database, network: Network) -> Self {
        let (database, network) = (Arc::new(database), Arc::new(network));
        Self { database, network, sealed: false, metrics: StoreMetrics::default() }
    }

    /// Opens a chain on any redb backend; an empty backend is initialised with the genesis of
    /// `network`.
    ///
    /// # Errors
    /// As [`open`].
    pub fn on_backend(
        backend: impl StorageBackend,
        network: &Network,
        cache_mib: usize,
    ) -> Result<Self, OpenError> {
        let path = PathBuf::from("(backend)");
        contained(&path, || {
            let database = builder(cache_mib)
                .create_with_backend(backend)
                .map_err(|error| OpenError::from_database(&path, error))?;
            let found = match read_network(&database, &path) {
                Err(OpenError::NotAChain { .. }) => {
                    initialise(&database, network, None)
                        .map_err(|fault| OpenError::from_fault(&path, fault))?;
                    read_network(&database, &path)?
                }
                other => other?,
            };
            if found.id != network.id {
                return Err(OpenError::OtherNetwork {
                    path: path.clone(),
                    found: found.id,
                    wanted: network.id,
                });
            }
            Ok(Self::of(database, found))
        })
    }

    /// Makes every later write fail.
    pub(crate) const fn seal(&mut self) {
        self.sealed = true;
    }

    /// True if writes are refused.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.sealed
    }

    fn check_not_sealed(&self) -> Result<(), ChainFault> {
        if self.sealed { Err(ChainFault::ReadOnly) } else { Ok(()) }
    }

    /// The network of this chain.
    #[must_use]
    pub const fn network(&self) -> &Arc<Network> {
        &self.network
    }

    pub(crate) const fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    pub(crate) const fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Closes the file. A reader that is still at work closes it at its end.
    ///
    /// # Errors
    /// Fails if the last writes could not be flushed.
    pub(crate) fn close(self) -> Result<(), ChainFault> {
        let closed = Arc::into_inner(self.database).map_or(Ok(()), Database::close);
        closed.map_err(|error| ChainFault::Disk(error.to_string()))
    }

    /// Returns a snapshot of all tables. Keep it only briefly, since it pins pages.
    pub(crate) fn read(&self) -> Result<ReadTables, ChainFault> {
        read_tables(&self.database)
    }

    /// Resets coins, undo records and index to the genesis, and marks every other connected block
    /// as stored.
    pub(crate) fn reset(&self) -> Result<(), ChainFault> {
        self.check_not_sealed()?;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.set_quick_repair(true);
        tables::delete_ledger(&transaction)?;
        {
            let mut tables = WriteTables::open(&transaction)?;
            let mut connected = Vec::new();
            for entry in tables.headers.iter()? {
                let (key, value) = entry?;
                let record = HeaderRecord::from_bytes(value.value())?;
                if record.status == Status::Connected && record.header.height > 0 {
                    connected.push((*key.value(), record));
                }
            }
            for (key, record) in connected {
                // The connection time stays: the rebuild reuses it for the block.
                let record = HeaderRecord { status: Status::Stored, ..record };
                tables.headers.insert(&key, &record.to_bytes())?;
            }
            connect_genesis(&mut tables, &self.network)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Runs `write` in one transaction and commits it durably; an error writes nothing.
    pub(crate) fn write(
        &self,
        write: impl FnOnce(&mut WriteTables<'_>) -> Result<(), ChainFault>,
    ) -> Result<(), ChainFault> {
        self.check_not_sealed()?;
        let begun = Instant::now();
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Opening after a crash then takes milliseconds, at no measurable cost.
        transaction.set_quick_repair(true);
        {
            let mut tables = WriteTables::open(&transaction)?;
            write(&mut tables)?;
        }
        transaction.commit()?;
        self.metrics.commit_duration.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Returns a snapshot of all tables.
pub(crate) fn read_tables(database: &Database) -> Result<ReadTables, ChainFault> {
    let transaction = database.begin_read()?;
    Ok(ReadTables::open(&transaction)?)
}

impl OpenError {
    fn from_database(path: &Path, error: DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked { path },
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                Self::NotAChain { path }
            }
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                Self::Corrupt { path, reason: "it ends too early".to_owned() }
            }
            DatabaseError::Storage(StorageError::Io(error)) => {
                Self::Disk { path, reason: error.to_string() }
            }
            other => Self::Corrupt { path, reason: other.to_string() },
        }
    }

    pub(crate) fn from_fault(path: &Path, fault: ChainFault) -> Self {
        let path = path.to_owned();
        match fault {
            ChainFault::Corrupt(reason) => Self::Corrupt { path, reason },
            other => Self::Disk { path, reason: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_once_opened_again_and_locked_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data").join("chain.redb");
        let network = crate::chain::testing::network();
        assert!(matches!(open(&path, 1), Err(OpenError::NoChain { .. })));
        let store = create(&path, &network, None, 1).expect("made");
        assert_eq!(store.network().id, network.id);
        assert!(matches!(open(&path, 1), Err(OpenError::Locked { .. })));
        drop(store);
        assert!(matches!(create(&path, &network, None, 1), Err(OpenError::Exists { .. })));
        assert_eq!(open(&path, 1).expect("opens").network().id, network.id);
    }

    #[test]
    fn other_files_newer_schemas_and_other_networks_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("notes.txt");
        fs::write(&text, "not a database at all, but long enough to look at".repeat(100))
            .expect("written");
        assert!(matches!(
            open(&text, 1),
            Err(OpenError::NotAChain { .. } | OpenError::Corrupt { .. })
        ));

        let path = folder.path().join("chain.redb");
        let network = crate::chain::testing::network();
        let store = create(&path, &network, None, 1).expect("made");
        store
            .write(|tables| {
                tables.meta.insert(META_SCHEMA, 2u32.to_le_bytes().as_slice())?;
                Ok(())
            })
            .expect("written");
        drop(store);
        assert!(matches!(open(&path, 1), Err(OpenError::NewerSchema { found: 2, known: 1, .. })));
    }
}
