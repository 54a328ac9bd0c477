//! The team: who is meant to work on the repository, as its file says.
//!
//! ```yaml
//! team: shop
//! agents:
//!   - name: backend            # the agent's id: set AGENT_ID to it
//!     role: implementer
//!     capabilities: [rust, sql]
//!     description: Owns the API and the database.
//! ```
//!
//! The file decides nothing: it names agents before they are there, and says what they can do when they do not.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use model::id::{AgentId, Project};
use serde::Deserialize;
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use crate::Coordinator;

/// The file's name, at the top of the work tree.
pub const FILE: &str = "teams.yaml";

/// A larger file is no team's, in bytes.
const FILE_LIMIT: u64 = 256 * 1024;

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// Its agents: at least one, no two of one name.
    pub agents: Vec<Member>,
}

/// An agent of the team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its agent id.
    pub name: AgentId,
    /// What it is there for, in a word or two.
    pub role: String,
    /// What it can do: sorted, no two alike.
    pub capabilities: Vec<String>,
    /// More about it.
    pub description: Option<String>,
}

/// Something wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, counted from 1.
    pub line: u64,
    /// Where in the line, counted from 1.
    pub column: u64,
    /// Which field, such as `agents[1].role`; empty for the file as a whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { String::new() } else { format!(" {}:", self.field) };
        write!(f, "{}:{}:{field} {}", self.line, self.column, self.message)
    }
}

/// Reads a team's file.
///
/// # Errors
/// Everything that is wrong with it; of mistakes in the YAML itself and of values of the wrong kind, the first.
pub fn parse(text: &str) -> Result<Team, Vec<Mistake>> {
    let mut path = String::new();
    let read = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    let file: Written = read.map_err(|error| mistake_in_yaml(&error, &path))?;
    file.checked()
}

/// Reads a team's file; nothing when there is none.
///
/// # Errors
/// [`io::Error`] when it cannot be read; the mistakes in it.
pub fn load(path: &Path) -> io::Result<Option<Result<Team, Vec<Mistake>>>> {
    let file = match std::fs::metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.len() > FILE_LIMIT {
        return Err(io::Error::other(format!("it has {} bytes, more than {FILE_LIMIT}", file.len())));
    }
    Ok(Some(parse(&std::fs::read_to_string(path)?)))
}

impl Coordinator {
    /// The project's team: the file is the work tree's that this process runs in, so other projects have none here. A
    /// file that is wrong names nobody; `coordinator team validate` tells why.
    pub(crate) fn team_of(&self, project: &Project) -> Option<Team> {
        let path = self.settings.worktree.as_ref().filter(|_| project == self.default_project())?.join(FILE);
        match load(&path) {
            Ok(None) => None,
            Ok(Some(Ok(team))) => Some(team),
            Ok(Some(Err(mistakes))) => {
                let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(file = %path.display(), mistake = first, "the team's file is not valid");
                None
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the team's file cannot be read");
                None
            }
        }
    }
}

/// The file as it is written: what is missing is found afterwards, so that everything that is can be told at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    team: Option<Spanned<String>>,
    agents: Option<Spanned<Vec<Spanned<WrittenAgent>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAgent {
    name: Option<Spanned<String>>,
    role: Option<Spanned<String>>,
    capabilities: Option<Vec<Spanned<String>>>,
    description: Option<String>,
}

impl Written {
    fn checked(self) -> Result<Team, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let name = mistakes.text("team".into(), self.team, None);
        let agents = self.agents.unwrap_or_else(|| Spanned::new(vec![], Location::UNKNOWN, Location::UNKNOWN));
        if agents.value.is_empty() {
            mistakes.add("agents".into(), agents.referenced, "is required, with at least one agent".into());
        }
        let mut lines = BTreeMap::new();
        let agents: Vec<Option<Member>> = agents
            .value
            .into_iter()
            .enumerate()
            .map(|(at, agent)| mistakes.member(&format!("agents[{at}]"), agent, &mut lines))
            .collect();
        match (name, agents.into_iter().collect()) {
            (Some(name), Some(agents)) if mistakes.0.is_empty() => Ok(Team { name, agents }),
            _ => Err(mistakes.0),
        }
    }
}

