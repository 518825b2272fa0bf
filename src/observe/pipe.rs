//! A source that may keep its reader waiting, standard input or a pipe, read on a thread of its
//! own.

use std::{
    io::{self, Cursor, ErrorKind, Read},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
};

/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// How many chunks wait to be taken: then the writer waits.
const WAITING: usize = 16;
/// How many chunks are taken before there seems to be nothing more: a writer that never pauses
/// leaves time for the rest.
const AT_ONCE: usize = 256;

/// Gives what is there, and nothing, as at an end, while nothing is.
pub(super) struct Pipe {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    taken: usize,
    ended: bool,
}

impl Pipe {
    pub(super) fn new(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::sync_channel(WAITING);
        // It ends with its source, or with the process.
        thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
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
        });
        Self { chunks, chunk: Cursor::default(), taken: 0, ended: false }
    }

    /// Whether the source has ended, and all of it has been given.
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
        if self.taken == AT_ONCE {
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
