//! Finds the node that runs on the data folder, or opens the folder for one command.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::threads::check_for_folder;
use crate::{
    commands::outcome::CommandError,
    datadir::{DataDir, DataDirError, FolderLock},
    node::{self, OpenedFolder},
    rpc::{Client, FriendchainApiClient, RpcError},
};

/// The time to wait for a node that is still starting, or for another command to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// The interval between two attempts to lock the folder.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// The time to wait for a node's answer to the cheapest request.
const ANSWER: Duration = Duration::from_secs(2);

/// The time to wait for a node to end. It writes its caches and says goodbye to its peers.
const STOPPING: Duration = Duration::from_mins(1);

/// The node or folder that answers a command.
pub(crate) enum Reached {
    /// A node in another process.
    Running(Client),
    /// The folder, opened by this process.
    Opened(OpenedFolder),
}

/// Returns a client of the node that runs on the folder. If none runs, opens the folder.
///
/// # Errors
/// A missing folder is [`DataDirError::Absent`], unless the command `makes` one.
pub(crate) async fn reach(folder: &DataDir, makes: bool) -> Result<Reached, FindError> {
    match find(folder, makes).await? {
        Found::Free(lock) => {
            check_for_folder()?;
            Ok(Reached::Opened(node::open(lock).await?))
        }
        Found::Node(client) => Ok(Reached::Running(client)),
    }
}

/// Returns a client of the node that runs on the folder. If none runs, locks the folder.
///
/// # Errors
/// A missing folder is [`DataDirError::Absent`], unless the command `makes` one.
pub(crate) async fn find(folder: &DataDir, makes: bool) -> Result<Found, FindError> {
    let lock = if makes { DataDir::try_lock } else { DataDir::try_lock_existing };
    wait_for_lock_or_node(folder, lock, PATIENCE).await
}

/// Returns a client of the node that runs on the folder, or [`RpcError::not_running`].
pub(crate) async fn reach_running(folder: &DataDir) -> Result<Client, FindError> {
    match wait_for_lock_or_node(folder, DataDir::try_lock_existing, PATIENCE).await? {
        Found::Free(_) => Err(RpcError::not_running().into()),
        Found::Node(client) => Ok(client),
    }
}

/// Locks the folder for a node of this process. Fails at once if another node runs on it.
pub(crate) async fn take_for_node(folder: &DataDir) -> Result<FolderLock, FindError> {
    match wait_for_lock_or_node(folder, DataDir::try_lock, PATIENCE).await? {
        Found::Free(lock) => {
            check_for_folder()?;
            Ok(lock)
        }
        Found::Node(_) => {
            let pid = folder.node_file().map(|node| node.pid);
            Err(DataDirError::InUse { path: folder.path().to_owned(), pid }.into())
        }
    }
}

/// Waits until a stopping node has unlocked the folder, so that the next command can open it.
pub(crate) async fn until_free(folder: &DataDir) -> Result<(), FindError> {
    let deadline = Instant::now() + STOPPING;
    loop {
        match folder.try_lock_existing() {
            Ok(_) => return Ok(()),
            Err(error @ DataDirError::InUse { .. }) if Instant::now() >= deadline => {
                return Err(no_answer(folder, &error, STOPPING).into());
            }
            Err(DataDirError::InUse { .. }) => sleep(RETRY_EVERY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The reason why neither a node nor the folder can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    #[error(transparent)]
    Folder(#[from] DataDirError),
    #[error(transparent)]
    Failed(#[from] RpcError),
}

impl From<FindError> for CommandError {
    fn from(error: FindError) -> Self {
        Self::Failed(match error {
            FindError::Folder(error) => error.into(),
            FindError::Failed(error) => error,
        })
    }
}

/// A folder as it was found.
pub(crate) enum Found {
    /// No process used the folder, and this one has locked it.
    Free(FolderLock),
    /// A node runs on the folder.
    Node(Client),
}

async fn wait_for_lock_or_node(
    folder: &DataDir,
    try_lock: impl Fn(&DataDir) -> Result<FolderLock, DataDirError>,
    patience: Duration,
) -> Result<Found, FindError> {
    let deadline = Instant::now() + patience;
    loop {
        let in_use = match try_lock(folder) {
            Ok(lock) => return Ok(Found::Free(lock)),
            Err(error @ DataDirError::InUse { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        if let Some(client) = answering(folder).await {
            return Ok(Found::Node(client));
        }
        if Instant::now() >= deadline {
            return Err(no_answer(folder, &in_use, patience).into());
        }
        sleep(RETRY_EVERY).await;
    }
}

fn no_answer(folder: &DataDir, in_use: &DataDirError, patience: Duration) -> RpcError {
    let process = match in_use {
        DataDirError::InUse { pid: Some(pid), .. } => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    let sentence = format!(
        "{process} holds the data folder {} but has not answered for {} s: if it works on \
         something long, wait for it; \
         else end it and try again",
        folder.path().display(),
        patience.as_secs()
    );
    RpcError::new("node_not_answering", sentence)
}

/// Returns the addresses on which the folder's node listens, or `None` without an answer.
pub(crate) async fn listening(folder: &DataDir) -> Option<Vec<String>> {
    let client = answering(folder).await?;
    let status = timeout(ANSWER, client.status()).await.ok()?.ok()?;
    Some(status.listen)
}

/// Returns a client of the node in `node.json`, if the node answers.
async fn answering(folder: &DataDir) -> Option<Client> {
    let (node, token) = (folder.node_file()?, folder.token()?);
    let client = Client::http(node.rpc, &token).ok()?;
    match timeout(ANSWER, client.progress()).await {
        Ok(Ok(_) | Err(jsonrpsee::core::client::Error::Call(_))) => Some(client),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::RpcModule;

    use super::*;
    use crate::rpc::server::serve;

    #[tokio::test]
    async fn a_free_folder_is_opened_and_a_running_node_is_asked() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        let Err(absent) = reach(&folder, false).await else { panic!("nothing is there") };
        assert!(matches!(absent, FindError::Folder(DataDirError::Absent(_))), "{absent}");
        let Reached::Opened(opened) = reach(&folder, true).await.expect("opened") else {
            panic!("no node runs")
        };
        opened.close.await;
        let absent = reach_running(&folder).await.expect_err("no node");
        assert_eq!(absent.to_string(), RpcError::not_running().to_string());

        let lock = folder.try_lock().expect("the lock");
        let token = lock.new_token().expect("a token");
        let address = "127.0.0.1:0".parse().expect("an address");
        let forever = std::future::pending::<()>();
        let server = serve(address, RpcModule::new(()), &token, forever).await.expect("a server");
        lock.write_node_file(server.address, None).expect("written");
        assert!(matches!(reach(&folder, false).await, Ok(Reached::Running(_))));
        let refused = take_for_node(&folder).await.expect_err("one node on a folder");
        assert!(matches!(refused, FindError::Folder(DataDirError::InUse { .. })), "{refused}");
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    }

    #[tokio::test]
    async fn a_holder_that_never_answers_is_named_in_the_end() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        let _lock = folder.try_lock().expect("the lock");
        let Err(error) = wait_for_lock_or_node(&folder, DataDir::try_lock, Duration::ZERO).await
        else {
            panic!("nobody answers")
        };
        let FindError::Failed(error) = error else { panic!("{error}") };
        assert_eq!(error.code, "node_not_answering");
        assert!(error.message.contains(&std::process::id().to_string()), "{error}");
    }
}