#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, field: String, at: Location, message: String) {
        // What is missing as a whole is missing from the first line on.
        self.0.push(Mistake { line: at.line().max(1), column: at.column().max(1), field, message });
    }

    /// The text of a field that must be there with something in it; `around` is where it should be.
    fn text(&mut self, field: String, text: Option<Spanned<String>>, around: Option<Location>) -> Option<String> {
        match text {
            None => self.add(field, around.unwrap_or(Location::UNKNOWN), "is required".into()),
            Some(text) if text.value.trim().is_empty() => self.add(field, text.referenced, "must not be blank".into()),
            Some(text) => return Some(text.value),
        }
        None
    }

    /// `lines` tells where each name was first given.
    fn member(
        &mut self,
        place: &str,
        agent: Spanned<WrittenAgent>,
        lines: &mut BTreeMap<AgentId, u64>,
    ) -> Option<Member> {
        let (around, agent) = (Some(agent.referenced), agent.value);
        let name_at = agent.name.as_ref().map_or(Location::UNKNOWN, |name| name.referenced);
        let name = self.text(format!("{place}.name"), agent.name, around).and_then(|name| match AgentId::new(name) {
            Ok(name) => Some(name),
            Err(error) => {
                self.add(format!("{place}.name"), name_at, error.to_string());
                None
            }
        });
        if let Some(name) = &name {
            match lines.get(name) {
                Some(line) => {
                    self.add(format!("{place}.name"), name_at, format!("is taken: {name} is on line {line} already"));
                }
                None => drop(lines.insert(name.clone(), name_at.line())),
            }
        }
        let role = self.text(format!("{place}.role"), agent.role, around);
        let mut capabilities: Vec<String> = agent
            .capabilities
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .filter_map(|(at, capability)| self.text(format!("{place}.capabilities[{at}]"), Some(capability), around))
            .collect();
        capabilities.sort();
        capabilities.dedup();
        Some(Member { name: name?, role: role?, capabilities, description: agent.description })
    }
}

fn mistake_in_yaml(error: &serde_saphyr::Error, path: &str) -> Vec<Mistake> {
    let mut mistakes = Mistakes::default();
    // A value that knows its place is a struct to serde, with the value in a field of its own.
    let field = path.replace(".value", "").trim_matches(['.', '?']).to_owned();
    let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
    mistakes.add(field, error.location().unwrap_or(Location::UNKNOWN), message);
    mistakes.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "team: shop\nagents:\n  - name: backend\n    role: implementer\n    capabilities: [sql, rust, sql]\n    \
                        description: Owns the API.\n  - {name: reviewer, role: review}\n";

    #[test]
    fn a_team_is_read() {
        let team = parse(GOOD).unwrap();
        let member = |name: &str, role: &str, capabilities: &[&str], description: Option<&str>| Member {
            name: AgentId::new(name).unwrap(),
            role: role.into(),
            capabilities: capabilities.iter().map(|c| (*c).to_owned()).collect(),
            description: description.map(Into::into),
        };
        assert_eq!(team.name, "shop");
        assert_eq!(
            team.agents,
            [
                member("backend", "implementer", &["rust", "sql"], Some("Owns the API.")),
                member("reviewer", "review", &[], None),
            ]
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_field() {
        let mistakes = parse(
            "team: ' '\nagents:\n  - name: a\n    capabilities: [x, '']\n  - role: r\n  - name: a\n    role: r\n  - name: ''\n    \
             role: ''\n",
        )
        .unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "1:7: team: must not be blank",
                "3:5: agents[0].role: is required",
                "4:23: agents[0].capabilities[1]: must not be blank",
                "5:5: agents[1].name: is required",
                "6:11: agents[2].name: is taken: a is on line 3 already",
                "8:11: agents[3].name: must not be blank",
                "9:11: agents[3].role: must not be blank",
            ]
        );
    }

    #[test]
    fn whatever_is_no_team_is_told_with_its_place() {
        for (text, place, words) in [
            ("", "1:1: team:", "is required"),
            ("team: x", "1:1: agents:", "at least one agent"),
            ("team: x\nagents: []", "2:9: agents:", "at least one agent"),
            ("- a list", "1:1:", "mapping"),
            ("team: x\nagents:\n  - {name: a, rol: b}", "3:15: agents[0].rol:", "rol"),
            ("team: x\nagents:\n  - {name: a, role: [b]}", "3:21: agents[0].role:", "string"),
            ("team: x\nagents: 7", "2:9: agents:", "sequence"),
            ("team: x\nteam: y\nagents: [{name: a, role: b}]", "2:1:", "duplicate mapping key"),
            ("team: x\nagents: [", "2:", ""),
            ("team: x\n\tagents: []", "1:7:", "tab"),
            ("\0", "1:1:", ""),
            ("team: x\nagents: [{name: \"a\\tb\", role: r}]", "2:17: agents[0].name:", "control characters"),
        ] {
            let mistakes = parse(text).unwrap_err();
            let told = mistakes[0].to_string();
            assert!(told.starts_with(place) && told.contains(words), "{text:?}: {told}");
            assert!(!told.contains(" at line "), "{told}");
        }
        // Not to be unfolded: nine lines that stand for a billion items.
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let before = format!("*a{}", n - 1);
            bomb += &format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", "));
        }
        assert_eq!(parse(&bomb).unwrap_err().len(), 1);
    }
}
