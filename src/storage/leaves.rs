//! Finds the entries of a damaged redb file in its leaf pages, without its trees.
//!
//! The root of a tree may be lost while most leaves are whole. A leaf page begins at a multiple of
//! 4,096 bytes. With keys of a fixed length and values of any length it holds, in this order:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | 1, the kind of page |
//! | 1 | unused |
//! | 2 | number of entries, little-endian |
//! | 4 for each entry | end of its value, counted from the start of the page, little-endian |
//! | length of a key for each entry | keys |
//! | the rest | values |
//!
//! Free pages keep their old entries, and other pages may look like leaves by chance. The caller
//! has to verify each entry.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// Unit of the page's positions, in bytes.
const PAGE: u64 = 4_096;
/// The kind of a leaf page.
const LEAF: u8 = 1;
/// Length of the part before the ends of the values, in bytes.
const START: usize = 4;
/// Maximum length of a leaf page, in bytes: above that of a page with one full block.
const MAX_LEAF: usize = 8 * 1024 * 1024;

/// Calls `take` for each entry whose keys have `K` bytes, with the position of its value in the
/// file. Unreadable parts of the file are skipped.
pub(crate) fn scan<const K: usize>(
    path: &Path,
    mut take: impl FnMut(&[u8; K], u64, &[u8]),
) -> io::Result<()> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut at = 0;
    while at < length {
        let left = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
        if let Some(page) = leaf::<K>(&mut file, at, left) {
            for (key, start, value) in entries::<K>(&page) {
                take(key, at.saturating_add(start as u64), value);
            }
        }
        at = at.saturating_add(PAGE);
    }
    Ok(())
}

/// Reads a part of the file; none if it is unreadable.
pub(crate) fn read(path: &Path, at: u64, length: usize) -> Option<Vec<u8>> {
    read_at(&mut File::open(path).ok()?, at, length)
}

fn read_at(file: &mut File, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// Reads the leaf page at a position, up to the end of its last value within `left` bytes.
fn leaf<const K: usize>(file: &mut File, at: u64, left: usize) -> Option<Vec<u8>> {
    let first = read_at(file, at, left.min(usize::try_from(PAGE).ok()?))?;
    let count = count(&first)?;
    let ends = START.checked_add(count.checked_mul(4)?)?;
    let head = if ends > first.len() { read_at(file, at, ends.min(left))? } else { first };
    let end = usize::try_from(end_of(&head, count.checked_sub(1)?)?).ok()?;
    let least = ends.checked_add(count.checked_mul(K)?)?;
    if end < least || end > MAX_LEAF {
        return None;
    }
    // The last values of a page may be cut off.
    read_at(file, at, end.min(left))
}

/// Returns the number of entries of a leaf page; none for another kind of page.
fn count(page: &[u8]) -> Option<usize> {
    let (kind, count) = (page.first()?, page.get(2..START)?);
    let count = usize::from(u16::from_le_bytes(count.try_into().ok()?));
    (*kind == LEAF && count > 0).then_some(count)
}

/// Returns the end of a value.
fn end_of(page: &[u8], entry: usize) -> Option<u32> {
    let at = START.checked_add(entry.checked_mul(4)?)?;
    Some(u32::from_le_bytes(page.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Iterates over the entries of a leaf page up to the first that does not fit.
fn entries<const K: usize>(page: &[u8]) -> impl Iterator<Item = (&[u8; K], usize, &[u8])> {
    let count = count(page).unwrap_or(0);
    let keys = START.saturating_add(count.saturating_mul(4));
    let mut start = keys.saturating_add(count.saturating_mul(K));
    (0..count).map_while(move |entry| {
        let key = keys.checked_add(entry.checked_mul(K)?)?;
        let key = page.get(key..key.checked_add(K)?)?.try_into().ok()?;
        let end = usize::try_from(end_of(page, entry)?).ok()?;
        let value = page.get(start..end)?;
        let found = (key, start, value);
        start = end;
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use redb::{Database, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, &[u8; 4], &[u8]> = TableDefinition::new("table");

    #[test]
    fn entries_are_found_without_the_tree() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let value = |number: u32| vec![u8::try_from(number % 251).unwrap(); number as usize * 90];
        let database = Database::create(&path).expect("made");
        let write = database.begin_write().expect("begun");
        {
            let mut table = write.open_table(TABLE).expect("a table");
            for number in 0..200_u32 {
                table.insert(&number.to_be_bytes(), value(number).as_slice()).expect("put");
            }
        }
        write.commit().expect("committed");
        database.close().expect("closed");
        let mut found = BTreeMap::new();
        scan::<4>(&path, |key, at, bytes| {
            assert_eq!(read(&path, at, bytes.len()).expect("there"), bytes);
            found.insert(*key, bytes.to_vec());
        })
        .expect("read");
        for number in 0..200_u32 {
            assert_eq!(found.get(&number.to_be_bytes()), Some(&value(number)), "{number}");
        }
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut bytes = vec![0xff; 20_000];
        for (page, count) in [(0, 1_u16), (1, 900), (2, u16::MAX), (3, 0)] {
            let at = page * 4_096;
            bytes[at] = LEAF;
            bytes[at + 2..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        for length in [0, 1, 3, 4, 5, 4_095, 4_097, 9_000, 20_000] {
            std::fs::write(&path, &bytes[..length]).expect("written");
            scan::<36>(&path, |_, _, value| assert!(value.len() <= length)).expect("read");
        }
    }
}
