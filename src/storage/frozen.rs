//! A redb backend over a file that stays unchanged: writes go to memory and are lost at the end.
//!
//! redb writes while it opens a file, to mark it as open or to repair it after a crash. With this
//! backend, the same code reads a file on a read-only disk, or a damaged file that must not change.

use std::{
    collections::HashMap,
    fs::File,
    io,
    ops::Bound,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{BackendError, StorageBackend};

/// Unit of the changes in memory, in bytes: redb's page size.
const PAGE: usize = 4_096;

/// Length of the parsed start of a redb file, in bytes. It has 9 bytes of magic, 1 of flags and 2
/// unused, then little-endian numbers of 32 bits. These are the page size and, in pages, a region's
/// header, a region's data, the number of full regions, and the last region's data.
const HEADER: usize = 32;

/// Position of the flags in the header.
const FLAGS: usize = 9;
/// Flag: the newest commit is in slot 1 of the header, and not in slot 0.
const PRIMARY: u8 = 1;
/// Flags of a file that was not closed: it needs a repair, or its newest commit is not flushed.
const UNCLEAN: u8 = 2 | 8;

/// Maximum ratio of the length in a header to the file's own length; a damaged header may contain
/// any number.
const MAX_PADDING: u64 = 64;

/// Computes a file's length from its header.
fn length_in_header(header: &[u8; HEADER]) -> Option<u64> {
    let mut numbers = header
        .get(12..)?
        .chunks_exact(4)
        .filter_map(|bytes| Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?))));
    let mut next = || numbers.next();
    let (page, region_header, region_data, regions, rest) =
        (next()?, next()?, next()?, next()?, next()?);
    let whole = region_header.checked_add(region_data)?.checked_mul(regions)?;
    let last = if rest > 0 { region_header.checked_add(rest)? } else { 0 };
    whole.checked_add(last)?.checked_add(1)?.checked_mul(page)
}

/// One of the two commits that a redb file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Last,
    /// The commit before the last one. Damage to pages of the last commit does not affect it.
    Previous,
}

/// A read-only file with private changes in memory.
#[derive(Debug)]
pub(crate) struct FrozenFile {
    file: File,
    /// Length of the file itself, in bytes.
    file_length: u64,
    /// True for a damaged file: unreadable parts are read as zeros.
    lenient: bool,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// Changed pages by number, from 0. Other pages are as in the file, or zero beyond its end.
    pages: HashMap<u64, Box<[u8; PAGE]>>,
    /// The shortest length so far; the file's contents beyond it are gone.
    shortest: u64,
}

