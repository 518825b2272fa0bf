//! Composition: what starts, in which order, and stops.

pub mod config;
pub mod datadir;
pub mod host;
pub mod logging;
pub mod rpc;

use futures::future::BoxFuture;

use self::{
    config::NodeConfig,
    datadir::FolderLock,
    host::{Host, OpenedFolder, RunningNode},
    rpc::RpcError,
};

/// The node as the command line starts it.
#[derive(Debug, Clone, Copy)]
pub struct Composition;

impl Host for Composition {
    fn open(&self, _folder: FolderLock) -> BoxFuture<'_, Result<OpenedFolder, RpcError>> {
        Box::pin(async { Err(RpcError::no_chain()) })
    }

    fn start(&self, _folder: FolderLock, _config: NodeConfig) -> BoxFuture<'_, Result<RunningNode, RpcError>> {
        Box::pin(async { Err(RpcError::no_chain()) })
    }
}
