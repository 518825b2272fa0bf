//! The command `config`: shows the settings of a node, and changes one.

use std::io::{self, Write};

use serde_json::Value;

use super::{
    answer::Answer, args::ConfigAction, outcome::CommandError, session::Session, table::write_table,
};
use crate::{
    primitives::printable,
    rpc::{
        FriendchainApiClient,
        types::{Origin, SettingList},
    },
};

pub(super) async fn config(
    session: &mut Session<'_>,
    action: ConfigAction,
) -> Result<(), CommandError> {
    match action {
        ConfigAction::Show => write_settings(&mut session.answer, &session.client.config().await?),
        ConfigAction::Set { key, value } => {
            let changed = session.client.set_config(key, value).await?;
            write_change(&mut session.answer, &changed)
        }
    }
}

/// Writes all settings with their origin.
pub(crate) fn write_settings(
    answer: &mut Answer<'_>,
    list: &SettingList,
) -> Result<(), CommandError> {
    answer.write(list, |out| write_list(out, list))
}

/// Writes the setting that was changed.
pub(crate) fn write_change(
    answer: &mut Answer<'_>,
    changed: &SettingList,
) -> Result<(), CommandError> {
    answer.write(changed, |out| {
        for setting in &changed.settings {
            let (key, value) = (&setting.key, shown(&setting.value));
            match (setting.origin, &setting.value) {
                (Origin::Default, Value::Null) => writeln!(out, "{key} is not kept any more.")?,
                (Origin::Default, _) => {
                    writeln!(out, "{key} is not kept any more: the default is {value}.")?;
                }
                _ => writeln!(out, "{key} = {value}")?,
            }
            if let Some(running) = &setting.running {
                let running = shown(running);
                writeln!(out, "The node runs with {running} until it is started anew.")?;
            }
        }
        Ok(())
    })
}

fn write_list(out: &mut dyn Write, list: &SettingList) -> io::Result<()> {
    let rows: Vec<_> = list
        .settings
        .iter()
        .map(|setting| {
            let running = setting.running.as_ref().map(shown);
            let running = running.map_or_else(String::new, |old| format!(" (runs with {old})"));
            let value = format!("{}{running}", shown(&setting.value));
            [setting.key.clone(), setting.origin.to_string(), value]
        })
        .collect();
    write_table(out, ["setting", "from", "value"], &rows)
}

/// Returns a value as people write it.
fn shown(value: &Value) -> String {
    printable(&match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::types::SettingView;

    #[test]
    fn each_setting_is_a_line_with_its_origin() {
        let view = |key: &str, value: Value, origin, running| SettingView {
            key: key.to_owned(),
            value,
            origin,
            running,
        };
        let list = SettingList {
            settings: vec![
                view("name", "yzw".into(), Origin::File, None),
                view("port", 9_000.into(), Origin::File, Some(8_891.into())),
                view("peers", vec!["a:1", "b:2"].into(), Origin::Flag, None),
                view("miner", Value::Null, Origin::Default, None),
            ],
        };
        let mut out = Vec::new();
        write_list(&mut out, &list).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "setting  from              value\n\
             name     friendchain.toml  yzw\n\
             port     friendchain.toml  9000 (runs with 8891)\n\
             peers    flag              a:1,b:2\n\
             miner    default           -\n"
        );
    }
}