impl FrozenFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let changes = Mutex::new(Changes { length, pages: HashMap::new(), shortest: length });
        Ok(Self { file, file_length: length, lenient: false, changes })
    }

    /// Opens a damaged file at the length that its own header gives. Missing and unreadable parts
    /// are zeros, so that redb opens the rest and does not fail at the first missing page. The file
    /// reads as if it had been closed properly, so that redb does not try to repair it.
    pub(crate) fn open_damaged(path: &Path, commit: Commit) -> io::Result<Self> {
        let frozen = Self { lenient: true, ..Self::open(path)? };
        let there = frozen.file_length;
        let mut header = [0; HEADER];
        if there >= HEADER as u64 {
            read_at(&frozen.file, 0, &mut header)?;
        }
        let said =
            length_in_header(&header).filter(|said| *said <= there.saturating_mul(MAX_PADDING));
        let whole_pages = there.saturating_sub(there % PAGE as u64);
        let length =
            said.map_or_else(|| there.next_multiple_of(PAGE as u64), |said| said.max(whole_pages));
        frozen.set_len(length.max(PAGE as u64))?;
        let flags = header.get(FLAGS).copied().unwrap_or_default() & !UNCLEAN;
        let flags = if commit == Commit::Last { flags } else { flags ^ PRIMARY };
        frozen.write(FLAGS as u64, &[flags])?;
        Ok(frozen)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one page from the file, without changes.
    fn page_of_file(&self, changes: &Changes, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        let mut page = Box::new([0; PAGE]);
        let start = number.saturating_mul(PAGE as u64);
        let length = changes.shortest.min(self.file_length).saturating_sub(start).min(PAGE as u64);
        if let Some(part) = usize::try_from(length).ok().and_then(|length| page.get_mut(..length)) {
            let read = read_at(&self.file, start, part);
            if !self.lenient {
                read?;
            }
        }
        Ok(page)
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, out, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset = offset.saturating_add(read as u64);
        out = out.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

/// Splits a byte range into parts of pages: page number, first byte in the page, number of bytes.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = offset;
    let mut left = length;
    std::iter::from_fn(move || {
        let start = usize::try_from(at % PAGE as u64).unwrap_or(0);
        let count = left.min(PAGE.saturating_sub(start));
        let part = (at / PAGE as u64, start, count);
        at = at.saturating_add(count as u64);
        left = left.saturating_sub(count);
        (count > 0).then_some(part)
    })
}

impl StorageBackend for FrozenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset.saturating_add(out.len() as u64) > changes.length {
            if !self.lenient {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.fill(0);
            return Ok(());
        }
        if !self.lenient && changes.pages.is_empty() && changes.shortest == self.file_length {
            return read_at(&self.file, offset, out);
        }
        let mut rest = out;
        for (number, start, count) in parts(offset, rest.len()) {
            let (part, after) =
                rest.split_at_mut_checked(count).ok_or(io::ErrorKind::InvalidInput)?;
            let of_file;
            let page = if let Some(page) = changes.pages.get(&number) {
                page
            } else {
                of_file = self.page_of_file(&changes, number)?;
                &of_file
            };
            let found =
                page.get(start..start.saturating_add(count)).ok_or(io::ErrorKind::InvalidInput)?;
            part.copy_from_slice(found);
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        if length < changes.length {
            // Bytes after the new end are cleared: a file that grows again reads as zeros there.
            let (last, kept) =
                (length / PAGE as u64, usize::try_from(length % PAGE as u64).unwrap_or(0));
            changes.pages.retain(|number, _| *number <= last);
            if let Some(gone) = changes.pages.get_mut(&last).and_then(|page| page.get_mut(kept..)) {
                gone.fill(0);
            }
            changes.shortest = changes.shortest.min(length);
        }
        changes.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        changes.length = changes.length.max(offset.saturating_add(data.len() as u64));
        let mut rest = data;
        for (number, start, count) in parts(offset, data.len()) {
            let (part, after) = rest.split_at_checked(count).ok_or(io::ErrorKind::InvalidInput)?;
            let mut page = match changes.pages.remove(&number) {
                Some(page) => page,
                None => self.page_of_file(&changes, number)?,
            };
            let place = page
                .get_mut(start..start.saturating_add(count))
                .ok_or(io::ErrorKind::InvalidInput)?;
            place.copy_from_slice(part);
            changes.pages.insert(number, page);
            rest = after;
        }
        Ok(())
    }

    // No other process sees the changes, so each lock is free.

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn it_reads_and_writes_as_a_file_would_and_the_file_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut random = StdRng::seed_from_u64(1);
        let original: Vec<u8> = (0..20_000).map(|_| random.random()).collect();
        std::fs::write(&path, &original).expect("written");
        let frozen = FrozenFile::open(&path).expect("open");
        let mut expected = original.clone();
        for _ in 0..2_000 {
            let offset = random.random_range(0..30_000);
            match random.random_range(0..8) {
                0 => {
                    expected.resize(offset, 0);
                    frozen.set_len(offset as u64).expect("a length");
                }
                1..4 => {
                    let data = vec![random.random::<u8>(); random.random_range(0..9_000)];
                    let end = offset + data.len();
                    if expected.len() < end && !data.is_empty() {
                        expected.resize(end, 0);
                    }
                    if !data.is_empty() {
                        expected[offset..end].copy_from_slice(&data);
                        frozen.write(offset as u64, &data).expect("written");
                    }
                }
                _ => {
                    let mut out = vec![0; random.random_range(0..9_000)];
                    let found = frozen.read(offset as u64, &mut out);
                    match expected.get(offset..offset + out.len()) {
                        Some(there) => assert_eq!(out, there),
                        None => assert!(found.is_err()),
                    }
                }
            }
            assert_eq!(frozen.len().expect("a length"), expected.len() as u64);
        }
        assert_eq!(std::fs::read(&path).expect("the file"), original);
    }
}
