//! What the command line asks of the node's composition: open a folder for one command, or run a
//! node on it.

use futures::future::BoxFuture;

use super::config::NodeConfig;
use crate::{
    datadir::FolderLock,
    rpc::{Client, RpcError},
};

/// Opens folders and starts nodes. The node's composition is one; tests of the command line bring
/// their own.
pub trait Host: Send + Sync {
    /// The RPC over a folder on which no node runs, in process: chain (if there is one), wallet and
    /// friends, no network. Methods that need a network answer [`RpcError::not_running`]; those
    /// that need a chain, and find none, [`RpcError::no_chain`].
    fn open(&self, folder: FolderLock) -> BoxFuture<'_, Result<OpenedFolder, RpcError>>;

    /// Starts a node, its HTTP server and `node.json` included, and answers once commands can be
    /// asked of it.
    fn start(
        &self,
        folder: FolderLock,
        config: NodeConfig,
    ) -> BoxFuture<'_, Result<RunningNode, RpcError>>;
}

/// A folder that is open for one command.
pub struct OpenedFolder {
    /// Speaks to it.
    pub client: Client,
    /// Closes it, after the last call: everything is on disk and the lock is free when this is
    /// done.
    pub close: BoxFuture<'static, ()>,
}

/// A node that runs in this process.
pub struct RunningNode {
    /// Speaks to it. Its `stop` ends the node.
    pub client: Client,
    /// Done when the node has ended: cleanly, or because something broke.
    pub finished: BoxFuture<'static, Result<(), RpcError>>,
}
