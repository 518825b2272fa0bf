//! Runs slow work and disk access outside of the async tasks.

use crate::rpc::RpcError;

/// Runs `work` on a blocking thread.
///
/// # Errors
/// The work panicked. Its message is on stderr already.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RpcError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        RpcError::internal(
            "the command failed inside: the data folder is damaged, or it is a fault of the \
             program; keep a copy of the \
             folder, see what verify-chain says, and leave-chain and join again if the chain is \
             damaged",
        )
    })
}
