//! The choice of a data folder: by its id, or by rules if no id is given.

use std::path::Path;

use crate::{
    datadir::{DataDir, NodeId},
    node::settings::{Key, read_settings},
    rpc::RpcError,
};

/// The most folders that an error lists.
const LISTED: usize = 12;

/// Returns the folder of a command.
///
/// Without an id this is `default`, else the only folder there is, else the only one whose node
/// runs. The last rule does not apply to a command that `starts` a node. If there is no folder, it
/// is `default`.
///
/// # Errors
/// Several folders qualify. The error lists them, and says which run.
pub(crate) fn folder_of(
    base: Option<&Path>,
    id: Option<&NodeId>,
    starts: bool,
) -> Result<DataDir, RpcError> {
    match choice_of(base, id, starts)? {
        Choice::One(folder) => Ok(folder),
        Choice::Several(all) => Err(several(&all)),
    }
}

/// The folders that a command may mean.
pub(crate) enum Choice {
    One(DataDir),
    Several(Vec<(NodeId, DataDir)>),
}

/// Does the same as [`folder_of`], and returns all folders if several qualify.
pub(crate) fn choice_of(
    base: Option<&Path>,
    id: Option<&NodeId>,
    starts: bool,
) -> Result<Choice, RpcError> {
    let named = DataDir::resolve(base, id)?;
    if id.is_some() || named.is_there() {
        return Ok(Choice::One(named));
    }
    let all = DataDir::all(base)?;
    match all.as_slice() {
        [] => return Ok(Choice::One(named)),
        [(_, only)] => return Ok(Choice::One(only.clone())),
        _ => {}
    }
    let mut held = all.iter().filter(|(_, folder)| folder.is_held());
    match (held.next(), held.next()) {
        (Some((_, only)), None) if !starts => Ok(Choice::One(only.clone())),
        _ => Ok(Choice::Several(all)),
    }
}

fn several(all: &[(NodeId, DataDir)]) -> RpcError {
    let state = |folder: &DataDir| if folder.is_held() { "runs" } else { "does not run" };
    let shown = all.iter().take(LISTED);
    let mut list: Vec<_> = shown.map(|(id, folder)| format!("{id} ({})", state(folder))).collect();
    if let Some(more) = all.len().checked_sub(LISTED).filter(|more| *more > 0) {
        list.push(format!("{more} more"));
    }
    // Most commands are for a node that runs.
    let example = all.iter().find(|(_, folder)| folder.is_held()).or(all.first());
    let example = example.map_or("", |(id, _)| id.as_str());
    RpcError::new(
        "several_folders",
        format!(
            "several nodes have their folders here, {}: choose one, as in --node-id {example}",
            list.join(", ")
        ),
    )
}

/// The folder of a `people NAME`.
pub(crate) struct Home {
    pub(crate) folder: DataDir,
    /// Lines for the user if the choice may surprise.
    pub(crate) notes: Vec<String>,
}

/// Returns the folder of a person: the one with that id, else the one whose node has that name,
/// else `default` if no node was ever started on it. Otherwise the folder is a new one.
pub(crate) fn home_of(base: Option<&Path>, name: &NodeId) -> Result<Home, RpcError> {
    let own = DataDir::resolve(base, Some(name))?;
    if own.is_there() {
        return Ok(Home { folder: own, notes: Vec::new() });
    }
    let all = DataDir::all(base)?;
    let kept = |folder: &DataDir| read_settings(folder).ok()?.remove(&Key::Name);
    let is_named =
        |folder: &DataDir| kept(folder).is_some_and(|kept| kept.as_text() == Some(name.as_str()));
    let mut named = all.iter().filter(|(_, folder)| is_named(folder));
    if let (Some((_, folder)), None) = (named.next(), named.next()) {
        return Ok(Home { folder: folder.clone(), notes: Vec::new() });
    }
    // `join`, `create-wallet` or `create-blockchain` made it, and no node has a name on it yet.
    let unnamed = DataDir::resolve(base, None)?;
    if unnamed.is_there() && !unnamed.was_started() && kept(&unnamed).is_none() {
        let note = format!("* {name} has the folder {}", unnamed.path().display());
        return Ok(Home { folder: unnamed, notes: vec![note] });
    }
    let notes = if all.is_empty() {
        Vec::new()
    } else {
        let others: Vec<_> = all.iter().take(LISTED).map(|(id, _)| id.as_str()).collect();
        vec![
            format!("* {name} is new on this machine: a new folder, a new wallet, the chain lan"),
            format!("* already here: {}", others.join(", ")),
        ]
    };
    Ok(Home { folder: own, notes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::settings::{Value, write_settings};

    fn make(base: &Path, id: &str) -> DataDir {
        let folder = DataDir::resolve(Some(base), Some(&id.parse().expect("an id")));
        let folder = folder.expect("a folder");
        drop(folder.try_lock().expect("the lock"));
        folder
    }

    #[test]
    fn without_an_id_the_default_the_only_or_the_only_running_folder_is_meant() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path();
        let chosen = || folder_of(Some(base), None, false);
        assert_eq!(chosen().expect("default").path(), base.join("default"));
        let yzw = make(base, "yzw");
        assert_eq!(chosen().expect("the only one"), yzw);
        let yjf = make(base, "yjf");
        let error = chosen().expect_err("two");
        assert!(error.message.contains("yjf (does not run), yzw (does not run)"), "{error}");
        let lock = yjf.try_lock().expect("the lock");
        assert_eq!(chosen().expect("the only one that runs"), yjf);
        folder_of(Some(base), None, true).expect_err("it runs already");
        let error = several(&DataDir::all(Some(base)).expect("the folders"));
        assert!(
            error.message.ends_with(
                "yjf (runs), yzw (does not run): choose one, as in \
             --node-id yjf"
            ),
            "{error}"
        );
        let other = yzw.try_lock().expect("the lock");
        let error = chosen().expect_err("two run");
        assert!(error.message.contains("yjf (runs), yzw (runs)"), "{error}");
        drop((lock, other));
        let default = make(base, "default");
        assert_eq!(chosen().expect("default"), default);
        let id = "yzw".parse().expect("an id");
        assert_eq!(folder_of(Some(base), Some(&id), false).expect("by its id"), yzw);
    }

    #[test]
    fn who_joined_first_and_names_himself_then_keeps_the_folder() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path();
        let home = |name: &str| {
            home_of(Some(base), &name.parse().expect("an id")).expect("a folder").folder
        };
        let joined = make(base, "default");
        assert_eq!(home("ann"), joined);
        let name = [(Key::Name, Some(Value::text("ann")))];
        write_settings(&joined, &name).expect("kept");
        assert_eq!(home("ann"), joined);
        assert_eq!(home("bob").path(), base.join("bob"));
        make(base, "bob");
        assert!(home_of(Some(base), &"bob".parse().expect("an id")).expect("it").notes.is_empty());
    }
}
