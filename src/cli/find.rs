//! Finding who answers: the node that runs on the data folder, or the folder itself, opened for one
//! command.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{
    datadir::{DataDir, DataDirError, FolderLock},
    node::host::{Host, OpenedFolder},
    rpc::{Client, FriendchainApiClient, RpcError},
};

/// How long a node that is still starting, or another short command, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the folder is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a node that is up may take to answer the lightest question.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a node may take to end: it writes what it holds and says goodbye.
const STOPPING: Duration = Duration::from_mins(1);

/// Who answers.
pub(crate) enum Reached {
    /// A node in another process.
    Running(Client),
    /// The folder, opened here.
    Opened(OpenedFolder),
}

/// The node that runs on the folder; when none does, the folder opened here.
///
/// Unless the command `makes` a folder, one that is not there is refused, and nothing is made.
pub(crate) async fn reach(
    folder: &DataDir,
    host: &dyn Host,
    makes: bool,
) -> Result<Reached, RpcError> {
    let lock = if makes { DataDir::try_lock } else { DataDir::try_lock_existing };
    match wait_for_lock_or_node(folder, lock, PATIENCE).await? {
        Found::Free(lock) => Ok(Reached::Opened(host.open(lock).await?)),
        Found::Node(client) => Ok(Reached::Running(client)),
    }
}

/// The node that runs on the folder, or [`RpcError::not_running`].
pub(crate) async fn reach_running(folder: &DataDir) -> Result<Client, RpcError> {
    match wait_for_lock_or_node(folder, DataDir::try_lock_existing, PATIENCE).await? {
        Found::Free(_) => Err(RpcError::not_running()),
        Found::Node(client) => Ok(client),
    }
}

/// The folder for a node of this process; refused at once when another one runs on it.
pub(crate) async fn take_for_node(folder: &DataDir) -> Result<FolderLock, RpcError> {
    match wait_for_lock_or_node(folder, DataDir::try_lock, PATIENCE).await? {
        Found::Free(lock) => Ok(lock),
        Found::Node(_) => {
            let pid = folder.node_file().map(|node| node.pid);
            Err(DataDirError::InUse { path: folder.path().to_owned(), pid }.into())
        }
    }
}

/// Waits until a node that was told to stop has let go of the folder: the next command finds it
/// free.
pub(crate) async fn until_free(folder: &DataDir) -> Result<(), RpcError> {
    let deadline = Instant::now() + STOPPING;
    loop {
        match folder.try_lock_existing() {
            Ok(_) => return Ok(()),
            Err(error @ DataDirError::InUse { .. }) if Instant::now() >= deadline => {
                return Err(no_answer(folder, &error, STOPPING));
            }
            Err(DataDirError::InUse { .. }) => sleep(LOOK_AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

enum Found {
    Free(FolderLock),
    Node(Client),
}

async fn wait_for_lock_or_node(
    folder: &DataDir,
    try_lock: impl Fn(&DataDir) -> Result<FolderLock, DataDirError>,
    patience: Duration,
) -> Result<Found, RpcError> {
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
            return Err(no_answer(folder, &in_use, patience));
        }
        sleep(LOOK_AGAIN).await;
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

/// A client of the node that says it listens, once it answers.
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
    use futures::future::BoxFuture;
    use jsonrpsee::RpcModule;

    use super::*;
    use crate::{
        node::{config::NodeConfig, host::RunningNode},
        rpc::server::serve,
    };

    struct FolderOnly;

    impl Host for FolderOnly {
        fn open(&self, folder: FolderLock) -> BoxFuture<'_, Result<OpenedFolder, RpcError>> {
            let close = Box::pin(async move { drop(folder) });
            Box::pin(async {
                Ok(OpenedFolder { client: Client::local(RpcModule::new(())), close })
            })
        }

        fn start(
            &self,
            _: FolderLock,
            _: NodeConfig,
        ) -> BoxFuture<'_, Result<RunningNode, RpcError>> {
            Box::pin(async { Err(RpcError::not_running()) })
        }
    }

    #[tokio::test]
    async fn a_free_folder_is_opened_and_a_running_node_is_asked() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = DataDir::at(temporary.path());
        let Err(absent) = reach(&folder, &FolderOnly, false).await else {
            panic!("nothing is there")
        };
        assert_eq!(absent.code, "no_such_folder");
        let Reached::Opened(opened) = reach(&folder, &FolderOnly, true).await.expect("opened")
        else {
            panic!("no node runs")
        };
        opened.close.await;
        assert_eq!(reach_running(&folder).await.expect_err("no node").code, "not_running");

        let lock = folder.try_lock().expect("the lock");
        let token = lock.new_token().expect("a token");
        let address = "127.0.0.1:0".parse().expect("an address");
        let forever = std::future::pending::<()>();
        let server = serve(address, RpcModule::new(()), &token, forever).await.expect("a server");
        lock.write_node_file(server.address, None).expect("written");
        assert!(matches!(reach(&folder, &FolderOnly, false).await, Ok(Reached::Running(_))));
        let refused = take_for_node(&folder).await.expect_err("one node on a folder");
        assert_eq!(refused.code, "folder_in_use");
        assert!(refused.message.contains(&std::process::id().to_string()), "{refused}");
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
        assert_eq!(error.code, "node_not_answering");
        assert!(error.message.contains(&std::process::id().to_string()), "{error}");
    }
}
