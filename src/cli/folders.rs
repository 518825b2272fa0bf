//! The choice of a data folder: by its id, or by rules if no id is given.

use std::path::Path;

use crate::{
    datadir::{DataDir, NodeId, NodeIdError},
    node::settings::{Key, read_settings},
    primitives::composed,
    rpc::RpcError,
};

/// The most folders that a sentence lists: about one row of a screen.
const LISTED: usize = 5;

/// The most folders on one machine for names that spell one id.
const MOST_ALIKE: u32 = 1_000;

/// The folders that a command can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Those whose node does not run.
    Start,
    /// Those whose node runs.
    Running,
    Any,
}

impl Use {
    const fn includes(self, runs: bool) -> bool {
        match self {
            Self::Start => !runs,
            Self::Running => runs,
            Self::Any => true,
        }
    }
}

/// Returns the folder of a command.
///
/// Without an id this is `default`, else the only folder there is, else the only one whose node
/// runs. The last rule does not apply to a command that starts a node. If there is no folder, it is
/// `default`.
///
/// # Errors
/// Several folders qualify. The error lists them, and says which run.
pub(crate) fn folder_of(
    base: Option<&Path>,
    id: Option<&NodeId>,
    wanted: Use,
) -> Result<DataDir, RpcError> {
    match choice_of(base, id, wanted == Use::Start)? {
        Choice::One(folder) => Ok(folder),
        Choice::Several(all) => Err(several(&all, wanted)),
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

/// Returns the error that lists the folders which the command can use.
fn several(all: &[(NodeId, DataDir)], wanted: Use) -> RpcError {
    let states: Vec<_> = all.iter().map(|(id, folder)| (id, folder.is_held())).collect();
    let with_state = || states.iter().copied();
    let mut fit: Vec<_> = with_state().filter(|(_, runs)| wanted.includes(*runs)).collect();
    if fit.is_empty() {
        if wanted == Use::Running {
            return RpcError::not_running();
        }
        fit = with_state().collect();
    }
    // Those that run come first.
    fit.sort_by_key(|(_, runs)| !runs);
    let state = |runs: bool| if runs { "runs" } else { "does not run" };
    let list = listed(fit.iter().map(|(id, runs)| format!("{id} ({})", state(*runs))));
    let example = fit.first().map_or("", |(id, _)| id.as_str());
    RpcError::new(
        "several_folders",
        format!(
            "several nodes have their folders here, {list}: choose one, as in --node-id {example}"
        ),
    )
}

/// Returns the first folders of a list as text, and the number of those left out.
pub(crate) fn listed(folders: impl ExactSizeIterator<Item = String>) -> String {
    let left_out = folders.len().saturating_sub(LISTED);
    let mut list: Vec<_> = folders.take(LISTED).collect();
    if left_out > 0 {
        list.push(format!("{left_out} more"));
    }
    list.join(", ")
}

/// The folder of a `people NAME`.
pub(crate) struct Home {
    pub(crate) folder: DataDir,
    /// Lines for the user if the choice may surprise.
    pub(crate) notes: Vec<String>,
}

/// Returns the folder of a person: the one whose id is the name, else the one whose node has that
/// name, else `default` if no node was ever started on it. Otherwise the folder is a new one.
pub(crate) fn home_of(base: Option<&Path>, name: &str) -> Result<Home, RpcError> {
    let name = composed(name);
    let name = name.as_str();
    if let Ok(id) = name.parse::<NodeId>() {
        let own = DataDir::resolve(base, Some(&id))?;
        if own.is_there() {
            return Ok(Home { folder: own, notes: Vec::new() });
        }
    }
    let all = DataDir::all(base)?;
    let kept = |folder: &DataDir| read_settings(folder).ok()?.remove(&Key::Name);
    let is_named = |folder: &DataDir| kept(folder).is_some_and(|kept| kept.as_text() == Some(name));
    let named: Vec<_> = all.iter().filter(|(_, folder)| is_named(folder)).cloned().collect();
    match named.as_slice() {
        [] => {}
        [(_, folder)] => return Ok(Home { folder: folder.clone(), notes: Vec::new() }),
        _ => return Err(several(&named, Use::Start)),
    }
    // `join`, `create-wallet` or `create-blockchain` made it, and no node has a name on it yet.
    let unnamed = DataDir::resolve(base, None)?;
    if unnamed.is_there() && !unnamed.was_started() && kept(&unnamed).is_none() {
        let note = format!("* {name} has the folder {}", unnamed.path().display());
        return Ok(Home { folder: unnamed, notes: vec![note] });
    }
    let id = id_like(name, |id| all.iter().any(|(other, _)| other == id))
        .map_err(|error| RpcError::new("bad_node_id", error.to_string()))?;
    let own = DataDir::resolve(base, Some(&id))?;
    let mut notes = if all.is_empty() {
        Vec::new()
    } else {
        let others = listed(all.iter().map(|(id, _)| id.to_string()));
        vec![
            format!("* {name} is new on this machine: a new folder, a new wallet, the chain lan"),
            format!("* already here: {others}"),
        ]
    };
    if id.as_str() != name {
        notes.push(format!("* {name} has the folder {}", own.path().display()));
    }
    Ok(Home { folder: own, notes })
}

/// Returns the id of a new folder for a name. Some characters of names do not fit an id.
fn id_like(name: &str, is_taken: impl Fn(&NodeId) -> bool) -> Result<NodeId, NodeIdError> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let spelled: String = name.chars().filter(|c| fits(*c)).collect();
    let spelled = spelled.trim_matches(['-', '.']);
    let stem = [name, spelled].into_iter().find(|stem| stem.parse::<NodeId>().is_ok());
    let stem = stem.unwrap_or("friend");
    let numbered = (2..=MOST_ALIKE).map(|number| format!("{stem}-{number}"));
    let mut ids = [stem.to_owned()].into_iter().chain(numbered);
    ids.find_map(|text| text.parse().ok().filter(|id| !is_taken(id)))
        .map_or_else(|| name.parse(), Ok)
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
        let chosen = || folder_of(Some(base), None, Use::Any);
        assert_eq!(chosen().expect("default").path(), base.join("default"));
        let yzw = make(base, "yzw");
        assert_eq!(chosen().expect("the only one"), yzw);
        let yjf = make(base, "yjf");
        let error = chosen().expect_err("two");
        assert!(error.message.contains("yjf (does not run), yzw (does not run)"), "{error}");
        let stopped = folder_of(Some(base), None, Use::Running).expect_err("none runs");
        assert_eq!(stopped.code, RpcError::not_running().code);
        let lock = yjf.try_lock().expect("the lock");
        assert_eq!(chosen().expect("the only one that runs"), yjf);
        folder_of(Some(base), None, Use::Start).expect_err("it runs already");
        let other = yzw.try_lock().expect("the lock");
        let error = chosen().expect_err("two run");
        assert!(error.message.contains("yjf (runs), yzw (runs)"), "{error}");
        for number in 0..10 {
            make(base, &format!("ann{number}"));
        }
        let error = folder_of(Some(base), None, Use::Running).expect_err("two run");
        assert!(error.message.contains("here, yjf (runs), yzw (runs): choose"), "{error}");
        let error = chosen().expect_err("many");
        assert!(error.message.contains("yjf (runs), yzw (runs), ann0 (does"), "{error}");
        assert!(error.message.contains("7 more: choose one, as in --node-id yjf"), "{error}");
        let error = folder_of(Some(base), None, Use::Start).expect_err("many");
        assert!(!error.message.contains("(runs)"), "{error}");
        drop((lock, other));
        let default = make(base, "default");
        assert_eq!(chosen().expect("default"), default);
        let id = "yzw".parse().expect("an id");
        assert_eq!(folder_of(Some(base), Some(&id), Use::Any).expect("by its id"), yzw);
    }

    #[test]
    fn who_joined_first_and_names_himself_then_keeps_the_folder() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path();
        let home = |name: &str| home_of(Some(base), name).expect("a folder").folder;
        let joined = make(base, "default");
        assert_eq!(home("ann"), joined);
        let name = [(Key::Name, Some(Value::text("ann")))];
        write_settings(&joined, &name).expect("kept");
        assert_eq!(home("ann"), joined);
        assert_eq!(home("bob").path(), base.join("bob"));
        make(base, "bob");
        assert!(home_of(Some(base), "bob").expect("it").notes.is_empty());
    }

    #[test]
    fn a_name_that_two_folders_keep_makes_no_third_one() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path();
        for id in ["one", "two"] {
            let name = [(Key::Name, Some(Value::text("ann")))];
            write_settings(&make(base, id), &name).expect("kept");
        }
        let error = home_of(Some(base), "ann").map(|home| home.folder).expect_err("two");
        assert_eq!(error.code, "several_folders");
        assert!(error.message.contains("one (does not run), two (does not run)"), "{error}");
        assert!(error.message.contains("--node-id one"), "{error}");
        make(base, "ann");
        let own = home_of(Some(base), "ann").expect("its id is the name").folder;
        assert_eq!(own.path(), base.join("ann"));
    }

    #[test]
    fn a_name_that_is_no_id_has_a_folder_with_a_similar_one() {
        let temporary = tempfile::tempdir().expect("a folder");
        let base = temporary.path();
        let home = |name: &str| home_of(Some(base), name).expect("a folder").folder;
        let fox = home("Zoë\u{1f98a}");
        assert_eq!(fox.path(), base.join("Zoë"));
        assert_eq!(home("\u{1f98a}").path(), base.join("friend"));
        make(base, "Zoë");
        assert_eq!(home("Zoë\u{1f98a}").path(), base.join("Zoë-2"), "Zoë is another person");
        let name = [(Key::Name, Some(Value::text("Zoë\u{1f98a}")))];
        write_settings(&fox, &name).expect("kept");
        assert_eq!(home("Zoë\u{1f98a}"), fox);
    }
}
