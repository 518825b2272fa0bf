//! `crash` simulates a disk that records every operation, and shows the content after a crash at
//! any of them.
//!
//! Used by the crash tests of the chain and of the friends' store, and by the simulation. The disk
//! has a write cache and sectors of 512 bytes. Everything written before the last completed sync
//! survives. Of later writes, any subset of sectors survives, in any order. The file has one of the
//! lengths that it had since then.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use redb::StorageBackend;

/// The unit that a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// One operation on the disk.
#[derive(Debug, Clone)]
enum Operation {
    Write(usize, Vec<u8>),
    SetLength(usize),
    Sync,
}

#[derive(Debug, Default)]
struct Content {
    /// The bytes before the first operation.
    start: Vec<u8>,
    /// The bytes as the program sees them.
    now: Vec<u8>,
    operations: Vec<Operation>,
    /// True if operations are carried out without being recorded.
    quiet: bool,
    /// The numbers of the operations that fail.
    failing: Option<std::ops::Range<usize>>,
    /// Number of operations so far, failed ones included.
    tried: usize,
    /// Duration of a sync.
    sync_takes: Duration,
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CrashDisk(Arc<Mutex<Content>>);

/// The effect of a crash on writes after the last sync.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unsynced {
    /// All of them survive: the process was killed, but the machine runs on.
    All,
    /// None of them survives.
    None,
    /// Some of their sectors survive a power cut. The seed decides which.
    Some(u64),
}

impl CrashDisk {
    fn of(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Content {
            start: content.clone(),
            now: content,
            ..Content::default()
        })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a disk with this content that records no operation before [`Self::watch`].
    pub(crate) fn quiet(content: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Content { now: content, quiet: true, ..Content::default() })))
    }

    /// Records the operations from now on.
    pub(crate) fn watch(&self) {
        let mut content = self.content();
        let Content { start, now, .. } = &mut *content;
        start.clone_from(now);
        content.quiet = false;
    }

    /// Returns a copy of all bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.content().now.clone()
    }

    /// Returns a disk with the same content and no operations yet.
    #[cfg(test)]
    pub(crate) fn restarted(&self) -> Self {
        Self::of(self.content().now.clone())
    }

    /// Returns the number of operations.
    pub(crate) fn operations(&self) -> usize {
        self.content().operations.len()
    }

    /// Makes the operations of these numbers fail, as on a full disk. Failed ones count too.
    #[cfg(test)]
    pub(crate) fn fail(&self, operations: std::ops::Range<usize>) {
        self.content().failing = Some(operations);
    }

    /// Makes each sync take this long, so that a test notices a reply before its end.
    #[cfg(test)]
    pub(crate) fn slow(&self, sync_takes: Duration) {
        self.content().sync_takes = sync_takes;
    }

    /// Lets a test damage the bytes.
    #[cfg(test)]
    pub(crate) fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.content().now);
    }

    /// Returns the disk after a crash that follows this many operations.
    pub(crate) fn after_crash(&self, operations: usize, unsynced: Unsynced) -> Self {
        let content = self.content();
        let done = &content.operations[..operations];
        let synced = done
            .iter()
            .rposition(|operation| matches!(operation, Operation::Sync))
            .map_or(0, |at| at + 1);
        let mut bytes = content.start.clone();
        done[..synced].iter().for_each(|operation| apply(&mut bytes, operation));
        match unsynced {
            Unsynced::All => {
                done[synced..].iter().for_each(|operation| apply(&mut bytes, operation));
            }
            Unsynced::None => {}
            Unsynced::Some(seed) => {
                tear(&mut bytes, &done[synced..], &mut StdRng::seed_from_u64(seed));
            }
        }
        Self::of(bytes)
    }

    fn apply(&self, operation: Operation) -> io::Result<()> {
        let mut content = self.content();
        let number = content.tried;
        content.tried += 1;
        if content.failing.as_ref().is_some_and(|failing| failing.contains(&number)) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on device"));
        }
        apply(&mut content.now, &operation);
        if !content.quiet {
            content.operations.push(operation);
        }
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write(offset, data) => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
        Operation::SetLength(length) => bytes.resize(*length, 0),
        Operation::Sync => {}
    }
}

/// Applies some sectors of some writes, in any order, and one of the lengths.
fn tear(bytes: &mut Vec<u8>, operations: &[Operation], random: &mut StdRng) {
    let mut lengths = vec![bytes.len()];
    let mut sectors = Vec::new();
    for operation in operations {
        match operation {
            Operation::Write(offset, data) => {
                let mut at = 0;
                while at < data.len() {
                    let end = data.len().min(at + SECTOR - (offset + at) % SECTOR);
                    sectors.push((offset + at, &data[at..end]));
                    at = end;
                }
            }
            Operation::SetLength(length) => lengths.push(*length),
            Operation::Sync => {}
        }
    }
    let length = lengths[random.random_range(0..lengths.len())];
    // Nearly all, nearly none, or half of them.
    let kept = [0.03, 0.5, 0.97][random.random_range(0..3)];
    sectors.retain(|_| random.random_bool(kept));
    sectors.shuffle(random);
    bytes.resize(length, 0);
    for (offset, data) in sectors {
        let end = (offset + data.len()).min(length);
        if offset < end {
            bytes[offset..end].copy_from_slice(&data[..end - offset]);
        }
    }
}

impl StorageBackend for CrashDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(out.len()).and_then(|end| content.now.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.apply(Operation::SetLength(usize::try_from(length).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync_takes = self.content().sync_takes;
        thread::sleep(sync_takes);
        self.apply(Operation::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.apply(Operation::Write(
            usize::try_from(offset).map_err(io::Error::other)?,
            data.to_vec(),
        ))
    }
}
