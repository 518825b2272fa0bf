//! Reads standard input or a pipe on a thread of its own, so that the reader never blocks.

use std::{
    io::{self, Cursor, ErrorKind, Read},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
};

/// The size of one read from the source, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// The most chunks that wait for the reader (16 × 64 KiB = 1 MiB). Then the thread stops reading.
const QUEUED_CHUNKS: usize = 16;
/// The chunks (256 × 64 KiB = 16 MiB) after which a read reports an end once. Otherwise a writer
/// that never pauses would keep the reader from its other logs.
const CHUNKS_PER_TURN: usize = 256;

/// A non-blocking reader. It reads 0 bytes, as at an end of file, while no data is available.
pub(super) struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    /// Chunks taken since a read last returned 0 bytes.
    taken: usize,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::sync_channel(QUEUED_CHUNKS);
        // The thread ends with its source, or with the process.
        let failures = sender.clone();
        let read_all = move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = match source.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(length) => {
                        chunk.truncate(length);
                        Ok(chunk)
                    }
                    Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                    Err(cause) => Err(cause),
                };
                let failed = read.is_err();
                if sender.send(read).is_err() || failed {
                    return;
                }
            }
        };
        if let Err(cause) = thread::Builder::new().name("pipe".into()).spawn(read_all) {
            // The queue is empty, so there is room.
            let _ = failures.try_send(Err(cause));
        }
        Self { chunks, chunk: Cursor::default(), taken: 0, ended: false }
    }

    /// True once the source has ended and the reader has had all of its data.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.chunk.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        if self.taken == CHUNKS_PER_TURN {
            self.taken = 0;
            return Ok(0);
        }
        match self.chunks.try_recv() {
            Ok(chunk) => {
                self.taken += 1;
                self.chunk = Cursor::new(chunk?);
                self.chunk.read(buffer)
            }
            Err(cause) => {
                self.taken = 0;
                self.ended = cause == TryRecvError::Disconnected;
                Ok(0)
            }
        }
    }
}
