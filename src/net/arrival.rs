//! The bytes of an answer while they arrive.
//!
//! The codec reads an answer into an [`Arrival`], which it shares with the network. The network
//! thus sees that a slow answer still arrives, and keeps the bytes so far if the rest does not
//! come.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::limits::ANSWER_TIME;
use crate::wire::CodecError;

/// The maximum size of one read, in bytes.
const CHUNK: usize = 64 * 1024;

/// The bytes of one answer that have arrived. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrival(Arc<Mutex<Vec<u8>>>);

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of bytes so far.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes the bytes so far.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lock())
    }

    /// Reads to the end of the stream. Returns an error with the bytes so far if they are more than
    /// `limit`.
    ///
    /// # Errors
    /// Fails if the stream breaks, or brings no byte for [`ANSWER_TIME`]. The bytes so far can be
    /// taken.
    pub(super) async fn read<T>(
        &self,
        io: &mut T,
        limit: usize,
    ) -> io::Result<Result<Vec<u8>, (Vec<u8>, CodecError)>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut chunk = vec![0; CHUNK.min(limit.saturating_add(1))];
        loop {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the answer has stopped");
            let count = timeout(ANSWER_TIME, io.read(&mut chunk)).await.map_err(late)??;
            let size = {
                let mut bytes = self.lock();
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
                bytes.len()
            };
            if size > limit {
                return Ok(Err((self.take(), CodecError::TooLarge { size, limit })));
            }
            if count == 0 {
                return Ok(Ok(self.take()));
            }
        }
    }
}
