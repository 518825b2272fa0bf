//! A bundle: the files of a backup in one file, with a checksum.
//!
//! `proto/storage.md` has the layout. A bundle may come from anywhere. Before a byte of a part is
//! written, its name and length are checked against the reader's list. No part may be used before
//! the checksum of the whole bundle fits.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use sha2::{Digest, Sha256};

/// The first bytes of every bundle. The number is the version of the layout.
const MAGIC: &[u8] = b"friendchain backup 1\n";

/// The first bytes of a bundle of any version, up to its number.
const ANY_VERSION: usize = 19;

/// Length of the checksum, in bytes: that of a SHA-256.
const CHECKSUM_BYTES: usize = 32;

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A part that a bundle may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The name, of at most 255 bytes.
    pub(crate) name: &'static str,
    /// The largest length of its content, in bytes.
    pub(crate) max: u64,
}

/// The reason why a file is not a bundle, or could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// The file does not begin like a bundle.
    #[error("it is no backup of friendchain: is it the right file?")]
    NotOurs,
    /// The layout is of another version.
    #[error("it is a backup of another version: use the friendchain that made it, or a newer one")]
    Version,
    /// The reader does not know the name, or the part is out of order.
    #[error("it holds a part with the name '{0}', which no backup has at that place")]
    Name(String),
    /// The part is larger than any such part may be.
    #[error("its part {name} claims {length} bytes, and {max} are the most")]
    TooLarge { name: &'static str, length: u64, max: u64 },
    /// The file ends too early.
    #[error("it ends too early: copy it again, whole")]
    Short,
    /// Bytes follow the checksum.
    #[error("it has bytes after its end: copy it again")]
    Trailing,
    /// The checksum does not fit.
    #[error("its checksum does not fit, since a part has changed: copy it again")]
    Checksum,
    #[error("it cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Writes a bundle, part by part.
pub(crate) struct BundleWriter<W> {
    out: W,
    sum: Sha256,
    bytes: u64,
}

impl<W: Write> BundleWriter<W> {
    /// Begins a bundle.
    pub(crate) fn begin(out: W) -> Result<Self, BundleError> {
        let mut writer = Self { out, sum: Sha256::new(), bytes: 0 };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Adds a part. Its content has exactly `length` bytes.
    ///
    /// # Errors
    /// The content is too large for the part, or ends before `length` bytes.
    pub(crate) fn add(
        &mut self,
        part: Part,
        length: u64,
        content: &mut impl Read,
    ) -> Result<(), BundleError> {
        let Part { name, max } = part;
        if length > max {
            return Err(BundleError::TooLarge { name, length, max });
        }
        let count = u8::try_from(name.len()).map_err(|_| BundleError::Name(name.to_owned()))?;
        self.put(&[count])?;
        self.put(name.as_bytes())?;
        self.put(&length.to_le_bytes())?;
        let mut left = length;
        chunks(content, &mut left, |chunk| self.put(chunk))
    }

    /// Ends the bundle, and returns its length in bytes.
    pub(crate) fn finish(mut self) -> Result<u64, BundleError> {
        self.put(&[0])?;
        let sum = self.sum.clone().finalize();
        self.put(&sum)?;
        self.out.flush()?;
        Ok(self.bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.sum.update(bytes);
        self.out.write_all(bytes)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// Reads a bundle to its end, and writes each part to the file that `place` creates for its name.
/// Returns the names, in order.
///
/// # Errors
/// The file is not a bundle. The parts written so far must not be used.
pub(crate) fn unpack(
    input: &mut impl Read,
    parts: &[Part],
    mut place: impl FnMut(&'static str) -> io::Result<File>,
) -> Result<Vec<&'static str>, BundleError> {
    let mut reader = BundleReader { input, sum: Sha256::new() };
    reader.magic()?;
    let mut names = Vec::new();
    let mut next = parts.iter();
    loop {
        let [count] = reader.array()?;
        if count == 0 {
            break;
        }
        let mut name = [0; u8::MAX as usize];
        let name = name.get_mut(..usize::from(count)).unwrap_or_default();
        reader.fill(name)?;
        // The names must be in the list's order, so that each part comes once.
        let Some(part) = next.find(|part| part.name.as_bytes() == name) else {
            let shown: String = String::from_utf8_lossy(name).chars().take(40).collect();
            return Err(BundleError::Name(crate::primitives::printable(&shown)));
        };
        let length = u64::from_le_bytes(reader.array()?);
        if length > part.max {
            return Err(BundleError::TooLarge { name: part.name, length, max: part.max });
        }
        let mut file = place(part.name)?;
        let BundleReader { input, sum } = &mut reader;
        let mut left = length;
        chunks(input, &mut left, |chunk| {
            sum.update(chunk);
            Ok(file.write_all(chunk)?)
        })?;
        file.sync_all()?;
        names.push(part.name);
    }
    reader.check_sum()?;
    Ok(names)
}

struct BundleReader<'a, R> {
    input: &'a mut R,
    sum: Sha256,
}

impl<R: Read> BundleReader<'_, R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BundleError> {
        self.input.read_exact(bytes).map_err(short)?;
        self.sum.update(&*bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn magic(&mut self) -> Result<(), BundleError> {
        let mut magic = [0; MAGIC.len()];
        match self.fill(&mut magic) {
            Err(BundleError::Short) => return Err(BundleError::NotOurs),
            filled => filled?,
        }
        if magic == MAGIC {
            return Ok(());
        }
        let begins = magic.get(..ANY_VERSION) == MAGIC.get(..ANY_VERSION);
        Err(if begins { BundleError::Version } else { BundleError::NotOurs })
    }

    fn check_sum(mut self) -> Result<(), BundleError> {
        let expected = self.sum.clone().finalize();
        let found: [u8; CHECKSUM_BYTES] = self.array()?;
        if expected.as_slice() != found {
            return Err(BundleError::Checksum);
        }
        match self.input.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BundleError::Trailing),
        }
    }
}

/// Copies exactly `left` bytes, in chunks.
fn chunks(
    input: &mut impl Read,
    left: &mut u64,
    mut put: impl FnMut(&[u8]) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    // It may hold the wallet's key for a moment.
    let mut chunk = zeroize::Zeroizing::new(vec![0; CHUNK_BYTES]);
    while *left > 0 {
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let part = chunk.get_mut(..wanted).unwrap_or_default();
        input.read_exact(part).map_err(short)?;
        put(part)?;
        *left = left.saturating_sub(u64::try_from(wanted).unwrap_or(u64::MAX));
    }
    Ok(())
}

fn short(error: io::Error) -> BundleError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        BundleError::Short
    } else {
        BundleError::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PARTS: [Part; 3] = [
        Part { name: "identity.key", max: 10 },
        Part { name: "wallet.json", max: 100 },
        Part { name: "chat", max: 200_000 },
    ];

    fn bundle(contents: &[(Part, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = BundleWriter::begin(&mut out).expect("begun");
        for (part, content) in contents {
            writer.add(*part, content.len() as u64, &mut &**content).expect("added");
        }
        assert_eq!(writer.finish().expect("written"), out.len() as u64);
        out
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, BundleError> {
        let folder = tempfile::tempdir().expect("a folder");
        let names =
            unpack(&mut &*bytes, &PARTS, |name| File::create_new(folder.path().join(name)))?;
        let read = |name: &str| fs::read(folder.path().join(name)).expect("read");
        Ok(names.into_iter().map(|name| (name.to_owned(), read(name))).collect())
    }

    /// Returns a bundle of one part with any name and length, and the right checksum.
    fn forged(name: &[u8], length: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::try_from(name.len()).expect("short"));
        bytes.extend(name);
        bytes.extend(length.to_le_bytes());
        bytes.extend(content);
        bytes.push(0);
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        bytes
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let chat = vec![7; 150_000];
        let packed = bundle(&[(PARTS[0], b"key"), (PARTS[2], &chat)]);
        let found = unpacked(&packed).expect("unpacked");
        assert_eq!(found, [("identity.key".into(), b"key".to_vec()), ("chat".into(), chat)]);
        assert!(unpacked(&bundle(&[])).expect("empty").is_empty());
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let packed = bundle(&[(PARTS[0], b"key"), (PARTS[1], b"{}")]);
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 1;
            assert!(unpacked(&damaged).is_err(), "byte {at}");
            assert!(unpacked(&packed[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(unpacked(&[&packed[..], b"x"].concat()), Err(BundleError::Trailing)));
    }

    #[test]
    fn a_hostile_bundle_writes_nothing_beyond_its_list() {
        for name in [&b"../identity.key"[..], b"/etc/passwd", b"lock", b"wallet.json\0", b"\xff"] {
            let error = unpacked(&forged(name, 1, b"x")).expect_err("refused");
            assert!(matches!(error, BundleError::Name(_)), "{name:?}: {error}");
        }
        for length in [11, u64::MAX] {
            let error = unpacked(&forged(b"identity.key", length, b"x")).expect_err("refused");
            assert!(matches!(error, BundleError::TooLarge { .. }), "{error}");
        }
        let twice = |one: Part, other: Part| unpacked(&bundle(&[(one, b"x"), (other, b"x")]));
        assert!(matches!(twice(PARTS[0], PARTS[0]), Err(BundleError::Name(_))));
        assert!(matches!(twice(PARTS[1], PARTS[0]), Err(BundleError::Name(_))));
        assert!(matches!(unpacked(b"hello"), Err(BundleError::NotOurs)));
        let newer = [b"friendchain backup 2\n", &bundle(&[])[MAGIC.len()..]].concat();
        assert!(matches!(unpacked(&newer), Err(BundleError::Version)));
    }
}
