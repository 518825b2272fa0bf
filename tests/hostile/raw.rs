//! Sends yamux frames by hand over a Noise connection of libp2p, which yamux itself would not send.

use std::io;

use futures::{
    AsyncReadExt, AsyncWriteExt,
    io::{ReadHalf, WriteHalf},
};
use libp2p::identity::Keypair;

use crate::attacker::{Secure, Source, Target, secure};

/// The initial receive window of a stream, in bytes.
pub(crate) const WINDOW: usize = 256 * 1024;

/// The flag of a stream's first frame.
const SYN: u16 = 1;

/// A connection whose streams are opened and filled by hand; closed when dropped.
pub(crate) struct RawMux {
    writer: WriteHalf<Secure>,
    reader: tokio::task::JoinHandle<()>,
    next: u32,
}

impl Drop for RawMux {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl RawMux {
    pub(crate) async fn connect(target: Target, source: Source) -> io::Result<Self> {
        let io = secure(&Keypair::generate_ed25519(), target.address, source).await?;
        let (reader, writer) = io.split();
        Ok(Self { writer, reader: tokio::spawn(discard(reader)), next: 1 })
    }

    /// Opens a stream, and sends bytes on it regardless of its window.
    pub(crate) async fn open(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.next;
        self.next += 2;
        let mut flags = SYN;
        for chunk in bytes.chunks(64 * 1024) {
            self.writer.write_all(&head(0, flags, stream, chunk.len())).await?;
            self.writer.write_all(chunk).await?;
            flags = 0;
        }
        if bytes.is_empty() {
            self.writer.write_all(&head(1, SYN, stream, 0)).await?;
        }
        self.writer.flush().await
    }

    /// True until the node closes the connection.
    pub(crate) fn alive(&self) -> bool {
        !self.reader.is_finished()
    }
}

fn head(kind: u8, flags: u16, stream: u32, length: usize) -> [u8; 12] {
    let mut head = [0; 12];
    head[1] = kind;
    head[2..4].copy_from_slice(&flags.to_be_bytes());
    head[4..8].copy_from_slice(&stream.to_be_bytes());
    head[8..].copy_from_slice(&u32::try_from(length).expect("small").to_be_bytes());
    head
}

async fn discard(mut reader: ReadHalf<Secure>) {
    let mut bytes = vec![0; 4_096];
    while reader.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}
