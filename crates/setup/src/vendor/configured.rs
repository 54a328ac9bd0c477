//! What an agent's configuration says of us now, whoever wrote it: a check goes by this.

use serde_json::Value;
use toml_edit::DocumentMut;

use super::Agent;
use crate::json;
use crate::part::Part;
use crate::place::Place;
use crate::text::Text;
use crate::view::{Found, View, resolve};

/// What an agent's configuration says of us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// How it starts our MCP server.
    pub server: Option<Server>,
    /// Our hooks: the event and the command line.
    pub hooks: Vec<(String, String)>,
    /// Events that it should tell us of and does not, or not as this version does it.
    pub outdated: Vec<String>,
}

/// How an agent starts our MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is added to its environment.
    pub env: Vec<(String, String)>,
}

impl Agent {
    /// What its configuration in this place says of us.
    ///
    /// # Errors
    /// A sentence, naming the file, when one of them is broken.
    pub fn configured(self, place: &Place, view: &dyn View) -> Result<Configured, String> {
        let piece = self.server(place);
        let tree = match &piece.part {
            Part::Table { .. } => read(view, &piece.path, table_as_json)?,
            _ => read(view, &piece.path, json::value)?,
        };
        let path = match &piece.part {
            Part::Table { path, .. } | Part::Member { path, .. } => path.as_slice(),
            _ => &[],
        };
        let entry = path.iter().try_fold(&tree, |value, name| value.get(name));
        let hooks_tree = read(view, &self.hooks_file(place), json::value)?;
        let mut configured = Configured { server: entry.and_then(server), ..Configured::default() };
        let Part::Hooks { groups, .. } = self.hooks(&place.program) else { return Ok(configured) };
        let no_groups = vec![];
        for (event, wanted) in groups {
            let there = hooks_tree["hooks"][&event].as_array().unwrap_or(&no_groups);
            let ours: Vec<_> = there.iter().filter(|group| self.commands_of(group).next().is_some()).collect();
            let wanted: Value = serde_json::from_str(&wanted).unwrap_or_default();
            if ours != [&wanted] {
                configured.outdated.push(event.clone());
            }
            let commands = ours.into_iter().flat_map(|group| self.commands_of(group));
            configured.hooks.extend(commands.map(|command| (event.clone(), command)));
        }
        Ok(configured)
    }

    fn commands_of(self, group: &Value) -> impl Iterator<Item = String> {
        let handlers = group["hooks"].as_array().into_iter().flatten();
        let commands = handlers.filter_map(|handler| handler["command"].as_str());
        commands.filter(move |command| self.runs_in(command)).map(str::to_owned)
    }
}

fn read(
    view: &dyn View,
    path: &std::path::Path,
    parse: impl Fn(&str) -> Result<Value, String>,
) -> Result<Value, String> {
    let named = |why: String| format!("{}: {why}", path.display());
    match view.look(&resolve(view, path).map_err(named)?) {
        Found::Nothing => Ok(Value::Null),
        Found::File { bytes, .. } => {
            let text = Text::read(&bytes).ok_or_else(|| named("it is no UTF-8 text".into()))?;
            parse(&text.body).map_err(named)
        }
        Found::Unusable(why) => Err(named(why)),
        Found::Directory { .. } | Found::Link(_) => Err(named("it is no file".into())),
    }
}

fn table_as_json(body: &str) -> Result<Value, String> {
    let document: DocumentMut = body.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
    Ok(item(document.as_item()))
}

fn item(there: &toml_edit::Item) -> Value {
    if let Some(table) = there.as_table_like() {
        return Value::Object(table.iter().map(|(name, there)| (name.to_owned(), item(there))).collect());
    }
    if let Some(array) = there.as_array() {
        return Value::Array(array.iter().filter_map(|value| value.as_str().map(Value::from)).collect());
    }
    there.as_str().map(Value::from).unwrap_or_default()
}

fn server(entry: &Value) -> Option<Server> {
    let texts =
        |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let env = entry["env"].as_object().into_iter().flatten();
    Some(Server {
        command: entry["command"].as_str()?.to_owned(),
        args: texts(&entry["args"]),
        env: env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
    })
}
